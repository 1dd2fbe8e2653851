/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Statistics of a v1 group, each from its controller's hierarchy.
 *
 * Block I/O is counted by the I/O scheduler where it has groups (BFQ), and else by the throttling
 * layer above it, which sees every device; the first one that has counted anything is taken.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "container/cgroup.h"
#include "container/cgroup_internal.h"
#include "container/cgroup_stats_internal.h"
#include "util/err.h"
#include "util/io.h"
#include "util/mem.h"

static void cpu_stats(int cpu, int cpuacct, struct cgroup_stats *ret)
{
	char text[512];
	long ticks = sysconf(_SC_CLK_TCK);
	uint64_t ns_per_tick = 1000000000u / (uint64_t)(ticks > 0 ? ticks : 100);

	if (cpu >= 0 && cgroup_read(cpu, "cpu.stat", text, sizeof(text)) == 0) {
		ret->cpu.periods = cgroup_value_of(text, "nr_periods", 0);
		ret->cpu.throttled_periods = cgroup_value_of(text, "nr_throttled", 0);
		ret->cpu.throttled_ns = cgroup_value_of(text, "throttled_time", 0);
	}
	if (cpuacct < 0)
		return;
	(void)cgroup_read_u64(cpuacct, "cpuacct.usage", &ret->cpu.total_ns);
	if (cgroup_read_u64(cpuacct, "cpuacct.usage_user", &ret->cpu.user_ns) == 0 &&
	    cgroup_read_u64(cpuacct, "cpuacct.usage_sys", &ret->cpu.kernel_ns) == 0)
		return;
	if (cgroup_read(cpuacct, "cpuacct.stat", text, sizeof(text)) == 0) {
		ret->cpu.user_ns = cgroup_value_of(text, "user", 0) * ns_per_tick;
		ret->cpu.kernel_ns = cgroup_value_of(text, "system", 0) * ns_per_tick;
	}
}

static int memory_stats(int dir, struct cgroup_stats *ret)
{
#define FILES(prefix)                                                                              \
	&(struct cgroup_counter_files)                                                             \
	{                                                                                          \
		prefix "usage_in_bytes", prefix "max_usage_in_bytes", prefix "limit_in_bytes",     \
			prefix "failcnt"                                                           \
	}
	char text[256];
	int r;

	cgroup_stats_counter(dir, FILES("memory."), &ret->memory.memory);
	cgroup_stats_counter(dir, FILES("memory.memsw."), &ret->memory.swap);
	cgroup_stats_counter(dir, FILES("memory.kmem."), &ret->memory.kernel);
	cgroup_stats_counter(dir, FILES("memory.kmem.tcp."), &ret->memory.kernel_tcp);
#undef FILES
	r = cgroup_stats_raw(dir, "memory.stat", ret);
	/* total_: with the groups below */
	ret->memory.cache = cgroup_stats_raw_value(ret, "total_cache");
	if (cgroup_read(dir, "memory.oom_control", text, sizeof(text)) == 0)
		ret->memory.oom_kills = cgroup_value_of(text, "oom_kill", 0);
	return r;
}

/* Lines "MAJOR:MINOR OP VALUE", and one "Total VALUE" for all devices. */
static int read_block(int dir, const char *file, struct cgroup_block_stats *ret)
{
	_cleanup_free_ char *text = NULL;
	char *save = NULL;
	int r = io_read_file(dir, file, 1 << 20, &text, NULL);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	for (char *line = strtok_r(text, "\n", &save); line && r == 0;
	     line = strtok_r(NULL, "\n", &save)) {
		unsigned major, minor;
		unsigned long long value;
		char op[16];

		if (sscanf(line, "%u:%u %15s %llu", &major, &minor, op, &value) == 4)
			r = cgroup_stats_add_block(ret, major, minor, op, value);
	}
	return r;
}

static int block_stats(int dir, struct cgroup_stats *ret)
{
	static const char *const files[][2] = {
		{ "blkio.bfq.io_service_bytes_recursive", "blkio.bfq.io_serviced_recursive" },
		{ "blkio.io_service_bytes_recursive", "blkio.io_serviced_recursive" },
		{ "blkio.throttle.io_service_bytes_recursive",
		  "blkio.throttle.io_serviced_recursive" },
	};
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(files) && r == 0 && !ret->block.serviced.count; i++) {
		r = read_block(dir, files[i][0], &ret->block.service_bytes);
		if (r == 0)
			r = read_block(dir, files[i][1], &ret->block.serviced);
	}
	return r;
}

static int open_in(const char *controller, const char *path)
{
	char root[64], dir[CGROUP_DIR_MAX];

	snprintf(root, sizeof(root), CGROUP_ROOT "/%s", controller);
	return cgroup_join_path(dir, root, path, NULL) ? open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC)
						       : -EBADF;
}

static int hugepage_stats(const char *path, struct cgroup_stats *ret)
{
	_cleanup_close_ int own = open_in("hugetlb", path), unified = open_in("unified", path);

	if (own >= 0)
		return cgroup_stats_hugepages(own, false, ret);
	return unified >= 0 ? cgroup_stats_hugepages(unified, true, ret) : 0;
}

int cgroup_v1_stats(const char *path, struct cgroup_stats *ret, struct err *err)
{
	_cleanup_close_ int cpu = -EBADF, cpuacct = -EBADF, memory = -EBADF, pids = -EBADF,
			    blkio = -EBADF;
	struct cgroup_stats s = { .pids.limit = UINT64_MAX };
	char dir[CGROUP_DIR_MAX];
	int r = cgroup_check_path(path, err);

	if (r < 0)
		return r;
	r = cgroup_v1_dir(path, dir);
	if (r < 0)
		return err_sys(err, -r, "read the statistics of the cgroup %s", path);
	cpu = open_in("cpu", path);
	cpuacct = open_in("cpuacct", path);
	cpu_stats(cpu, cpuacct, &s);
	pids = open_in("pids", path);
	if (pids >= 0) {
		(void)cgroup_read_u64(pids, "pids.current", &s.pids.current);
		(void)cgroup_read_u64(pids, "pids.max", &s.pids.limit);
	}
	memory = open_in("memory", path);
	if (memory >= 0)
		r = memory_stats(memory, &s);
	blkio = open_in("blkio", path);
	if (r == 0 && blkio >= 0)
		r = block_stats(blkio, &s);
	if (r == 0)
		r = hugepage_stats(path, &s);
	if (r < 0) {
		cgroup_stats_done(&s);
		return err_sys(err, -r, "read the statistics of the cgroup %s", path);
	}
	*ret = s;
	return 0;
}
