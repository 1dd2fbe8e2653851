/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Masked and read-only paths.
 *
 * What hides a path is a clone of a mount we made ourselves, checked by its descriptor: an image
 * that puts its own thing at /dev/null changes nothing (CVE-2025-31133), nor does a /proc that is
 * not procfs (CVE-2025-52881).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include "container/stage_internal.h"
#include "util/linux.h"
#include "util/mem.h"
#include "util/str.h"

static bool is_directory(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
}

/* What covers: an empty directory and a null device, of which each cover is a clone. */
struct covers {
	int fs, null;
};

static void covers_done(struct covers *c)
{
	fd_close(c->null);
	fd_close(c->fs);
}

/* A user namespace makes no devices: the root's /dev/null, which is a bind of the host's, then. */
static int open_null_in_root(struct stage *s, struct err *err)
{
	_cleanup_close_ int fd =
		sys_openat2(s->root_fd, "dev/null", O_PATH | O_NOFOLLOW | O_CLOEXEC, 0,
			    RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, errno, "open the container's /dev/null");
	if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
		return err_set(err, EPERM, "the container's /dev/null is not the null device");
	return TAKE_FD(fd);
}

/*
 * One small tmpfs for all covers. It is attached where nobody sees it, over the host's /proc in
 * this namespace, and goes with the old root: a mount that is closed without ever having been
 * attached costs an RCU grace period, and one that is not attached cannot be cloned before
 * Linux 6.15.
 */
static int covers_make(struct stage *s, struct covers *c, struct err *err)
{
	static const char *const options[] = { "mode=555", "nr_inodes=4", NULL };

	c->fs = stage_new_fs("tmpfs", NULL, options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, err);
	if (c->fs < 0)
		return c->fs;
	if (sys_move_mount(c->fs, "", AT_FDCWD, "/proc", MOVE_MOUNT_F_EMPTY_PATH) < 0 ||
	    mkdirat(c->fs, "empty", 0555) < 0)
		return err_sys(err, errno, "make what hides paths");
	if (s->plan.namespaces & PLAN_NS_USER)
		c->null = open_null_in_root(s, err);
	else if (mknodat(c->fs, "null", S_IFCHR | 0666, makedev(1, 3)) < 0 ||
		 (c->null = openat(c->fs, "null", O_PATH | O_NOFOLLOW | O_CLOEXEC)) < 0)
		return err_sys(err, errno, "make a null device");
	return c->null < 0 ? c->null : 0;
}

/* A read-only clone, as a detached mount. */
static int covers_clone(const struct covers *c, bool directory)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };
	_cleanup_close_ int fd =
		directory ? sys_open_tree(c->fs, "empty", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)
			  : sys_open_tree(c->null, "",
					  OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);

	if (fd < 0 || (directory && sys_mount_setattr(fd, "", AT_EMPTY_PATH, &attr) < 0))
		return -1;
	return TAKE_FD(fd);
}

/* The path must lie on the file system that the plan mounted there, not on a look-alike. */
static int check_kernel_fs(const char *path, int fd, struct err *err)
{
	struct statfs fs;

	if (!str_starts(path, "/proc/") && !str_starts(path, "/sys/"))
		return 0;
	if (fstatfs(fd, &fs) < 0)
		return err_sys(err, errno, "look at %s", path);
	if (fs.f_type != PROC_SUPER_MAGIC && fs.f_type != SYSFS_MAGIC && fs.f_type != TMPFS_MAGIC &&
	    fs.f_type != CGROUP_SUPER_MAGIC && fs.f_type != CGROUP2_SUPER_MAGIC)
		return err_set(err, EPERM, "%s is not on the kernel's file system", path);
	return 0;
}

/* What hides a path: below /proc and /sys no link may lead elsewhere; in the image's files it may.
 */
static int open_hidden(struct stage *s, const char *path)
{
	bool kernel = str_starts(path, "/proc/") || str_starts(path, "/sys/");

	return sys_openat2(s->root_fd, path, O_PATH | O_CLOEXEC, 0,
			   RESOLVE_IN_ROOT | (kernel ? RESOLVE_NO_SYMLINKS : 0));
}

static int mask_path(struct stage *s, const char *path, const struct covers *c, struct err *err)
{
	_cleanup_close_ int at = open_hidden(s, path);
	_cleanup_close_ int cover = -EBADF;
	int r;

	if (at < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0
							   : err_sys(err, errno, "hide %s", path);
	r = check_kernel_fs(path, at, err);
	if (r < 0)
		return r;
	cover = covers_clone(c, is_directory(at));
	if (cover < 0)
		return err_sys(err, errno, "hide %s", path);
	if (sys_move_mount(cover, "", at, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) <
	    0)
		return err_sys(err, errno, "hide %s", path);
	return 0;
}

static int protect_path(struct stage *s, const char *path, struct err *err)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };
	_cleanup_close_ int at = open_hidden(s, path);
	_cleanup_close_ int clone = -EBADF;
	int r;

	if (at < 0)
		return errno == ENOENT || errno == ENOTDIR
			       ? 0
			       : err_sys(err, errno, "protect %s", path);
	r = check_kernel_fs(path, at, err);
	if (r < 0)
		return r;
	clone = sys_open_tree(at, "",
			      OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);
	if (clone < 0 || sys_mount_setattr(clone, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr) < 0 ||
	    sys_move_mount(clone, "", at, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) <
		    0)
		return err_sys(err, errno, "make %s read-only", path);
	return 0;
}

int stage_hide_paths(struct stage *s, struct err *err)
{
	_cleanup_(covers_done) struct covers c = { -EBADF, -EBADF };
	int r = 0;

	/* read-only first: a hidden path below it keeps its cover */
	for (char **p = s->plan.read_only_paths; r == 0 && p && *p; p++)
		r = protect_path(s, *p, err);
	if (r < 0 || !s->plan.masked_paths || !s->plan.masked_paths[0])
		return r;
	r = covers_make(s, &c, err);
	for (char **p = s->plan.masked_paths; r == 0 && *p; p++)
		r = mask_path(s, *p, &c, err);
	return r;
}
