/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cgroup v2: one directory "proa/ID" in the one hierarchy; controllers are switched on from the
 * root down (cgroup.subtree_control), and the first process is cloned straight into the group,
 * which costs no migration. Devices are decided by an eBPF program (cgroup_devices_bpf.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "container/cgroup.h"
#include "plan/plan.h"
#include "util/err.h"
#include "util/io.h"
#include "util/mem.h"

/* Switches on, in @dir, what it has of what containers use. Absent controllers are no error here.
 */
static void enable_controllers(int dir)
{
	static const char *const wanted[] = { "+cpu", "+cpuset", "+memory", "+pids", "+io" };

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		(void)io_write_knob(dir, "cgroup.subtree_control", wanted[i]);
}

static int open_parent(bool make, struct err *err)
{
	_cleanup_close_ int root = open(CGROUP_ROOT, O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int fd = -EBADF;
	bool made = false;

	if (root < 0)
		return err_sys(err, errno, "open " CGROUP_ROOT);
	if (make) {
		made = mkdirat(root, CGROUP_PARENT, 0755) == 0;
		if (!made && errno != EEXIST)
			return err_sys(err, errno, "make the cgroup /" CGROUP_PARENT);
	}
	fd = openat(root, CGROUP_PARENT, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, errno, "open the cgroup /" CGROUP_PARENT);
	if (made) {
		enable_controllers(root);
		enable_controllers(fd);
	}
	return TAKE_FD(fd);
}

static int knob(int group, const char *file, const char *text, const char *what, struct err *err)
{
	int r = io_write_knob(group, file, text);

	if (r == -ENOENT)
		return err_set(
			err, ENOENT,
			"set the %s limit: the cgroup controller behind %s is not available here",
			what, file);
	if (r < 0)
		return err_sys(err, -r, "set the %s limit to %s", what, text);
	return 0;
}

/* cpu.shares 2…262144 (v1) to cpu.weight 1…10000 (v2): the kernel documents' linear mapping. */
static uint64_t shares_to_weight(uint64_t shares)
{
	if (shares < 2)
		shares = 2;
	if (shares > 262144)
		shares = 262144;
	return 1 + ((shares - 2) * 9999) / 262142;
}

static int set_limits(int group, const struct plan_resources *l, struct err *err)
{
	char text[64];
	int r = 0;

	if (l->memory_bytes) {
		snprintf(text, sizeof(text), "%llu", (unsigned long long)l->memory_bytes);
		r = knob(group, "memory.max", text, "memory", err);
		/* as much swap again, Docker's default; absent where the kernel has no swap */
		(void)io_write_knob(group, "memory.swap.max", text);
	}
	if (r == 0 && l->cpu_quota_us) {
		snprintf(text, sizeof(text), "%llu %llu", (unsigned long long)l->cpu_quota_us,
			 (unsigned long long)l->cpu_period_us);
		r = knob(group, "cpu.max", text, "CPU", err);
	}
	if (r == 0 && l->cpu_shares) {
		snprintf(text, sizeof(text), "%llu",
			 (unsigned long long)shares_to_weight(l->cpu_shares));
		r = knob(group, "cpu.weight", text, "CPU share", err);
	}
	if (r == 0 && l->cpuset_cpus)
		r = knob(group, "cpuset.cpus", l->cpuset_cpus, "--cpuset-cpus", err);
	if (r == 0 && l->cpuset_mems)
		r = knob(group, "cpuset.mems", l->cpuset_mems, "memory node", err);
	if (r == 0 && l->pids_max > 0) {
		snprintf(text, sizeof(text), "%lld", (long long)l->pids_max);
		r = knob(group, "pids.max", text, "process number", err);
	}
	return r;
}

static int v2_remove(const char *id, struct err *err)
{
	_cleanup_close_ int parent = open_parent(false, NULL);

	if (parent < 0)
		return 0;
	if (unlinkat(parent, id, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return err_sys(err, errno, "remove the cgroup /" CGROUP_PARENT "/%.12s", id);
	return 0;
}

static int v2_create(const char *id, const struct plan_resources *l, struct err *err)
{
	_cleanup_close_ int parent = open_parent(true, err), group = -EBADF;
	int r;

	if (parent < 0)
		return parent;
	if (mkdirat(parent, id, 0755) < 0 && errno != EEXIST)
		return err_sys(err, errno, "make the cgroup /" CGROUP_PARENT "/%.12s", id);
	group = openat(parent, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	r = group < 0 ? err_sys(err, errno, "open the cgroup /" CGROUP_PARENT "/%.12s", id) : 0;
	if (r == 0)
		r = set_limits(group, l, err);
	if (r == 0)
		r = cgroup_v2_devices(group, l, err);
	if (r < 0)
		v2_remove(id, NULL);
	return r;
}

static int v2_join(const char *id _unused_)
{
	return 0; /* it was cloned into the group */
}

static uint64_t v2_oom_kills(const char *id)
{
	char path[256];

	snprintf(path, sizeof(path), CGROUP_ROOT "/" CGROUP_PARENT "/%s/memory.events", id);
	return cgroup_read_oom_kills(path);
}

static int v2_open(const char *id)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), CGROUP_ROOT "/" CGROUP_PARENT "/%s", id);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

const struct cgroup_ops cgroup_v2 = {
	.name = "v2",
	.create = v2_create,
	.join = v2_join,
	.remove = v2_remove,
	.oom_kills = v2_oom_kills,
	.open = v2_open,
};
