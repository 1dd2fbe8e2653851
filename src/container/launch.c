/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a plan to a running stage.
 *
 * The hot path in system calls: memfd of the stage (create, copy, seal), socketpair, clone3 with
 * all namespaces at once, the child's own move into its cgroups (v1) or none at all (v2,
 * CLONE_INTO_CGROUP), a few dup2 and execveat (launch_clone.c). The plan follows over the socket.
 * Letting the child make its network namespace while we copy was tried: it gained nothing.
 */
#include "container/launch_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include "container/cgroup.h"
#include "container/root_sources.h"
#include "plan/plan.h"
#include "util/io.h"
#include "util/linux.h"
#include "util/mem.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif
#ifndef F_ADD_SEALS
#define F_ADD_SEALS   1033
#define F_SEAL_SEAL   1
#define F_SEAL_SHRINK 2
#define F_SEAL_GROW   4
#define F_SEAL_WRITE  8
#endif

/* A copy of the stage that nobody can write to, whatever rights they get (CVE-2019-5736). */
static int stage_memfd(const char *path, struct err *err)
{
	_cleanup_close_ int file = open(path, O_RDONLY | O_CLOEXEC), fd = -EBADF;
	struct stat st;
	off_t offset = 0;

	if (file < 0 || fstat(file, &st) < 0)
		return err_sys(err, errno, "open proa's own helper %s", path);
	fd = sys_memfd_create(STAGE_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
	if (fd < 0 && errno == EINVAL) /* before Linux 6.3 every memfd is executable */
		fd = sys_memfd_create(STAGE_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return err_sys(err, errno, "make a sealed copy of %s", path);
	while (offset < st.st_size) {
		ssize_t n = sendfile(fd, file, &offset, (size_t)(st.st_size - offset));

		if (n <= 0)
			return err_sys(err, n < 0 ? errno : EIO, "copy %s", path);
	}
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		return err_sys(err, errno, "seal the copy of %s", path);
	return TAKE_FD(fd);
}

int launch_send(int sock, const void *bytes, size_t n)
{
	const char *p = bytes;

	while (n) {
		ssize_t r = send(sock, p, n, MSG_NOSIGNAL);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		p += r;
		n -= (size_t)r;
	}
	return 0;
}

int launch_send_plan(const struct launch_spec *spec, int sync, uint32_t source_count,
		     struct err *err)
{
	_cleanup_free_ uint8_t *payload = NULL;
	const struct cgroup_ops *cgroups = spec->cgroups ? spec->cgroups : cgroup_detect();
	struct stage_start start = { .mode = spec->exec ? STAGE_EXEC : STAGE_RUN };
	size_t n;
	int r = spec->exec ? plan_process_encode(spec->exec, &payload, &n)
			   : plan_encode(spec->plan, &payload, &n);

	if (r < 0)
		return err_sys(err, -r, "encode the plan");
	if (n > PLAN_WIRE_MAX)
		return err_set(err, E2BIG, "the command line and environment are too long");
	start.flags = (spec->wait_for_start ? STAGE_WAIT : 0) |
		      (spec->detached ? STAGE_DETACHED : 0) | (spec->keyring ? STAGE_KEYRING : 0) |
		      (spec->rootless ? STAGE_ROOTLESS : 0);
	start.payload_bytes = (uint32_t)n;
	start.source_count = source_count;
	if (cgroups)
		start.cgroup_version = cgroups == &cgroup_v2 ? 2 : 1;
	r = launch_send(sync, &start, sizeof(start));
	if (r == 0)
		r = launch_send(sync, payload, n);
	/* EPIPE: the stage has ended already; its report, if any, says more */
	return r < 0 && r != -EPIPE ? err_sys(err, -r, "send the plan") : 0;
}

/*
 * Who opens the root and the binds? The stage, as long as it has the rights: a user namespace takes
 * them away (root of the host then opens them here), and an id map of a mount's own needs a user
 * namespace that only a process outside of the new pid namespace can set up.
 */
static bool opens_sources(const struct launch_spec *spec)
{
	const struct plan *p = spec->plan;

	if (spec->exec)
		return false;
	for (size_t i = 0; i < p->mount_count; i++)
		if (p->mounts[i].uid_map_count || p->mounts[i].flags & PLAN_MOUNT_IDMAP_CONTAINER)
			return true;
	return (p->namespaces & PLAN_NS_USER) && !spec->rootless;
}

static int open_sources(const struct launch_spec *spec, const struct launch *l,
			struct root_sources *ret, struct err *err)
{
	_cleanup_close_ int user_ns = -EBADF;
	char path[48];

	if (!opens_sources(spec))
		return 0;
	if (spec->plan->namespaces & PLAN_NS_USER) {
		snprintf(path, sizeof(path), "/proc/%d/ns/user", l->pid);
		user_ns = open(path, O_RDONLY | O_CLOEXEC);
		if (user_ns < 0)
			return err_sys(err, errno, "open the user namespace");
	}
	return root_sources_open(spec->plan, user_ns, ret, err);
}

/* Tells the child that its ids are mapped; it waits for that first. */
static int release_child(const struct launch_spec *spec, int sync, struct err *err)
{
	char byte = 0;
	int r;

	if (spec->exec || !launch_is_new(spec->plan, PLAN_NS_USER))
		return 0;
	r = launch_send(sync, &byte, 1);
	return r < 0 && r != -EPIPE ? err_sys(err, -r, "start the container") : 0;
}

static int send_sources(int sync, const struct root_sources *s, struct err *err)
{
	int r = 0;

	if (s->root < 0)
		return 0;
	r = io_send_fd(sync, "", 1, s->root);
	for (size_t i = 0; i < s->count && r == 0; i++)
		r = io_send_fd(sync, "", 1, s->binds[i]);
	return r < 0 && r != -EPIPE ? err_sys(err, -r, "hand the mounts over") : 0;
}

int launch_start(const struct launch_spec *spec, struct launch *ret, struct err *err)
{
	_cleanup_close_ int stage = stage_memfd(spec->stage, err), ours = -EBADF, theirs = -EBADF;
	struct root_sources sources = ROOT_SOURCES_INIT;
	struct launch l = { .pidfd = -EBADF };
	int pair[2], r;

	if (stage < 0)
		return stage;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, errno, "make a socket pair");
	ours = pair[0];
	theirs = pair[1];
	r = launch_clone(spec, stage, theirs, &l, err);
	theirs = fd_close(theirs);
	if (r == 0)
		r = launch_map_ids(spec, l.pid, err);
	if (r == 0)
		r = release_child(spec, ours, err);
	if (r == 0 && spec->prepare)
		r = spec->prepare(spec->data, l.pid, err);
	if (r == 0)
		r = open_sources(spec, &l, &sources, err);
	if (r == 0)
		r = launch_send_plan(spec, ours, sources.root < 0 ? 0 : (uint32_t)sources.count + 1,
				     err);
	if (r == 0)
		r = send_sources(ours, &sources, err);
	root_sources_done(&sources);
	if (r == 0 && fcntl(ours, F_SETFL, O_NONBLOCK) < 0)
		r = err_sys(err, errno, "make a socket non-blocking");
	if (r < 0) {
		if (l.pid > 0) {
			kill(l.pid, SIGKILL);
			waitpid(l.pid, NULL, 0);
			fd_close(l.pidfd);
		}
		return r;
	}
	l.sync_fd = TAKE_FD(ours);
	*ret = l;
	return 0;
}

enum launch_event launch_next(int sync_fd, int *ret_fd, struct err *err)
{
	struct stage_report r;
	_cleanup_close_ int fd = -EBADF;
	ssize_t n = io_recv_fd(sync_fd, &r, sizeof(r), &fd);

	if (n == -EAGAIN)
		return LAUNCH_AGAIN;
	if (n == 0)
		return LAUNCH_RUNNING;
	if (n != sizeof(r)) {
		err_set(err, EPROTO, "the container's start broke off");
		return LAUNCH_FAILED;
	}
	/* the stage is ours, but what it says passes through a process among the image's */
	r.err.msg[sizeof(r.err.msg) - 1] = 0;
	switch (r.type) {
	case STAGE_REPORT_TERMINAL:
	case STAGE_REPORT_SECCOMP:
		if (fd < 0)
			break;
		*ret_fd = TAKE_FD(fd);
		return r.type == STAGE_REPORT_TERMINAL ? LAUNCH_TERMINAL : LAUNCH_SECCOMP;
	case STAGE_REPORT_WARNING: *err = r.err; return LAUNCH_WARNING;
	case STAGE_REPORT_FAILED: *err = r.err; return LAUNCH_FAILED;
	case STAGE_REPORT_HOOKS: return LAUNCH_HOOKS;
	case STAGE_REPORT_READY: return LAUNCH_READY;
	}
	err_set(err, EPROTO, "the container's start broke off");
	return LAUNCH_FAILED;
}

int launch_go_on(int sync_fd, struct err *err)
{
	char byte = 0;
	int r = launch_send(sync_fd, &byte, 1);

	return r < 0 ? err_sys(err, -r, "let the container's start go on") : 0;
}

int launch_listen(int dir_fd, const char *path, int *ret_fd, struct err *err)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un a;

	if (fd < 0 || io_socket_address(dir_fd, path, &a) < 0 ||
	    bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 1) < 0)
		return err_sys(err, errno, "make the socket \"%s\"", path);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int launch_connect(int dir_fd, const char *path, int *ret_fd, struct err *err)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un a;

	if (fd < 0 || io_socket_address(dir_fd, path, &a) < 0 ||
	    connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return err_sys(err, errno, "reach the container that waits for its start");
	*ret_fd = TAKE_FD(fd);
	return 0;
}
