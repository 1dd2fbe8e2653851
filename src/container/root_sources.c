/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The root and the sources of binds as detached mounts.
 *
 * A detached mount belongs to no mount namespace: it is seen by nobody and goes with its
 * descriptor. With a user namespace the owner makes them, for they need rights over the host's
 * files, and gives each an id map (mount_setattr, MOUNT_ATTR_IDMAP), so that user 0 inside owns
 * what user 0 owns on disk; without one the stage makes them itself.
 */
#include "container/root_sources.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "container/launch_internal.h"
#include "plan/plan.h"
#include "util/err.h"
#include "util/linux.h"
#include "util/mem.h"
#include "util/str.h"

#ifndef MS_REC
#define MS_REC	   16384
#define MS_PRIVATE (1 << 18)
#define MS_SLAVE   (1 << 19)
#define MS_SHARED  (1 << 20)
#endif
#ifndef MS_UNBINDABLE
#define MS_UNBINDABLE (1 << 17)
#endif
#ifndef MOUNT_ATTR__ATIME
#define MOUNT_ATTR__ATIME 0x70
#endif

static int set_id_map(int mount, bool recursive, int user_ns)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)user_ns };

	return sys_mount_setattr(mount, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &attr);
}

static uint64_t propagation_of(const struct plan_mount *m)
{
	return m->flags & PLAN_MOUNT_SHARED	  ? MS_SHARED
	       : m->flags & PLAN_MOUNT_SLAVE	  ? MS_SLAVE
	       : m->flags & PLAN_MOUNT_UNBINDABLE ? MS_UNBINDABLE
						  : MS_PRIVATE;
}

/* The times of access are one field of several bits: a change of it clears the others. */
static uint64_t with_atime(uint64_t set, uint64_t clear)
{
	return (set | clear) & MOUNT_ATTR__ATIME ? clear | MOUNT_ATTR__ATIME : clear;
}

int root_sources_set_attrs(int fd, const struct plan_mount *m, struct err *err)
{
	bool recursive = m->flags & PLAN_MOUNT_PROPAGATION_RECURSIVE;
	struct mount_attr only = { .propagation = propagation_of(m) };
	struct mount_attr attr = { .attr_set = m->attrs,
				   .attr_clr = with_atime(m->attrs, m->attrs_clear) };
	struct mount_attr below = { .attr_set = m->below.set,
				    .attr_clr = with_atime(m->below.set, m->below.clear) };
	unsigned flags = m->flags & PLAN_MOUNT_READ_ONLY_RECURSIVE ? AT_RECURSIVE : 0;

	/* propagation for the whole tree; attributes for the top, unless asked otherwise */
	if (sys_mount_setattr(fd, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &only) < 0)
		return err_sys(err, errno, "set the propagation of %s", m->target);
	if ((attr.attr_set || attr.attr_clr) &&
	    sys_mount_setattr(fd, "", AT_EMPTY_PATH | flags, &attr) < 0)
		return err_sys(err, errno, "set the mount options of %s", m->target);
	if ((below.attr_set || below.attr_clr) &&
	    sys_mount_setattr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &below) < 0)
		return err_sys(err, errno, "set the recursive mount options of %s", m->target);
	return 0;
}

/* The id map that the plan gives a bind: of its own, of the container, or none. */
static int map_bind(const struct plan_mount *m, int fd, bool map_all, int user_ns, struct err *err)
{
	_cleanup_close_ int own = -EBADF;
	bool recursive = m->flags & (m->uid_map_count || m->flags & PLAN_MOUNT_IDMAP_CONTAINER
					     ? PLAN_MOUNT_IDMAP_RECURSIVE
					     : PLAN_MOUNT_RECURSIVE);
	int map = map_all || m->flags & PLAN_MOUNT_IDMAP_CONTAINER ? user_ns : -1;

	if (m->uid_map_count) {
		own = launch_map_namespace(m, err);
		if (own < 0)
			return own;
		map = own;
	} else if (m->flags & PLAN_MOUNT_IDMAP_CONTAINER && user_ns < 0) {
		return err_set(err, EINVAL,
			       "mount \"%s\" on %s: idmap without mappings needs a user namespace",
			       m->source, m->target);
	}
	if (map >= 0 && set_id_map(fd, recursive, map) < 0)
		return err_sys(err, errno,
			       "mount \"%s\" on %s with mapped ids (does its file system support "
			       "id-mapped mounts?)",
			       m->source, m->target);
	return 0;
}

