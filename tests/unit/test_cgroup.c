/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cgroup: groups of this kernel, whichever version it has. Needs root.
 *
 * The tests run in a child; whatever becomes of it, its parent removes the group that everything
 * was made in, with the processes in it. The same program is linked statically and runs in a
 * machine with cgroup v2 (tests/run/test_cgroup_v2.py).
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include "container/cgroup.h"
#include "container/cgroup_internal.h"
#include "container/cgroup_stats.h"
#include "plan/plan.h"
#include "tap.h"
#include "util/err.h"
#include "util/io.h"
#include "util/linux.h"
#include "util/mem.h"

#define MIB ((uint64_t)1 << 20)

static const struct cgroup_ops *ops;
static char top[40]; /* "proa-unit-PID" */
static bool v2;

/* What a child in a group tells its parent. */
static struct shared {
	volatile uint64_t count;
	volatile int signals;
	volatile int ready;
} * shared;

static const char *in(const char *name)
{
	static char buf[4][160];
	static unsigned next;
	char *path = buf[next++ % ARRAY_SIZE(buf)];

	snprintf(path, sizeof(buf[0]), "%s/%s", top, name);
	return path;
}

static void dir_of(const char *controller, const char *path, char buf[CGROUP_DIR_MAX])
{
	if (v2)
		snprintf(buf, CGROUP_DIR_MAX, CGROUP_ROOT "/%s", path);
	else
		snprintf(buf, CGROUP_DIR_MAX, CGROUP_ROOT "/%s/%s", controller, path);
}

static bool exists(const char *controller, const char *path)
{
	char dir[CGROUP_DIR_MAX];

	dir_of(controller, path, dir);
	return access(dir, F_OK) == 0;
}

/* The first line of a file of a group; v2 names the file of that version. */
static const char *line_of(const char *path, const char *v1_file, const char *v2_file)
{
	static char text[256];
	char dir[CGROUP_DIR_MAX], controller[32], file[CGROUP_DIR_MAX + 64];

	snprintf(controller, sizeof(controller), "%.*s", (int)strcspn(v1_file, "."), v1_file);
	dir_of(controller, path, dir);
	snprintf(file, sizeof(file), "%s/%s", dir, v2 ? v2_file : v1_file);
	if (cgroup_read(AT_FDCWD, file, text, sizeof(text)) < 0)
		return "(absent)";
	text[strcspn(text, "\n")] = 0;
	return text;
}

static void sleep_ms(int ms)
{
	cgroup_sleep_ms(ms);
}

static void on_signal(int signo _unused_)
{
	shared->signals++;
}

static void spin(void)
{
	signal(SIGUSR1, on_signal);
	for (;;) {
		shared->count++;
		if (shared->count % 1000 == 0)
			usleep(100);
	}
}

static void idle(void)
{
	for (;;)
		pause();
}

/* A child that joins the group as a container's first process does, and runs @f. */
static pid_t spawn(const char *path, void (*f)(void))
{
	_cleanup_close_ int fd = ops->open(path);
	struct clone_args args = { .exit_signal = SIGCHLD };
	pid_t pid;

	if (fd >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)fd;
	}
	shared->ready = 0;
	fflush(stdout);
	pid = sys_clone3(&args);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (ops->join(path) < 0)
			_exit(99);
		shared->ready = 1;
		f();
		_exit(0);
	}
	for (int i = 0; i < 5000 && !shared->ready && pid > 0; i++)
		sleep_ms(1);
	ok(pid > 0 && shared->ready, "a process in %s", path);
	return pid;
}

static int end_of(pid_t pid)
{
	int status = -1;

	return waitpid(pid, &status, 0) == pid ? status : -1;
}

static int create(const char *path, const struct plan_resources *l, struct err *err)
{
	int r;

	err_clear(err);
	r = ops->create(path, l, err);
	if (r < 0)
		printf("# create %s: %s\n", path, err->msg);
	return r;
}

static int update(const char *path, const struct plan_resources *l, struct err *err)
{
	int r;

	err_clear(err);
	r = ops->update(path, l, err);
	if (r < 0)
		printf("# update %s: %s\n", path, err->msg);
	return r;
}

/* @why: one of several, with "|" between them. */
static void ok_names(const struct err *err, const char *limit, const char *file, const char *why)
{
	_cleanup_free_ char *reasons = strdup(why);
	char *save = NULL;
	bool found = !*why;

	for (char *w = strtok_r(reasons, "|", &save); w; w = strtok_r(NULL, "|", &save))
		found |= strstr(err->msg, w) != NULL;
	if (!ok(strstr(err->msg, limit) && strstr(err->msg, file) && found,
		"the error names %s, %s and the reason", limit, file))
		printf("# it says «%s»\n", err->msg);
}

/* ---- making and removing -------------------------------------------------------------------- */

