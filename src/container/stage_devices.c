/* SPDX-License-Identifier: Apache-2.0 */
/* Device nodes and the usual links in the root's /dev. What may be used is the device rules'
 * matter. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include "container/stage_internal.h"
#include "util/linux.h"
#include "util/mem.h"
#include "util/str.h"

#define DEV_DEPTH_MAX 4

/* A user namespace makes no devices: the host's own is mounted, if it is what the plan says. */
static int bind_device(int root_fd, const struct plan_device *d, struct err *err)
{
	_cleanup_close_ int clone =
		sys_open_tree(AT_FDCWD, d->path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	_cleanup_close_ int at = -EBADF;
	struct stat st;

	if (clone < 0 || fstat(clone, &st) < 0)
		return err_sys(err, errno, "mount the device %s", d->path);
	if (st.st_rdev != makedev(d->major, d->minor) ||
	    (st.st_mode & S_IFMT) != (d->type == 'b' ? S_IFBLK : S_IFCHR))
		return err_set(err, ENODEV, "%s of the host is not the device %u:%u", d->path,
			       d->major, d->minor);
	at = stage_root_target(root_fd, d->path, false, err);
	if (at < 0)
		return at;
	if (sys_move_mount(clone, "", at, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) <
	    0)
		return err_sys(err, errno, "mount the device %s", d->path);
	return 0;
}

/* Makes the node @name in the directory @parent. */
static int make_node(int parent, const char *name, const struct plan_device *d, struct err *err)
{
	mode_t type = d->type == 'b' ? S_IFBLK : d->type == 'c' ? S_IFCHR : S_IFIFO;

	if (mknodat(parent, name, type | (d->mode & 07777), makedev(d->major, d->minor)) < 0) {
		struct stat st;

		if (errno != EEXIST)
			return err_sys(err, errno, "make the device %s", d->path);
		/* the image may have its own, if it is the same; runtime-spec, "Devices" */
		if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    (st.st_mode & S_IFMT) != type ||
		    (type != S_IFIFO && st.st_rdev != makedev(d->major, d->minor)))
			return err_set(err, EEXIST,
				       "make the device %s: the image has something else there",
				       d->path);
		return 0;
	}
	if ((d->uid || d->gid) && fchownat(parent, name, d->uid, d->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, errno, "give the device %s its owner", d->path);
	return 0;
}

/* @dev: the root's /dev, where most of them are. */
static int make_device(int root_fd, int dev, const struct plan_device *d, struct err *err)
{
	_cleanup_free_ char *above = NULL;
	_cleanup_close_ int parent = -EBADF;
	const char *slash = strrchr(d->path, '/');

	if (!slash || !slash[1])
		return err_set(err, EINVAL, "device path \"%s\" is not absolute", d->path);
	if (slash - d->path == 4 && str_starts(d->path, "/dev/"))
		return make_node(dev, slash + 1, d, err);
	above = strndup(d->path, slash == d->path ? 1 : (size_t)(slash - d->path));
	if (!above)
		return err_set(err, ENOMEM, "out of memory");
	parent = stage_root_target(root_fd, above, true, err);
	return parent < 0 ? parent : make_node(parent, slash + 1, d, err);
}

static bool is_own_mount(const char *name)
{
	static const char *const names[] = { ".", "..", "pts", "shm", "mqueue", "hugepages", "fd" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(names[i], name))
			return true;
	return false;
}

/*
 * --privileged: every device that this kernel's /dev has. "/dev" still means the host's here (or
 * the guest's, in a machine): the new root covers it only for lookups that start elsewhere.
 */
static int copy_devices(int from, int to, unsigned depth, struct err *err)
{
	DIR *d = fdopendir(from);
	struct dirent *e;
	int r = 0;

	if (!d) {
		close(from);
		return err_sys(err, errno, "read /dev");
	}
	while (r == 0 && (e = readdir(d))) {
		struct stat st;

		if (is_own_mount(e->d_name) ||
		    fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (S_ISDIR(st.st_mode) && depth < DEV_DEPTH_MAX) {
			int child = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
			_cleanup_close_ int copy = -EBADF;

			(void)mkdirat(to, e->d_name, st.st_mode & 07777);
			copy = openat(to, e->d_name,
				      O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			if (child >= 0 && copy >= 0)
				r = copy_devices(child, copy, depth + 1, err);
			else
				fd_close(child);
		} else if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) {
			/* what is there already is the container's own */
			if (mknodat(to, e->d_name, st.st_mode, st.st_rdev) == 0)
				(void)!fchownat(to, e->d_name, st.st_uid, st.st_gid,
						AT_SYMLINK_NOFOLLOW);
		}
	}
	closedir(d);
	return r;
}

static int copy_all_devices(int dev, struct err *err)
{
	_cleanup_close_ int to = openat(dev, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int from = open("/dev", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (to < 0 || from < 0) {
		fd_close(from);
		return err_sys(err, errno, "open /dev");
	}
	return copy_devices(from, to, 0, err);
}

/* A /dev that was bound from the host is whole, and not ours to write to. */
static bool has_own_dev(const struct stage *s)
{
	for (size_t i = 0; i < s->plan.mount_count; i++)
		if (s->plan.mounts[i].kind == PLAN_MOUNT_BIND &&
		    !strcmp(s->plan.mounts[i].target, "/dev"))
			return true;
	return false;
}

int stage_devices(struct stage *s, struct err *err)
{
	static const struct {
		const char *name, *target;
	} links[] = {
		{ "fd", "/proc/self/fd" },	 { "stdin", "/proc/self/fd/0" },
		{ "stdout", "/proc/self/fd/1" }, { "stderr", "/proc/self/fd/2" },
		{ "core", "/proc/kcore" },	 { "ptmx", "pts/ptmx" },
	};
	_cleanup_close_ int dev = -EBADF;

	if (has_own_dev(s))
		return 0;
	dev = stage_root_target(s->root_fd, "/dev", true, err);
	if (dev < 0)
		return dev;
	for (size_t i = 0; i < s->plan.device_count; i++) {
		int r = s->plan.namespaces & PLAN_NS_USER
				? bind_device(s->root_fd, &s->plan.devices[i], err)
				: make_device(s->root_fd, dev, &s->plan.devices[i], err);

		if (r < 0)
			return r;
	}
	if (s->plan.privileged && !(s->plan.namespaces & PLAN_NS_USER) &&
	    copy_all_devices(dev, err) < 0)
		return -err->errnum;
	for (size_t i = 0; i < ARRAY_SIZE(links); i++)
		if (symlinkat(links[i].target, dev, links[i].name) < 0 && errno != EEXIST)
			return err_sys(err, errno, "make /dev/%s", links[i].name);
	return 0;
}
