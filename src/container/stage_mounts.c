/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan's mounts and hidden paths in the new root.
 *
 * Every mount is made detached (fsopen/fsmount, or the clone of a bind's source) and moved onto a
 * descriptor that was resolved inside the root. What hides a path is a clone of a mount we made
 * ourselves, checked by its descriptor: an image that puts its own thing at /dev/null changes
 * nothing (CVE-2025-31133), nor does a /proc that is not procfs (CVE-2025-52881).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include "container/cgroup.h"
#include "container/stage_internal.h"
#include "util/linux.h"
#include "util/mem.h"
#include "util/str.h"

#ifndef PROC_SUPER_MAGIC
#define PROC_SUPER_MAGIC 0x9fa0
#endif

int stage_new_fs(const char *type, const char *const *options, uint64_t attrs, struct err *err)
{
	_cleanup_close_ int fs = sys_fsopen(type, FSOPEN_CLOEXEC);
	int fd;

	if (fs < 0)
		return err_sys(err, errno, "mount a %s", type);
	(void)sys_fsconfig(fs, FSCONFIG_SET_STRING, "source", type, 0); /* what mount(8) shows */
	for (; options && *options; options++) {
		_cleanup_free_ char *key = strdup(*options);
		char *eq = key ? strchr(key, '=') : NULL;
		int r;

		if (!key)
			return err_set(err, ENOMEM, "out of memory");
		if (eq)
			*eq = 0;
		r = eq ? sys_fsconfig(fs, FSCONFIG_SET_STRING, key, eq + 1, 0)
		       : sys_fsconfig(fs, FSCONFIG_SET_FLAG, key, NULL, 0);
		if (r < 0)
			return err_sys(err, errno, "mount a %s with the option \"%s\"", type,
				       *options);
	}
	if (sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return err_sys(err, errno, "mount a %s", type);
	fd = sys_fsmount(fs, FSMOUNT_CLOEXEC, (unsigned)attrs);
	return fd < 0 ? err_sys(err, errno, "mount a %s", type) : fd;
}

/* Moves the detached mount @fd onto @target of the root. Does not close @fd. */
static int attach(struct stage *s, int fd, const char *target, bool directory, struct err *err)
{
	_cleanup_close_ int at = stage_root_target(s->root_fd, target, directory, err);

	if (at < 0)
		return at;
	if (sys_move_mount(fd, "", at, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return err_sys(err, errno, "mount on %s", target);
	return 0;
}

static bool is_directory(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
}

/*
 * Copies the owner and mode of the image's directory, which the tmpfs covers, to the tmpfs's root.
 * Its content stays hidden, as with docker's --tmpfs.
 */
static void take_over_mode(struct stage *s, const char *target, int tmpfs)
{
	struct stat st;
	_cleanup_close_ int fd = sys_openat2(s->root_fd, target, O_PATH | O_DIRECTORY | O_CLOEXEC,
					     0, RESOLVE_IN_ROOT);

	if (fd >= 0 && fstat(fd, &st) == 0) {
		(void)!fchownat(tmpfs, "", st.st_uid, st.st_gid, AT_EMPTY_PATH);
		(void)!fchmodat(tmpfs, ".", st.st_mode & 07777, 0);
	}
}

/*
 * v1: a tmpfs with one mount per hierarchy, each showing the container's own group as its root,
 * thanks to the cgroup namespace. v2: the one hierarchy.
 */
static int mount_cgroup(struct stage *s, const struct plan_mount *m, struct err *err)
{
	static const char *const tmpfs_options[] = { "mode=755", NULL };
	_cleanup_close_ int fd = -EBADF;
	struct mount_attr attr = { .attr_set = m->attrs };
	int r;

	if (s->cgroup_version == 0)
		return 0;
	fd = s->cgroup_version == 2 ? stage_new_fs("cgroup2", NULL, m->attrs, err)
				    : stage_new_fs("tmpfs", tmpfs_options,
						   m->attrs & ~(uint64_t)MOUNT_ATTR_RDONLY, err);
	if (fd < 0)
		return fd;
	r = attach(s, fd, m->target, true, err);
	if (r < 0 || s->cgroup_version == 2)
		return r;
	for (const char *const *c = cgroup_v1_controllers; *c; c++) {
		const char *const options[] = { *c, NULL };
		_cleanup_free_ char *target = str_printf("%s/%s", m->target, *c);
		_cleanup_close_ int group = stage_new_fs("cgroup", options, m->attrs, NULL);

		/* a controller this kernel lacks, or has elsewhere, is simply not shown */
		if (group < 0 || !target)
			continue;
		r = attach(s, group, target, true, err);
		if (r < 0)
			return r;
	}
	if (sys_mount_setattr(fd, "", AT_EMPTY_PATH, &attr) < 0)
		return err_sys(err, errno, "set the mount options of %s", m->target);
	return 0;
}

/* A kernel file system that its namespace or an older kernel refuses has a fallback or none. */
static const char *kind_fs(uint8_t kind)
{
	switch (kind) {
	case PLAN_MOUNT_TMPFS: return "tmpfs";
	case PLAN_MOUNT_PROC: return "proc";
	case PLAN_MOUNT_SYSFS: return "sysfs";
	case PLAN_MOUNT_DEVPTS: return "devpts";
	default: return "mqueue";
	}
}

static int mount_one(struct stage *s, size_t i, struct err *err)
{
	const struct plan_mount *m = &s->plan.mounts[i];
	_cleanup_close_ int fd = -EBADF;
	int r;

	if (m->kind == PLAN_MOUNT_BIND)
		return attach(s, s->sources.binds[i], m->target, is_directory(s->sources.binds[i]),
			      err);
	if (m->kind == PLAN_MOUNT_CGROUP)
		return mount_cgroup(s, m, err);
	fd = stage_new_fs(kind_fs(m->kind), (const char *const *)m->options, m->attrs, err);
	if (fd < 0)
		return err_wrap(err, "mount on %s", m->target);
	if (m->kind == PLAN_MOUNT_TMPFS && (m->flags & PLAN_MOUNT_KEEP_MODE))
		take_over_mode(s, m->target, fd);
	r = attach(s, fd, m->target, true, err);
	return r;
}

int stage_mounts(struct stage *s, struct err *err)
{
	for (size_t i = 0; i < s->plan.mount_count; i++) {
		int r = mount_one(s, i, err);

		if (s->sources.binds[i] >= 0)
			s->sources.binds[i] = fd_close(s->sources.binds[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

/*
 * A detached mount of a character device 1:3 that is surely the kernel's: on a tmpfs of our own.
 * Fails before Linux 6.15, where a detached mount cannot be cloned from, and in a user namespace.
 */
static int open_null(struct err *err)
{
	_cleanup_close_ int fs = stage_new_fs("tmpfs", NULL, 0, err);
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
	if (fs.f_type != PROC_SUPER_MAGIC && fs.f_type != SYSFS_MAGIC && fs.f_type != TMPFS_MAGIC)
		return err_set(err, EPERM, "%s is not on the kernel's file system", path);
	return 0;
}

static int mask_path(struct stage *s, const char *path, int null_fd, struct err *err)
{
	static const char *const options[] = { "nr_inodes=2", NULL };
	_cleanup_close_ int at = sys_openat2(s->root_fd, path, O_PATH | O_CLOEXEC, 0,
					     RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS);
	_cleanup_close_ int cover = -EBADF;
	int r;

	if (at < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0
							   : err_sys(err, errno, "hide %s", path);
	r = check_kernel_fs(path, at, err);
	if (r < 0)
		return r;
	cover = is_directory(at)
			? stage_new_fs("tmpfs", options, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID, err)
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
	_cleanup_close_ int at = sys_openat2(s->root_fd, path, O_PATH | O_CLOEXEC, 0,
					     RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS);
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
