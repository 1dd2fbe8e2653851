/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan as bytes: little-endian numbers and length-prefixed strings, in the order of the struct.
 *
 * Both ends are always the same build of proa in a start; a plan kept on disk for exec may be
 * older, and the version in front refuses it then with a clear message instead of misreading it.
 *
 * One description serves both directions: a `struct wire` either writes (put) or reads (get), and
 * each field is visited once, by the same line. That way the two directions cannot drift apart.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "plan/plan.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/str.h"

#define PLAN_MAGIC   0x6e6c7070u /* "ppln" */
#define PLAN_VERSION 2u
#define COUNT_MAX    65536u /* of any array: far above what a command line can hold */

struct wire {
	bool reading;
	struct str_buf out; /* writing */
	const uint8_t *in;  /* reading */
	size_t left;
	int error; /* the first -errno; everything after it does nothing */
};

static void raw(struct wire *w, void *p, size_t n)
{
	if (w->error)
		return;
	if (!w->reading) {
		str_buf_add(&w->out, p, n);
		return;
	}
	if (n > w->left) {
		w->error = -EBADMSG;
		return;
	}
	memcpy(p, w->in, n);
	w->in += n;
	w->left -= n;
}

/* Integers go over the wire with their size in memory; x86-64 and arm64 are both little-endian. */
#define NUM(w, field) raw((w), &(field), sizeof(field))

static void flag(struct wire *w, bool *b)
{
	uint8_t v = *b;

	raw(w, &v, 1);
	if (w->reading && !w->error) {
		if (v > 1)
			w->error = -EBADMSG;
		*b = v == 1;
	}
}

/* A string, which may be NULL (length 0xffffffff). */
static void string(struct wire *w, char **s)
{
	uint32_t n = UINT32_MAX;
	char *copy;

	if (!w->reading) {
		if (*s)
			n = (uint32_t)strlen(*s);
		raw(w, &n, sizeof(n));
		if (*s)
			raw(w, *s, n);
		return;
	}
	raw(w, &n, sizeof(n));
	if (w->error || n == UINT32_MAX)
		return;
	if (n > w->left || memchr(w->in, 0, n)) {
		w->error = -EBADMSG;
		return;
	}
	copy = malloc((size_t)n + 1);
	if (!copy) {
		w->error = -ENOMEM;
		return;
	}
	memcpy(copy, w->in, n);
	copy[n] = 0;
	w->in += n;
	w->left -= n;
	*s = copy;
}

/* The count of an array; when reading, makes room for it (zeroed) in *@array. */
static size_t count(struct wire *w, size_t n, void *array, size_t size)
{
	uint32_t v = (uint32_t)n;
	void *p;

	raw(w, &v, sizeof(v));
	if (w->error)
		return 0;
	if (!w->reading)
		return n;
	/* each element takes at least one byte: a count above what is left is a lie */
	if (v > COUNT_MAX || v > w->left) {
		w->error = -EBADMSG;
		return 0;
	}
	p = calloc((size_t)v + 1, size);
	if (!p) {
		w->error = -ENOMEM;
		return 0;
	}
	memcpy(array, &p, sizeof(p));
	return v;
}

static void strings(struct wire *w, char ***v)
{
	size_t n = count(w, strv_len(*v), v, sizeof(char *));

	for (size_t i = 0; i < n && !w->error; i++) {
		string(w, &(*v)[i]);
		if (!w->error && !(*v)[i])
			w->error = -EBADMSG;
	}
}

static void blob(struct wire *w, uint8_t **p, size_t *len)
{
	size_t n = count(w, *len, p, 1);

	if (n)
		raw(w, *p, n);
	if (w->reading && !w->error) {
		*len = n;
		if (n == 0) {
			free(*p);
			*p = NULL;
		}
	}
}

static void scheduler(struct wire *w, struct plan_scheduler *s)
{
	flag(w, &s->set);
	if (!s->set)
		return;
	NUM(w, s->policy);
	NUM(w, s->nice);
	NUM(w, s->priority);
	NUM(w, s->flags);
	NUM(w, s->runtime_ns);
	NUM(w, s->deadline_ns);
	NUM(w, s->period_ns);
}