/* Opens the source of a bind as a detached mount with the attributes the plan asks for. */
static int open_bind(const struct plan_mount *m, bool map_all, int user_ns, struct err *err)
{
	_cleanup_close_ int fd = sys_open_tree(
		AT_FDCWD, m->source,
		OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC |
			(m->flags & PLAN_MOUNT_RECURSIVE ? AT_RECURSIVE : 0) |
			(m->flags & PLAN_MOUNT_SOURCE_NOFOLLOW ? AT_SYMLINK_NOFOLLOW : 0));
	int r;

	if (fd < 0)
		return err_sys(err, errno, "mount \"%s\" on %s", m->source, m->target);
	r = map_bind(m, fd, map_all, user_ns, err);
	if (r == 0)
		r = root_sources_set_attrs(fd, m, err);
	return r < 0 ? r : TAKE_FD(fd);
}

/* One overlay parameter of fsconfig; the kernel's own reason is in errno only. */
static int overlay_set(int fs, const char *key, const char *value)
{
	return sys_fsconfig(fs, FSCONFIG_SET_STRING, key, value, 0);
}

/*
 * Id-mapped layers go in by descriptor (Linux 6.13). A clone stays a mount only as long as the
 * descriptor that open_tree() gave is open, so all are kept until the overlay is made.
 */
struct mapped_layers {
	int user_ns;
	int *fds;
	size_t count;
};

static void mapped_layers_done(struct mapped_layers *m)
{
	while (m->count)
		close(m->fds[--m->count]);
	free(m->fds);
}

static int mapped_clone(struct mapped_layers *m, const char *path)
{
	int fd = sys_open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (fd < 0)
		return -1;
	if (set_id_map(fd, false, m->user_ns) < 0 || mem_grow(&m->fds, m->count, sizeof(int)) < 0) {
		fd_close(fd);
		return -1;
	}
	m->fds[m->count++] = fd;
	return fd;
}

/*
 * The upper layer is not mapped: the kernel writes it as the mounter, root of the host, and what
 * users inside own carries their ids of the host on disk. The root directory itself is given to
 * user 0 inside.
 */
static int overlay_set_upper(int fs, const struct plan_root *r)
{
	if (!r->upper)
		return 0;
	if (overlay_set(fs, "upperdir", r->upper) < 0)
		return -1;
	return overlay_set(fs, "workdir", r->work);
}

static int overlay_set_layers_mapped(int fs, const struct plan_root *r, struct mapped_layers *m)
{
	for (char **l = r->lowers; *l; l++) {
		int fd = mapped_clone(m, *l);

		if (fd < 0 || sys_fsconfig(fs, FSCONFIG_SET_FD, "lowerdir+", NULL, fd) < 0)
			return -1;
	}
	return overlay_set_upper(fs, r);
}

/* Linux 6.7 and later: one lowerdir+ for each layer, no limit on their number or spelling. */
static int overlay_set_layers(int fs, const struct plan_root *r)
{
	for (char **l = r->lowers; *l; l++)
		if (overlay_set(fs, "lowerdir+", *l) < 0)
			return -1;
	return overlay_set_upper(fs, r);
}

