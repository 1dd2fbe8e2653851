/* SPDX-License-Identifier: Apache-2.0 */
/* `linux.resources` of config.json, and what `update` is given (config-linux.md, "Control groups").
 */
#include "runtime/config_internal.h"

#include <errno.h>
#include <string.h>
#include "util/mem.h"
#include "util/str.h"

static struct plan_resources *res(void *to)
{
	return to;
}

/* A limit of 64 bits: -1 is none, and 0 leaves it as it is. */
static uint64_t limit(struct json_read *r)
{
	int64_t v = 0;

	json_read_i64(r, &v);
	if (v < -1)
		json_read_fail(r, ERANGE, "%lld is below -1", (long long)v);
	return v == -1 ? PLAN_UNLIMITED : (uint64_t)v;
}

/* ---- memory --------------------------------------------------------------------------------- */

static void memory_limit(struct json_read *r, void *to)
{
	res(to)->memory_bytes = limit(r);
}

static void memory_reservation(struct json_read *r, void *to)
{
	res(to)->memory_reservation_bytes = limit(r);
}

static void memory_swap(struct json_read *r, void *to)
{
	res(to)->memory_swap_bytes = limit(r);
}

static void memory_kernel_tcp(struct json_read *r, void *to)
{
	res(to)->kernel_tcp_bytes = limit(r);
}

static void memory_kernel(struct json_read *r, void *to)
{
	uint64_t v = limit(r);

	(void)to;
	if (v && v != PLAN_UNLIMITED)
		json_read_fail(r, EOPNOTSUPP, "Linux has no limit of kernel memory since 5.16");
}

static void memory_swappiness(struct json_read *r, void *to)
{
	if (json_read_null(r))
		return;
	res(to)->swappiness = json_read_uint(r, 200);
	res(to)->has_swappiness = true;
}

static void memory_no_oom_killer(struct json_read *r, void *to)
{
	res(to)->disable_oom_killer = json_read_bool(r);
}

/* The kernel's hierarchy is always accounted as one since Linux 5.11. */
static void memory_hierarchy(struct json_read *r, void *to)
{
	(void)to;
	(void)json_read_bool(r);
}

static void memory_check(struct json_read *r, void *to)
{
	res(to)->check_before_update = json_read_bool(r);
}

static void read_memory(struct json_read *r, void *to)
{
	static const struct config_member members[] = {
		{ "limit", memory_limit },
		{ "reservation", memory_reservation },
		{ "swap", memory_swap },
		{ "kernel", memory_kernel },
		{ "kernelTCP", memory_kernel_tcp },
		{ "swappiness", memory_swappiness },
		{ "disableOOMKiller", memory_no_oom_killer },
		{ "useHierarchy", memory_hierarchy },
		{ "checkBeforeUpdate", memory_check },
		{ NULL, NULL },
	};

	config_members(r, members, to);
}

/* ---- cpu ------------------------------------------------------------------------------------ */

static void cpu_shares(struct json_read *r, void *to)
{
	json_read_u64(r, &res(to)->cpu_shares);
}

static void cpu_quota(struct json_read *r, void *to)
{
	res(to)->cpu_quota_us = limit(r);
}

static void cpu_burst(struct json_read *r, void *to)
{
	if (json_read_null(r))
		return;
	json_read_u64(r, &res(to)->cpu_burst_us);
	res(to)->has_cpu_burst = true;
}

static void cpu_period(struct json_read *r, void *to)
{
	json_read_u64(r, &res(to)->cpu_period_us);
}

static void cpu_rt_runtime(struct json_read *r, void *to)
{
	res(to)->cpu_rt_runtime_us = limit(r);
}

static void cpu_rt_period(struct json_read *r, void *to)
{
	json_read_u64(r, &res(to)->cpu_rt_period_us);
}

static void cpu_cpus(struct json_read *r, void *to)
{
	json_read_dup(r, &res(to)->cpuset_cpus);
}

static void cpu_mems(struct json_read *r, void *to)
{
	json_read_dup(r, &res(to)->cpuset_mems);
}

