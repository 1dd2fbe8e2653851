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

static int set_id_map(int mount, bool recursive, int user_ns)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)user_ns };

	return sys_mount_setattr(mount, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &attr);
}

/* Opens the source of a bind as a detached mount with the attributes the plan asks for. */
static int open_bind(const struct plan_mount *m, int user_ns, struct err *err)
{
	bool recursive = m->flags & PLAN_MOUNT_RECURSIVE;
	_cleanup_close_ int fd =
		sys_open_tree(AT_FDCWD, m->source,
			      OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? AT_RECURSIVE : 0));
	struct mount_attr attr = { .attr_set = m->attrs };
	unsigned flags = AT_EMPTY_PATH;

	if (fd < 0)
		return err_sys(err, errno, "mount \"%s\" on %s", m->source, m->target);
	if (user_ns >= 0 && set_id_map(fd, recursive, user_ns) < 0)
		return err_sys(err, errno,
			       "mount \"%s\" on %s with the ids of the user namespace (does its "
			       "file system "
			       "support id-mapped mounts?)",
			       m->source, m->target);
	attr.propagation = m->flags & PLAN_MOUNT_SHARED	 ? MS_SHARED
			   : m->flags & PLAN_MOUNT_SLAVE ? MS_SLAVE
							 : MS_PRIVATE;
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

static int open_directory_root(const char *path, int user_ns, struct err *err)
{
	int fd = sys_open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);

	if (fd < 0 || (user_ns >= 0 && set_id_map(fd, true, user_ns) < 0)) {
		int r = err_sys(err, errno, "open the root \"%s\"", path);

		fd_close(fd);
		return r;
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
	int r = 0;

	*ret = (struct root_sources)ROOT_SOURCES_INIT;
	if (!root->lowers || !root->lowers[0])
		return err_set(err, EINVAL, "the plan names no root file system");
	ret->binds = calloc(plan->mount_count + 1, sizeof(int));
	if (!ret->binds)
		return err_set(err, ENOMEM, "out of memory");
	if (user_ns >= 0 && root->upper && plan->uid_map_count && plan->gid_map_count &&
	    chown(root->upper, plan->uid_map[0].outside, plan->gid_map[0].outside) < 0)
		r = err_sys(err, errno, "give \"%s\" to the user namespace", root->upper);
	for (; r == 0 && ret->count < plan->mount_count; ret->count++) {
		ret->binds[ret->count] = -EBADF;
		if (plan->mounts[ret->count].kind != PLAN_MOUNT_BIND)
			continue;
		r = open_bind(&plan->mounts[ret->count], user_ns, err);
		if (r >= 0) {
			ret->binds[ret->count] = r;
			r = 0;
		}
	}
	if (r == 0) {
		ret->root = root->upper || root->lowers[1]
				    ? open_overlay(root, user_ns, err)
				    : open_directory_root(root->lowers[0], user_ns, err);
		r = ret->root < 0 ? ret->root : 0;
	}
	if (r < 0)
		root_sources_done(ret);
	return r;
}
