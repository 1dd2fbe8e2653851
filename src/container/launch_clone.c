/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cloning the child that becomes the stage.
 *
 * New namespaces are made by clone3 itself. Those that are joined must be entered before, for a
 * process in a new user namespace has no right to enter those of its parent, and a new namespace
 * belongs to the user namespace its maker is in. We do not leave our own namespaces for that: a
 * go-between is forked, enters them, and clones the stage as its own sibling (CLONE_PARENT), so
 * that it is our child all the same. A pod's containers (Kubernetes, podman pods) go this way.
 *
 * Between clone3 and execveat the child calls nothing but system calls: no malloc, no stdio.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "container/cgroup.h"
#include "container/cpulist.h"
#include "container/launch_internal.h"
#include "plan/plan.h"
#include "util/io.h"
#include "util/linux.h"
#include "util/mem.h"

#ifndef NS_GET_NSTYPE
#define NS_GET_NSTYPE _IO(0xb7, 0x3)
#endif

/* By the bit number in enum plan_ns. */
static const struct {
	uint64_t clone;
	const char *name;
} namespaces[PLAN_NS_COUNT] = {
	{ CLONE_NEWPID, "pid" },   { CLONE_NEWNET, "network" },	  { CLONE_NEWIPC, "ipc" },
	{ CLONE_NEWUTS, "uts" },   { CLONE_NEWCGROUP, "cgroup" }, { CLONE_NEWUSER, "user" },
	{ CLONE_NEWTIME, "time" }, { CLONE_NEWNS, "mount" },
};

/* What clone3 makes. The stage makes cgroup and time namespaces itself (stage.c says why). */
static uint64_t clone_flags(const struct plan *p)
{
	const uint32_t late = PLAN_NS_CGROUP | PLAN_NS_TIME;
	uint64_t flags = p->joined & PLAN_NS_MOUNT ? 0 : CLONE_NEWNS;

	for (unsigned i = 0; i < PLAN_NS_COUNT; i++)
		if (launch_is_new(p, 1u << i) && !(late & (1u << i)))
			flags |= namespaces[i].clone;
	return flags;
}

/* The namespaces of a container that an exec enters by setns; pid was entered before the clone, and
 * without root of the host the user namespace as well. */
static int exec_flags(const struct launch_spec *spec)
{
	uint32_t entered = PLAN_NS_PID | (spec->rootless ? PLAN_NS_USER : 0);
	uint64_t flags = CLONE_NEWNS;

	for (unsigned i = 0; i < PLAN_NS_COUNT; i++)
		if (spec->plan->namespaces & ~entered & (1u << i))
			flags |= namespaces[i].clone;
	return (int)flags;
}

/* In the child: user 0 of the container's user namespace, as soon as the parent has mapped it. */
static int become_mapped_root(const struct launch_spec *spec, int sync)
{
	char byte;

	if (!(spec->plan->namespaces & PLAN_NS_USER))
		return 0;
	if (!spec->exec && launch_is_new(spec->plan, PLAN_NS_USER) &&
	    io_read_full(sync, &byte, 1) != 1)
		return -ECANCELED;
	if (syscall(SYS_setresgid, 0, 0, 0) < 0 || syscall(SYS_setresuid, 0, 0, 0) < 0)
		return -errno;
	/* EPERM: a single id is mapped, and setgroups(2) is denied with it */
	return syscall(SYS_setgroups, 0, NULL) < 0 && errno != EPERM ? -errno : 0;
}

/* Puts standard input and output, the stream and the listening socket where the stage has them. */
static int place_fds(const struct launch_spec *spec, int *stage, int sync)
{
	int base = STAGE_FIRST_FD + (int)spec->preserve_fds;
	int fds[5] = { spec->stdio[0], spec->stdio[1], spec->stdio[2], sync, spec->start_fd };
	int places[5] = { 0, 1, 2, base, base + 1 };
	int count = spec->wait_for_start ? 5 : 4;

	/* out of the way first, so that no dup2 overwrites a descriptor that is still needed */
	for (int i = 0; i < count; i++) {
		if (fds[i] < 0)
			fds[i] = open("/dev/null", O_RDWR);
		fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, base + 8);
	}
	*stage = fcntl(*stage, F_DUPFD_CLOEXEC, base + 8);
	for (int i = 0; i < count; i++)
		if (dup2(fds[i], places[i]) < 0)
			return -errno;
	return *stage < 0 ? -EMFILE : 0;
}