static void test_create(void)
{
	struct plan_resources none = { 0 };
	struct err err = ERR_INIT;
	const char *leaf = in("a/b/leaf");
	pid_t pid;

	ok_int(create(leaf, &none, &err), 0, "a group with three missing parents");
	for (const char *const *c = cgroup_v1_controllers; *c; c++)
		ok(exists(*c, leaf), "it is there for %s", *c);
	ok_int(create(leaf, &none, &err), 0, "an empty one is taken over");
	ok_int(ops->remove(leaf, &err), 0, "removed");
	ok(!exists("memory", leaf) && !exists("cpu", leaf), "and gone");
	ok_int(ops->remove(leaf, &err), 0, "absent is success");
	ok_int(create(leaf, &none, &err), 0, "and again");
	pid = spawn(leaf, idle);
	ok_int(create(leaf, &none, &err), -EBUSY, "one with processes is refused");
	ok(strstr(err.msg, "has processes already"), "with the reason");
	ok_int(ops->remove(leaf, &err), -EBUSY, "and not removed");
	ok(strstr(err.msg, "it has processes"), "with the reason");
	ok_int(ops->kill(leaf, SIGKILL, &err), 0, "killed");
	end_of(pid);
	ok_int(ops->remove(leaf, &err), 0, "then it can be removed");
	ok_int(create("../x", &none, &err), -EINVAL, "no path upwards");
	ok_int(ops->remove("a//b", &err), -EINVAL, "nor one with an empty name");
}

static void test_failed_create(void)
{
	struct plan_resources bad = { .cpuset_cpus = (char *)"4000", .pids_max = 5 };
	struct err err = ERR_INIT;

	ok(create(in("failed"), &bad, &err) < 0, "a limit that cannot be");
	ok_names(&err, "CPUs", "cpuset.cpus", "4000");
	for (const char *const *c = cgroup_v1_controllers; *c; c++)
		ok(!exists(*c, in("failed")), "nothing is left for %s", *c);
}

static void test_children(void)
{
	struct plan_resources none = { 0 };
	struct err err = ERR_INIT;
	const char *leaf = in("parent");
	char dir[CGROUP_DIR_MAX], sub[CGROUP_DIR_MAX + 16], procs[CGROUP_DIR_MAX + 48], number[16];
	_cleanup_free_ pid_t *pids = NULL;
	size_t n = 0;
	pid_t one, two;

	ok_int(create(leaf, &none, &err), 0, "a group");
	one = spawn(leaf, idle);
	two = spawn(leaf, idle);
	dir_of("freezer", leaf, dir);
	snprintf(sub, sizeof(sub), "%s/sub", dir);
	mkdir(sub, 0755);
	snprintf(procs, sizeof(procs), "%s/deeper", sub);
	mkdir(procs, 0755);
	snprintf(procs, sizeof(procs), "%s/deeper/cgroup.procs", sub);
	snprintf(number, sizeof(number), "%d", two);
	ok_int(io_write_knob(AT_FDCWD, procs, number), 0, "a process moves into a group below");
	snprintf(procs, sizeof(procs), "%s/%s", sub, v2 ? "cgroup.freeze" : "freezer.state");
	ok_int(io_write_knob(AT_FDCWD, procs, v2 ? "1" : "FROZEN"), 0, "which is frozen");
	ok_int(ops->pids(leaf, &pids, &n, &err), 0, "pids");
	ok(n == 2 && ((pids[0] == one && pids[1] == two) || (pids[0] == two && pids[1] == one)),
	   "both are listed");
	ok_int(ops->kill(leaf, SIGKILL, &err), 0, "kill");
	ok_int(end_of(one), SIGKILL, "the first died");
	ok_int(end_of(two), SIGKILL, "the one below died");
	ok_int(ops->remove(leaf, &err), 0, "remove takes the groups below along");
	ok(access(sub, F_OK) < 0 && access(dir, F_OK) < 0, "they are gone");
}

/* ---- freezing and signals ------------------------------------------------------------------- */

static bool is_moving(void)
{
	uint64_t before = shared->count;

	for (int i = 0; i < 500 && shared->count == before; i++)
		sleep_ms(1);
	return shared->count != before;
}

static bool is_still(void)
{
	uint64_t before;

	sleep_ms(20);
	before = shared->count;
	sleep_ms(100);
	return shared->count == before;
}

static void freeze_self(void)
{
	struct err err = ERR_INIT;

	_exit(ops->freeze(in("frozen"), true, &err) == -EDEADLK ? 42 : 43);
}

