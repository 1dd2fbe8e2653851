/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Statistics: what is read in the same way from both versions.
 *
 * A file that is absent belongs to a controller or a kernel that does not count such a thing, and
 * leaves its number as it was; statistics are for looking at, and half of them are better than
 * none.
 */
#include "container/cgroup_stats_internal.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "container/cgroup_internal.h"
#include "util/io.h"
#include "util/mem.h"
#include "util/str.h"

void cgroup_stats_done(struct cgroup_stats *s)
{
	for (size_t i = 0; i < s->memory.raw_count; i++)
		free(s->memory.raw[i].name);
	for (size_t i = 0; i < s->hugepage_count; i++)
		free(s->hugepages[i].size);
	free(s->memory.raw);
	free(s->hugepages);
	free(s->block.service_bytes.list);
	free(s->block.serviced.list);
	*s = (struct cgroup_stats){ 0 };
}

int cgroup_stats_raw(int dir, const char *file, struct cgroup_stats *ret)
{
	_cleanup_free_ char *text = NULL;
	char *save = NULL;
	int r = io_read_file(dir, file, 1 << 20, &text, NULL);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *space = strchr(line, ' ');
		struct cgroup_stat_value v;

		if (!space)
			continue;
		*space = 0;
		v = (struct cgroup_stat_value){ strdup(line), strtoull(space + 1, NULL, 10) };
		if (!v.name || mem_grow(&ret->memory.raw, ret->memory.raw_count, sizeof(v)) < 0) {
			free(v.name);
			return -ENOMEM;
		}
		ret->memory.raw[ret->memory.raw_count++] = v;
	}
	return 0;
}

uint64_t cgroup_stats_raw_value(const struct cgroup_stats *s, const char *name)
{
	for (size_t i = 0; i < s->memory.raw_count; i++)
		if (!strcmp(s->memory.raw[i].name, name))
			return s->memory.raw[i].value;
	return 0;
}

int cgroup_stats_add_block(struct cgroup_block_stats *s, uint32_t major, uint32_t minor,
			   const char *op, uint64_t value)
{
	struct cgroup_block_stat new = { .major = major, .minor = minor, .value = value };

	if (mem_grow(&s->list, s->count, sizeof(new)) < 0)
		return -ENOMEM;
	snprintf(new.op, sizeof(new.op), "%s", op);
	s->list[s->count++] = new;
	return 0;
}

void cgroup_stats_counter(int dir, const struct cgroup_counter_files *f, struct cgroup_counter *ret)
{
	if (f->usage)
		(void)cgroup_read_u64(dir, f->usage, &ret->usage);
	if (f->max_usage)
		(void)cgroup_read_u64(dir, f->max_usage, &ret->max_usage);
	if (f->limit)
		(void)cgroup_read_u64(dir, f->limit, &ret->limit);
	if (f->failures)
		(void)cgroup_read_u64(dir, f->failures, &ret->failures);
	/* v1 shows "no limit" as the most pages that a number can count */
	if (ret->limit > (uint64_t)INT64_MAX - (1 << 20))
		ret->limit = UINT64_MAX;
}

static int add_hugepage(int dir, bool v2, const char *size, struct cgroup_stats *ret)
{
	struct cgroup_hugepage_stat new = { .counter.limit = UINT64_MAX };
	char usage[64], most[64], limit[64], events[64], text[256];

	snprintf(usage, sizeof(usage), v2 ? "hugetlb.%s.current" : "hugetlb.%s.usage_in_bytes",
		 size);
	if (cgroup_read_u64(dir, usage, &new.counter.usage) < 0)
		return 0;
	snprintf(most, sizeof(most), "hugetlb.%s.max_usage_in_bytes", size);
	snprintf(limit, sizeof(limit), v2 ? "hugetlb.%s.max" : "hugetlb.%s.limit_in_bytes", size);
	snprintf(events, sizeof(events), v2 ? "hugetlb.%s.events" : "hugetlb.%s.failcnt", size);
	cgroup_stats_counter(
		dir,
		&(struct cgroup_counter_files){ NULL, v2 ? NULL : most, limit, v2 ? NULL : events },
		&new.counter);
	if (v2 && cgroup_read(dir, events, text, sizeof(text)) == 0)
		new.counter.failures = cgroup_value_of(text, "max", 0);
	new.size = strdup(size);
	if (!new.size || mem_grow(&ret->hugepages, ret->hugepage_count, sizeof(new)) < 0) {
		free(new.size);
		return -ENOMEM;
	}
	ret->hugepages[ret->hugepage_count++] = new;
	return 0;
}

int cgroup_stats_hugepages(int dir, bool v2, struct cgroup_stats *ret)
{
	DIR *d = opendir("/sys/kernel/mm/hugepages");
	struct dirent *e;
	int r = 0;

	if (!d)
		return 0;
	while (r == 0 && (e = readdir(d))) {
		char size[32];
		uint64_t kib;

		if (!str_starts(e->d_name, "hugepages-"))
			continue;
		kib = strtoull(e->d_name + 10, NULL, 10);
		/* the words of the kernel's hugetlb_cgroup.c */
		if (kib >= 1 << 20)
			snprintf(size, sizeof(size), "%lluGB", (unsigned long long)(kib >> 20));
		else if (kib >= 1 << 10)
			snprintf(size, sizeof(size), "%lluMB", (unsigned long long)(kib >> 10));
		else
			snprintf(size, sizeof(size), "%lluKB", (unsigned long long)kib);
		r = add_hugepage(dir, v2, size, ret);
	}
	closedir(d);
	return r;
}
