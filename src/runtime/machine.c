/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include "container/cgroup.h"
#include "container/launch.h"
#include "plan/plan.h"
#include "runtime/state.h"
#include "util/err.h"
#include "util/io.h"
#include "util/linux.h"
#include "util/mem.h"
#include "util/self.h"
#include "util/str.h"

#define HELPER "proa-oci-machine"

/* The directory of the container's state, as a path: the helper keeps sockets in it. */
static char *state_dir(const struct state *s)
{
	char link[32], path[4096];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", s->dir_fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < 0)
		return NULL;
	path[n] = 0;
	return strdup(path);
}

/* In the child: the descriptors where a stage has them (container/stage.h), and the helper. */
static _Noreturn void child_main(const struct launch_spec *spec, char *const argv[], int sync)
{
	int base = STAGE_FIRST_FD + (int)spec->preserve_fds;
	struct stage_report report = { .type = STAGE_REPORT_FAILED };
	int start = spec->wait_for_start ? fcntl(spec->start_fd, F_DUPFD_CLOEXEC, base + 8) : -1;
	int r;

	prctl(PR_SET_DUMPABLE, 0);
	if (!spec->exec)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	sync = fcntl(sync, F_DUPFD_CLOEXEC, base + 8);
	r = spec->cgroups ? spec->cgroups->join(spec->cgroup) : 0;
	if (r < 0) {
		err_sys(&report.err, -r, "join the machine's cgroups");
	} else {
		for (int i = 0; i < 3; i++)
			if (spec->stdio[i] < 0)
				dup2(open("/dev/null", O_RDWR), i);
		dup2(sync, base);
		if (start >= 0)
			dup2(start, base + 1);
		sys_close_range((unsigned)base + (start >= 0 ? 2 : 1), ~0u, CLOSE_RANGE_CLOEXEC);
		execv(argv[0], argv);
		err_sys(&report.err, errno, "execute %s", argv[0]);
	}
	(void)io_send_fd(sync, &report, sizeof(report), -1);
	_exit(EXIT_PROA);
}

/* A group with limits is for the command, and those are applied in the guest; here it holds the
 * machine's processes so that they are counted, frozen and ended together. */
static int clone_helper(const struct launch_spec *spec, char *const argv[], int sync,
			struct launch *ret, struct err *err)
{
	_cleanup_close_ int cgroup = spec->cgroups ? spec->cgroups->open(spec->cgroup) : -EBADF;
	int pidfd = -EBADF;
	struct clone_args args = { .flags = CLONE_PIDFD,
				   .pidfd = (uint64_t)(uintptr_t)&pidfd,
				   .exit_signal = SIGCHLD };
	pid_t pid;

	if (cgroup >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)cgroup;
	}
	pid = sys_clone3(&args);
	if (pid == 0)
		child_main(spec, argv, sync);
	if (pid < 0)
		return err_sys(err, errno, "start the machine's process");
	ret->pid = pid;
	ret->pidfd = pidfd;
	return 0;
}

int machine_launch(const struct launch_spec *spec, const struct state *s, struct launch *ret,
		   struct err *err)
{
	_cleanup_free_ char *helper = NULL, *dir = state_dir(s), *number = NULL, *pid = NULL,
			    *start = NULL;
	_cleanup_close_ int ours = -EBADF, theirs = -EBADF;
	int pair[2], r = self_find_helper(HELPER, &helper, err);

	if (r < 0)
		return r;
	number = str_printf("%u", spec->preserve_fds);
	pid = str_printf("%d", s->pid);
	start = str_printf("%llu", (unsigned long long)s->pid_start);
	if (!dir || !number || !pid || !start)
		return err_set(err, ENOMEM, "out of memory");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, errno, "make a socket pair");
	ours = pair[0];
	theirs = pair[1];
	r = clone_helper(spec, (char *const[]){ helper, number, dir, s->id, pid, start, NULL },
			 theirs, ret, err);
	theirs = fd_close(theirs);
	if (r == 0 && spec->prepare)
		r = spec->prepare(spec->data, ret->pid, err);
	if (r == 0)
		r = launch_send_plan(spec, ours, 0, err);
	if (r < 0)
		return r;
	ret->sync_fd = TAKE_FD(ours);
	return 0;
}

/* Runs the helper for a question: what it complains of is the error. @input: its standard input, or
 * -1. */
static int ask_helper(char *const argv[], int input, struct err *err)
{
	char line[ERR_MSG_MAX] = "";
	int ends[2], status = -1;
	ssize_t n;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(err, errno, "reach the machine");
	pid = fork();
	if (pid == 0) {
		if (input >= 0)
			dup2(input, STDIN_FILENO);
		dup2(ends[1], STDERR_FILENO);
		execv(argv[0], argv);
		_exit(EXIT_NOT_FOUND);
	}
	close(ends[1]);
	n = pid > 0 ? io_read_full(ends[0], line, sizeof(line) - 1) : -1;
	close(ends[0]);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (status == 0)
		return 0;
	line[n > 0 ? strcspn(line, "\n") : 0] = 0;
	return err_set(err, EIO, "%s", line[0] ? line : "the machine could not be reached");
}

int machine_kill(const struct state *s, int signo, struct err *err)
{
	_cleanup_free_ char *helper = NULL, *dir = state_dir(s), *number = str_printf("%d", signo);
	int r = self_find_helper(HELPER, &helper, err);

	if (r < 0)
		return r;
	if (!dir || !number)
		return err_set(err, ENOMEM, "out of memory");
	return ask_helper(
		(char *const[]){ helper, (char *)(uintptr_t) "kill", dir, s->id, number, NULL }, -1,
		err);
}

int machine_update(const struct state *s, const struct plan_resources *limits, struct err *err)
{
	_cleanup_free_ char *helper = NULL, *dir = state_dir(s);
	_cleanup_free_ uint8_t *bytes = NULL;
	_cleanup_close_ int input = sys_memfd_create("limits", MFD_CLOEXEC);
	/* only the limits count, but a plan without an ID and a command is none */
	char *const args[] = { s->id, NULL };
	struct plan plan = { .id = s->id,
			     .process = { .args = (char **)(uintptr_t)args,
					  .cwd = (char *)(uintptr_t) "/" },
			     .resources = *limits };
	size_t n;
	int r = self_find_helper(HELPER, &helper, err);

	if (r < 0)
		return r;
	r = dir ? plan_encode(&plan, &bytes, &n) : -ENOMEM;
	if (r == 0 && input < 0)
		r = -errno;
	if (r == 0)
		r = io_write_full(input, bytes, n);
	if (r < 0 || lseek(input, 0, SEEK_SET) < 0)
		return err_sys(err, r < 0 ? -r : errno, "write the limits");
	return ask_helper((char *const[]){ helper, (char *)(uintptr_t) "update", dir, s->id, NULL },
			  input, err);
}
