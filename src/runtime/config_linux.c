/* SPDX-License-Identifier: Apache-2.0 */
/* `linux` of config.json (runtime-spec, config-linux.md), but for its resources and seccomp. */
#include "runtime/config_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include "util/mem.h"
#include "util/str.h"

static struct config *config_of(void *to)
{
	return to;
}

/* ---- namespaces ----------------------------------------------------------------------------- */

struct ns_reading {
	uint64_t type;
	char *path;
};

static void ns_type(struct json_read *r, void *to)
{
	static const struct config_word types[] = {
		{ "pid", PLAN_NS_PID },	  { "network", PLAN_NS_NET },	{ "ipc", PLAN_NS_IPC },
		{ "uts", PLAN_NS_UTS },	  { "cgroup", PLAN_NS_CGROUP }, { "user", PLAN_NS_USER },
		{ "time", PLAN_NS_TIME }, { "mount", PLAN_NS_MOUNT },	{ NULL, 0 },
	};

	((struct ns_reading *)to)->type = config_word(r, types, "a type of namespace");
}

static void ns_path(struct json_read *r, void *to)
{
	config_absolute(r, &((struct ns_reading *)to)->path);
}

static void linux_namespaces(struct json_read *r, void *to)
{
	static const struct config_member members[] = { { "type", ns_type },
							{ "path", ns_path },
							{ NULL, NULL } };
	struct plan *p = &config_of(to)->plan;

	for (json_read_array(r); json_read_item(r);) {
		struct ns_reading ns = { 0 };

		config_members(r, members, &ns);
		if (!r->failed && !ns.type)
			json_read_fail(r, EINVAL, "type is missing");
		if (!r->failed && p->namespaces & ns.type)
			json_read_fail(r, EINVAL, "the same type stands there twice");
		if (r->failed) {
			free(ns.path);
			continue;
		}
		p->namespaces |= (uint32_t)ns.type;
		if (!str_empty(ns.path)) {
			p->joined |= (uint32_t)ns.type;
			p->joined_paths[__builtin_ctzll(ns.type)] = TAKE_PTR(ns.path);
		}
		free(ns.path);
	}
}

static void linux_uids(struct json_read *r, void *to)
{
	config_id_maps(r, &config_of(to)->plan.uid_map, &config_of(to)->plan.uid_map_count);
}

static void linux_gids(struct json_read *r, void *to)
{
	config_id_maps(r, &config_of(to)->plan.gid_map, &config_of(to)->plan.gid_map_count);
}

struct offset {
	int64_t seconds, nanoseconds;
};

static void offset_seconds(struct json_read *r, void *to)
{
	((struct offset *)to)->seconds = json_read_int(r, -9000000000, 9000000000);
}

static void offset_nanoseconds(struct json_read *r, void *to)
{
	((struct offset *)to)->nanoseconds = (int64_t)json_read_uint(r, 999999999);
}

static void linux_time_offsets(struct json_read *r, void *to)
{
	static const struct config_member members[] = { { "secs", offset_seconds },
							{ "nanosecs", offset_nanoseconds },
							{ NULL, NULL } };
	struct plan *p = &config_of(to)->plan;
	char *clock;

	for (json_read_object(r); json_read_key(r, &clock);) {
		struct offset o = { 0 };
		int64_t *field = !strcmp(clock, "monotonic")  ? &p->monotonic_offset_ns
				 : !strcmp(clock, "boottime") ? &p->boottime_offset_ns
							      : NULL;

		if (!field)
			json_read_fail(r, EINVAL, "is not a clock that can be shifted");
		config_members(r, members, &o);
		if (field)
			*field = o.seconds * 1000000000 + o.nanoseconds;
	}
}

/* ---- devices -------------------------------------------------------------------------------- */

static void device_path(struct json_read *r, void *to)
{
	config_absolute(r, &((struct plan_device *)to)->path);
}

static void device_type(struct json_read *r, void *to)
{
	static const struct config_word types[] = {
		{ "c", 'c' }, { "u", 'c' }, { "b", 'b' }, { "p", 'p' }, { NULL, 0 }
	};

	((struct plan_device *)to)->type =
		(char)config_word(r, types, "a type of device (c, b, u, p)");
}

static void device_major(struct json_read *r, void *to)
{
	((struct plan_device *)to)->major = (uint32_t)json_read_uint(r, 0xfff);
}

static void device_minor(struct json_read *r, void *to)
{
	((struct plan_device *)to)->minor = (uint32_t)json_read_uint(r, 0xfffff);
}

static void device_mode(struct json_read *r, void *to)
{
	if (!json_read_null(r)) /* runc accepts bits of the type as well */
		((struct plan_device *)to)->mode = (uint32_t)json_read_uint(r, 0177777) & 07777;
}

