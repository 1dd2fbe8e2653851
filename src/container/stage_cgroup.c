/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cgroup file system of a container.
 *
 * v2: the one hierarchy. v1: a tmpfs with one mount per hierarchy. With a cgroup namespace a new
 * mount shows the container's own group as its root. Without one, the group's directory is bound
 * from the host's hierarchy, so that again nothing above it is seen.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "container/cgroup.h"
#include "container/stage_internal.h"
#include "util/io.h"
#include "util/linux.h"
#include "util/mem.h"
#include "util/str.h"

#define CGROUP_FILE_MAX 65536

/* The path of our own group in a hierarchy, from /proc/self/cgroup ("4:memory:/a/b", "0::/a/b"). */
static char *own_group(const char *controller)
{
	_cleanup_free_ char *text = NULL;
	size_t n = strlen(controller);

	if (io_read_file(AT_FDCWD, "/proc/self/cgroup", CGROUP_FILE_MAX, &text, NULL) < 0)
		return NULL;
	for (char *line = text; line && *line;) {
		char *end = strchrnul(line, '\n'), *names = strchr(line, ':');
		char *path = names ? strchr(names + 1, ':') : NULL;

		if (!path || path > end)
			return NULL;
		for (char *name = names + 1; name <= path; name += strcspn(name, ",:") + 1)
			if (strcspn(name, ",:") == n && !strncmp(name, controller, n))
				return strndup(path + 1, (size_t)(end - path - 1));
		line = *end ? end + 1 : end;
	}
	return NULL;
}

/* The view of one hierarchy as a detached mount, or -errno. @controller "" is v2. */
static int open_view(struct stage *s, const char *controller, uint64_t attrs, struct err *err)
{
	const char *const options[] = { controller, NULL };
	_cleanup_free_ char *group = NULL, *path = NULL;
	struct mount_attr attr = { .attr_set = attrs };
	_cleanup_close_ int fd = -EBADF;

	if (s->plan.namespaces & PLAN_NS_CGROUP)
		return *controller ? stage_new_fs("cgroup", NULL, options, attrs, err)
				   : stage_new_fs("cgroup2", NULL, NULL, attrs, err);
	group = own_group(controller);
	if (group)
		path = str_printf(CGROUP_ROOT "%s%s%s", *controller ? "/" : "", controller, group);
	if (!path)
		return err_set(err, ENOENT, "mount the cgroups: this process is in none");
	fd = sys_open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (fd < 0 || sys_mount_setattr(fd, "", AT_EMPTY_PATH, &attr) < 0)
		return err_sys(err, errno, "mount the cgroup %s", path);
	return TAKE_FD(fd);
}

static int mount_v1(struct stage *s, const struct plan_mount *m, struct err *err)
{
	static const char *const tmpfs_options[] = { "mode=755", NULL };
	_cleanup_close_ int tmpfs = stage_new_fs("tmpfs", "cgroup", tmpfs_options,
						 m->attrs & ~(uint64_t)MOUNT_ATTR_RDONLY, err);
	struct mount_attr attr = { .attr_set = m->attrs };
	int r = tmpfs < 0 ? tmpfs : stage_attach(s, tmpfs, m->target, true, err);

	for (const char *const *c = cgroup_v1_controllers; r == 0 && *c; c++) {
		_cleanup_free_ char *target = str_printf("%s/%s", m->target, *c);
		_cleanup_close_ int view = open_view(s, *c, m->attrs, NULL);

		/* a controller this kernel lacks, or has elsewhere, is simply not shown */
		if (view >= 0 && target)
			r = stage_attach(s, view, target, true, err);
	}
	if (r == 0 && sys_mount_setattr(tmpfs, "", AT_EMPTY_PATH, &attr) < 0)
		r = err_sys(err, errno, "set the mount options of %s", m->target);
	return r;
}

int stage_mount_cgroup(struct stage *s, const struct plan_mount *m, struct err *err)
{
	_cleanup_close_ int fd = -EBADF;

	if (s->cgroup_version == 0)
		return 0;
	if (s->cgroup_version == 1)
		return mount_v1(s, m, err);
	fd = open_view(s, "", m->attrs, err);
	return fd < 0 ? fd : stage_attach(s, fd, m->target, true, err);
}
