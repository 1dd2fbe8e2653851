/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The root: put together as detached mounts, attached over "/" of our own mount namespace, entered
 * by pivot_root.
 *
 * Sources of binds are opened (open_tree, cloned) while the host's paths still mean the host's files
 * and before anything is mounted; from then on no path of the host is used any more. Targets are
 * found with openat2(RESOLVE_IN_ROOT), so that no symbolic link of the image leads out of it.
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
#include "util/str.h"

#ifndef MS_REC
#define MS_REC	   16384
#define MS_PRIVATE (1 << 18)
#define MS_SLAVE   (1 << 19)
#define MS_SHARED  (1 << 20)
#endif
#ifndef MS_RDONLY
#define MS_RDONLY 1
#endif

/* Opens the source of a bind as a detached mount with the attributes the plan asks for. */
static int open_bind(const struct plan_mount *m, struct err *err)
{
	bool recursive = m->flags & PLAN_MOUNT_RECURSIVE;
	_cleanup_close_ int fd =
		sys_open_tree(AT_FDCWD, m->source,
			      OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? AT_RECURSIVE : 0));
	struct mount_attr attr = { .attr_set = m->attrs };
	unsigned flags = AT_EMPTY_PATH;

	if (fd < 0)
		return err_sys(err, errno, "mount \"%s\" on %s", m->source, m->target);
	attr.propagation = m->flags & PLAN_MOUNT_SHARED ? MS_SHARED :
			   m->flags & PLAN_MOUNT_SLAVE  ? MS_SLAVE :
							  MS_PRIVATE;
	if (recursive) {
		struct mount_attr only = { .propagation = attr.propagation };

		/* propagation for the whole tree; attributes for the top, unless asked otherwise */
		if (sys_mount_setattr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &only) < 0)
			return err_sys(err, errno, "set the propagation of %s", m->target);
		if (m->flags & PLAN_MOUNT_READ_ONLY_RECURSIVE)
			flags |= AT_RECURSIVE;
	}
	if (sys_mount_setattr(fd, "", flags, &attr) < 0)
		return err_sys(err, errno, "set the mount options of %s", m->target);
	return TAKE_FD(fd);
}

static int open_sources(struct stage *s, struct err *err)
{
	s->source_fds = calloc(s->plan.mount_count + 1, sizeof(int));
	if (!s->source_fds)
		return err_set(err, ENOMEM, "out of memory");
	for (size_t i = 0; i < s->plan.mount_count; i++) {
		s->source_fds[i] = -EBADF;
		if (s->plan.mounts[i].kind != PLAN_MOUNT_BIND)
			continue;
		s->source_fds[i] = open_bind(&s->plan.mounts[i], err);
		if (s->source_fds[i] < 0)
			return s->source_fds[i];
	}
	return 0;
}

/* One overlay parameter of fsconfig; the kernel's own reason is in errno only. */
static int overlay_set(int fs, const char *key, const char *value)
{
	return sys_fsconfig(fs, FSCONFIG_SET_STRING, key, value, 0);
}

/* Linux 6.7 and later: one lowerdir+ for each layer, no limit on their number or spelling. */
static int overlay_by_layers(const struct plan_root *r)
{
	_cleanup_close_ int fs = sys_fsopen("overlay", FSOPEN_CLOEXEC);

	if (fs < 0)
		return -errno;
	(void)overlay_set(fs, "source", "overlay");
	for (char **l = r->lowers; *l; l++)
		if (overlay_set(fs, "lowerdir+", *l) < 0)
			return -errno;
	if (r->upper && (overlay_set(fs, "upperdir", r->upper) < 0 ||
			 overlay_set(fs, "workdir", r->work) < 0))
		return -errno;
	if (sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	return sys_fsmount(fs, FSMOUNT_CLOEXEC, 0) ?: -EIO;
}

/*
 * Before: mount(2) with one string of at most a page. Layers are named relative to the directory
 * they are all in, which makes room for some sixty of them.
 */
static int overlay_by_string(const struct plan_root *r)
{
	_cleanup_free_ char *base = strdup(r->lowers[0]);
	struct str_buf o = { 0 };
	char *slash = base ? strrchr(base, '/') : NULL;
	int fd = -EBADF, result = 0;
	size_t n;

	if (!slash)
		return -ENOMEM;
	slash[1] = 0;
	n = strlen(base);
	str_buf_puts(&o, "lowerdir=");
	for (char **l = r->lowers; *l; l++)
		str_buf_printf(&o, "%s%s", l == r->lowers ? "" : ":",
			       !strncmp(*l, base, n) ? *l + n : *l);
	if (r->upper)
		str_buf_printf(&o, ",upperdir=%s,workdir=%s", r->upper, r->work);
	/* on /proc, which surely is there; on "/" itself no path of ours would lead to it */
	if (chdir(base) < 0 || sys_mount("overlay", "/proc", "overlay", 0, o.data) < 0)
		result = -errno;
	str_buf_done(&o);
	if (result < 0)
		return result;
	/* take it off again as a detached mount, so that both ways end alike */
	fd = sys_open_tree(AT_FDCWD, "/proc", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (fd < 0 || sys_umount2("/proc", MNT_DETACH) < 0)
		return -errno;
	return fd;
}

static int open_overlay(const struct plan_root *r, struct err *err)
{
	int fd = overlay_by_layers(r);

	if (fd == -EINVAL)
		fd = overlay_by_string(r);
	if (fd < 0)
		return err_sys(err, -fd, "put the image's %zu layer%s together (overlay)",
			       strv_len(r->lowers), strv_len(r->lowers) == 1 ? "" : "s");
	return fd;
}

static int open_directory_root(const char *path, struct err *err)
{
	int fd = sys_open_tree(AT_FDCWD, path,
			       OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);

	return fd < 0 ? err_sys(err, errno, "open the root \"%s\"", path) : fd;
}

int stage_root_open(struct stage *s, struct err *err)
{
	const struct plan_root *root = &s->plan.root;
	int r;

	if (!root->lowers || !root->lowers[0])
		return err_set(err, EINVAL, "the plan names no root file system");
	r = open_sources(s, err);
	if (r < 0)
		return r;
	/* nothing that is mounted from here on shows outside, nor what the host mounts here */
	if (sys_mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_sys(err, errno, "detach from the host's mounts");
	s->root_fd = root->upper || root->lowers[1] ? open_overlay(root, err) :
						      open_directory_root(root->lowers[0], err);
	if (s->root_fd < 0)
		return s->root_fd;
	/* attached over "/": in sight of no path lookup of ours, for our own root stays below it */
	if (sys_move_mount(s->root_fd, "", AT_FDCWD, "/",
			   MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_sys(err, errno, "attach the root");
	return 0;
}

int stage_root_enter(struct stage *s, struct err *err)
{
	struct mount_attr read_only = { .attr_set = MOUNT_ATTR_RDONLY };

	if (s->plan.root.read_only &&
	    sys_mount_setattr(s->root_fd, "", AT_EMPTY_PATH, &read_only) < 0)
		return err_sys(err, errno, "make the root read-only");
	if (fchdir(s->root_fd) < 0 || sys_pivot_root(".", ".") < 0)
		return err_sys(err, errno, "enter the root (pivot_root)");
	/* the old root is now mounted over the new one: take it away with all that is in it */
	if (sys_umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return err_sys(err, errno, "leave the host's root");
	return 0;
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
static int make_target(int root_fd, const char *path, bool directory)
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
			       "mount on %s: it is %s in the image, and what is mounted is %s", path,
			       directory ? "a file" : "a directory",
			       directory ? "a directory" : "a file");
	}
	return fd;
}