static void device_uid(struct json_read *r, void *to)
{
	((struct plan_device *)to)->uid = (uint32_t)json_read_uint(r, UINT32_MAX - 1);
}

static void device_gid(struct json_read *r, void *to)
{
	((struct plan_device *)to)->gid = (uint32_t)json_read_uint(r, UINT32_MAX - 1);
}

static void linux_devices(struct json_read *r, void *to)
{
	static const struct config_member members[] = {
		{ "path", device_path },     { "type", device_type },
		{ "major", device_major },   { "minor", device_minor },
		{ "fileMode", device_mode }, { "uid", device_uid },
		{ "gid", device_gid },	     { NULL, NULL },
	};
	struct plan *p = &config_of(to)->plan;

	for (json_read_array(r); json_read_item(r);) {
		struct plan_device *d = config_grow(r, &p->devices, &p->device_count, sizeof(*d));

		if (!d)
			continue;
		d->mode = 0666;
		config_members(r, members, d);
		if (!r->failed && (!d->path || !d->type))
			json_read_fail(r, EINVAL, "%s is missing", d->path ? "type" : "path");
	}
}

static void net_device_name(struct json_read *r, void *to)
{
	json_read_dup(r, &((struct plan_net_device *)to)->name);
}

static void linux_net_devices(struct json_read *r, void *to)
{
	static const struct config_member members[] = { { "name", net_device_name },
							{ NULL, NULL } };
	struct plan *p = &config_of(to)->plan;
	char *name;

	for (json_read_object(r); json_read_key(r, &name);) {
		struct plan_net_device *d =
			config_grow(r, &p->net_devices, &p->net_device_count, sizeof(*d));

		if (!d)
			continue;
		config_members(r, members, d);
		d->host_name = strdup(name);
		if (!d->name)
			d->name = strdup(name);
		if (!d->host_name || !d->name)
			json_read_fail(r, ENOMEM, "out of memory");
		else if (strlen(d->name) > 15 || strchr(d->name, '/') || !d->name[0])
			json_read_fail(r, EINVAL, "\"%s\" is not a name of an interface", d->name);
	}
}

/* ---- further members ------------------------------------------------------------------------ */

static void linux_cgroups_path(struct json_read *r, void *to)
{
	json_read_dup(r, &config_of(to)->cgroups_path);
}

static void linux_resources(struct json_read *r, void *to)
{
	config_resources(r, &config_of(to)->plan.resources);
}

static void linux_sysctl(struct json_read *r, void *to)
{
	json_read_pairs(r, &config_of(to)->plan.sysctls);
}

static void linux_masked(struct json_read *r, void *to)
{
	json_read_strv(r, &config_of(to)->plan.masked_paths);
}

static void linux_read_only(struct json_read *r, void *to)
{
	json_read_strv(r, &config_of(to)->plan.read_only_paths);
}

static void linux_mount_label(struct json_read *r, void *to)
{
	json_read_dup(r, &config_of(to)->plan.root.label);
}

static void linux_propagation(struct json_read *r, void *to)
{
	static const struct config_word words[] = {
		{ "shared", MS_SHARED },
		{ "rshared", MS_SHARED },
		{ "slave", MS_SLAVE },
		{ "rslave", MS_SLAVE },
		{ "private", MS_PRIVATE },
		{ "rprivate", MS_PRIVATE },
		{ "unbindable", MS_UNBINDABLE },
		{ "runbindable", MS_UNBINDABLE },
		{ "", 0 },
		{ NULL, 0 },
	};

	config_of(to)->plan.root.propagation = (uint32_t)config_word(
		r, words, "a propagation (shared, slave, private, unbindable)");
}

static void personality_domain(struct json_read *r, void *to)
{
	static const struct config_word domains[] = { { "LINUX", PER_LINUX },
						      { "LINUX32", PER_LINUX32 },
						      { NULL, 0 } };
	struct plan_process *p = &config_of(to)->plan.process;

	p->personality = (uint32_t)config_word(r, domains, "a personality (LINUX, LINUX32)");
	p->has_personality = true;
}

static void personality_flags(struct json_read *r, void *to)
{
	(void)to;
	for (json_read_array(r); json_read_item(r);)
		json_read_fail(r, EOPNOTSUPP, "no flags are supported");
}

static void linux_personality(struct json_read *r, void *to)
{
	static const struct config_member members[] = { { "domain", personality_domain },
							{ "flags", personality_flags },
							{ NULL, NULL } };

	config_members(r, members, to);
}

