/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The root: attached over "/" of our own mount namespace, and entered by pivot_root.
 *
 * It and the sources of binds are detached mounts (root_sources.c), opened before anything is
 * mounted; from then on no path of the host is used any more. Targets are found with
 * openat2(RESOLVE_IN_ROOT), so that no symbolic link of the image leads out of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "container/stage_internal.h"
#include "util/linux.h"
#include "util/mem.h"

#ifndef MS_REC
#define MS_REC	      16384
#define MS_PRIVATE    (1 << 18)
#define MS_MOVE	      8192
#define MS_SHARED     (1 << 20)
#define MS_UNBINDABLE (1 << 17)
#endif

/*
 * Attached over "/" it is in sight of no path lookup of ours, for our own root stays below it.
 * Hooks that enter this mount namespace, however, would land in it and look in vain for the host's
 * paths: for them it lies where its own path says.
 */
static int attach_root(struct stage *s, struct err *err)
{
	const char *at = s->plan.root.at_path ? s->plan.root.lowers[0] : "/";
	/* a root that was made by mounts of the host lies below what is mounted at its path */
	int r = sys_move_mount(s->root_fd, "", AT_FDCWD, at, MOVE_MOUNT_F_EMPTY_PATH);

	if (r < 0 && s->plan.root.at_path &&
	    errno == EACCES) /* not to be reached in a user namespace */
		r = sys_move_mount(s->root_fd, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH);
	return r < 0 ? err_sys(err, errno, "attach the root") : 0;
}