static void test_freeze(void)
{
	struct plan_resources none = { 0 };
	struct err err = ERR_INIT;
	const char *leaf = in("frozen");
	pid_t pid;

	ok_int(create(leaf, &none, &err), 0, "a group");
	pid = spawn(leaf, freeze_self);
	ok_int(WEXITSTATUS(end_of(pid)), 42, "nobody freezes itself");
	pid = spawn(leaf, spin);
	ok(is_moving(), "it runs");
	ok_int(ops->is_frozen(leaf), 0, "not frozen");
	ok_int(ops->freeze(leaf, true, &err), 0, "freeze");
	ok_int(ops->is_frozen(leaf), 1, "frozen");
	ok(is_still(), "it stands still");
	ok_int(ops->kill(leaf, SIGUSR1, &err), 0, "a signal to a frozen group");
	ok_int(ops->is_frozen(leaf), 1, "which stays frozen");
	ok_int(shared->signals, 0, "and does not see it yet");
	ok_int(ops->freeze(leaf, false, &err), 0, "thaw");
	ok_int(ops->is_frozen(leaf), 0, "thawed");
	ok(is_moving(), "it runs again");
	ok_int(shared->signals, 1, "and has the signal");
	ok_int(ops->kill(leaf, SIGUSR1, &err), 0, "a signal to a running group");
	ok(is_moving(), "it runs on");
	ok_int(shared->signals, 2, "and has it");
	ok_int(ops->freeze(leaf, true, &err), 0, "frozen again");
	ok_int(ops->kill(leaf, SIGKILL, &err), 0, "a frozen group can be killed");
	ok_int(end_of(pid), SIGKILL, "it died");
	ok_int(ops->remove(leaf, &err), 0, "removed");
	ok(ops->freeze(leaf, true, &err) < 0, "an absent one cannot be frozen");
}

static void fork_on(void)
{
	for (;;) {
		pid_t pid = fork();

		if (pid == 0)
			idle();
		if (pid < 0)
			sleep_ms(1);
	}
}

static void test_kill_forking(void)
{
	struct plan_resources few = { .pids_max = 50 };
	struct err err = ERR_INIT;
	_cleanup_free_ pid_t *pids = NULL;
	size_t n = 99;
	pid_t pid;

	ok_int(create(in("forking"), &few, &err), 0, "a group of at most 50");
	pid = spawn(in("forking"), fork_on);
	sleep_ms(50);
	ok_int(ops->kill(in("forking"), SIGKILL, &err), 0, "kill one that forks all the time");
	ok_int(end_of(pid), SIGKILL, "it died");
	ok_int(ops->pids(in("forking"), &pids, &n, &err), 0, "pids");
	ok_int(n, 0, "nobody is left");
	ok_int(ops->remove(in("forking"), &err), 0, "removed");
}

/* ---- limits --------------------------------------------------------------------------------- */

#define ok_line(path, v1_file, v2_file, v1_text, v2_text)                                          \
	ok_str(line_of((path), (v1_file), (v2_file)), v2 ? (v2_text) : (v1_text), "%s",            \
	       v2 ? (v2_file) : (v1_file))

static bool has_swap_limit(void)
{
	char dir[CGROUP_DIR_MAX];

	dir_of("memory", top, dir);
	strcat(dir, v2 ? "/memory.swap.max" : "/memory.memsw.limit_in_bytes");
	return access(dir, F_OK) == 0;
}

static void ok_memory(const char *leaf, const char *memory, const char *both, const char *swap)
{
	ok_line(leaf, "memory.limit_in_bytes", "memory.max", memory, memory);
	if (has_swap_limit())
		ok_line(leaf, "memory.memsw.limit_in_bytes", "memory.swap.max", both, swap);
}

static void test_memory(void)
{
	bool swap = has_swap_limit();
	struct plan_resources l = { .memory_bytes = 64 * MIB,
				    .memory_swap_bytes = swap ? 128 * MIB : 0,
				    .memory_reservation_bytes = 32 * MIB };
	struct err err = ERR_INIT;
	const char *leaf = in("memory");

	ok_int(create(leaf, &l, &err), 0, "memory limits");
	ok_memory(leaf, "67108864", "134217728", "67108864");
	ok_line(leaf, "memory.soft_limit_in_bytes", "memory.low", "33554432", "33554432");
	l = (struct plan_resources){ .memory_bytes = 256 * MIB,
				     .memory_swap_bytes = swap ? 256 * MIB : 0 };
	ok_int(update(leaf, &l, &err), 0, "memory above what memory with swap was");
	ok_memory(leaf, "268435456", "268435456", "0");
	l = (struct plan_resources){ .memory_bytes = 16 * MIB,
				     .memory_swap_bytes = swap ? 24 * MIB : 0 };
	ok_int(update(leaf, &l, &err), 0, "both lower than memory was");
	ok_memory(leaf, "16777216", "25165824", "8388608");
	l = (struct plan_resources){ .memory_bytes = 20 * MIB };
	ok_int(update(leaf, &l, &err), 0, "memory alone");
	ok_memory(leaf, "20971520", "25165824", "8388608");
	l = (struct plan_resources){ .memory_bytes = PLAN_UNLIMITED };
	ok_int(update(leaf, &l, &err), 0, "no memory limit takes that on swap along");
	ok_memory(leaf, v2 ? "max" : "9223372036854771712", "9223372036854771712", "max");
	ok_int(ops->remove(leaf, &err), 0, "removed");
}