static void cpu_idle(struct json_read *r, void *to)
{
	if (json_read_null(r))
		return;
	res(to)->cpu_idle = json_read_int(r, 0, 1);
	res(to)->has_cpu_idle = true;
}

/* An empty list of CPUs or nodes is none. */
static void drop_empty(char **field)
{
	if (*field && !**field) {
		free(*field);
		*field = NULL;
	}
}

static void read_cpu(struct json_read *r, void *to)
{
	static const struct config_member members[] = {
		{ "shares", cpu_shares },
		{ "quota", cpu_quota },
		{ "burst", cpu_burst },
		{ "period", cpu_period },
		{ "realtimeRuntime", cpu_rt_runtime },
		{ "realtimePeriod", cpu_rt_period },
		{ "cpus", cpu_cpus },
		{ "mems", cpu_mems },
		{ "idle", cpu_idle },
		{ NULL, NULL },
	};
	struct plan_resources *p = to;

	config_members(r, members, to);
	drop_empty(&p->cpuset_cpus);
	drop_empty(&p->cpuset_mems);
	if (p->has_cpu_burst && p->cpu_quota_us && p->cpu_quota_us != PLAN_UNLIMITED &&
	    p->cpu_burst_us > p->cpu_quota_us)
		json_read_fail(r, EINVAL, "burst is above quota");
}

/* ---- devices -------------------------------------------------------------------------------- */

static void rule_allow(struct json_read *r, void *to)
{
	((struct plan_device_rule *)to)->allow = json_read_bool(r);
}

static void rule_type(struct json_read *r, void *to)
{
	static const struct config_word types[] = {
		{ "a", 'a' }, { "c", 'c' }, { "b", 'b' }, { "", 'a' }, { NULL, 0 }
	};

	if (!json_read_null(r))
		((struct plan_device_rule *)to)->type =
			(char)config_word(r, types, "a type of device (a, c, b)");
}

static void rule_major(struct json_read *r, void *to)
{
	if (!json_read_null(r))
		((struct plan_device_rule *)to)->major = json_read_int(r, -1, 0xfff);
}

static void rule_minor(struct json_read *r, void *to)
{
	if (!json_read_null(r))
		((struct plan_device_rule *)to)->minor = json_read_int(r, -1, 0xfffff);
}

static void rule_access(struct json_read *r, void *to)
{
	const char *access = json_read_string(r);
	uint8_t bits = 0;

	for (; access && *access; access++) {
		const char *at = strchr("rwm", *access);

		if (!at) {
			json_read_fail(r, EINVAL, "is not made of r, w and m");
			return;
		}
		bits |= (uint8_t)(1u << (at - "rwm"));
	}
	((struct plan_device_rule *)to)->access = bits;
}

static void read_devices(struct json_read *r, void *to)
{
	static const struct config_member members[] = {
		{ "allow", rule_allow }, { "type", rule_type },	    { "major", rule_major },
		{ "minor", rule_minor }, { "access", rule_access }, { NULL, NULL },
	};
	struct plan_resources *p = to;

	for (json_read_array(r); json_read_item(r);) {
		struct plan_device_rule *d =
			config_grow(r, &p->device_rules, &p->device_rule_count, sizeof(*d));

		if (!d)
			continue;
		*d = (struct plan_device_rule){
			.type = 'a', .major = -1, .minor = -1, .access = 7
		};
		config_members(r, members, d);
	}
}

/* ---- block I/O ------------------------------------------------------------------------------ */

struct block_entry {
	uint32_t major, minor;
	uint16_t weight, leaf_weight;
	uint64_t rate;
};

static void block_major(struct json_read *r, void *to)
{
	((struct block_entry *)to)->major = (uint32_t)json_read_uint(r, 0xfff);
}

static void block_minor(struct json_read *r, void *to)
{
	((struct block_entry *)to)->minor = (uint32_t)json_read_uint(r, 0xfffff);
}

