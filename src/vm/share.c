/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtiofsd serves one directory. So a child in a mount namespace of its own mounts a tmpfs, binds
 * each source under a number below it, and becomes virtiofsd on that: nothing of this is seen in
 * the host's mounts, and it goes when virtiofsd does. A read-only bind is read-only there already,
 * so the guest's kernel is not asked to keep the promise.
 *
 * The sources are opened before the child is made, so that what is missing is an error of run().
 * Each bind is a mount of its own in the guest as well (announce_submounts): inode numbers of
 * different file systems do not collide. Attributes and names are not cached (timeout=0), so both
 * sides see each other's changes at once. File content is read anew at each open (cache=auto),
 * which for the programs of a root would cost more than all they do: with a root it is kept until
 * size or time of modification change (cache=always, which with timeout=0 concerns nothing but
 * content).
 */
#include "vm/share.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include "plan/plan.h"
#include "protocol.h"
#include "util/err.h"
#include "util/linux.h"
#include "util/mem.h"
#include "util/str.h"

#ifndef MS_REC
#define MS_REC	   16384
#define MS_PRIVATE (1 << 18)
#endif

struct staging {
	const struct plan *plan;
	const struct instance *inst;
	const char *dir;
	int root;     /* the root as a detached mount; -1: it is not shared */
	int *sources; /* detached mounts, one for each mount of the plan; -1: not a bind */
};

enum vm_root vm_root_of(const struct plan *plan)
{
	if (plan->vm.image)
		return VM_ROOT_IMAGE;
	return !plan->vm.disk && plan->root.lowers && plan->root.lowers[0] ? VM_ROOT_SHARED
									   : VM_ROOT_DISKS;
}

size_t vm_share_count(const struct plan *plan)
{
	size_t n = vm_root_of(plan) == VM_ROOT_SHARED;

	for (size_t i = 0; i < plan->mount_count; i++)
		n += plan->mounts[i].kind == PLAN_MOUNT_BIND;
	return n;
}

int vm_share_find(char **ret, struct err *err)
{
	static const char *const places[] = { "/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd",
					      "/usr/lib/virtiofsd" };

	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		if (access(places[i], X_OK) == 0) {
			*ret = strdup(places[i]);
			return *ret ? 0 : err_set(err, ENOMEM, "out of memory");
		}
	return err_set(err, ENOENT,
		       "virtiofsd is not installed, and a machine needs it for -v and --mount: "
		       "apt-get install qemu-system-common");
}

/* In the child: attaches one detached mount under a name of its own. Returns an errno. */
static int stage_one(int dir, const char *name, int source)
{
	struct stat st;

	if (fstat(source, &st) < 0)
		return errno;
	if (S_ISDIR(st.st_mode)) {
		if (mkdirat(dir, name, 0755) < 0)
			return errno;
	} else {
		int fd = openat(dir, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);

		if (fd < 0)
			return errno;
		close(fd);
	}
	return sys_move_mount(source, "", dir, name, MOVE_MOUNT_F_EMPTY_PATH) < 0 ? errno : 0;
}

/* In the child: only system calls. Returns an errno. */
static int stage_binds(void *data)
{
	struct staging *s = data;
	struct rlimit files;
	int n = 0, dir, e = 0;

	/* virtiofsd keeps a descriptor for each file the guest knows; it would insist on a million
	 */
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	if (sys_unshare(CLONE_NEWNS) < 0 ||
	    sys_mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    sys_mount("tmpfs", s->dir, "tmpfs", 0, "mode=755") < 0)
		return errno;
	dir = open(s->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (s->root >= 0)
		e = stage_one(dir, GUEST_SHARED_ROOT_NAME, s->root);
	for (size_t i = 0; e == 0 && i < s->plan->mount_count; i++) {
		char name[16];

		if (s->sources[i] < 0)
			continue;
		snprintf(name, sizeof(name), "%d", n++);
		e = stage_one(dir, name, s->sources[i]);
	}
	return e;
}

static int open_source(const struct plan_mount *m, struct err *err)
{
	unsigned recursive = m->flags & PLAN_MOUNT_RECURSIVE ? AT_RECURSIVE : 0;
	_cleanup_close_ int fd =
		sys_open_tree(AT_FDCWD, m->source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | recursive);
	struct mount_attr private = { .propagation = MS_PRIVATE },
			  read_only = { .attr_set = MOUNT_ATTR_RDONLY };
	bool below = m->flags & PLAN_MOUNT_READ_ONLY_RECURSIVE;

	if (fd < 0)
		return err_sys(err, errno, "mount \"%s\" on %s", m->source, m->target);
	if (sys_mount_setattr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &private) < 0)
		return err_sys(err, errno, "mount \"%s\" on %s", m->source, m->target);
	if ((m->attrs & MOUNT_ATTR_RDONLY) &&
	    sys_mount_setattr(fd, "", AT_EMPTY_PATH | (below ? AT_RECURSIVE : 0), &read_only) < 0)
		return err_sys(err, errno, "mount \"%s\" read-only", m->source);
	return TAKE_FD(fd);
}