static void test_cpu(void)
{
	struct plan_resources l = { .cpu_quota_us = 50000,
				    .cpu_period_us = 100000,
				    .cpu_shares = 512,
				    .cpuset_cpus = (char *)"0",
				    .cpuset_mems = (char *)"0",
				    .pids_max = 77 };
	struct err err = ERR_INIT;
	const char *leaf = in("cpu");

	ok_int(create(leaf, &l, &err), 0, "CPU limits");
	ok_line(leaf, "cpu.cfs_quota_us", "cpu.max", "50000", "50000 100000");
	ok_line(leaf, "cpu.shares", "cpu.weight", "512", "20");
	ok_line(leaf, "cpuset.cpus", "cpuset.cpus", "0", "0");
	ok_line(leaf, "cpuset.mems", "cpuset.mems", "0", "0");
	ok_line(leaf, "pids.max", "pids.max", "77", "77");
	l = (struct plan_resources){ .cpu_quota_us = 20000,
				     .cpu_period_us = 40000,
				     .cpu_burst_us = 15000,
				     .has_cpu_burst = true };
	ok_int(update(leaf, &l, &err), 0, "a burst");
	ok_line(leaf, "cpu.cfs_burst_us", "cpu.max.burst", "15000", "15000");
	l = (struct plan_resources){ .cpu_quota_us = 5000,
				     .cpu_burst_us = 2000,
				     .has_cpu_burst = true };
	ok_int(update(leaf, &l, &err), 0, "a quota below what the burst was");
	ok_line(leaf, "cpu.cfs_quota_us", "cpu.max", "5000", "5000 40000");
	ok_line(leaf, "cpu.cfs_burst_us", "cpu.max.burst", "2000", "2000");
	l = (struct plan_resources){ .cpu_quota_us = 60000,
				     .cpu_burst_us = 50000,
				     .has_cpu_burst = true };
	ok_int(update(leaf, &l, &err), 0, "a burst above what the quota was");
	l = (struct plan_resources){ .cpu_period_us = 50000 };
	ok_int(update(leaf, &l, &err), 0, "a period alone");
	ok_line(leaf, "cpu.cfs_quota_us", "cpu.max", "60000", "60000 50000");
	l = (struct plan_resources){ .cpu_quota_us = PLAN_UNLIMITED, .pids_max = -1 };
	ok_int(update(leaf, &l, &err), 0, "no limits");
	ok_line(leaf, "cpu.cfs_quota_us", "cpu.max", "-1", "max 50000");
	ok_line(leaf, "pids.max", "pids.max", "max", "max");
	l = (struct plan_resources){ .cpu_idle = 1, .has_cpu_idle = true };
	ok_int(update(leaf, &l, &err), 0, "idle");
	ok_line(leaf, "cpu.idle", "cpu.idle", "1", "1");
	ok_int(ops->remove(leaf, &err), 0, "removed");
}

static void refused(struct plan_resources *l, const char *limit, const char *v1_file,
		    const char *v2_file, const char *why)
{
	struct err err = ERR_INIT;
	char dir[CGROUP_DIR_MAX], controller[32];

	ok_int(create(in("refused"), &(struct plan_resources){ 0 }, &err), 0, "a group");
	if (!v2) { /* another host may well have it */
		snprintf(controller, sizeof(controller), "%.*s", (int)strcspn(v1_file, "."),
			 v1_file);
		dir_of(controller, in("refused"), dir);
		strcat(dir, "/");
		strcat(dir, v1_file);
		if (access(dir, F_OK) == 0) {
			skip_one("this kernel has it");
			ops->remove(in("refused"), NULL);
			return;
		}
	}
	ok(update(in("refused"), l, &err) < 0, "%s is refused", limit);
	ok_names(&err, limit, v2 ? v2_file : v1_file, why);
	ok_int(ops->remove(in("refused"), &err), 0, "removed");
}

