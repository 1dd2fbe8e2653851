/* SPDX-License-Identifier: Apache-2.0 */
/* update: other limits for a container that exists, from a file of LinuxResources or from options.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "container/cgroup.h"
#include "runtime/config.h"
#include "runtime/create.h"
#include "runtime/machine.h"
#include "runtime/runtime.h"
#include "runtime/state.h"
#include "util/err.h"
#include "util/io.h"
#include "util/mem.h"
#include "util/str.h"

/* Every value as text: absent must be told from 0. */
struct update_options {
	const char *file, *memory, *reservation, *swap, *kernel_tcp;
	const char *period, *quota, *burst, *share, *rt_period, *rt_runtime, *cpus, *mems, *idle;
	const char *pids, *block_weight, *l3, *mb;
};

/* A limit as runc takes it: bytes or a plain number; -1 is none. */
static int read_limit(const char *text, const char *name, bool bytes, uint64_t *ret,
		      struct err *err)
{
	if (!text)
		return 0;
	if (!strcmp(text, "-1")) {
		*ret = PLAN_UNLIMITED;
		return 0;
	}
	if ((bytes ? str_to_bytes(text, ret) : str_to_u64(text, ret)) < 0)
		return err_set(err, EINVAL, "--%s takes a %s, not \"%s\"", name,
			       bytes ? "size" : "number", text);
	return 0;
}

static int read_lists(const struct update_options *o, struct plan_resources *r, struct err *err)
{
	if ((o->cpus && !(r->cpuset_cpus = strdup(o->cpus))) ||
	    (o->mems && !(r->cpuset_mems = strdup(o->mems))))
		return err_set(err, ENOMEM, "out of memory");
	return 0;
}

static int from_options(const struct update_options *o, struct plan_resources *r, struct err *err)
{
	uint64_t idle = 0, pids = 0, weight = 0;
	const struct {
		const char *text, *name;
		bool bytes;
		uint64_t *to;
	} limits[] = {
		{ o->memory, "memory", true, &r->memory_bytes },
		{ o->reservation, "memory-reservation", true, &r->memory_reservation_bytes },
		{ o->swap, "memory-swap", true, &r->memory_swap_bytes },
		{ o->kernel_tcp, "kernel-memory-tcp", true, &r->kernel_tcp_bytes },
		{ o->period, "cpu-period", false, &r->cpu_period_us },
		{ o->quota, "cpu-quota", false, &r->cpu_quota_us },
		{ o->burst, "cpu-burst", false, &r->cpu_burst_us },
		{ o->share, "cpu-share", false, &r->cpu_shares },
		{ o->rt_period, "cpu-rt-period", false, &r->cpu_rt_period_us },
		{ o->rt_runtime, "cpu-rt-runtime", false, &r->cpu_rt_runtime_us },
		{ o->idle, "cpu-idle", false, &idle },
		{ o->pids, "pids-limit", false, &pids },
		{ o->block_weight, "blkio-weight", false, &weight },
	};

	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		int e = read_limit(limits[i].text, limits[i].name, limits[i].bytes, limits[i].to,
				   err);

		if (e < 0)
			return e;
	}
	if (weight > UINT16_MAX)
		return err_set(err, ERANGE, "--blkio-weight: %llu is too large",
			       (unsigned long long)weight);
	r->block_weight = (uint16_t)weight;
	r->has_cpu_burst = o->burst != NULL;
	r->has_cpu_idle = o->idle != NULL;
	r->cpu_idle = (int64_t)idle;
	r->pids_max = pids == PLAN_UNLIMITED ? -1 : (int64_t)pids;
	return read_lists(o, r, err);
}

static int from_file(const char *path, struct plan_resources *r, struct err *err)
{
	_cleanup_free_ char *text = NULL;
	size_t n;
	int e = io_read_file(AT_FDCWD, !strcmp(path, "-") ? "/dev/stdin" : path, CONFIG_MAX, &text,
			     &n);

	if (e < 0)
		return err_sys(err, -e, "read %s", path);
	return config_parse_resources(text, n, r, err);
}

