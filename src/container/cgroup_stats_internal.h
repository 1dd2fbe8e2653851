/* SPDX-License-Identifier: Apache-2.0 */
/* What the two readers of statistics share (cgroup_stats.c). All return 0 or -errno. */
#ifndef PROA_CONTAINER_CGROUP_STATS_INTERNAL_H
#define PROA_CONTAINER_CGROUP_STATS_INTERNAL_H

#include "container/cgroup_stats.h"

/* The lines "NAME VALUE" of @file, in order; an absent file has none. */
int cgroup_stats_raw(int dir, const char *file, struct cgroup_stats *ret);
uint64_t cgroup_stats_raw_value(const struct cgroup_stats *s, const char *name);

int cgroup_stats_add_block(struct cgroup_block_stats *s, uint32_t major, uint32_t minor,
			   const char *op, uint64_t value);

/* The four files of a counter; names may be NULL, absent files leave the number as it is. */
struct cgroup_counter_files {
	const char *usage, *max_usage, *limit, *failures;
};
void cgroup_stats_counter(int dir, const struct cgroup_counter_files *f,
			  struct cgroup_counter *ret);

/* Per size of huge page that the kernel has; @v2: which names the files have. */
int cgroup_stats_hugepages(int dir, bool v2, struct cgroup_stats *ret);

#endif
