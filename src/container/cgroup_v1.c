/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cgroup v1: a directory "proa/ID" in each controller's own hierarchy.
 *
 * The cost to know about: moving another process (a write to cgroup.procs) takes a global lock that
 * waits for an RCU grace period, some 10 ms. A thread that moves itself (a "0" written to `tasks`)
 * does not need that lock (cgroup_procs_write_start() in the kernel), so the child moves itself.
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
#include "util/str.h"

const char *const cgroup_v1_controllers[] = { "cpu",	 "cpuacct", "cpuset", "memory", "devices",
					      "freezer", "blkio",   "pids",   NULL };

/* Opens the controller's hierarchy; -ENOENT when this kernel has none. */
static int open_hierarchy(const char *controller)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), CGROUP_ROOT "/%s", controller);
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* A new cpuset group is empty and takes no process until it has CPUs and memory nodes. */
static int inherit_cpuset(int parent, int group)
{
	static const char *const files[] = { "cpuset.cpus", "cpuset.mems" };

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		_cleanup_free_ char *have = NULL, *inherited = NULL;
		int r = io_read_file(group, files[i], 65536, &have, NULL);

		if (r < 0)
			return r;
		if (have[0] && have[0] != '\n')
			continue;
		r = io_read_file(parent, files[i], 65536, &inherited, NULL);
		if (r == 0)
			r = io_write_knob(group, files[i], inherited);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Makes (or finds) directory @name in @parent and opens it. */
static int open_group(const char *controller, int parent, const char *name, bool make)
{
	_cleanup_close_ int fd = -EBADF;
	int r;

	if (make && mkdirat(parent, name, 0755) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (make && !strcmp(controller, "cpuset")) {
		r = inherit_cpuset(parent, fd);
		if (r < 0)
			return r;
	}
	return TAKE_FD(fd);
}

static int knob_u64(int group, const char *file, uint64_t value, const char *what, struct err *err)
{
	char text[24];
	int r;

	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	r = io_write_knob(group, file, text);
	if (r < 0)
		return err_sys(err, -r, "set the %s limit to %s", what, text);
	return 0;
}

static int set_memory(int group, const struct plan_resources *l, struct err *err)
{
	if (!l->memory_bytes)
		return 0;
	if (knob_u64(group, "memory.limit_in_bytes", l->memory_bytes, "memory", err) < 0)
		return -err->errnum;
	/* memory and swap together: twice the memory, Docker's default; absent without swap
	 * accounting */
	(void)knob_u64(group, "memory.memsw.limit_in_bytes", l->memory_bytes * 2, "swap", NULL);
	return 0;
}

static int set_cpu(int group, const struct plan_resources *l, struct err *err)
{
	int r = 0;

	if (l->cpu_shares)
		r = knob_u64(group, "cpu.shares", l->cpu_shares, "CPU share", err);
	if (r == 0 && l->cpu_quota_us) {
		r = knob_u64(group, "cpu.cfs_period_us", l->cpu_period_us, "CPU period", err);
		if (r == 0)
			r = knob_u64(group, "cpu.cfs_quota_us", l->cpu_quota_us, "CPU", err);
	}
	return r;
}

static int set_cpuset(int group, const struct plan_resources *l, struct err *err)
{
	int r = 0;

	if (l->cpuset_cpus)
		r = io_write_knob(group, "cpuset.cpus", l->cpuset_cpus);
	if (r < 0)
		return err_sys(err, -r, "use the CPUs \"%s\" (--cpuset-cpus)", l->cpuset_cpus);
	if (l->cpuset_mems)
		r = io_write_knob(group, "cpuset.mems", l->cpuset_mems);
	if (r < 0)
		return err_sys(err, -r, "use the memory nodes \"%s\"", l->cpuset_mems);
	return 0;
}

static void number_or_star(char *buf, size_t size, int64_t n)
{
	if (n < 0)
		snprintf(buf, size, "*");
	else
		snprintf(buf, size, "%lld", (long long)n);
}

/* Documentation/admin-guide/cgroup-v1/devices.rst: "a" denies or allows all, then exceptions. */
static int set_devices(int group, const struct plan_resources *l, struct err *err)
{
	for (size_t i = 0; i < l->device_rule_count; i++) {
		const struct plan_device_rule *d = &l->device_rules[i];
		char line[64], major[24], minor[24];
		int r;

		number_or_star(major, sizeof(major), d->major);
		number_or_star(minor, sizeof(minor), d->minor);
		if (d->type == 'a')
			snprintf(line, sizeof(line), "a");
		else
			snprintf(line, sizeof(line), "%c %s:%s %s%s%s", d->type, major, minor,
				 d->access & 1 ? "r" : "", d->access & 2 ? "w" : "",
				 d->access & 4 ? "m" : "");
		r = io_write_knob(group, d->allow ? "devices.allow" : "devices.deny", line);
		if (r < 0)
			return err_sys(err, -r, "set the device rule \"%s\"", line);
	}
	return 0;
}

static int set_pids(int group, const struct plan_resources *l, struct err *err)
{
	if (l->pids_max <= 0)
		return 0;
	return knob_u64(group, "pids.max", (uint64_t)l->pids_max, "process number", err);
}

/* What to set in which hierarchy, and what needs it: a missing controller is only fatal if asked
 * for. */
static const struct {
	const char *controller;
	int (*set)(int group, const struct plan_resources *l, struct err *err);
} setters[] = {
	{ "memory", set_memory },   { "cpu", set_cpu },	  { "cpuset", set_cpuset },
	{ "devices", set_devices }, { "pids", set_pids },
};

static bool is_asked_for(const char *controller, const struct plan_resources *l)
{
	if (!strcmp(controller, "memory"))
		return l->memory_bytes;
	if (!strcmp(controller, "cpu"))
		return l->cpu_quota_us || l->cpu_shares;
	if (!strcmp(controller, "cpuset"))
		return l->cpuset_cpus || l->cpuset_mems;
	if (!strcmp(controller, "pids"))
		return l->pids_max > 0;
	return false;
}

static int create_in(const char *controller, const char *id, const struct plan_resources *l,
		     struct err *err)
{
	_cleanup_close_ int hierarchy = open_hierarchy(controller), parent = -EBADF, group = -EBADF;

	if (hierarchy == -ENOENT && !is_asked_for(controller, l))
		return 0;
	if (hierarchy < 0)
		return err_sys(err, -hierarchy,
			       "this host has no cgroup controller \"%s\", which the limit needs",
			       controller);
	parent = open_group(controller, hierarchy, CGROUP_PARENT, true);
	if (parent < 0)
		return err_sys(err, -parent, "make the cgroup %s:/" CGROUP_PARENT, controller);
	group = open_group(controller, parent, id, true);
	if (group < 0)
		return err_sys(err, -group, "make the cgroup %s:/" CGROUP_PARENT "/%.12s",
			       controller, id);
	for (size_t i = 0; i < ARRAY_SIZE(setters); i++)
		if (!strcmp(setters[i].controller, controller))
			return setters[i].set(group, l, err);
	return 0;
}

static int v1_remove(const char *id, struct err *err)
{
	int first = 0;

	for (const char *const *c = cgroup_v1_controllers; *c; c++) {
		char path[256];
		int fd = open_hierarchy(*c);

		if (fd < 0)
			continue;
		snprintf(path, sizeof(path), CGROUP_PARENT "/%s", id);
		if (unlinkat(fd, path, AT_REMOVEDIR) < 0 && errno != ENOENT && first == 0)
			first = err_sys(err, errno, "remove the cgroup %s:/%s", *c, path);
		close(fd);
	}
	return first;
}

static int v1_create(const char *id, const struct plan_resources *l, struct err *err)
{
	for (const char *const *c = cgroup_v1_controllers; *c; c++) {
		int r = create_in(*c, id, l, err);

		if (r < 0) {
			v1_remove(id, NULL);
			return r;
		}
	}
	return 0;
}

static int v1_join(const char *id)
{
	char path[256];

	for (const char *const *c = cgroup_v1_controllers; *c; c++) {
		int r;

		snprintf(path, sizeof(path), CGROUP_ROOT "/%s/" CGROUP_PARENT "/%s/tasks", *c, id);
		r = io_write_knob(AT_FDCWD, path, "0");
		/* a controller this kernel lacks was refused by create() if anything needs it */
		if (r < 0 && r != -ENOENT)
			return r;
	}
	return 0;
}

static uint64_t v1_oom_kills(const char *id)
{
	char path[256];

	snprintf(path, sizeof(path), CGROUP_ROOT "/memory/" CGROUP_PARENT "/%s/memory.oom_control",
		 id);
	return cgroup_read_oom_kills(path);
}

static int v1_open(const char *id _unused_)
{
	return -EBADF; /* CLONE_INTO_CGROUP is for v2 */
}

const struct cgroup_ops cgroup_v1 = {
	.name = "v1",
	.create = v1_create,
	.join = v1_join,
	.remove = v1_remove,
	.oom_kills = v1_oom_kills,
	.open = v1_open,
};