static int update(const struct runtime *rt, const char *id, const struct update_options *o,
		  struct err *err)
{
	_cleanup_(state_done) struct state s = STATE_INIT;
	_cleanup_(plan_resources_done) struct plan_resources limits = { 0 };
	const struct cgroup_ops *cgroups;
	int r = state_open(rt, id, true, &s, err);

	if (r < 0)
		return r;
	if (o->l3 || o->mb)
		return err_set(
			err, EOPNOTSUPP,
			"--l3-cache-schema, --mem-bw-schema: change the schemata file of the "
			"container's resctrl class");
	if (state_status_of(&s) == STATE_STOPPED)
		return err_set(err, ESRCH, "container not running: %s", id);
	r = o->file ? from_file(o->file, &limits, err) : from_options(o, &limits, err);
	if (r < 0)
		return r;
	if (s.vm)
		return machine_update(&s, &limits, err);
	cgroups = state_cgroups(&s);
	if (!cgroups)
		return err_set(err, EOPNOTSUPP, "container \"%s\" has no cgroup, which limits need",
			       id);
	if (s.scope && cgroups_update_scope(s.scope, &limits, err) < 0)
		return -err->errnum;
	return cgroups->update(s.cgroup, &limits, err);
}

int verb_update(struct runtime *rt, int argc, char **argv)
{
	struct update_options o = { 0 };
	const struct args_option options[] = {
		{ 'r', "resources", ARGS_STRING, &o.file, "FILE",
		  "Read them from FILE (- is standard input) as the runtime-spec's "
		  "linux.resources" },
		{ 0, "memory", ARGS_STRING, &o.memory, "SIZE", "Memory; -1: no limit" },
		{ 0, "memory-reservation", ARGS_STRING, &o.reservation, "SIZE", "Soft limit" },
		{ 0, "memory-swap", ARGS_STRING, &o.swap, "SIZE", "Memory and swap together" },
		{ 0, "kernel-memory-tcp", ARGS_STRING, &o.kernel_tcp, "SIZE", "TCP buffers" },
		{ 0, "cpu-period", ARGS_STRING, &o.period, "US", "Period of the CPU limit" },
		{ 0, "cpu-quota", ARGS_STRING, &o.quota, "US",
		  "CPU time in a period; -1: no limit" },
		{ 0, "cpu-burst", ARGS_STRING, &o.burst, "US", "CPU time that may be saved up" },
		{ 0, "cpu-share", ARGS_STRING, &o.share, "N", "Relative CPU time" },
		{ 0, "cpu-rt-period", ARGS_STRING, &o.rt_period, "US", "Realtime period" },
		{ 0, "cpu-rt-runtime", ARGS_STRING, &o.rt_runtime, "US", "Realtime in a period" },
		{ 0, "cpuset-cpus", ARGS_STRING, &o.cpus, "LIST", "CPUs, such as 0-3" },
		{ 0, "cpuset-mems", ARGS_STRING, &o.mems, "LIST", "Memory nodes" },
		{ 0, "cpu-idle", ARGS_STRING, &o.idle, "0|1",
		  "Run only when nothing else wants to" },
		{ 0, "pids-limit", ARGS_STRING, &o.pids, "N", "Number of processes; -1: no limit" },
		{ 0, "blkio-weight", ARGS_STRING, &o.block_weight, "N", "Weight of block I/O" },
		{ 0, "l3-cache-schema", ARGS_STRING, &o.l3, "SCHEMA", "Refused, with the way out" },
		{ 0, "mem-bw-schema", ARGS_STRING, &o.mb, "SCHEMA", "Refused, with the way out" },
		{ .name = NULL },
	};
	struct args_usage usage = {
		.name = "update",
		.synopsis = "[OPTIONS] CONTAINER",
		.summary = "Change the resource limits of a container",
		.examples = "  proa-oci update --memory 64m web\n"
			    "  echo '{\"pids\":{\"limit\":10}}' | proa-oci update -r - web\n",
		.options = options,
		.min_args = 1,
		.max_args = 1,
	};
	struct err err = ERR_INIT;
	int code = runtime_args(rt, &usage, &argc, argv);

	if (code >= 0)
		return code;
	return update(rt, argv[0], &o, &err) < 0 ? runtime_fail(rt, &err) : 0;
}
