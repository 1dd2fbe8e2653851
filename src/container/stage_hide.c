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

/*
 * A detached mount of a character device 1:3 that is surely the kernel's: on a tmpfs of our own.
 * Fails before Linux 6.15, where a detached mount cannot be cloned from, and in a user namespace.
 */
static int open_null(struct err *err)
{
	_cleanup_close_ int fs = stage_new_fs("tmpfs", NULL, NULL, 0, err);
	int fd;

	if (fs < 0)
		return fs;
	if (mknodat(fs, "null", S_IFCHR | 0666, makedev(1, 3)) < 0)
		return err_sys(err, errno, "make a null device");
	fd = sys_open_tree(fs, "null", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	return fd < 0 ? err_sys(err, errno, "mount a null device") : fd;
}

/* Otherwise: the root's /dev/null, which we just made, if that is what it is. */
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
	/* the file itself, on an attached mount: each cover is cloned from it */
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

static int mask_path(struct stage *s, const char *path, int null_fd, struct err *err)
{
	static const char *const options[] = { "nr_inodes=2", NULL };
	_cleanup_close_ int at = open_hidden(s, path);
	_cleanup_close_ int cover = -EBADF;
	int r;

	if (at < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0
							   : err_sys(err, errno, "hide %s", path);
	r = check_kernel_fs(path, at, err);
	if (r < 0)
		return r;
	cover = is_directory(at)
			? stage_new_fs("tmpfs", NULL, options,
				       MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID, err)
			: sys_open_tree(null_fd, "",
					OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
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
	_cleanup_close_ int null_fd = -EBADF;
	int r = 0;

	/* read-only first: a hidden path below it keeps its cover */
	for (char **p = s->plan.read_only_paths; r == 0 && p && *p; p++)
		r = protect_path(s, *p, err);
	if (r < 0 || !s->plan.masked_paths || !s->plan.masked_paths[0])
		return r;
	null_fd = open_null(err);
	if (null_fd < 0)
		null_fd = open_null_in_root(s, err);
	if (null_fd < 0)
		return null_fd;
	for (char **p = s->plan.masked_paths; r == 0 && *p; p++)
		r = mask_path(s, *p, null_fd, err);
	return r;
}