static void test_refused(void)
{
	char *unified[] = { (char *)"memory.high=max", NULL },
	     *slash[] = { (char *)"a/b.c=1", NULL };
	struct plan_net_priority priority = { (char *)"lo", 3 };
	struct plan_rdma_limit rdma = { (char *)"no0", 3, 4, true, true };
	struct plan_block_weight weight = { 8, 0, 100, 200 };
	struct plan_hugepage_limit pages = { (char *)"3MB", 4 * MIB }, bad = { (char *)"../x", 1 };

	refused(&(struct plan_resources){ .block_leaf_weight = 100 }, "leaf weight",
		"blkio.leaf_weight", "blkio.leaf_weight",
		v2 ? "nothing like it" : "not available here");
	refused(&(struct plan_resources){ .block_weights = &weight, .block_weight_count = 1 },
		"weight of a device", "blkio.weight_device", "blkio.leaf_weight_device",
		v2 ? "nothing like it" : "No such device|not available here");
	refused(&(struct plan_resources){ .has_net_class_id = true, .net_class_id = 1 },
		"network class", "net_cls.classid", "net_cls.classid",
		v2 ? "nothing like it" : "no cgroup v1 controller|without such a limit");
	refused(&(struct plan_resources){ .net_priorities = &priority, .net_priority_count = 1 },
		"network priority", "net_prio.ifpriomap", "net_prio.ifpriomap",
		v2 ? "nothing like it" : "no cgroup v1 controller|without such a limit");
	refused(&(struct plan_resources){ .rdma = &rdma, .rdma_count = 1 }, "RDMA handle limit",
		"rdma.max", "rdma.max",
		v2 ? "not available here" : "no cgroup v1 controller|without such a limit");
	refused(&(struct plan_resources){ .hugepages = &pages, .hugepage_count = 1 },
		"huge page limit", "hugetlb.3MB.", "hugetlb.3MB.max",
		v2 ? "not available here" : "without such a limit|no cgroup v1 controller");
	refused(&(struct plan_resources){ .hugepages = &bad, .hugepage_count = 1 },
		"huge page limit", "../x", "../x", "no name");
	refused(&(struct plan_resources){ .unified = v2 ? slash : unified }, "", "unified", "a/b.c",
		v2 ? "not the name" : "cgroup v1");
	if (!v2)
		return;
	refused(&(struct plan_resources){ .has_swappiness = true, .swappiness = 5 }, "swappiness",
		"", "memory.swappiness", "nothing like it");
	refused(&(struct plan_resources){ .disable_oom_killer = true }, "OOM killer", "",
		"memory.oom_control", "nothing like it");
	refused(&(struct plan_resources){ .kernel_tcp_bytes = MIB }, "TCP", "",
		"memory.kmem.tcp.limit_in_bytes", "nothing like it");
	refused(&(struct plan_resources){ .cpu_rt_runtime_us = 1 }, "realtime", "",
		"cpu.rt_runtime_us", "nothing like it");
}

static void test_version(void)
{
	struct plan_resources l = { .memory_swap_bytes = 0 };
	char *unified[] = { (char *)"memory.high=1048576", (char *)"cpu.weight=77", NULL };
	struct err err = ERR_INIT;
	const char *leaf = in("version");

	if (v2) {
		l.unified = unified;
		ok_int(create(leaf, &l, &err), 0, "unified limits");
		ok_line(leaf, "", "memory.high", "", "1048576");
		ok_line(leaf, "", "cpu.weight", "", "77");
	} else {
		l.swappiness = 7;
		l.has_swappiness = l.disable_oom_killer = true;
		l.kernel_tcp_bytes = 8 * MIB;
		ok_int(create(leaf, &l, &err), 0, "limits that only v1 has");
		ok_line(leaf, "memory.swappiness", "", "7", "");
		ok_line(leaf, "memory.kmem.tcp.limit_in_bytes", "", "8388608", "");
		ok_line(leaf, "memory.oom_control", "", "oom_kill_disable 1", "");
	}
	ok_int(ops->remove(leaf, &err), 0, "removed");
}

static void test_hugepages(void)
{
	struct plan_hugepage_limit pages = { (char *)"2MB", 4 * MIB };
	struct plan_resources l = { .hugepages = &pages, .hugepage_count = 1 };
	struct cgroup_stats s = { 0 };
	struct err err = ERR_INIT;
	const char *leaf = in("huge");
	char file[CGROUP_DIR_MAX], text[64] = "";
	pid_t pid;

	if (access("/sys/kernel/mm/hugepages/hugepages-2048kB", F_OK) < 0) {
		skip_one("no huge pages of 2 MiB");
		return;
	}
	snprintf(file, sizeof(file), "%s/cgroup.controllers", v2 ? CGROUP_ROOT : CGROUP_UNIFIED);
	if (access(CGROUP_ROOT "/hugetlb", F_OK) < 0 &&
	    (cgroup_read(AT_FDCWD, file, text, sizeof(text)) < 0 || !strstr(text, "hugetlb"))) {
		skip_one("no hugetlb controller here");
		return;
	}
	if (!ok(create(leaf, &l, &err) == 0, "a limit on huge pages"))
		return;
	snprintf(file, sizeof(file), "%s/%s/hugetlb.2MB.max", v2 ? CGROUP_ROOT : CGROUP_UNIFIED,
		 leaf);
	if (access(file, F_OK) == 0) {
		(void)cgroup_read(AT_FDCWD, file, text, sizeof(text));
		ok_str(text, "4194304\n", "hugetlb.2MB.max");
		pid = spawn(leaf, idle);
		snprintf(file, sizeof(file), "%s/%s/cgroup.procs",
			 v2 ? CGROUP_ROOT : CGROUP_UNIFIED, leaf);
		(void)cgroup_read(AT_FDCWD, file, text, sizeof(text));
		ok_int(strtol(text, NULL, 10), pid, "the process was cloned into that group");
		ok_int(ops->kill(leaf, SIGKILL, &err), 0, "killed");
		end_of(pid);
	}
	ok_int(ops->stats(leaf, &s, &err), 0, "stats");
	for (size_t i = 0; i < s.hugepage_count; i++)
		if (!strcmp(s.hugepages[i].size, "2MB"))
			ok_int(s.hugepages[i].counter.limit, 4 * MIB,
			       "the limit in the statistics");
	ok(s.hugepage_count > 0, "huge pages are in the statistics");
	cgroup_stats_done(&s);
	ok_int(ops->remove(leaf, &err), 0, "removed");
	ok(access(file, F_OK) < 0, "and gone");
}

