/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits as cgroup v1 has them: which file of which controller takes what.
 *
 * One function per controller fills a list of knobs; an empty list means that the controller is not
 * needed. What only v2 has is refused here, with its name.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "container/cgroup.h"
#include "container/cgroup_internal.h"
#include "plan/plan.h"
#include "util/err.h"
#include "util/mem.h"

static void memory_knobs(const struct plan_resources *l, struct cgroup_knobs *k)
{
	uint64_t swap = l->memory_swap_bytes;
	struct cgroup_knob *knob;

	if (l->memory_bytes)
		cgroup_knob_u64(k, "memory limit", "memory.limit_in_bytes", l->memory_bytes, "-1");
	/* memory alone cannot be more than memory and swap: no limit on it means none on both */
	if (!swap && l->memory_bytes == PLAN_UNLIMITED)
		swap = PLAN_UNLIMITED;
	if (swap) {
		knob = cgroup_knob_u64(k, "limit of memory and swap", "memory.memsw.limit_in_bytes",
				       swap, "-1");
		if (knob) /* without swap accounting there is nothing to unlimit */
			knob->optional = l->memory_swap_default || swap == PLAN_UNLIMITED;
	}
	if (l->memory_reservation_bytes)
		cgroup_knob_u64(k, "memory reservation", "memory.soft_limit_in_bytes",
				l->memory_reservation_bytes, "-1");
	if (l->kernel_tcp_bytes)
		cgroup_knob_u64(k, "kernel TCP memory limit", "memory.kmem.tcp.limit_in_bytes",
				l->kernel_tcp_bytes, "-1");
	if (l->has_swappiness)
		cgroup_knob_u64(k, "swappiness", "memory.swappiness", l->swappiness, "60");
	if (l->disable_oom_killer)
		cgroup_knob(k, "absence of the OOM killer", "memory.oom_control", "1");
}

static void cpu_knobs(const struct plan_resources *l, struct cgroup_knobs *k)
{
	if (l->cpu_shares)
		cgroup_knob_u64(k, "CPU shares", "cpu.shares", l->cpu_shares, "262144");
	/* an idle group has no shares: set before, or, when it ends to be one, tried again after it
	 */
	if (l->has_cpu_idle)
		cgroup_knob(k, "CPU idle policy", "cpu.idle", "%lld", (long long)l->cpu_idle);
	if (l->cpu_period_us)
		cgroup_knob_u64(k, "CPU period", "cpu.cfs_period_us", l->cpu_period_us, "1000000");
	if (l->cpu_quota_us)
		cgroup_knob_u64(k, "CPU quota", "cpu.cfs_quota_us", l->cpu_quota_us, "-1");
	if (l->has_cpu_burst)
		cgroup_knob_u64(k, "CPU burst", "cpu.cfs_burst_us", l->cpu_burst_us, "-1");
	if (l->cpu_rt_period_us)
		cgroup_knob_u64(k, "realtime CPU period", "cpu.rt_period_us", l->cpu_rt_period_us,
				"1000000");
	if (l->cpu_rt_runtime_us)
		cgroup_knob_u64(k, "realtime CPU runtime", "cpu.rt_runtime_us",
				l->cpu_rt_runtime_us, "-1");
}

static void cpuset_knobs(const struct plan_resources *l, struct cgroup_knobs *k)
{
	if (l->cpuset_cpus)
		cgroup_knob(k, "CPUs", "cpuset.cpus", "%s", l->cpuset_cpus);
	if (l->cpuset_mems)
		cgroup_knob(k, "memory nodes", "cpuset.mems", "%s", l->cpuset_mems);
}

static void pids_knobs(const struct plan_resources *l, struct cgroup_knobs *k)
{
	if (l->pids_max)
		cgroup_knob_u64(k, "process number limit", "pids.max",
				l->pids_max < 0 ? PLAN_UNLIMITED : (uint64_t)l->pids_max, "max");
}

static void weight_knob(struct cgroup_knobs *k, const char *what, const char *file, const char *bfq,
			const char *text)
{
	struct cgroup_knob *knob = cgroup_knob(k, what, file, "%s", text);

	if (knob)
		knob->instead = bfq; /* which scheduler there is decides which file there is */
}

static void device_weight_knobs(const struct plan_block_weight *w, struct cgroup_knobs *k)
{
	char text[48];

	if (w->weight) {
		snprintf(text, sizeof(text), "%u:%u %u", w->major, w->minor, w->weight);
		weight_knob(k, "block I/O weight of a device", "blkio.weight_device",
			    "blkio.bfq.weight_device", text);
	}
	if (w->leaf_weight)
		cgroup_knob(k, "block I/O leaf weight of a device", "blkio.leaf_weight_device",
			    "%u:%u %u", w->major, w->minor, w->leaf_weight);
}