int stage_root_open(struct stage *s, struct err *err)
{
	int r;

	/* with a user namespace they came from the owner */
	if (s->sources.root < 0) {
		r = root_sources_open(&s->plan, -1, &s->sources, err);
		if (r < 0)
			return r;
	}
	s->mount_ns = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	if (s->mount_ns < 0)
		return err_sys(err, errno, "open the mount namespace (is /proc mounted?)");
	/* nothing that is mounted from here on shows outside, nor what the host mounts here */
	if (sys_mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_sys(err, errno, "detach from the host's mounts%s",
			       errno == EINVAL
				       ? " (proa runs in a chroot that is no mount point: mount "
					 "--bind it on itself before entering it)"
				       : "");
	s->root_fd = s->sources.root;
	return attach_root(s, err);
}

/*
 * Whoever enters this mount namespace (exec does) lands at its root, which is not ours when proa
 * was started in a chroot: pivot_root then only swaps what is below the chroot, and the host stays
 * in reach. Entering our own namespace shows where its root is.
 */
static int check_namespace_root(struct stage *s, struct err *err)
{
	struct stat ours, theirs;

	if (sys_setns(s->mount_ns, CLONE_NEWNS) < 0)
		return err_sys(err, errno, "enter the container's own mount namespace");
	s->mount_ns = fd_close(s->mount_ns);
	if (fstat(s->root_fd, &ours) < 0 || stat("/", &theirs) < 0)
		return err_sys(err, errno, "look at the container's root");
	if (ours.st_dev != theirs.st_dev || ours.st_ino != theirs.st_ino)
		return err_set(
			err, EPERM,
			"proa was started in a chroot, where the host would stay in reach of the "
			"container; start it outside, or enter that root with pivot_root");
	return 0;
}

/* Without pivot_root, which an initramfs as root refuses: the root moves over "/", and chroot. */
static int enter_by_chroot(struct stage *s, struct err *err)
{
	if (fchdir(s->root_fd) < 0)
		return err_sys(err, errno, "enter the root");
	if (s->plan.root.at_path && sys_mount(".", "/", NULL, MS_MOVE, NULL) < 0)
		return err_sys(err, errno, "move the root over the host's");
	if (chroot(".") < 0 || chdir("/") < 0)
		return err_sys(err, errno, "enter the root (chroot)");
	return 0;
}

static int enter_by_pivot(struct stage *s, struct err *err)
{
	if (fchdir(s->root_fd) < 0 || sys_pivot_root(".", ".") < 0)
		return err_sys(err, errno, "enter the root (pivot_root)%s",
			       errno == EINVAL ? "; if the host's root is an initramfs: --no-pivot"
					       : "");
	/* the old root is now mounted over the new one: take it away with all that is in it */
	if (sys_umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return err_sys(err, errno, "leave the host's root");
	return 0;
}

int stage_root_enter(struct stage *s, struct err *err)
{
	struct mount_attr read_only = { .attr_set = MOUNT_ATTR_RDONLY };
	struct mount_attr propagation = { .propagation = s->plan.root.propagation };
	int r;

	if (s->plan.root.read_only &&
	    sys_mount_setattr(s->root_fd, "", AT_EMPTY_PATH, &read_only) < 0)
		return err_sys(err, errno, "make the root read-only");
	r = s->plan.root.no_pivot ? enter_by_chroot(s, err) : enter_by_pivot(s, err);
	if (r == 0)
		r = check_namespace_root(s, err);
	/* only now: pivot_root refuses a shared mount; the others it has had from the beginning */
	if (r == 0 && (propagation.propagation & (MS_SHARED | MS_UNBINDABLE)) &&
	    sys_mount_setattr(AT_FDCWD, "/", 0, &propagation) < 0)
		r = err_sys(err, errno, "set the propagation of the root");
	return r;
}

static int make_file(int parent, const char *name)
{
	int fd = openat(parent, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0755);

	if (fd < 0)
		return errno == EEXIST ? 0 : -errno;
	close(fd);
	return 0;
}

/*
 * Makes the missing parts of @path inside the root, each step resolved by the kernel within it, so
 * that a symbolic link in the middle is followed as a process of the container would follow it.
 */
static int make_target_step(int root_fd, const char *path, bool directory)
{
	_cleanup_free_ char *so_far = strdup(path);
	_cleanup_close_ int parent = openat(root_fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char *name = so_far;

	if (!so_far || parent < 0)
		return -ENOMEM;
	for (;;) {
		size_t n;
		bool last;
		char after;
		int r = 0;

		name += strspn(name, "/");
		n = strcspn(name, "/");
		last = !name[n + strspn(name + n, "/")];
		after = name[n];
		name[n] = 0;
		if (last && !directory)
			r = make_file(parent, name);
		else if (mkdirat(parent, name, 0755) < 0 && errno != EEXIST)
			r = -errno;
		if (r < 0)
			return r;
		/* the whole way from the root again: links and ".." are resolved within it */
		parent = fd_close(parent);
		parent = sys_openat2(root_fd, so_far, O_PATH | O_CLOEXEC, 0, RESOLVE_IN_ROOT);
		if (parent < 0)
			return -errno;
		if (last)
			return TAKE_FD(parent);
		name[n] = after;
		name += n;
	}
}

/* Most often only the last part is missing. */
static int make_target(int root_fd, const char *path, bool directory)
{
	_cleanup_free_ char *above = strdup(path);
	_cleanup_close_ int parent = -EBADF;
	char *slash = above ? strrchr(above, '/') : NULL;
	int r;

	if (!slash || slash == above || !slash[1])
		return make_target_step(root_fd, path, directory);
	*slash = 0;
	parent = sys_openat2(root_fd, above, O_PATH | O_DIRECTORY | O_CLOEXEC, 0, RESOLVE_IN_ROOT);
	if (parent < 0 || !strcmp(slash + 1, ".") || !strcmp(slash + 1, ".."))
		return make_target_step(root_fd, path, directory);
	r = !directory				   ? make_file(parent, slash + 1)
	    : mkdirat(parent, slash + 1, 0755) < 0 ? -errno
						   : 0;
	if (r < 0)
		return make_target_step(root_fd, path, directory);
	r = sys_openat2(root_fd, path, O_PATH | O_CLOEXEC, 0, RESOLVE_IN_ROOT);
	return r < 0 ? -errno : r;
}

int stage_root_target_link(int root_fd, const char *path, struct err *err)
{
	int fd = sys_openat2(root_fd, path, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0, RESOLVE_IN_ROOT);

	return fd < 0 && errno == ENOENT ? stage_root_target(root_fd, path, false, err)
	       : fd < 0			 ? err_sys(err, errno, "open the mount point %s", path)
					 : fd;
}

int stage_root_target(int root_fd, const char *path, bool directory, struct err *err)
{
	int fd = sys_openat2(root_fd, path, O_PATH | O_CLOEXEC, 0, RESOLVE_IN_ROOT);
	struct stat st;

	if (fd < 0 && errno == ENOENT)
		fd = make_target(root_fd, path, directory);
	else if (fd < 0)
		fd = -errno;
	if (fd < 0)
		return err_sys(err, -fd, "make the mount point %s", path);
	if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode) != directory) {
		close(fd);
		return err_set(err, directory ? ENOTDIR : EISDIR,
			       "mount on %s: %s: it is %s in the image, and what is mounted is %s",
			       path, strerror(directory ? ENOTDIR : EISDIR),
			       directory ? "a file" : "a directory",
			       directory ? "a directory" : "a file");
	}
	return fd;
}