/* ---- devices -------------------------------------------------------------------------------- */

/* In a child: what can be done to a device, as bits 1 read, 2 write, 4 mknod. */
static unsigned minor_asked;

static void try_device(void)
{
	char name[64];
	int fd, bits = 0;

	/* the node is made outside of the group, where that is allowed */
	snprintf(name, sizeof(name), "/tmp/%s.%u", top, minor_asked);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	bits |= fd >= 0 ? 1 : 0;
	fd_close(fd);
	fd = open(name, O_WRONLY | O_CLOEXEC);
	bits |= fd >= 0 ? 2 : 0;
	fd_close(fd);
	strcat(name, ".new");
	bits |= mknod(name, S_IFCHR | 0600, makedev(1, minor_asked)) == 0 ? 4 : 0;
	unlink(name);
	_exit(bits);
}

static void ok_device(const char *leaf, unsigned minor, int bits)
{
	char name[64];
	pid_t pid;

	minor_asked = minor;
	snprintf(name, sizeof(name), "/tmp/%s.%u", top, minor);
	mknod(name, S_IFCHR | 0600, makedev(1, minor));
	pid = spawn(leaf, try_device);
	ok_int(WEXITSTATUS(end_of(pid)), bits, "device 1:%u", minor);
	unlink(name);
}

#define RULES(...)                                                                                 \
	{                                                                                          \
		.device_rules = (struct plan_device_rule[]){ __VA_ARGS__ },                        \
		.device_rule_count = sizeof((struct plan_device_rule[]){ __VA_ARGS__ }) /          \
				     sizeof(struct plan_device_rule),                              \
	}

static void test_devices(void)
{
	struct plan_resources first =
		RULES({ false, 'a', -1, -1, 7 }, { true, 'c', 1, 3, 7 }, { true, 'c', 1, 5, 3 },
		      { true, 'c', -1, -1, 4 }, { false, 'c', 1, 5, 1 }, { false, 'c', -1, -1, 4 });
	struct plan_resources second =
		RULES({ false, 'a', -1, -1, 7 }, { true, 'c', 1, 7, 1 }, { true, 'c', 1, 5, 7 });
	struct plan_resources third =
		RULES({ true, 'a', -1, -1, 7 }, { false, 'c', 1, 5, 1 }, { false, 'c', 1, 7, 7 });
	struct plan_resources fourth = RULES({ false, 'a', -1, -1, 7 }, { true, 'c', -1, -1, 7 },
					     { false, 'c', 1, 5, 2 }, { true, 'b', -1, -1, 4 });
	struct plan_resources fifth = RULES({ false, 'a', -1, -1, 7 }, { true, 'c', 1, -1, 3 },
					    { false, 'c', 1, 5, 7 }, { true, 'c', 1, 7, 7 });
	struct err err = ERR_INIT;
	const char *leaf = in("devices");

	ok_int(create(leaf, &first, &err), 0, "device rules");
	ok_device(leaf, 3, 3);
	ok_device(leaf, 5, 2);
	ok_device(leaf, 7, 0);
	ok_int(update(leaf, &second, &err), 0, "other rules");
	ok_device(leaf, 3, 0);
	ok_device(leaf, 5, 7);
	ok_device(leaf, 7, 1);
	ok_int(update(leaf, &third, &err), 0, "all but some");
	ok_device(leaf, 3, 7);
	ok_device(leaf, 5, 6);
	ok_device(leaf, 7, 0);
	ok_int(update(leaf, &fourth, &err), 0,
	       "some but one, which v1 needs the other default for");
	ok_device(leaf, 3, 7);
	ok_device(leaf, 5, 5);
	if (v2) {
		ok_int(update(leaf, &fifth, &err), 0, "exceptions both ways");
		ok_device(leaf, 3, 3);
		ok_device(leaf, 5, 0);
		ok_device(leaf, 7, 7);
	} else {
		ok_int(update(leaf, &fifth, &err), -EOPNOTSUPP, "exceptions both ways are refused");
		ok_names(&err, "device rules", "devices.deny", "exceptions to exceptions");
		ok_device(leaf, 5, 5);
	}
	ok_int(ops->remove(leaf, &err), 0, "removed");
}

/* ---- counting ------------------------------------------------------------------------------- */

static void use_memory(void)
{
	size_t n = 16 * MIB;
	char *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	memset(p, 1, n);
	spin();
}