static void block_weight(struct json_read *r, void *to)
{
	((struct block_entry *)to)->weight = (uint16_t)json_read_uint(r, UINT16_MAX);
}

static void block_leaf(struct json_read *r, void *to)
{
	((struct block_entry *)to)->leaf_weight = (uint16_t)json_read_uint(r, UINT16_MAX);
}

static void block_rate(struct json_read *r, void *to)
{
	json_read_u64(r, &((struct block_entry *)to)->rate);
}

static const struct config_member block_members[] = {
	{ "major", block_major },     { "minor", block_minor }, { "weight", block_weight },
	{ "leafWeight", block_leaf }, { "rate", block_rate },	{ NULL, NULL },
};

static void read_weight_devices(struct json_read *r, void *to)
{
	struct plan_resources *p = to;

	for (json_read_array(r); json_read_item(r);) {
		struct block_entry e = { 0 };
		struct plan_block_weight *w =
			config_grow(r, &p->block_weights, &p->block_weight_count, sizeof(*w));

		config_members(r, block_members, &e);
		if (!w)
			continue;
		if (!e.weight && !e.leaf_weight)
			json_read_fail(r, EINVAL, "weight or leafWeight must be there");
		*w = (struct plan_block_weight){ e.major, e.minor, e.weight, e.leaf_weight };
	}
}

static void read_throttles(struct json_read *r, void *to, enum plan_throttle_kind kind)
{
	struct plan_resources *p = to;

	for (json_read_array(r); json_read_item(r);) {
		struct block_entry e = { 0 };
		struct plan_throttle *t =
			config_grow(r, &p->throttles, &p->throttle_count, sizeof(*t));

		config_members(r, block_members, &e);
		if (t)
			*t = (struct plan_throttle){ (uint8_t)kind, e.major, e.minor, e.rate };
	}
}

static void read_read_bps(struct json_read *r, void *to)
{
	read_throttles(r, to, PLAN_READ_BPS);
}

static void read_write_bps(struct json_read *r, void *to)
{
	read_throttles(r, to, PLAN_WRITE_BPS);
}

static void read_read_iops(struct json_read *r, void *to)
{
	read_throttles(r, to, PLAN_READ_IOPS);
}

static void read_write_iops(struct json_read *r, void *to)
{
	read_throttles(r, to, PLAN_WRITE_IOPS);
}

static void io_weight(struct json_read *r, void *to)
{
	res(to)->block_weight = (uint16_t)json_read_uint(r, UINT16_MAX);
}

static void io_leaf_weight(struct json_read *r, void *to)
{
	res(to)->block_leaf_weight = (uint16_t)json_read_uint(r, UINT16_MAX);
}

static void read_block_io(struct json_read *r, void *to)
{
	static const struct config_member members[] = {
		{ "weight", io_weight },
		{ "leafWeight", io_leaf_weight },
		{ "weightDevice", read_weight_devices },
		{ "throttleReadBpsDevice", read_read_bps },
		{ "throttleWriteBpsDevice", read_write_bps },
		{ "throttleReadIOPSDevice", read_read_iops },
		{ "throttleWriteIOPSDevice", read_write_iops },
		{ NULL, NULL },
	};

	config_members(r, members, to);
}

/* ---- further controllers -------------------------------------------------------------------- */

static void pids_limit(struct json_read *r, void *to)
{
	res(to)->pids_max = json_read_int(r, -1, INT64_MAX);
}

static void read_pids(struct json_read *r, void *to)
{
	static const struct config_member members[] = { { "limit", pids_limit }, { NULL, NULL } };

	config_members(r, members, to);
}

static void huge_size(struct json_read *r, void *to)
{
	struct plan_hugepage_limit *h = to;

	json_read_dup(r, &h->size);
	if (h->size && (!h->size[0] || strspn(h->size, "0123456789KMGTPB") != strlen(h->size)))
		json_read_fail(r, EINVAL, "\"%s\" is not a page size such as 2MB", h->size);
}

static void huge_limit(struct json_read *r, void *to)
{
	json_read_u64(r, &((struct plan_hugepage_limit *)to)->limit_bytes);
}

