/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits as cgroup v2 has them. They come in the terms of v1, in which the runtime-spec was
 * written, and are converted as its other runtimes do: shares to weights, memory with swap to swap
 * alone. What has no counterpart in v2 is refused with its name.
 *
 * "unified" is v2 in its own words: each file of the group is written as it is given, last.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "container/cgroup.h"
#include "container/cgroup_internal.h"
#include "plan/plan.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/str.h"

/* cpu.shares 2…262144 (v1) to cpu.weight 1…10000 (v2): the kernel documents' linear mapping. */
uint64_t cgroup_shares_to_weight(uint64_t shares)
{
	shares = MIN(MAX(shares, 2u), 262144u);
	return 1 + ((shares - 2) * 9999) / 262142;
}

/* blkio.weight 10…1000 (v1) to io.weight 1…10000 (v2). */
uint64_t cgroup_block_to_io_weight(uint64_t weight)
{
	weight = MIN(MAX(weight, 10u), 1000u);
	return 1 + (weight - 10) * 9999 / 990;
}

/* What v2 cannot do, or NULL. */
static const char *unsupported(const struct plan_resources *l)
{
	if (l->kernel_tcp_bytes)
		return "kernel TCP memory limit (memory.kmem.tcp.limit_in_bytes)";
	if (l->has_swappiness)
		return "swappiness (memory.swappiness)";
	if (l->disable_oom_killer)
		return "absence of the OOM killer (memory.oom_control)";
	if (l->cpu_rt_runtime_us)
		return "realtime CPU runtime (cpu.rt_runtime_us)";
	if (l->cpu_rt_period_us)
		return "realtime CPU period (cpu.rt_period_us)";
	if (l->block_leaf_weight)
		return "block I/O leaf weight (blkio.leaf_weight)";
	for (size_t i = 0; i < l->block_weight_count; i++)
		if (l->block_weights[i].leaf_weight)
			return "block I/O leaf weight of a device (blkio.leaf_weight_device)";
	if (l->has_net_class_id)
		return "network class (net_cls.classid)";
	if (l->net_priority_count)
		return "network priority (net_prio.ifpriomap)";
	return NULL;
}

static int swap_knob(const struct plan_resources *l, int dir, struct cgroup_knobs *k,
		     struct err *err)
{
	uint64_t both = l->memory_swap_bytes, memory = l->memory_bytes;
	struct cgroup_knob *knob;

	if (!both && memory == PLAN_UNLIMITED)
		both = PLAN_UNLIMITED;
	if (!both)
		return 0;
	if (both != PLAN_UNLIMITED) {
		if (!memory && cgroup_read_u64(dir, "memory.max", &memory) < 0)
			return err_set(
				err, ENOENT,
				"set the limit of memory and swap (memory.swap.max): there is "
				"no memory.max, which it is counted from");
		if (both < memory)
			return err_set(
				err, EINVAL,
				"set the limit of memory and swap (memory.swap.max): %llu is "
				"less than the limit of memory alone",
				(unsigned long long)both);
		both -= memory;
	}
	knob = cgroup_knob_u64(k, "swap limit", "memory.swap.max", both, "max");
	if (knob) /* without swap there is none to forbid or to unlimit */
		knob->optional = l->memory_swap_default || !both || both == PLAN_UNLIMITED;
	return 0;
}

/* v1 refuses a limit that what is in use does not fit in; v2 would kill. */
static int check_usage(const struct plan_resources *l, int dir, struct err *err)
{
	uint64_t memory = 0, swap = 0;

	if (!l->check_before_update)
		return 0;
	(void)cgroup_read_u64(dir, "memory.current", &memory);
	(void)cgroup_read_u64(dir, "memory.swap.current", &swap);
	if (l->memory_bytes && l->memory_bytes < memory)
		return err_set(err, EBUSY,
			       "set the memory limit to %llu (memory.max): %llu bytes are in use",
			       (unsigned long long)l->memory_bytes, (unsigned long long)memory);
	if (l->memory_swap_bytes && l->memory_swap_bytes < memory + swap)
		return err_set(err, EBUSY,
			       "set the limit of memory and swap to %llu (memory.swap.max): %llu "
			       "bytes are in use",
			       (unsigned long long)l->memory_swap_bytes,
			       (unsigned long long)(memory + swap));
	return 0;
}

static int memory_knobs(const struct plan_resources *l, int dir, struct cgroup_knobs *k,
			struct err *err)
{
	int r = check_usage(l, dir, err);

	/* swap first: what a lower memory limit pushes out must have somewhere to go */
	if (r == 0)
		r = swap_knob(l, dir, k, err);
	if (r < 0)
		return r;
	if (l->memory_bytes)
		cgroup_knob_u64(k, "memory limit", "memory.max", l->memory_bytes, "max");
	if (l->memory_reservation_bytes)
		cgroup_knob_u64(k, "memory reservation", "memory.low", l->memory_reservation_bytes,
				"max");
	return 0;
}

static void cpu_max_knob(const struct plan_resources *l, int dir, struct cgroup_knobs *k)
{
	char quota[64] = "max";

	if (!l->cpu_quota_us && !l->cpu_period_us)
		return;
	if (l->cpu_quota_us && l->cpu_quota_us != PLAN_UNLIMITED) {
		snprintf(quota, sizeof(quota), "%llu", (unsigned long long)l->cpu_quota_us);
	} else if (!l->cpu_quota_us && cgroup_read(dir, "cpu.max", quota, sizeof(quota)) == 0) {
		/* a period alone: the quota is as it was */
		quota[strcspn(quota, " \n")] = 0;
	}
	if (l->cpu_period_us)
		cgroup_knob(k, "CPU quota", "cpu.max", "%s %llu", quota,
			    (unsigned long long)l->cpu_period_us);
	else
		cgroup_knob(k, "CPU quota", "cpu.max", "%s", quota);
}

