/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a plan to a running stage.
 *
 * The hot path in system calls: memfd of the stage (create, copy, seal), socketpair, clone3 with
 * all namespaces at once, the child's own move into its cgroups (v1) or none at all (v2,
 * CLONE_INTO_CGROUP), a few dup2 and execveat. The plan follows over the socket.
 *
 * Between clone3 and execveat the child calls nothing but system calls: no malloc, no stdio.
 */
#include "container/launch.h"

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

static uint64_t clone_namespaces(const struct plan *p)
{
	static const struct {
		uint32_t plan;
		uint64_t clone;
	} map[] = {
		{ PLAN_NS_PID, CLONE_NEWPID },	 { PLAN_NS_NET, CLONE_NEWNET },
		{ PLAN_NS_IPC, CLONE_NEWIPC },	 { PLAN_NS_UTS, CLONE_NEWUTS },
		{ PLAN_NS_USER, CLONE_NEWUSER },
	};
	uint64_t flags = CLONE_NEWNS;

	for (size_t i = 0; i < ARRAY_SIZE(map); i++)
		if (p->namespaces & map[i].plan)
			flags |= map[i].clone;
	return flags;
}

/* The namespaces of a container that an exec enters by setns; pid was entered before the clone. */
static int joined_namespaces(const struct plan *p)
{
	int flags = CLONE_NEWNS;

	if (p->namespaces & PLAN_NS_NET)
		flags |= CLONE_NEWNET;
	if (p->namespaces & PLAN_NS_IPC)
		flags |= CLONE_NEWIPC;
	if (p->namespaces & PLAN_NS_UTS)
		flags |= CLONE_NEWUTS;
	if (p->namespaces & PLAN_NS_CGROUP)
		flags |= CLONE_NEWCGROUP;
	if (p->namespaces & PLAN_NS_USER)
		flags |= CLONE_NEWUSER;
	return flags;
}

/* In the child: user 0 of the container's user namespace, as soon as the parent has mapped it. */
static int become_mapped_root(const struct launch_spec *spec, int sync)
{
	char byte;

	if (!(spec->plan->namespaces & PLAN_NS_USER))
		return 0;
	if (!spec->exec && io_read_full(sync, &byte, 1) != 1)
		return -ECANCELED;
	if (syscall(SYS_setresgid, 0, 0, 0) < 0 || syscall(SYS_setresuid, 0, 0, 0) < 0)
		return -errno;
	return syscall(SYS_setgroups, 0, NULL) < 0 ? -errno : 0;
}

/* In the child. Puts the descriptors where the stage expects them and becomes it. */
static _Noreturn void child_main(const struct launch_spec *spec, int stage, int sync, int join)
{
	static char *const argv[] = { (char *)(uintptr_t)STAGE_NAME, NULL };
	static char *const envp[] = { NULL };
	int fds[4] = { spec->stdio[0], spec->stdio[1], spec->stdio[2], sync };
	struct stage_report r = { .type = STAGE_REPORT_FAILED };
	int e;

	prctl(PR_SET_DUMPABLE, 0);
	if (!spec->exec)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* while the host's paths are still in sight */
	e = spec->cgroups ? spec->cgroups->join(spec->cgroup) : 0;
	if (e < 0) {
		err_sys(&r.err, -e, "join the container's cgroups");
		goto fail;
	}
	/* out of the way first, so that no dup2 overwrites a descriptor that is still needed */
	for (int i = 0; i < 4; i++) {
		if (fds[i] < 0)
			fds[i] = open("/dev/null", O_RDWR);
		fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 10);
	}
	stage = fcntl(stage, F_DUPFD_CLOEXEC, 10);
	if (join && sys_setns(spec->target_pidfd, join) < 0) {
		err_sys(&r.err, errno, "enter the container");
		goto fail;
	}
	e = become_mapped_root(spec, fds[3]);
	if (e < 0) {
		err_sys(&r.err, -e, "become root of the user namespace");
		goto fail;
	}
	for (int i = 0; i < 4; i++)
		if (dup2(fds[i], i) < 0) {
			err_sys(&r.err, errno, "pass standard input and output on");
			goto fail;
		}
	sys_execveat(stage, "", argv, envp, AT_EMPTY_PATH);
	err_sys(&r.err, errno, "execute proa's own helper");
fail:
	(void)io_send_fd(fds[3], &r, sizeof(r), -1);
	_exit(EXIT_PROA);
}

/*
 * setns() with a pid namespace counts for children only: enter, clone, and come back to *@ret_own,
 * which the caller closes.
 */
static int enter_pid_namespace(const struct launch_spec *spec, int *ret_own, struct err *err)
{
	_cleanup_close_ int own = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);

	if (own < 0)
		return err_sys(err, errno, "open proa's own pid namespace");
	if (sys_setns(spec->target_pidfd, CLONE_NEWPID) < 0)
		return err_sys(err, errno, "enter the container's pid namespace");
	*ret_own = TAKE_FD(own);
	return 0;
}

static int clone_child(const struct launch_spec *spec, int stage, int sync, struct launch *ret,
		       struct err *err)
{
	_cleanup_close_ int cgroup = spec->cgroups ? spec->cgroups->open(spec->cgroup) : -EBADF;
	_cleanup_close_ int own_pid_ns = -EBADF;
	int join = spec->exec ? joined_namespaces(spec->plan) : 0, pidfd = -EBADF, pid, errnum;
	struct clone_args args = {
		.flags = CLONE_PIDFD | (spec->exec ? 0 : clone_namespaces(spec->plan)),
		.pidfd = (uint64_t)(uintptr_t)&pidfd,
		.exit_signal = SIGCHLD,
	};

