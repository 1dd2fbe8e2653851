/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is found under the pid of a container's process: /proc/PID/root, and the mount namespace
 * that engines enter to copy files in and out (podman cp). If that were the host's, what is meant
 * for the container would be written to the host. So the owner of a machine, once it has no more
 * use for the host's paths, moves into a mount namespace with the container's root and binds, as
 * far as the host has them: what the guest mounts in its own kernel is not there, and of a disk
 * image there is nothing to be seen.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "ocivm/ocivm.h"
#include "util/err.h"
#include "util/linux.h"
#include "util/mem.h"
#include "vm/share.h"

#ifndef MS_REC
#define MS_REC	   16384
#define MS_PRIVATE (1 << 18)
#endif
#define MNT_LAZILY 2 /* MNT_DETACH */

/* A detached mount of a path of the host, private. */
static int clone_tree(const char *path, bool recursive, bool read_only)
{
	struct mount_attr attr = { .propagation = MS_PRIVATE,
				   .attr_set = read_only ? MOUNT_ATTR_RDONLY : 0 };
	_cleanup_close_ int fd =
		sys_open_tree(AT_FDCWD, path,
			      OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? AT_RECURSIVE : 0));

	if (fd < 0 ||
	    sys_mount_setattr(fd, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &attr) < 0)
		return -errno;
	return TAKE_FD(fd);
}

/* For a root that only the guest can read: an empty directory. */
static int empty_root(void)
{
	_cleanup_close_ int fs = sys_fsopen("tmpfs", FSOPEN_CLOEXEC);
	int fd;

	if (fs < 0 || sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	fd = sys_fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY);
	return fd < 0 ? -errno : fd;
}

/* The guest makes targets that are not there; here such a bind is left out. */
static void attach(int root, const char *target, int mount)
{
	_cleanup_close_ int at = sys_openat2(root, target, O_PATH | O_CLOEXEC, 0, RESOLVE_IN_ROOT);

	if (at >= 0)
		(void)sys_move_mount(mount, "", at, "",
				     MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

static int *clone_binds(const struct plan *p)
{
	int *binds = calloc(p->mount_count + 1, sizeof(int));

	for (size_t i = 0; binds && i < p->mount_count; i++) {
		const struct plan_mount *m = &p->mounts[i];

		binds[i] = m->kind == PLAN_MOUNT_BIND
				   ? clone_tree(m->source, m->flags & PLAN_MOUNT_RECURSIVE,
						m->attrs & MOUNT_ATTR_RDONLY)
				   : -EBADF;
	}
	return binds;
}

static int enter(int root, struct err *err)
{
	if (sys_unshare(CLONE_NEWNS) < 0 ||
	    sys_mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    sys_move_mount(root, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_sys(err, errno, "make the container's mount namespace");
	if (fchdir(root) < 0 || sys_pivot_root(".", ".") < 0 || sys_umount2(".", MNT_LAZILY) < 0 ||
	    chdir("/") < 0)
		return err_sys(err, errno, "enter the container's mount namespace%s",
			       errno == EINVAL ? " (proa runs in a chroot, or the host's root is "
						 "an initramfs)"
					       : "");
	return 0;
}

int view_enter(const struct plan *p, struct err *err)
{
	bool shared = vm_root_of(p) == VM_ROOT_SHARED;
	_cleanup_close_ int root =
		shared ? clone_tree(p->root.lowers[0], true, false) : empty_root();
	_cleanup_free_ int *binds = shared ? clone_binds(p) : NULL;
	int r;

	if (root < 0)
		return err_sys(err, -root, "open the container's root");
	r = enter(root, err);
	for (size_t i = 0; binds && i < p->mount_count; i++) {
		if (r == 0 && binds[i] >= 0)
			attach(root, p->mounts[i].target, binds[i]);
		fd_close(binds[i]);
	}
	return r;
}