static void read_hugepages(struct json_read *r, void *to)
{
	static const struct config_member members[] = { { "pageSize", huge_size },
							{ "limit", huge_limit },
							{ NULL, NULL } };
	struct plan_resources *p = to;

	for (json_read_array(r); json_read_item(r);) {
		struct plan_hugepage_limit *h =
			config_grow(r, &p->hugepages, &p->hugepage_count, sizeof(*h));

		if (h)
			config_members(r, members, h);
		if (h && !h->size)
			json_read_fail(r, EINVAL, "pageSize is missing");
	}
}

static void net_class(struct json_read *r, void *to)
{
	if (json_read_null(r))
		return;
	res(to)->net_class_id = (uint32_t)json_read_uint(r, UINT32_MAX);
	res(to)->has_net_class_id = true;
}

static void priority_name(struct json_read *r, void *to)
{
	json_read_dup(r, &((struct plan_net_priority *)to)->interface);
}

static void priority_value(struct json_read *r, void *to)
{
	((struct plan_net_priority *)to)->priority = (uint32_t)json_read_uint(r, UINT32_MAX);
}

static void net_priorities(struct json_read *r, void *to)
{
	static const struct config_member members[] = { { "name", priority_name },
							{ "priority", priority_value },
							{ NULL, NULL } };
	struct plan_resources *p = to;

	for (json_read_array(r); json_read_item(r);) {
		struct plan_net_priority *n =
			config_grow(r, &p->net_priorities, &p->net_priority_count, sizeof(*n));

		if (n)
			config_members(r, members, n);
		if (n && !n->interface)
			json_read_fail(r, EINVAL, "name is missing");
	}
}

static void read_network(struct json_read *r, void *to)
{
	static const struct config_member members[] = { { "classID", net_class },
							{ "priorities", net_priorities },
							{ NULL, NULL } };

	config_members(r, members, to);
}

static void rdma_handles(struct json_read *r, void *to)
{
	struct plan_rdma_limit *l = to;

	l->handles = (uint32_t)json_read_uint(r, UINT32_MAX);
	l->has_handles = true;
}

static void rdma_objects(struct json_read *r, void *to)
{
	struct plan_rdma_limit *l = to;

	l->objects = (uint32_t)json_read_uint(r, UINT32_MAX);
	l->has_objects = true;
}

static void read_rdma(struct json_read *r, void *to)
{
	static const struct config_member members[] = { { "hcaHandles", rdma_handles },
							{ "hcaObjects", rdma_objects },
							{ NULL, NULL } };
	struct plan_resources *p = to;
	char *device;

	for (json_read_object(r); json_read_key(r, &device);) {
		struct plan_rdma_limit *l = config_grow(r, &p->rdma, &p->rdma_count, sizeof(*l));

		if (!l)
			continue;
		l->device = strdup(device);
		if (!l->device)
			json_read_fail(r, ENOMEM, "out of memory");
		config_members(r, members, l);
	}
}

static void read_unified(struct json_read *r, void *to)
{
	json_read_pairs(r, &res(to)->unified);
}

void config_resources(struct json_read *r, void *resources)
{
	static const struct config_member members[] = {
		{ "devices", read_devices },  { "memory", read_memory },
		{ "cpu", read_cpu },	      { "pids", read_pids },
		{ "blockIO", read_block_io }, { "hugepageLimits", read_hugepages },
		{ "network", read_network },  { "rdma", read_rdma },
		{ "unified", read_unified },  { NULL, NULL },
	};

	config_members(r, members, resources);
}

int config_parse_resources(char *text, size_t n, struct plan_resources *ret, struct err *err)
{
	struct plan_resources p = { 0 };
	struct json_read r;
	int e;

	json_read_init(&r, text, n, "resources", err);
	config_resources(&r, &p);
	e = json_read_end(&r);
	if (e < 0) {
		plan_resources_done(&p);
		return e;
	}
	*ret = p;
	return 0;
}