static void policy_mode(struct json_read *r, void *to)
{
	static const struct config_word modes[] = {
		{ "MPOL_DEFAULT", 0 },
		{ "MPOL_PREFERRED", 1 },
		{ "MPOL_BIND", 2 },
		{ "MPOL_INTERLEAVE", 3 },
		{ "MPOL_LOCAL", 4 },
		{ "MPOL_PREFERRED_MANY", 5 },
		{ "MPOL_WEIGHTED_INTERLEAVE", 6 },
		{ NULL, 0 },
	};

	config_of(to)->plan.process.memory_policy.mode =
		(uint32_t)config_word(r, modes, "a memory policy");
	config_of(to)->plan.process.memory_policy.set = true;
}

static void policy_nodes(struct json_read *r, void *to)
{
	json_read_dup(r, &config_of(to)->plan.process.memory_policy.nodes);
}

static void policy_flags(struct json_read *r, void *to)
{
	static const struct config_word flags[] = { { "MPOL_F_STATIC_NODES", 1u << 15 },
						    { "MPOL_F_RELATIVE_NODES", 1u << 14 },
						    { "MPOL_F_NUMA_BALANCING", 1u << 13 },
						    { NULL, 0 } };

	for (json_read_array(r); json_read_item(r);)
		config_of(to)->plan.process.memory_policy.flags |=
			(uint32_t)config_word(r, flags, "a flag of a memory policy");
}

static void linux_memory_policy(struct json_read *r, void *to)
{
	static const struct config_member members[] = { { "mode", policy_mode },
							{ "nodes", policy_nodes },
							{ "flags", policy_flags },
							{ NULL, NULL } };

	if (json_read_null(r))
		return;
	config_members(r, members, to);
	if (!r->failed && !config_of(to)->plan.process.memory_policy.set)
		json_read_fail(r, EINVAL, "mode is missing");
}

static void rdt_clos(struct json_read *r, void *to)
{
	struct plan_rdt *rdt = &config_of(to)->plan.rdt;

	json_read_dup(r, &rdt->clos_id);
	if (rdt->clos_id && (strchr(rdt->clos_id, '/') || !strcmp(rdt->clos_id, "..") ||
			     !strcmp(rdt->clos_id, ".")))
		json_read_fail(r, EINVAL, "\"%s\" is not the name of a class", rdt->clos_id);
}

static void rdt_l3(struct json_read *r, void *to)
{
	json_read_dup(r, &config_of(to)->plan.rdt.l3_schema);
}

static void rdt_mb(struct json_read *r, void *to)
{
	struct plan_rdt *rdt = &config_of(to)->plan.rdt;

	json_read_dup(r, &rdt->mb_schema);
	if (rdt->mb_schema && (!str_starts(rdt->mb_schema, "MB:") || strchr(rdt->mb_schema, '\n')))
		json_read_fail(r, EINVAL, "must be one line that begins with MB:");
}

static void rdt_schemata(struct json_read *r, void *to)
{
	json_read_strv(r, &config_of(to)->plan.rdt.schemata);
}

static void rdt_monitor(struct json_read *r, void *to)
{
	if (json_read_bool(r))
		config_of(to)->plan.rdt.monitor = true;
}

static void linux_rdt(struct json_read *r, void *to)
{
	static const struct config_member members[] = {
		{ "closID", rdt_clos },
		{ "l3CacheSchema", rdt_l3 },
		{ "memBwSchema", rdt_mb },
		{ "schemata", rdt_schemata },
		{ "enableCMT", rdt_monitor },
		{ "enableMBM", rdt_monitor },
		{ "enableMonitoring", rdt_monitor },
		{ NULL, NULL },
	};

	if (json_read_null(r))
		return;
	config_of(to)->plan.rdt.set = true;
	config_members(r, members, to);
}

void config_linux(struct json_read *r, void *config)
{
	static const struct config_member members[] = {
		{ "namespaces", linux_namespaces },
		{ "uidMappings", linux_uids },
		{ "gidMappings", linux_gids },
		{ "timeOffsets", linux_time_offsets },
		{ "devices", linux_devices },
		{ "netDevices", linux_net_devices },
		{ "cgroupsPath", linux_cgroups_path },
		{ "resources", linux_resources },
		{ "intelRdt", linux_rdt },
		{ "sysctl", linux_sysctl },
		{ "seccomp", config_seccomp },
		{ "rootfsPropagation", linux_propagation },
		{ "maskedPaths", linux_masked },
		{ "readonlyPaths", linux_read_only },
		{ "mountLabel", linux_mount_label },
		{ "personality", linux_personality },
		{ "memoryPolicy", linux_memory_policy },
		{ NULL, NULL },
	};

	config_members(r, members, config);
}