static void cpu_knobs(const struct plan_resources *l, int dir, struct cgroup_knobs *k)
{
	if (l->cpu_shares)
		cgroup_knob(k, "CPU shares", "cpu.weight", "%llu",
			    (unsigned long long)cgroup_shares_to_weight(l->cpu_shares));
	/* an idle group has no weight: set before, or, when it ends to be one, tried again after it
	 */
	if (l->has_cpu_idle)
		cgroup_knob(k, "CPU idle policy", "cpu.idle", "%lld", (long long)l->cpu_idle);
	cpu_max_knob(l, dir, k);
	if (l->has_cpu_burst)
		cgroup_knob_u64(k, "CPU burst", "cpu.max.burst", l->cpu_burst_us, "max");
	if (l->cpuset_cpus)
		cgroup_knob(k, "CPUs", "cpuset.cpus", "%s", l->cpuset_cpus);
	if (l->cpuset_mems)
		cgroup_knob(k, "memory nodes", "cpuset.mems", "%s", l->cpuset_mems);
}

/* BFQ has a file of its own, with v1's numbers. */
static void weight_knob(struct cgroup_knobs *k, const char *what, const char *device,
			uint64_t weight)
{
	struct cgroup_knob *knob =
		cgroup_knob(k, what, "io.bfq.weight", "%s%llu", device, (unsigned long long)weight);

	if (!knob)
		return;
	knob->instead = "io.weight";
	knob->instead_text =
		str_printf("%s%llu", device, (unsigned long long)cgroup_block_to_io_weight(weight));
	k->failed |= !knob->instead_text;
}

static void io_knobs(const struct plan_resources *l, struct cgroup_knobs *k)
{
	static const char *const keys[] = { [PLAN_READ_BPS] = "rbps",
					    [PLAN_WRITE_BPS] = "wbps",
					    [PLAN_READ_IOPS] = "riops",
					    [PLAN_WRITE_IOPS] = "wiops" };
	char device[32];

	if (l->block_weight)
		weight_knob(k, "block I/O weight", "", l->block_weight);
	for (size_t i = 0; i < l->block_weight_count; i++) {
		snprintf(device, sizeof(device), "%u:%u ", l->block_weights[i].major,
			 l->block_weights[i].minor);
		if (l->block_weights[i].weight)
			weight_knob(k, "block I/O weight of a device", device,
				    l->block_weights[i].weight);
	}
	for (size_t i = 0; i < l->throttle_count; i++) {
		const struct plan_throttle *t = &l->throttles[i];

		/* 0 is v1's word for "no limit" */
		if (t->rate == 0 || t->rate == PLAN_UNLIMITED)
			cgroup_knob(k, "I/O limit of a device", "io.max", "%u:%u %s=max", t->major,
				    t->minor, keys[t->kind]);
		else
			cgroup_knob(k, "I/O limit of a device", "io.max", "%u:%u %s=%llu", t->major,
				    t->minor, keys[t->kind], (unsigned long long)t->rate);
	}
}

static int unified_knob(const char *assignment, struct cgroup_knobs *k, struct err *err)
{
	const char *equals = strchr(assignment, '=');
	_cleanup_free_ char *file = NULL, *value = NULL;
	char *save = NULL;

	if (!equals)
		return err_set(err, EINVAL, "unified limit \"%.60s\": it is not FILE=VALUE",
			       assignment);
	file = strndup(assignment, (size_t)(equals - assignment));
	value = strdup(equals + 1);
	if (!file || !value)
		return err_set(err, ENOMEM, "out of memory");
	if (strchr(file, '/') || !strchr(file, '.') || file[0] == '.')
		return err_set(err, EINVAL,
			       "unified limit \"%.60s\": it is not the name of a cgroup's file",
			       file);
	if (!strchr(value, '\n')) {
		cgroup_knob(k, "unified limit", file, "%s", value);
		return 0;
	}
	for (char *line = strtok_r(value, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		cgroup_knob(k, "unified limit", file, "%s", line);
	return 0;
}

int cgroup_v2_knobs(const struct plan_resources *l, int dir, struct cgroup_knobs *k,
		    struct err *err)
{
	const char *not_here = unsupported(l);
	int r;

	if (not_here)
		return err_set(err, EOPNOTSUPP,
			       "set the %s: this host has cgroup v2, which has nothing like it",
			       not_here);
	r = memory_knobs(l, dir, k, err);
	if (r < 0)
		return r;
	cpu_knobs(l, dir, k);
	if (l->pids_max)
		cgroup_knob_u64(k, "process number limit", "pids.max",
				l->pids_max < 0 ? PLAN_UNLIMITED : (uint64_t)l->pids_max, "max");
	io_knobs(l, k);
	cgroup_rdma_knobs(l, k);
	r = cgroup_hugetlb_knobs(l, true, k, err);
	for (char *const *u = l->unified; u && *u && r == 0; u++)
		r = unified_knob(*u, k, err);
	return r == 0 && k->failed ? err_set(err, ENOMEM, "out of memory") : r;
}