static void process(struct wire *w, struct plan_process *p)
{
	size_t n;

	strings(w, &p->args);
	strings(w, &p->env);
	string(w, &p->cwd);
	string(w, &p->user);
	strings(w, &p->groups);
	NUM(w, p->caps.bounding);
	NUM(w, p->caps.permitted);
	NUM(w, p->caps.effective);
	NUM(w, p->caps.inheritable);
	NUM(w, p->caps.ambient);
	flag(w, &p->no_new_privs);
	flag(w, &p->terminal);
	NUM(w, p->rows);
	NUM(w, p->cols);
	flag(w, &p->init);
	string(w, &p->probe);
	NUM(w, p->oom_score_adj);
	flag(w, &p->has_oom_score_adj);
	n = count(w, p->rlimit_count, &p->rlimits, sizeof(*p->rlimits));
	for (size_t i = 0; i < n; i++) {
		NUM(w, p->rlimits[i].resource);
		NUM(w, p->rlimits[i].soft);
		NUM(w, p->rlimits[i].hard);
		flag(w, &p->rlimits[i].required);
	}
	p->rlimit_count = n;
	blob(w, &p->seccomp, &p->seccomp_len);
	NUM(w, p->seccomp_flags);
	string(w, &p->notify.listener);
	string(w, &p->notify.metadata);
	NUM(w, p->umask);
	flag(w, &p->has_umask);
	flag(w, &p->exact_ids);
	string(w, &p->apparmor);
	string(w, &p->selinux);
	scheduler(w, &p->scheduler);
	NUM(w, p->io_priority);
	NUM(w, p->personality);
	flag(w, &p->has_personality);
	flag(w, &p->memory_policy.set);
	NUM(w, p->memory_policy.mode);
	NUM(w, p->memory_policy.flags);
	string(w, &p->memory_policy.nodes);
	string(w, &p->cpus_initial);
	string(w, &p->cpus_final);
	if (w->reading && !w->error && (p->seccomp_len % 8 || !p->args || !p->args[0] || !p->cwd))
		w->error = -EBADMSG;
}

static void idmap(struct wire *w, struct plan_idmap **map, size_t *map_count)
{
	size_t n = count(w, *map_count, map, sizeof(**map));

	*map_count = n;
	for (size_t i = 0; i < n; i++) {
		NUM(w, (*map)[i].inside);
		NUM(w, (*map)[i].outside);
		NUM(w, (*map)[i].count);
	}
}

static void mounts(struct wire *w, struct plan *p)
{
	size_t n = count(w, p->mount_count, &p->mounts, sizeof(*p->mounts));

	p->mount_count = n;
	for (size_t i = 0; i < n && !w->error; i++) {
		struct plan_mount *m = &p->mounts[i];

		NUM(w, m->kind);
		NUM(w, m->flags);
		string(w, &m->source);
		string(w, &m->target);
		string(w, &m->fs);
		NUM(w, m->attrs);
		NUM(w, m->attrs_clear);
		NUM(w, m->below.set);
		NUM(w, m->below.clear);
		strings(w, &m->options);
		idmap(w, &m->uid_map, &m->uid_map_count);
		idmap(w, &m->gid_map, &m->gid_map_count);
		if (w->error)
			return;
		if (m->kind > PLAN_MOUNT_KIND_LAST || m->flags & ~(uint32_t)PLAN_MOUNT_FLAGS_ALL ||
		    !m->target || (m->kind == PLAN_MOUNT_BIND && !m->source) ||
		    (m->kind == PLAN_MOUNT_FS && !m->fs))
			w->error = -EBADMSG;
	}
}

static void devices(struct wire *w, struct plan *p)
{
	size_t n = count(w, p->device_count, &p->devices, sizeof(*p->devices));

	p->device_count = n;
	for (size_t i = 0; i < n && !w->error; i++) {
		struct plan_device *d = &p->devices[i];

		string(w, &d->path);
		NUM(w, d->type);
		NUM(w, d->major);
		NUM(w, d->minor);
		NUM(w, d->mode);
		NUM(w, d->uid);
		NUM(w, d->gid);
		if (!w->error && (!d->path || !d->type || !strchr("cbp", d->type)))
			w->error = -EBADMSG;
	}
}

static void device_rules(struct wire *w, struct plan_resources *r)
{
	size_t n = count(w, r->device_rule_count, &r->device_rules, sizeof(*r->device_rules));

	r->device_rule_count = n;
	for (size_t i = 0; i < n && !w->error; i++) {
		struct plan_device_rule *d = &r->device_rules[i];

		flag(w, &d->allow);
		NUM(w, d->type);
		NUM(w, d->major);
		NUM(w, d->minor);
		NUM(w, d->access);
		if (!w->error && (!d->type || !strchr("abc", d->type) || d->access > 7))
			w->error = -EBADMSG;
	}
}

