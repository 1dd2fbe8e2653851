/* SPDX-License-Identifier: Apache-2.0 */
#include "container/cgroup.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/statfs.h>
#include "util/io.h"
#include "util/mem.h"

const struct cgroup_ops *cgroup_detect(void)
{
	struct statfs fs;

	if (statfs(CGROUP_ROOT, &fs) < 0)
		return NULL;
	if (fs.f_type == CGROUP2_SUPER_MAGIC)
		return &cgroup_v2;
	/* v1, or the hybrid layout: v1 controllers beside an (almost) empty v2 hierarchy */
	if (fs.f_type == TMPFS_MAGIC)
		return &cgroup_v1;
	return NULL;
}

uint64_t cgroup_read_oom_kills(const char *path)
{
	_cleanup_free_ char *text = NULL;
	unsigned long long n = 0;
	char *line;

	if (io_read_file(AT_FDCWD, path, 4096, &text, NULL) < 0)
		return 0;
	line = strstr(text, "oom_kill ");
	if (line)
		sscanf(line, "oom_kill %llu", &n);
	return n;
}