static int overlay_by_layers(const struct plan_root *r, int user_ns)
{
	_cleanup_(mapped_layers_done) struct mapped_layers m = { .user_ns = user_ns };
	_cleanup_close_ int fs = sys_fsopen("overlay", FSOPEN_CLOEXEC);
	int fd;

	if (fs < 0)
		return -errno;
	(void)overlay_set(fs, "source", "overlay");
	if ((user_ns < 0 ? overlay_set_layers(fs, r) : overlay_set_layers_mapped(fs, r, &m)) < 0 ||
	    sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	fd = sys_fsmount(fs, FSMOUNT_CLOEXEC, 0);
	return fd < 0 ? -errno : fd;
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

static int open_overlay(const struct plan_root *r, int user_ns, struct err *err)
{
	int fd = overlay_by_layers(r, user_ns);

	if (fd == -EINVAL && user_ns >= 0)
		return err_set(err, EOPNOTSUPP,
			       "--userns auto needs id-mapped overlay layers, which Linux has from "
			       "6.13 on");
	if (fd == -EINVAL)
		fd = overlay_by_string(r);
	if (fd < 0)
		return err_sys(err, -fd, "put the image's %zu layer%s together (overlay)",
			       strv_len(r->lowers), strv_len(r->lowers) == 1 ? "" : "s");
	return fd;
}

static int open_directory_root(const struct plan_root *root, int user_ns, struct err *err)
{
	const char *path = root->lowers[0];
	int fd = sys_open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	struct mount_attr attr = { .propagation =
					   root->propagation == MS_SLAVE ? MS_SLAVE : MS_PRIVATE };
	struct stat st;

	if (fd < 0 || (user_ns >= 0 && set_id_map(fd, true, user_ns) < 0)) {
		int r = err_sys(err, errno, "open the root \"%s\"", path);

		fd_close(fd);
		return r;
	}
	if (fstat(fd, &st) == 0 && !S_ISDIR(st.st_mode)) {
		close(fd);
		return err_set(err, ENOTDIR, "the root \"%s\" is not a directory", path);
	}
	/* one that receives what the host mounts in it, or one of its own */
	if (sys_mount_setattr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr) < 0) {
		close(fd);
		return err_sys(err, errno, "set the propagation of the root");
	}
	return fd;
}

void root_sources_done(struct root_sources *s)
{
	for (size_t i = 0; s->binds && i < s->count; i++)
		fd_close(s->binds[i]);
	free(s->binds);
	fd_close(s->root);
	*s = (struct root_sources)ROOT_SOURCES_INIT;
}

int root_sources_open(const struct plan *plan, int user_ns, struct root_sources *ret,
		      struct err *err)
{
	const struct plan_root *root = &plan->root;
	int root_map = plan->map_sources ? user_ns : -1, r = 0;

	*ret = (struct root_sources)ROOT_SOURCES_INIT;
	if (!root->lowers || !root->lowers[0])
		return err_set(err, EINVAL, "the plan names no root file system");
	ret->binds = calloc(plan->mount_count + 1, sizeof(int));
	if (!ret->binds)
		return err_set(err, ENOMEM, "out of memory");
	if (root_map >= 0 && root->upper && plan->uid_map_count && plan->gid_map_count &&
	    chown(root->upper, plan->uid_map[0].outside, plan->gid_map[0].outside) < 0)
		r = err_sys(err, errno, "give \"%s\" to the user namespace", root->upper);
	for (; r == 0 && ret->count < plan->mount_count; ret->count++) {
		ret->binds[ret->count] = -EBADF;
		if (plan->mounts[ret->count].kind != PLAN_MOUNT_BIND)
			continue;
		r = open_bind(&plan->mounts[ret->count], plan->map_sources, user_ns, err);
		if (r >= 0) {
			ret->binds[ret->count] = r;
			r = 0;
		}
	}
	if (r == 0) {
		ret->root = root->upper || root->lowers[1]
				    ? open_overlay(root, root_map, err)
				    : open_directory_root(root, root_map, err);
		r = ret->root < 0 ? ret->root : 0;
	}
	if (r < 0)
		root_sources_done(ret);
	return r;
}