static void block_limits(struct wire *w, struct plan_resources *r)
{
	size_t n;

	NUM(w, r->block_weight);
	NUM(w, r->block_leaf_weight);
	n = count(w, r->block_weight_count, &r->block_weights, sizeof(*r->block_weights));
	r->block_weight_count = n;
	for (size_t i = 0; i < n; i++) {
		NUM(w, r->block_weights[i].major);
		NUM(w, r->block_weights[i].minor);
		NUM(w, r->block_weights[i].weight);
		NUM(w, r->block_weights[i].leaf_weight);
	}
	n = count(w, r->throttle_count, &r->throttles, sizeof(*r->throttles));
	r->throttle_count = n;
	for (size_t i = 0; i < n; i++) {
		NUM(w, r->throttles[i].kind);
		NUM(w, r->throttles[i].major);
		NUM(w, r->throttles[i].minor);
		NUM(w, r->throttles[i].rate);
		if (!w->error && r->throttles[i].kind > PLAN_THROTTLE_LAST)
			w->error = -EBADMSG;
	}
}

static void named_limits(struct wire *w, struct plan_resources *r)
{
	size_t n = count(w, r->hugepage_count, &r->hugepages, sizeof(*r->hugepages));

	r->hugepage_count = n;
	for (size_t i = 0; i < n; i++) {
		string(w, &r->hugepages[i].size);
		NUM(w, r->hugepages[i].limit_bytes);
		if (!w->error && !r->hugepages[i].size)
			w->error = -EBADMSG;
	}
	NUM(w, r->net_class_id);
	flag(w, &r->has_net_class_id);
	n = count(w, r->net_priority_count, &r->net_priorities, sizeof(*r->net_priorities));
	r->net_priority_count = n;
	for (size_t i = 0; i < n; i++) {
		string(w, &r->net_priorities[i].interface);
		NUM(w, r->net_priorities[i].priority);
		if (!w->error && !r->net_priorities[i].interface)
			w->error = -EBADMSG;
	}
	n = count(w, r->rdma_count, &r->rdma, sizeof(*r->rdma));
	r->rdma_count = n;
	for (size_t i = 0; i < n; i++) {
		string(w, &r->rdma[i].device);
		NUM(w, r->rdma[i].handles);
		NUM(w, r->rdma[i].objects);
		flag(w, &r->rdma[i].has_handles);
		flag(w, &r->rdma[i].has_objects);
		if (!w->error && !r->rdma[i].device)
			w->error = -EBADMSG;
	}
}

static void resources(struct wire *w, struct plan_resources *r)
{
	NUM(w, r->memory_bytes);
	NUM(w, r->memory_reservation_bytes);
	NUM(w, r->memory_swap_bytes);
	flag(w, &r->memory_swap_default);
	NUM(w, r->kernel_tcp_bytes);
	NUM(w, r->swappiness);
	flag(w, &r->has_swappiness);
	flag(w, &r->disable_oom_killer);
	flag(w, &r->check_before_update);
	NUM(w, r->cpu_quota_us);
	NUM(w, r->cpu_period_us);
	NUM(w, r->cpu_burst_us);
	flag(w, &r->has_cpu_burst);
	NUM(w, r->cpu_rt_runtime_us);
	NUM(w, r->cpu_rt_period_us);
	NUM(w, r->cpu_shares);
	NUM(w, r->cpu_idle);
	flag(w, &r->has_cpu_idle);
	string(w, &r->cpuset_cpus);
	string(w, &r->cpuset_mems);
	NUM(w, r->pids_max);
	device_rules(w, r);
	block_limits(w, r);
	named_limits(w, r);
	strings(w, &r->unified);
}

static void hooks(struct wire *w, struct plan_hooks *h)
{
	size_t n = count(w, h->count, &h->list, sizeof(*h->list));

	h->count = n;
	for (size_t i = 0; i < n; i++) {
		string(w, &h->list[i].path);
		strings(w, &h->list[i].args);
		strings(w, &h->list[i].env);
		NUM(w, h->list[i].timeout_s);
		if (!w->error && !h->list[i].path)
			w->error = -EBADMSG;
	}
}

static void net_devices(struct wire *w, struct plan *p)
{
	size_t n = count(w, p->net_device_count, &p->net_devices, sizeof(*p->net_devices));

	p->net_device_count = n;
	for (size_t i = 0; i < n; i++) {
		string(w, &p->net_devices[i].host_name);
		string(w, &p->net_devices[i].name);
		if (!w->error && (!p->net_devices[i].host_name || !p->net_devices[i].name))
			w->error = -EBADMSG;
	}
}

static void rdt(struct wire *w, struct plan_rdt *r)
{
	flag(w, &r->set);
	flag(w, &r->monitor);
	string(w, &r->clos_id);
	string(w, &r->l3_schema);
	string(w, &r->mb_schema);
	strings(w, &r->schemata);
}

static void vm(struct wire *w, struct plan_vm *v)
{
	string(w, &v->kernel);
	NUM(w, v->memory_bytes);
	NUM(w, v->cpus);
	string(w, &v->disk);
	string(w, &v->image);
	string(w, &v->image_format);
	string(w, &v->initrd);
	string(w, &v->parameters);
	string(w, &v->hypervisor);
	strings(w, &v->hypervisor_args);
}

