/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In two steps, for a process namespace needs a new process and must come first:
 *
 * 1. sandbox_enter_pids(), before anything is opened: a child in a new process namespace goes on.
 *    Who is process 1 already (src/vm starts us so) has nothing to do.
 * 2. sandbox_close(), when everything is open: namespaces, an empty root, another user, no rights.
 *
 * As root the user becomes "nobody" (65534), who owns nothing; an ordinary user stays who he is.
 * Where a host forbids user namespaces, root does without one: nothing is left by then that it
 * would take away.
 */
#include "vmm/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "util/err.h"
#include "util/io.h"
#include "util/linux.h"
#include "util/mem.h"
#include "vmm/config.h"
#include "vmm/signals.h"

#define NOBODY	       65534
#define WAITER_PIDFD   1000 /* above what others are likely to have */
#define WAITER_SIGNALS 1001
#define NAMESPACES     (CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP)
#define MS_NOSUID_     2
#define MS_NODEV_      4
#define MS_NOEXEC_     8
#define MS_RDONLY_     1
#define MS_BIND_       4096
#define MS_REC_	       16384
#define MS_PRIVATE_    (1 << 18)
#define MS_REMOUNT_    32

/* ---- the process namespace ------------------------------------------------------------------ */

/* Hands on signals and, at the end, the exit code. */
static _Noreturn void wait_for(pid_t child, int pidfd)
{
	int status = 0, signals = signals_open(0);

	/* descriptors are the child's alone: a socket's other end must see it end */
	if (dup3(pidfd, WAITER_PIDFD, O_CLOEXEC) >= 0 &&
	    dup3(signals, WAITER_SIGNALS, O_CLOEXEC) >= 0) {
		pidfd = WAITER_PIDFD;
		signals = WAITER_SIGNALS;
		(void)sys_close_range(WAITER_SIGNALS + 1, ~0u, 0);
		(void)sys_close_range(3, WAITER_PIDFD - 1, 0);
	}
	for (;;) {
		struct pollfd p[] = { { .fd = pidfd, .events = POLLIN },
				      { .fd = signals, .events = POLLIN } };
		struct signalfd_siginfo info;

		if (poll(p, 2, -1) < 0 && errno != EINTR)
			break;
		if (p[1].revents & POLLIN && read(signals, &info, sizeof(info)) == sizeof(info))
			(void)sys_pidfd_send_signal(pidfd, (int)info.ssi_signo);
		if (p[0].revents & POLLIN)
			break;
	}
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

/* Root of a new user namespace that has only this user, who may then make the other namespaces. */
static int map_self(uid_t uid, gid_t gid)
{
	char map[64];
	int r;

	snprintf(map, sizeof(map), "0 %u 1", uid);
	r = io_write_knob(AT_FDCWD, "/proc/self/setgroups", "deny");
	if (r < 0 && r != -ENOENT)
		return r;
	r = io_write_knob(AT_FDCWD, "/proc/self/uid_map", map);
	snprintf(map, sizeof(map), "0 %u 1", gid);
	return r == 0 ? io_write_knob(AT_FDCWD, "/proc/self/gid_map", map) : r;
}

int sandbox_enter_pids(struct err *err)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	int pidfd = -EBADF, pid, r;
	struct clone_args args = { .flags = CLONE_PIDFD | CLONE_NEWPID | (uid ? CLONE_NEWUSER : 0),
				   .pidfd = (uint64_t)(uintptr_t)&pidfd,
				   .exit_signal = SIGCHLD };

	if (getpid() == 1)
		return 0;
	pid = sys_clone3(&args);
	if (pid < 0)
		return err_sys(err, errno,
			       "make the sandbox's process namespace (--no-sandbox does without)");
	if (pid > 0)
		wait_for(pid, pidfd);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	r = uid ? map_self(uid, gid) : 0;
	return r < 0 ? err_sys(err, -r, "make the sandbox's user namespace") : 0;
}

/* ---- everything else ------------------------------------------------------------------------ */

static int mount_vsock(const char *socket_path)
{
	_cleanup_free_ char *dir = strdup(socket_path);
	char *slash = dir ? strrchr(dir, '/') : NULL;
	const char *source = !slash ? "." : slash == dir ? "/" : dir;
	_cleanup_close_ int fd = -EBADF;

	if (!dir)
		return -ENOMEM;
	if (slash && slash != dir)
		*slash = 0;
	fd = sys_open_tree(AT_FDCWD, source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (fd < 0)
		return -errno;
	return TAKE_FD(fd);
}

/* A root with nothing in it, but for the sockets of vsock. */
static int empty_root(const char *vsock_path)
{
	_cleanup_close_ int vsock = -EBADF;

	if (sys_mount(NULL, "/", NULL, MS_REC_ | MS_PRIVATE_, NULL) < 0)
		return -errno;
	if (vsock_path) {
		vsock = mount_vsock(vsock_path);
		if (vsock < 0)
			return vsock;
	}
	/* any directory will do as the place; /proc is everywhere */
	if (sys_mount("tmpfs", "/proc", "tmpfs", MS_NOSUID_ | MS_NODEV_ | MS_NOEXEC_,
		      "size=64k,mode=555") < 0 ||
	    chdir("/proc") < 0)
		return -errno;
	if (vsock >= 0 && (mkdir("." SANDBOX_VSOCK_DIR, 0555) < 0 ||
			   sys_move_mount(vsock, "", AT_FDCWD, "." SANDBOX_VSOCK_DIR,
					  MOVE_MOUNT_F_EMPTY_PATH) < 0))
		return -errno;
	if (sys_pivot_root(".", ".") < 0 || sys_umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return -errno;
	return sys_mount(NULL, "/", NULL,
			 MS_REMOUNT_ | MS_BIND_ | MS_RDONLY_ | MS_NOSUID_ | MS_NODEV_ | MS_NOEXEC_,
			 NULL) < 0
		       ? -errno
		       : 0;
}

static void set_limits(void)
{
	struct rlimit none = { 0, 0 }, files;

	(void)setrlimit(RLIMIT_CORE, &none);
	(void)setrlimit(RLIMIT_MSGQUEUE, &none);
	/* what is open stays; connections of vsock come and go */
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max = MIN(files.rlim_max, (rlim_t)4096);
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
}

static int drop_capabilities(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { { 0 }, { 0 } };

	for (int cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
		(void)prctl(PR_CAPBSET_DROP, cap);
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	return syscall(SYS_capset, &head, none) < 0 ? -errno : 0;
}

/* In a user namespace that has no "nobody" we are somebody's subordinate already. */
static int become_nobody(void)
{
	if (setgroups(0, NULL) < 0 && errno != EPERM)
		return -errno;
	if ((setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0) &&
	    errno != EINVAL)
		return -errno;
	/* nothing in it has an owner outside; where the host forbids it there is none */
	(void)sys_unshare(CLONE_NEWUSER);
	return 0;
}

int sandbox_close(const struct vmm_config *config, struct err *err)
{
	bool root = geteuid() == 0;
	int r = sys_unshare(NAMESPACES) < 0 ? -errno : 0;

	if (r == 0)
		r = empty_root(config->vsock_path);
	if (r < 0)
		return err_sys(err, -r, "make the sandbox (--no-sandbox does without)");
	set_limits();
	if (root)
		r = become_nobody();
	if (r == 0)
		r = drop_capabilities();
	if (r == 0 &&
	    (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
	     /* new rights took it away: when its owner ends, so does the machine */
	     prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0))
		r = -errno;
	return r < 0 ? err_sys(err, -r, "give up rights") : 0;
}
