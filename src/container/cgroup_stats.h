/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a group has used, in units that do not depend on the cgroup version: nanoseconds and bytes,
 * and swap as v1 counts it (with the memory). Enough to write runc's `events --stats` from.
 *
 * A number that this kernel does not count is 0; a limit that is not set is UINT64_MAX.
 */
#ifndef PROA_CONTAINER_CGROUP_STATS_H
#define PROA_CONTAINER_CGROUP_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cgroup_counter {
	uint64_t usage, max_usage, limit;
	uint64_t failures; /* how often the limit was hit */
};

struct cgroup_stat_value {
	char *name; /* a line of memory.stat */
	uint64_t value;
};

struct cgroup_block_stat {
	uint32_t major, minor;
	char op[16]; /* "Read", "Write", "Sync", "Async", "Discard", "Total" */
	uint64_t value;
};

struct cgroup_block_stats {
	struct cgroup_block_stat *list;
	size_t count;
};

struct cgroup_hugepage_stat {
	char *size; /* "2MB" */
	struct cgroup_counter counter;
};

struct cgroup_stats {
	struct {
		uint64_t total_ns, user_ns, kernel_ns;
		uint64_t periods, throttled_periods, throttled_ns;
	} cpu;
	struct {
		struct cgroup_counter memory;
		struct cgroup_counter swap; /* memory and swap together */
		struct cgroup_counter kernel, kernel_tcp;
		uint64_t cache; /* page cache */
		struct cgroup_stat_value *raw;
		size_t raw_count;
		uint64_t oom_kills;
	} memory;
	struct {
		uint64_t current, limit;
	} pids;
	struct {
		struct cgroup_block_stats service_bytes, serviced; /* of the group and below */
	} block;
	struct cgroup_hugepage_stat *hugepages;
	size_t hugepage_count;
};

/* Releases what it owns and zeroes it. */
void cgroup_stats_done(struct cgroup_stats *s);

#endif