static void plan(struct wire *w, struct plan *p)
{
	NUM(w, p->isolation);
	string(w, &p->id);
	string(w, &p->name);
	string(w, &p->image);
	string(w, &p->hostname);
	string(w, &p->domainname);
	NUM(w, p->namespaces);
	NUM(w, p->joined);
	for (size_t i = 0; i < PLAN_NS_COUNT; i++)
		string(w, &p->joined_paths[i]);
	strings(w, &p->root.lowers);
	string(w, &p->root.upper);
	string(w, &p->root.work);
	flag(w, &p->root.read_only);
	flag(w, &p->root.at_path);
	flag(w, &p->root.no_pivot);
	NUM(w, p->root.propagation);
	string(w, &p->root.label);
	process(w, &p->process);
	mounts(w, p);
	devices(w, p);
	strings(w, &p->masked_paths);
	strings(w, &p->read_only_paths);
	strings(w, &p->sysctls);
	idmap(w, &p->uid_map, &p->uid_map_count);
	idmap(w, &p->gid_map, &p->gid_map_count);
	flag(w, &p->map_sources);
	NUM(w, p->monotonic_offset_ns);
	NUM(w, p->boottime_offset_ns);
	string(w, &p->cgroup);
	resources(w, &p->resources);
	for (size_t i = 0; i < PLAN_HOOK_POINTS; i++)
		hooks(w, &p->hooks[i]);
	strings(w, &p->annotations);
	string(w, &p->bundle);
	net_devices(w, p);
	rdt(w, &p->rdt);
	flag(w, &p->privileged);
	flag(w, &p->auto_remove);
	NUM(w, p->stop_signal);
	string(w, &p->hosts);
	string(w, &p->resolv_conf);
	vm(w, &p->vm);
	if (w->reading && !w->error &&
	    (p->isolation > PLAN_VM || p->namespaces & ~(uint32_t)PLAN_NS_ALL ||
	     p->joined & ~p->namespaces || !p->id))
		w->error = -EBADMSG;
}

static void header(struct wire *w)
{
	uint32_t magic = PLAN_MAGIC, version = PLAN_VERSION;

	NUM(w, magic);
	NUM(w, version);
	if (w->error)
		return;
	if (magic != PLAN_MAGIC)
		w->error = -EBADMSG;
	else if (version != PLAN_VERSION)
		w->error = -EPROTO;
}

static int finish_write(struct wire *w, uint8_t **ret, size_t *ret_len)
{
	if (w->out.failed) {
		str_buf_done(&w->out);
		return -ENOMEM;
	}
	*ret = (uint8_t *)w->out.data;
	*ret_len = w->out.len;
	return 0;
}

static int finish_read(struct wire *w, struct err *err)
{
	if (!w->error && w->left)
		w->error = -EBADMSG;
	switch (-w->error) {
	case 0: return 0;
	case ENOMEM: return err_set(err, ENOMEM, "out of memory while reading a plan");
	case EPROTO:
		return err_set(err, EPROTO,
			       "the plan was made by another version of proa; start it again");
	default: return err_set(err, EBADMSG, "the plan is damaged");
	}
}

int plan_encode(const struct plan *p, uint8_t **ret, size_t *ret_len)
{
	struct wire w = { .reading = false };

	/* visited for writing only: the visitor takes non-const pointers for its other direction */
	header(&w);
	plan(&w, (struct plan *)p);
	return finish_write(&w, ret, ret_len);
}

int plan_process_encode(const struct plan_process *p, uint8_t **ret, size_t *ret_len)
{
	struct wire w = { .reading = false };

	header(&w);
	process(&w, (struct plan_process *)p);
	return finish_write(&w, ret, ret_len);
}

int plan_decode(const uint8_t *bytes, size_t n, struct plan *ret, struct err *err)
{
	struct wire w = { .reading = true, .in = bytes, .left = n };
	struct plan p = { 0 };
	int r;

	header(&w);
	plan(&w, &p);
	r = finish_read(&w, err);
	if (r < 0) {
		plan_done(&p);
		return r;
	}
	*ret = p;
	return 0;
}

int plan_process_decode(const uint8_t *bytes, size_t n, struct plan_process *ret, struct err *err)
{
	struct wire w = { .reading = true, .in = bytes, .left = n };
	struct plan_process p = { 0 };
	int r;

	header(&w);
	process(&w, &p);
	r = finish_read(&w, err);
	if (r < 0) {
		plan_process_done(&p);
		return r;
	}
	*ret = p;
	return 0;
}