/* In the child. @number: spec->preserve_fds as text. */
static _Noreturn void child_main(const struct launch_spec *spec, const cpu_set_t *cpus, int stage,
				 int sync, char *number)
{
	char *const argv[] = { (char *)(uintptr_t)STAGE_NAME, number, NULL };
	static char *const envp[] = { NULL };
	struct stage_report r = { .type = STAGE_REPORT_FAILED };
	int e;

	/* /proc/PID of a process that cannot be dumped is root's, who must then map its ids */
	if (!spec->rootless)
		prctl(PR_SET_DUMPABLE, 0);
	if (!spec->exec)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (cpus && sched_setaffinity(0, sizeof(*cpus), cpus) < 0) {
		err_sys(&r.err, errno, "run on the CPUs of execCPUAffinity");
		goto fail;
	}
	/* while the host's paths are still in sight */
	e = spec->cgroups ? spec->cgroups->join(spec->cgroup) : 0;
	if (e < 0) {
		err_sys(&r.err, -e, "join the container's cgroups");
		goto fail;
	}
	if (spec->exec && sys_setns(spec->target_pidfd, exec_flags(spec)) < 0) {
		err_sys(&r.err, errno, "enter the container");
		goto fail;
	}
	e = become_mapped_root(spec, sync);
	if (e < 0) {
		err_sys(&r.err, -e, "become root of the user namespace");
		goto fail;
	}
	prctl(PR_SET_DUMPABLE, 0);
	e = place_fds(spec, &stage, sync);
	if (e < 0) {
		err_sys(&r.err, -e, "pass standard input and output on");
		goto fail;
	}
	sync = STAGE_FIRST_FD + (int)spec->preserve_fds;
	sys_execveat(stage, "", argv, envp, AT_EMPTY_PATH);
	err_sys(&r.err, errno, "execute proa's own helper");
fail:
	(void)io_send_fd(sync, &r, sizeof(r), -1);
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

/* ---- joining by path ------------------------------------------------------------------------ */

struct joins {
	int fds[PLAN_NS_COUNT];
};

static void joins_done(struct joins *j)
{
	for (unsigned i = 0; i < PLAN_NS_COUNT; i++)
		fd_close(j->fds[i]);
}

/* In our own mount namespace the root would become the container's, for everybody. */
static bool is_own_mount_namespace(int fd)
{
	struct stat own, given;

	return stat("/proc/self/ns/mnt", &own) < 0 || fstat(fd, &given) < 0 ||
	       (own.st_ino == given.st_ino && own.st_dev == given.st_dev);
}

static int joins_open(const struct plan *p, struct joins *j, struct err *err)
{
	for (unsigned i = 0; i < PLAN_NS_COUNT; i++) {
		int type;

		if (!(p->joined & (1u << i)))
			continue;
		j->fds[i] = open(p->joined_paths[i], O_RDONLY | O_CLOEXEC);
		if (j->fds[i] < 0)
			return err_sys(err, errno, "join the %s namespace \"%s\"",
				       namespaces[i].name, p->joined_paths[i]);
		type = ioctl(j->fds[i], NS_GET_NSTYPE);
		if (type < 0 || (uint64_t)type != namespaces[i].clone)
			return err_set(err, EINVAL, "\"%s\" is not a %s namespace",
				       p->joined_paths[i], namespaces[i].name);
		if (namespaces[i].clone == CLONE_NEWNS && is_own_mount_namespace(j->fds[i]))
			return err_set(err, EINVAL,
				       "\"%s\" is the mount namespace of the host: its root would "
				       "become the container's",
				       p->joined_paths[i]);
	}
	return 0;
}

/*
 * In the go-between of an exec by who is not root of the host: only in the container's user
 * namespace is there a right to enter the others.
 */
static int exec_enter(const struct launch_spec *spec)
{
	if (sys_setns(spec->target_pidfd, CLONE_NEWUSER) < 0)
		return __builtin_ctz(PLAN_NS_USER);
	if ((spec->plan->namespaces & PLAN_NS_PID) &&
	    sys_setns(spec->target_pidfd, CLONE_NEWPID) < 0)
		return __builtin_ctz(PLAN_NS_PID);
	return -1;
}

/* In the go-between. What may only be entered with the rights of the joined user namespace is tried
 * once more after that. The number of the one that failed, or -1. */
static int joins_enter(const struct plan *p, const struct joins *j)
{
	uint32_t left = p->joined & ~(uint32_t)PLAN_NS_USER;

	for (int round = 0; round < 2; round++) {
		for (unsigned i = 0; i < PLAN_NS_COUNT; i++) {
			if (!(left & (1u << i)))
				continue;
			if (sys_setns(j->fds[i], (int)namespaces[i].clone) == 0)
				left &= ~(1u << i);
			else if (errno != EPERM || round || !(p->joined & PLAN_NS_USER))
				return (int)i;
		}
		if (!round && (p->joined & PLAN_NS_USER) &&
		    sys_setns(j->fds[__builtin_ctz(PLAN_NS_USER)], CLONE_NEWUSER) < 0)
			return __builtin_ctz(PLAN_NS_USER);
	}
	return -1;
}

/* What the go-between says: the stage's pid, or what failed. */
struct join_result {
	pid_t pid;
	int errnum, failed_ns; /* -1: the clone */
};

static _Noreturn void join_main(const struct launch_spec *spec, const struct joins *j,
				struct clone_args *args, const cpu_set_t *cpus, int stage, int sync,
				char *number, int result_fd)
{
	struct join_result result = { .failed_ns = spec->exec ? exec_enter(spec)
							      : joins_enter(spec->plan, j) };

	if (result.failed_ns < 0) {
		args->flags |= CLONE_PARENT;
		args->exit_signal = 0; /* CLONE_PARENT: that of the go-between */
		result.pid = sys_clone3(args);
		if (result.pid == 0)
			child_main(spec, cpus, stage, sync, number);
	}
	result.errnum = errno;
	(void)!write(result_fd, &result, sizeof(result));
	_exit(0);
}

static int clone_by_join(const struct launch_spec *spec, struct clone_args *args,
			 const cpu_set_t *cpus, int stage, int sync, char *number,
			 struct launch *ret, struct err *err)
{
	_cleanup_(joins_done) struct joins j = { .fds = { -1, -1, -1, -1, -1, -1, -1, -1 } };
	_cleanup_close_ int in = -EBADF, out = -EBADF;
	struct join_result result;
	int ends[2], r = spec->exec ? 0 : joins_open(spec->plan, &j, err);
	pid_t pid;

	if (r < 0)
		return r;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(err, errno, "make a pipe");
	in = ends[0];
	out = ends[1];
	args->flags &= ~(uint64_t)CLONE_PIDFD;
	args->pidfd = 0;
	pid = fork();
	if (pid == 0)
		join_main(spec, &j, args, cpus, stage, sync, number, out);
	if (pid < 0)
		return err_sys(err, errno, "start a process");
	out = fd_close(out);
	r = io_read_full(in, &result, sizeof(result)) == sizeof(result) ? 0 : -EIO;
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (r < 0)
		return err_set(err, EIO, "the container's namespaces could not be joined");
	if (result.failed_ns >= 0 && spec->exec)
		return err_sys(err, result.errnum, "enter the container's %s namespace",
			       namespaces[result.failed_ns].name);
	if (result.failed_ns >= 0)
		return err_sys(err, result.errnum, "join the %s namespace \"%s\"",
			       namespaces[result.failed_ns].name,
			       spec->plan->joined_paths[result.failed_ns]);
	if (result.pid < 0)
		return err_sys(err, result.errnum, "make the container's namespaces");
	ret->pid = result.pid;
	/* our own child, not yet waited for: the number cannot have been reused */
	ret->pidfd = sys_pidfd_open(result.pid, 0);
	return ret->pidfd < 0 ? err_sys(err, errno, "watch the container") : 0;
}

/* ---- both ----------------------------------------------------------------------------------- */

static int clone_directly(const struct launch_spec *spec, struct clone_args *args,
			  const cpu_set_t *cpus, int stage, int sync, char *number,
			  struct launch *ret, struct err *err)
{
	_cleanup_close_ int own_pid_ns = -EBADF;
	int pidfd = -EBADF, pid, errnum, r = 0;

	args->pidfd = (uint64_t)(uintptr_t)&pidfd;
	if (spec->exec && (spec->plan->namespaces & PLAN_NS_PID))
		r = enter_pid_namespace(spec, &own_pid_ns, err);
	if (r < 0)
		return r;
	pid = sys_clone3(args);
	errnum = errno;
	if (pid == 0)
		child_main(spec, cpus, stage, sync, number);
	/* from here on there is a child to end and to wait for, whatever fails */
	if (pid > 0) {
		ret->pid = pid;
		ret->pidfd = pidfd;
	}
	if (own_pid_ns >= 0 && sys_setns(own_pid_ns, CLONE_NEWPID) < 0 && pid > 0)
		return err_sys(err, errno, "return to proa's own pid namespace");
	if (pid > 0)
		return 0;
	return err_sys(err, errnum, "make the container's namespaces%s",
		       errnum == EPERM ? " (this needs root, or a user namespace of its own)" : "");
}

static bool needs_go_between(const struct launch_spec *spec)
{
	if (spec->exec)
		return spec->rootless && (spec->plan->namespaces & PLAN_NS_USER);
	return spec->plan->joined != 0;
}

int launch_clone(const struct launch_spec *spec, int stage, int sync, struct launch *ret,
		 struct err *err)
{
	const struct plan_process *what = spec->exec ? spec->exec : &spec->plan->process;
	_cleanup_close_ int cgroup = spec->cgroups ? spec->cgroups->open(spec->cgroup) : -EBADF;
	struct clone_args args = { .flags = CLONE_PIDFD, .exit_signal = SIGCHLD };
	char number[12];
	cpu_set_t cpus;

	if (what->cpus_initial && cpulist_parse(what->cpus_initial, &cpus) < 0)
		return err_set(err, EINVAL, "execCPUAffinity: \"%s\" is not a list of CPUs",
			       what->cpus_initial);
	if (!spec->exec)
		args.flags |= clone_flags(spec->plan);
	if (cgroup >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)cgroup;
	}
	snprintf(number, sizeof(number), "%u", spec->preserve_fds);
	return (needs_go_between(spec) ? clone_by_join : clone_directly)(
		spec, &args, what->cpus_initial ? &cpus : NULL, stage, sync, number, ret, err);
}