static void test_stats(void)
{
	struct plan_resources l = { .memory_bytes = 64 * MIB,
				    .pids_max = 33,
				    .cpu_quota_us = 10000,
				    .cpu_period_us = 100000 };
	struct cgroup_stats s = { 0 };
	struct err err = ERR_INIT;
	const char *leaf = in("stats");
	bool has_anon = false;
	pid_t pid;

	ok_int(create(leaf, &l, &err), 0, "a group");
	ok_int(ops->stats(leaf, &s, &err), 0, "stats of an empty one");
	ok_int(s.pids.current, 0, "no process");
	cgroup_stats_done(&s);
	pid = spawn(leaf, use_memory);
	for (int i = 0; i < 500 && s.memory.memory.usage < 16 * MIB; i++) {
		sleep_ms(10);
		cgroup_stats_done(&s);
		ops->stats(leaf, &s, &err);
	}
	ok(s.memory.memory.usage >= 16 * MIB && s.memory.memory.usage <= 64 * MIB, "memory usage");
	ok(s.memory.memory.max_usage >= s.memory.memory.usage || !s.memory.memory.max_usage,
	   "and its peak");
	ok_int(s.memory.memory.limit, 64 * MIB, "memory limit");
	ok(s.cpu.total_ns > 0 && s.cpu.user_ns + s.cpu.kernel_ns > 0, "CPU time");
	sleep_ms(300);
	cgroup_stats_done(&s);
	ok_int(ops->stats(leaf, &s, &err), 0, "again");
	ok(s.cpu.periods > 0, "periods");
	ok_int(s.pids.current, 1, "one process");
	ok_int(s.pids.limit, 33, "process number limit");
	for (size_t i = 0; i < s.memory.raw_count; i++)
		has_anon |= !strcmp(s.memory.raw[i].name, v2 ? "anon" : "rss") &&
			    s.memory.raw[i].value >= 16 * MIB;
	ok(has_anon, "memory.stat");
	ok_int(s.memory.oom_kills, 0, "nothing was killed");
	cgroup_stats_done(&s);
	ok_int(ops->kill(leaf, SIGKILL, &err), 0, "killed");
	end_of(pid);
	ok_int(ops->remove(leaf, &err), 0, "removed");
	ok(ops->stats(leaf, &s, &err) < 0, "no statistics of an absent group");
}

static void use_too_much(void)
{
	for (;;) {
		char *p = malloc(MIB);

		if (p)
			memset(p, 1, MIB);
	}
}

static void test_oom(void)
{
	struct plan_resources l = { .memory_bytes = 16 * MIB,
				    .memory_swap_bytes = has_swap_limit() ? 16 * MIB : 0 };
	struct cgroup_stats s = { 0 };
	struct err err = ERR_INIT;
	const char *leaf = in("oom");
	pid_t pid;

	ok_int(create(leaf, &l, &err), 0, "a group of 16 MiB");
	ok_int(ops->oom_kills(leaf), 0, "nothing was killed");
	pid = spawn(leaf, use_too_much);
	ok_int(end_of(pid), SIGKILL, "who needs more is killed");
	ok_int(ops->oom_kills(leaf), 1, "and counted");
	ok_int(ops->stats(leaf, &s, &err), 0, "stats");
	ok_int(s.memory.oom_kills, 1, "there as well");
	if (v2) /* v1 of some kernels does not count it */
		ok(s.memory.memory.failures > 0, "and how often the limit was hit");
	cgroup_stats_done(&s);
	ok_int(ops->remove(leaf, &err), 0, "removed");
}

static void test_check_before_update(void)
{
	struct plan_resources none = { 0 },
			      l = { .memory_bytes = 8 * MIB, .check_before_update = true };
	struct err err = ERR_INIT;
	struct cgroup_stats s = { 0 };
	const char *leaf = in("check");
	pid_t pid;

	if (!v2) {
		skip_one("v1's kernel checks this itself");
		return;
	}
	ok_int(create(leaf, &none, &err), 0, "a group");
	pid = spawn(leaf, use_memory);
	for (int i = 0; i < 500 && s.memory.memory.usage < 16 * MIB; i++) {
		sleep_ms(10);
		cgroup_stats_done(&s);
		ops->stats(leaf, &s, &err);
	}
	cgroup_stats_done(&s);
	ok_int(update(leaf, &l, &err), -EBUSY, "a limit below what is in use is refused");
	ok_names(&err, "memory limit", "memory.max", "in use");
	ok_int(ops->kill(leaf, SIGKILL, &err), 0, "it was not killed for it");
	ok_int(end_of(pid), SIGKILL, "but now");
	ok_int(ops->remove(leaf, &err), 0, "removed");
}

/* ---- owners --------------------------------------------------------------------------------- */