	if (cgroup >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)cgroup;
	}
	if (spec->exec && (spec->plan->namespaces & PLAN_NS_PID)) {
		int r = enter_pid_namespace(spec, &own_pid_ns, err);

		if (r < 0)
			return r;
	}
	pid = sys_clone3(&args);
	errnum = errno;
	if (pid == 0)
		child_main(spec, stage, sync, join);
	/* from here on there is a child to end and to wait for, whatever fails */
	if (pid > 0) {
		ret->pid = pid;
		ret->pidfd = pidfd;
	}
	if (own_pid_ns >= 0 && sys_setns(own_pid_ns, CLONE_NEWPID) < 0 && pid > 0)
		return err_sys(err, errno, "return to proa's own pid namespace");
	if (pid < 0)
		return err_sys(err, errnum, "make the container's namespaces%s",
			       errnum == EPERM ? " (this needs root)" : "");
	return 0;
}

/* As io_write_full(), without SIGPIPE: the stage may be gone. */
static int send_full(int sock, const void *bytes, size_t n)
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

static int send_plan(const struct launch_spec *spec, int sync, uint32_t source_count,
		     struct err *err)
{
	_cleanup_free_ uint8_t *payload = NULL;
	struct stage_start start = { .mode = spec->exec ? STAGE_EXEC : STAGE_RUN };
	size_t n;
	int r = spec->exec ? plan_process_encode(spec->exec, &payload, &n)
			   : plan_encode(spec->plan, &payload, &n);

	if (r < 0)
		return err_sys(err, -r, "encode the plan");
	if (n > PLAN_WIRE_MAX)
		return err_set(err, E2BIG, "the command line and environment are too long");
	start.payload_bytes = (uint32_t)n;
	start.source_count = source_count;
	if (spec->cgroups)
		start.cgroup_version = spec->cgroups == &cgroup_v2 ? 2 : 1;
	r = send_full(sync, &start, sizeof(start));
	if (r == 0)
		r = send_full(sync, payload, n);
	/* EPIPE: the stage has ended already; its report, if any, says more */
	return r < 0 && r != -EPIPE ? err_sys(err, -r, "send the plan") : 0;
}

static int write_id_map(pid_t pid, const char *file, const struct plan_idmap *map, size_t n)
{
	char path[48], text[1024];
	size_t len = 0;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	for (size_t i = 0; i < n && len < sizeof(text) - 40; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%u %u %u\n", map[i].inside,
					map[i].outside, map[i].count);
	return io_write_knob(AT_FDCWD, path, text);
}

/* Maps the child's user namespace, and lets it go on. */
static int map_ids(const struct launch_spec *spec, const struct launch *l, int sync,
		   struct err *err)
{
	const struct plan *p = spec->plan;
	char byte = 0;
	int r;

	if (spec->exec || !(p->namespaces & PLAN_NS_USER))
		return 0;
	r = write_id_map(l->pid, "uid_map", p->uid_map, p->uid_map_count);
	if (r == 0)
		r = write_id_map(l->pid, "gid_map", p->gid_map, p->gid_map_count);
	if (r < 0)
		return err_sys(err, -r, "map the ids of the user namespace");
	/* the pipes must be its user's, so that /dev/stdout can be opened again by name */
	for (int i = 0; i < 3; i++)
		if (spec->stdio[i] >= 0)
			(void)!fchown(spec->stdio[i], p->uid_map[0].outside, p->gid_map[0].outside);
	r = send_full(sync, &byte, 1);
	return r < 0 && r != -EPIPE ? err_sys(err, -r, "start the container") : 0;
}

static int open_mapped_sources(const struct launch_spec *spec, const struct launch *l,
			       struct root_sources *ret, struct err *err)
{
	_cleanup_close_ int user_ns = -EBADF;
	char path[48];

	if (spec->exec || !(spec->plan->namespaces & PLAN_NS_USER))
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/ns/user", l->pid);
	user_ns = open(path, O_RDONLY | O_CLOEXEC);
	if (user_ns < 0)
		return err_sys(err, errno, "open the user namespace");
	return root_sources_open(spec->plan, user_ns, ret, err);
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
	r = clone_child(spec, stage, theirs, &l, err);
	theirs = fd_close(theirs);
	if (r == 0)
		r = map_ids(spec, &l, ours, err);
	if (r == 0)
		r = open_mapped_sources(spec, &l, &sources, err);
	if (r == 0)
		r = send_plan(spec, ours, sources.root < 0 ? 0 : (uint32_t)sources.count + 1, err);
	if (r == 0)
		r = send_sources(ours, &sources, err);
	root_sources_done(&sources);
	if (r == 0 && fcntl(ours, F_SETFL, O_NONBLOCK) < 0)
		r = err_sys(err, errno, "make a socket non-blocking");
	if (r < 0) {
		if (l.pidfd >= 0) {
			sys_pidfd_send_signal(l.pidfd, SIGKILL);
			waitpid(l.pid, NULL, 0);
			close(l.pidfd);
		}
		return r;
	}
	l.sync_fd = TAKE_FD(ours);
	*ret = l;
	return 0;
}

enum launch_event launch_next(struct launch *l, int *ret_fd, struct err *err)
{
	struct stage_report r;
	_cleanup_close_ int fd = -EBADF;
	ssize_t n = io_recv_fd(l->sync_fd, &r, sizeof(r), &fd);

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
		if (fd < 0)
			break;
		*ret_fd = TAKE_FD(fd);
		return LAUNCH_TERMINAL;
	case STAGE_REPORT_WARNING: *err = r.err; return LAUNCH_WARNING;
	case STAGE_REPORT_FAILED: *err = r.err; return LAUNCH_FAILED;
	}
	err_set(err, EPROTO, "the container's start broke off");
	return LAUNCH_FAILED;
}