static void blkio_knobs(const struct plan_resources *l, struct cgroup_knobs *k)
{
	static const struct {
		const char *what, *file;
	} throttles[] = {
		[PLAN_READ_BPS] = { "read rate of a device", "blkio.throttle.read_bps_device" },
		[PLAN_WRITE_BPS] = { "write rate of a device", "blkio.throttle.write_bps_device" },
		[PLAN_READ_IOPS] = { "read operations of a device",
				     "blkio.throttle.read_iops_device" },
		[PLAN_WRITE_IOPS] = { "write operations of a device",
				      "blkio.throttle.write_iops_device" },
	};
	char text[16];

	if (l->block_weight) {
		snprintf(text, sizeof(text), "%u", l->block_weight);
		weight_knob(k, "block I/O weight", "blkio.weight", "blkio.bfq.weight", text);
	}
	if (l->block_leaf_weight)
		cgroup_knob(k, "block I/O leaf weight", "blkio.leaf_weight", "%u",
			    l->block_leaf_weight);
	for (size_t i = 0; i < l->block_weight_count; i++)
		device_weight_knobs(&l->block_weights[i], k);
	for (size_t i = 0; i < l->throttle_count; i++) {
		const struct plan_throttle *t = &l->throttles[i];

		cgroup_knob(k, throttles[t->kind].what, throttles[t->kind].file, "%u:%u %llu",
			    t->major, t->minor,
			    t->rate == PLAN_UNLIMITED ? 0ull : (unsigned long long)t->rate);
	}
}

static void net_cls_knobs(const struct plan_resources *l, struct cgroup_knobs *k)
{
	if (l->has_net_class_id)
		cgroup_knob(k, "network class", "net_cls.classid", "%u", l->net_class_id);
}

static void net_prio_knobs(const struct plan_resources *l, struct cgroup_knobs *k)
{
	for (size_t i = 0; i < l->net_priority_count; i++)
		cgroup_knob(k, "network priority", "net_prio.ifpriomap", "%s %u",
			    l->net_priorities[i].interface, l->net_priorities[i].priority);
}

void cgroup_rdma_knobs(const struct plan_resources *l, struct cgroup_knobs *k)
{
	for (size_t i = 0; i < l->rdma_count; i++) {
		const struct plan_rdma_limit *d = &l->rdma[i];

		if (d->has_handles)
			cgroup_knob(k, "RDMA handle limit", "rdma.max", "%s hca_handle=%u",
				    d->device, d->handles);
		if (d->has_objects)
			cgroup_knob(k, "RDMA object limit", "rdma.max", "%s hca_object=%u",
				    d->device, d->objects);
	}
}

int cgroup_hugetlb_knobs(const struct plan_resources *l, bool v2, struct cgroup_knobs *k,
			 struct err *err)
{
	for (size_t i = 0; i < l->hugepage_count; i++) {
		const struct plan_hugepage_limit *h = &l->hugepages[i];
		struct cgroup_knob *knob;
		char file[80];
		int r = cgroup_knob_file(file, sizeof(file),
					 v2 ? "hugetlb.%s.max" : "hugetlb.%s.limit_in_bytes",
					 h->size, err);

		if (r < 0)
			return err_wrap(err, "huge page limit");
		cgroup_knob_u64(k, "huge page limit", file, h->limit_bytes, v2 ? "max" : "-1");
		cgroup_knob_file(file, sizeof(file),
				 v2 ? "hugetlb.%s.rsvd.max" : "hugetlb.%s.rsvd.limit_in_bytes",
				 h->size, NULL);
		knob = cgroup_knob_u64(k, "huge page reservation limit", file, h->limit_bytes,
				       v2 ? "max" : "-1");
		if (knob) /* since Linux 5.7 */
			knob->optional = true;
	}
	return 0;
}

bool cgroup_has_limits(const struct plan_resources *l)
{
	static const char *const controllers[] = { "memory",  "cpu",	  "cpuset",
						   "pids",    "blkio",	  "hugetlb",
						   "net_cls", "net_prio", "rdma" };
	bool any = l->unified && l->unified[0];

	for (size_t i = 0; i < ARRAY_SIZE(controllers) && !any; i++) {
		struct cgroup_knobs k = { 0 };

		any = cgroup_v1_knobs(controllers[i], l, &k, NULL) < 0 || k.count;
		cgroup_knobs_done(&k);
	}
	return any;
}

int cgroup_v1_knobs(const char *controller, const struct plan_resources *l, struct cgroup_knobs *k,
		    struct err *err)
{
	static const struct {
		const char *controller;
		void (*fill)(const struct plan_resources *l, struct cgroup_knobs *k);
	} table[] = {
		{ "memory", memory_knobs },	{ "cpu", cpu_knobs },
		{ "cpuset", cpuset_knobs },	{ "pids", pids_knobs },
		{ "blkio", blkio_knobs },	{ "net_cls", net_cls_knobs },
		{ "net_prio", net_prio_knobs }, { "rdma", cgroup_rdma_knobs },
	};

	if (!strcmp(controller, "hugetlb"))
		return cgroup_hugetlb_knobs(l, false, k, err);
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (!strcmp(table[i].controller, controller))
			table[i].fill(l, k);
	return k->failed ? err_set(err, ENOMEM, "out of memory") : 0;
}
