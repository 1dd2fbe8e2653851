/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Statistics of a v2 group, in v1's terms: swap with the memory, and I/O as one line per device and
 * operation.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "container/cgroup.h"
#include "container/cgroup_internal.h"
#include "container/cgroup_stats_internal.h"
#include "util/err.h"
#include "util/io.h"
#include "util/mem.h"

static void cpu_stats(int dir, struct cgroup_stats *ret)
{
	char text[1024];

	if (cgroup_read(dir, "cpu.stat", text, sizeof(text)) < 0)
		return;
	ret->cpu.total_ns = cgroup_value_of(text, "usage_usec", 0) * 1000;
	ret->cpu.user_ns = cgroup_value_of(text, "user_usec", 0) * 1000;
	ret->cpu.kernel_ns = cgroup_value_of(text, "system_usec", 0) * 1000;
	ret->cpu.periods = cgroup_value_of(text, "nr_periods", 0);
	ret->cpu.throttled_periods = cgroup_value_of(text, "nr_throttled", 0);
	ret->cpu.throttled_ns = cgroup_value_of(text, "throttled_usec", 0) * 1000;
}

static int memory_stats(int dir, struct cgroup_stats *ret)
{
	static const struct cgroup_counter_files memory = { "memory.current", "memory.peak",
							    "memory.max", NULL };
	static const struct cgroup_counter_files swap = { "memory.swap.current", "memory.swap.peak",
							  "memory.swap.max", NULL };
	struct cgroup_counter *m = &ret->memory.memory, *s = &ret->memory.swap;
	char text[512];
	int r;

	cgroup_stats_counter(dir, &memory, m);
	s->limit = UINT64_MAX;
	cgroup_stats_counter(dir, &swap, s);
	if (cgroup_read(dir, "memory.swap.events", text, sizeof(text)) == 0)
		s->failures = cgroup_value_of(text, "max", 0);
	s->usage += m->usage;
	s->max_usage += s->max_usage ? m->max_usage : 0;
	s->limit =
		s->limit == UINT64_MAX || m->limit == UINT64_MAX ? UINT64_MAX : s->limit + m->limit;
	if (cgroup_read(dir, "memory.events", text, sizeof(text)) == 0) {
		m->failures = cgroup_value_of(text, "max", 0);
		ret->memory.oom_kills = cgroup_value_of(text, "oom_kill", 0);
	}
	r = cgroup_stats_raw(dir, "memory.stat", ret);
	ret->memory.cache = cgroup_stats_raw_value(ret, "file");
	ret->memory.kernel.usage = cgroup_stats_raw_value(ret, "kernel");
	ret->memory.kernel.limit = ret->memory.kernel_tcp.limit = UINT64_MAX;
	ret->memory.kernel_tcp.usage = cgroup_stats_raw_value(ret, "sock");
	return r;
}

static int add_block_word(const char *word, unsigned major, unsigned minor,
			  struct cgroup_stats *ret)
{
	static const struct {
		const char *key, *op;
		bool bytes;
	} keys[] = {
		{ "rbytes=", "Read", true },	{ "wbytes=", "Write", true },
		{ "dbytes=", "Discard", true }, { "rios=", "Read", false },
		{ "wios=", "Write", false },	{ "dios=", "Discard", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		size_t n = strlen(keys[i].key);

		if (!strncmp(word, keys[i].key, n))
			return cgroup_stats_add_block(
				keys[i].bytes ? &ret->block.service_bytes : &ret->block.serviced,
				major, minor, keys[i].op, strtoull(word + n, NULL, 10));
	}
	return 0;
}

/* Lines "MAJOR:MINOR rbytes=N wbytes=N …". */
static int block_stats(int dir, struct cgroup_stats *ret)
{
	_cleanup_free_ char *text = NULL;
	char *lines = NULL;
	int r = io_read_file(dir, "io.stat", 1 << 20, &text, NULL);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	for (char *line = strtok_r(text, "\n", &lines); line && r == 0;
	     line = strtok_r(NULL, "\n", &lines)) {
		char *words = NULL, *word = strtok_r(line, " ", &words);
		unsigned major, minor;

		if (!word || sscanf(word, "%u:%u", &major, &minor) != 2)
			continue;
		while (r == 0 && (word = strtok_r(NULL, " ", &words)))
			r = add_block_word(word, major, minor, ret);
	}
	return r;
}

int cgroup_v2_stats(const char *path, struct cgroup_stats *ret, struct err *err)
{
	struct cgroup_stats s = { .pids.limit = UINT64_MAX };
	_cleanup_close_ int dir = -EBADF;
	char name[CGROUP_DIR_MAX];
	int r = cgroup_check_path(path, err);

	if (r < 0)
		return r;
	if (!cgroup_join_path(name, CGROUP_ROOT, path, NULL))
		return err_set(err, ENAMETOOLONG, "the cgroup path is too long");
	dir = open(name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_sys(err, errno, "read the statistics of the cgroup %s", path);
	cpu_stats(dir, &s);
	(void)cgroup_read_u64(dir, "pids.current", &s.pids.current);
	(void)cgroup_read_u64(dir, "pids.max", &s.pids.limit);
	s.memory.memory.limit = UINT64_MAX;
	r = memory_stats(dir, &s);
	if (r == 0)
		r = block_stats(dir, &s);
	if (r == 0)
		r = cgroup_stats_hugepages(dir, true, &s);
	if (r < 0) {
		cgroup_stats_done(&s);
		return err_sys(err, -r, "read the statistics of the cgroup %s", path);
	}
	*ret = s;
	return 0;
}