static void test_delegate(void)
{
	struct plan_resources none = { 0 };
	struct err err = ERR_INIT;
	const char *leaf = in("delegated");
	char file[CGROUP_DIR_MAX + 32], dir[CGROUP_DIR_MAX];
	struct stat st = { 0 };
	uid_t want = v2 ? 4321 : 0;

	ok_int(create(leaf, &none, &err), 0, "a group");
	ok_int(ops->delegate(leaf, 4321, 4322, &err), 0, "delegate");
	dir_of("memory", leaf, dir);
	ok(stat(dir, &st) == 0 && st.st_uid == want, "owner of the directory");
	snprintf(file, sizeof(file), "%s/cgroup.procs", dir);
	ok(stat(file, &st) == 0 && st.st_uid == want, "owner of cgroup.procs");
	snprintf(file, sizeof(file), "%s/%s", dir, v2 ? "memory.max" : "memory.limit_in_bytes");
	ok(stat(file, &st) == 0 && st.st_uid == 0, "limits stay root's");
	ok(cgroup_can_create(in("delegated/x")), "root can make groups");
	ok_int(seteuid(4321), 0, "as that user");
	ok_int(cgroup_can_create(in("delegated/x/y")), v2, "who can in his own group, on v2");
	ok(!cgroup_can_create(in("other")), "but not beside it");
	ok_int(seteuid(0), 0, "root again");
	ok_int(ops->remove(leaf, &err), 0, "removed");
}

static void exit_own_path(void)
{
	_cleanup_free_ char *own = NULL;
	struct err err = ERR_INIT;

	_exit(cgroup_own_path(&own, &err) == 0 && !strcmp(own, in("own")) ? 42 : 43);
}

static void test_own_path(void)
{
	struct plan_resources none = { 0 };
	_cleanup_free_ char *own = NULL, *of = NULL;
	struct err err = ERR_INIT;
	pid_t pid;

	ok_int(create(in("own"), &none, &err), 0, "a group");
	pid = spawn(in("own"), exit_own_path);
	ok_int(WEXITSTATUS(end_of(pid)), 42, "a process finds its own group");
	pid = spawn(in("own"), idle);
	ok_int(cgroup_path_of(pid, v2 ? NULL : "pids", &of, &err), 0, "and another's");
	ok_str(of, in("own"), "the same");
	ok_int(cgroup_path_of(pid, "nonesuch", &own, &err), -ENOENT, "no such controller");
	ok_int(ops->kill(in("own"), SIGKILL, &err), 0, "killed");
	end_of(pid);
	ok_int(ops->remove(in("own"), &err), 0, "removed");
}

static int run_tests(void)
{
	static void (*const tests[])(void) = {
		test_create,	   test_failed_create,
		test_children,	   test_freeze,
		test_kill_forking, test_memory,
		test_cpu,	   test_refused,
		test_version,	   test_hugepages,
		test_devices,	   test_stats,
		test_oom,	   test_check_before_update,
		test_delegate,	   test_own_path,
	};
	struct plan_resources none = { 0 };
	struct err err = ERR_INIT;

	if (!ok(ops->create(top, &none, &err) == 0, "cgroup %s: the group of this test", ops->name))
		printf("# %s\n", err.msg);
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
		struct cgroup_stats s = { 0 };

		memset((void *)shared, 0, sizeof(*shared));
		tests[i]();
		cgroup_stats_done(&s);
	}
	return tap_done();
}

/* ---- cleaning up, without the code that is tested ------------------------------------------- */

static int force_end(const char *dir, void *data _unused_)
{
	char file[CGROUP_DIR_MAX + 32], text[4096], *save = NULL;

	snprintf(file, sizeof(file), "%s/%s", dir, v2 ? "cgroup.freeze" : "freezer.state");
	(void)io_write_knob(AT_FDCWD, file, v2 ? "0" : "THAWED");
	snprintf(file, sizeof(file), "%s/cgroup.procs", dir);
	if (cgroup_read(AT_FDCWD, file, text, sizeof(text)) < 0)
		return 0;
	for (char *p = strtok_r(text, "\n", &save); p; p = strtok_r(NULL, "\n", &save))
		if (atoi(p) > 1)
			kill(atoi(p), SIGKILL);
	return 0;
}

static int force_remove(const char *dir, void *data _unused_)
{
	(void)rmdir(dir);
	return 0;
}

static void clean_up(void)
{
	char dir[CGROUP_DIR_MAX];

	for (int round = 0; round < 20; round++) {
		for (const char *const *c = cgroup_v1_controllers; *c; c++) {
			dir_of(*c, top, dir);
			(void)cgroup_walk(dir, 0, force_end, NULL);
			(void)cgroup_walk(dir, 0, force_remove, NULL);
		}
		snprintf(dir, sizeof(dir), CGROUP_UNIFIED "/%s", top);
		(void)cgroup_walk(dir, 0, force_remove, NULL);
		if (!exists("freezer", top) && !exists("memory", top) && !exists("cpu", top))
			return;
		sleep_ms(50);
	}
	printf("# could not remove the group %s\n", top);
}

int main(void)
{
	int status = 0;
	pid_t pid;

	ops = cgroup_detect();
	if (geteuid() != 0 || !ops) {
		printf("1..0 # SKIP %s\n", ops ? "needs root" : "no cgroups are mounted");
		return 0;
	}
	v2 = ops == &cgroup_v2;
	snprintf(top, sizeof(top), "proa-unit-%d", getpid());
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (!ops->create || shared == MAP_FAILED)
		return 1;
	pid = fork();
	if (pid == 0) {
		alarm(60);
		exit(run_tests());
	}
	waitpid(pid, &status, 0);
	clean_up();
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