/* The root stays writable here also when the command sees it read-only: places to mount on are made
 * in it, and then the guest's stage takes the right away, as it does in a container. */
static int open_root(struct staging *s, struct err *err)
{
	struct mount_attr private = { .propagation = MS_PRIVATE };
	const char *path;
	struct stat st;

	if (vm_root_of(s->plan) != VM_ROOT_SHARED)
		return 0;
	path = s->plan->root.lowers[0];
	s->root = sys_open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	if (s->root < 0 || fstat(s->root, &st) < 0)
		return err_sys(err, errno, "open the root \"%s\"", path);
	if (!S_ISDIR(st.st_mode))
		return err_set(err, ENOTDIR, "the root \"%s\" is not a directory", path);
	if (sys_mount_setattr(s->root, "", AT_EMPTY_PATH | AT_RECURSIVE, &private) < 0)
		return err_sys(err, errno, "detach the root \"%s\"", path);
	return 0;
}

static int open_sources(struct staging *s, struct err *err)
{
	int r = open_root(s, err);

	if (r < 0)
		return r;
	s->sources = calloc(s->plan->mount_count + 1, sizeof(int));
	if (!s->sources)
		return err_set(err, ENOMEM, "out of memory");
	for (size_t i = 0; i < s->plan->mount_count; i++)
		s->sources[i] = -EBADF;
	for (size_t i = 0; i < s->plan->mount_count; i++) {
		if (s->plan->mounts[i].kind != PLAN_MOUNT_BIND)
			continue;
		s->sources[i] = open_source(&s->plan->mounts[i], err);
		if (s->sources[i] < 0)
			return s->sources[i];
	}
	return 0;
}

/* A listening socket without a name of ours on disk, and one connected to it. */
static int make_sockets(int ret[2], struct err *err)
{
	_cleanup_close_ int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	_cleanup_close_ int connected = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	socklen_t n = sizeof(a);

	/* autobind: an abstract name that the kernel chooses; nobody can connect after we did, for
	 * the backlog of one is taken and virtiofsd accepts a single connection */
	if (listening < 0 || connected < 0 ||
	    bind(listening, (struct sockaddr *)&a, sizeof(sa_family_t)) < 0 ||
	    listen(listening, 1) < 0 || getsockname(listening, (struct sockaddr *)&a, &n) < 0 ||
	    connect(connected, (struct sockaddr *)&a, n) < 0)
		return err_sys(err, errno, "make a socket for virtiofsd");
	ret[0] = TAKE_FD(listening);
	ret[1] = TAKE_FD(connected);
	return 0;
}

static int start(struct staging *s, const char *binary, int listening, int stderr_fd,
		 struct vm_helper *ret, struct err *err)
{
	_cleanup_free_ char *options = str_printf(
		"source=%s,cache=%s,timeout=0,xattr,announce_submounts,no_posix_lock,no_flock,"
		"sandbox=namespace",
		s->dir, s->root >= 0 ? "always" : "auto");
	_cleanup_free_ char *fd_option = str_printf("--fd=%d", SPAWN_FIRST_FD);
	char *argv[] = { (char *)(uintptr_t)binary,
			 fd_option,
			 (char *)(uintptr_t) "-o",
			 options,
			 (char *)(uintptr_t) "--thread-pool-size=0",
			 (char *)(uintptr_t) "--rlimit-nofile=0",
			 NULL };
	struct vm_spawn spawn = { .argv = argv,
				  .stdout_fd = stderr_fd,
				  .stderr_fd = stderr_fd,
				  .fds = &listening,
				  .fd_count = 1,
				  .inst = s->inst,
				  .prepare = stage_binds,
				  .data = s };

	if (!options || !fd_option)
		return err_set(err, ENOMEM, "out of memory");
	return vm_spawn(&spawn, ret, err);
}

int vm_share_start(const struct plan *plan, const struct instance *inst, const char *dir,
		   int stderr_fd, struct vm_helper *ret, int *ret_fd, struct err *err)
{
	_cleanup_free_ char *binary = NULL;
	struct staging s = { .plan = plan, .inst = inst, .dir = dir, .root = -EBADF };
	int sockets[2] = { -EBADF, -EBADF };
	int r = vm_share_find(&binary, err);

	if (r == 0)
		r = open_sources(&s, err);
	if (r == 0)
		r = make_sockets(sockets, err);
	if (r == 0)
		r = start(&s, binary, sockets[0], stderr_fd, ret, err);
	for (size_t i = 0; s.sources && i < plan->mount_count; i++)
		fd_close(s.sources[i]);
	free(s.sources);
	fd_close(s.root);
	fd_close(sockets[0]);
	if (r < 0)
		fd_close(sockets[1]);
	else
		*ret_fd = sockets[1];
	return r;
}
