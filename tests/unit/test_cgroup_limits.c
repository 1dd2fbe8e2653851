/* SPDX-License-Identifier: Apache-2.0 */
/* cgroup: limits, what is refused, device rules and statistics of real groups. */
#include <sys/sysmacros.h>
#include "cgroup_live.h"

/* ---- limits --------------------------------------------------------------------------------- */

#define ok_line(path, v1_file, v2_file, v1_text, v2_text)                                          \
	ok_str(line_of((path), (v1_file), (v2_file)), v2 ? (v2_text) : (v1_text), "%s",            \
	       v2 ? (v2_file) : (v1_file))

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
	l = (struct plan_resources){ .cpu_idle = 1, .has_cpu_idle = true, .cpu_shares = 100 };
	ok_int(update(leaf, &l, &err), 0, "idle");
	ok_line(leaf, "cpu.idle", "cpu.idle", "1", "1");
	l = (struct plan_resources){ .cpu_idle = 0, .has_cpu_idle = true, .cpu_shares = 512 };
	ok_int(update(leaf, &l, &err), 0, "idle no more, and shares that only then can be");
	ok_line(leaf, "cpu.shares", "cpu.weight", "512", "20");
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

/* A disk of this machine, "254:0"; false when there is none. */
static bool find_disk(uint32_t *major, uint32_t *minor, char text[32])
{
	static const char *const names[] = { "vda", "sda", "nvme0n1", "xvda", "vdb", "loop0" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char file[64];

		snprintf(file, sizeof(file), "/sys/block/%s/dev", names[i]);
		if (cgroup_read(AT_FDCWD, file, text, 32) == 0 &&
		    sscanf(text, "%u:%u", major, minor) == 2) {
			text[strcspn(text, "\n")] = 0;
			return true;
		}
	}
	return false;
}

static void test_block(void)
{
	struct plan_throttle rates[] = { { .kind = PLAN_READ_BPS, .rate = 1048576 },
					 { .kind = PLAN_WRITE_IOPS, .rate = 77 } };
	struct plan_resources l = { .throttles = rates, .throttle_count = 2 };
	char device[32], want[128];
	struct err err = ERR_INIT;
	const char *leaf = in("block");

	if (!find_disk(&rates[0].major, &rates[0].minor, device)) {
		skip_one("no disk");
		return;
	}
	rates[1].major = rates[0].major;
	rates[1].minor = rates[0].minor;
	ok_int(create(leaf, &l, &err), 0, "rates of a disk");
	if (v2) {
		snprintf(want, sizeof(want), "%s rbps=1048576 wbps=max riops=max wiops=77", device);
		ok_line(leaf, "", "io.max", "", want);
	} else {
		snprintf(want, sizeof(want), "%s 1048576", device);
		ok_line(leaf, "blkio.throttle.read_bps_device", "", want, "");
		snprintf(want, sizeof(want), "%s 77", device);
		ok_line(leaf, "blkio.throttle.write_iops_device", "", want, "");
	}
	rates[0].rate = rates[1].rate = 0;
	ok_int(update(leaf, &l, &err), 0, "none any more");
	ok_line(leaf, "blkio.throttle.read_bps_device", "io.max", "", "");
	if (v2 && strcmp(line_of(leaf, "", "io.weight"), "(absent)") != 0 &&
	    !strcmp(line_of(leaf, "", "io.bfq.weight"), "(absent)")) {
		l = (struct plan_resources){ .block_weight = 100 };
		ok_int(update(leaf, &l, &err), 0, "a weight");
		ok_line(leaf, "", "io.weight", "", "default 910");
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

int main(void)
{
	static void (*const tests[])(void) = {
		test_memory,	test_cpu,     test_refused, test_version, test_block,
		test_hugepages, test_devices, test_stats,   test_oom,	  test_check_before_update
	};

	return live_main(tests, ARRAY_SIZE(tests));
}
