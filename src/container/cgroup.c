/* SPDX-License-Identifier: Apache-2.0 */
#include "container/cgroup.h"

#include <linux/magic.h>
#include <stddef.h>
#include <sys/statfs.h>

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
