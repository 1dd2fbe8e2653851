/* SPDX-License-Identifier: Apache-2.0 */
#include "container/hook_run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include "plan/plan.h"
#include "util/err.h"
#include "util/io.h"
#include "util/json_write.h"
#include "util/linux.h"
#include "util/mem.h"

#define OCI_VERSION "1.2.0"

char *hook_state_json(const struct plan *plan, const char *status, int pid, const char *bundle)
{
	struct json_write w = { 0 };

	json_write_object(&w);
	json_write_member(&w, "ociVersion", OCI_VERSION);
	json_write_member(&w, "id", plan->name ? plan->name : plan->id);
	json_write_member(&w, "status", status);
	if (pid > 0)
		json_write_member_u64(&w, "pid", (uint64_t)pid);
	json_write_member(&w, "bundle", bundle);
	json_write_key(&w, "annotations");
	json_write_object(&w);
	for (char **a = plan->annotations; a && *a; a++) {
		_cleanup_free_ char *key = strndup(*a, strcspn(*a, "="));
		const char *value = strchr(*a, '=');

		if (key && value)
			json_write_member(&w, key, value + 1);
	}
	json_write_close(&w, '}');
	json_write_close(&w, '}');
	if (w.out.failed)
		str_buf_done(&w.out);
	return w.out.data;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static _Noreturn void hook_child(const struct plan_hook *hook, const char *dir, int in,
				 int complaints)
{
	static char *const no_env[] = { NULL };
	char *const only_path[] = { hook->path, NULL };
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	dup2(in, STDIN_FILENO);
	dup2(complaints, STDOUT_FILENO);
	dup2(complaints, STDERR_FILENO);
	sys_close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
	if (dir)
		(void)!chdir(dir);
	execve(hook->path, hook->args && hook->args[0] ? hook->args : only_path,
	       hook->env ? hook->env : no_env);
	dprintf(STDERR_FILENO, "%s", strerror(errno));
	_exit(EXIT_NOT_FOUND);
}

/* Reads what it complains of until it ends or its time is over. False: it has to be killed. */
static bool watch(int pidfd, int pipe_fd, uint32_t timeout_s, char *line, size_t size)
{
	int64_t deadline = timeout_s ? now_ms() + (int64_t)timeout_s * 1000 : -1;
	size_t n = 0;

	for (;;) {
		struct pollfd fds[] = { { .fd = pidfd, .events = POLLIN },
					{ .fd = pipe_fd, .events = POLLIN } };
		int64_t left = deadline < 0 ? -1 : deadline - now_ms();
		char drop[512];
		ssize_t got;

		if (deadline >= 0 && left <= 0)
			return false;
		if (poll(fds, 2, (int)MIN(left, 1000000)) < 0 && errno != EINTR)
			return false;
		if (fds[1].revents) {
			got = n + 1 < size ? read(pipe_fd, line + n, size - 1 - n)
					   : read(pipe_fd, drop, sizeof(drop));
			if (got > 0 && n + 1 < size)
				n += (size_t)got;
			if (got <= 0)
				pipe_fd = -1; /* poll passes over it */
			line[n] = 0;
		} else if (fds[0].revents) {
			return true;
		}
	}
}

int hook_run(const struct plan_hook *hook, const char *dir, const char *state, struct err *err)
{
	_cleanup_close_ int in = sys_memfd_create("state", MFD_CLOEXEC), pidfd = -EBADF;
	char line[300] = "";
	int ends[2], status = 0;
	bool ended;
	pid_t pid;

	/* a file, not a pipe: a hook need not read what it is given */
	if (in < 0 || io_write_full(in, state, strlen(state)) < 0 || lseek(in, 0, SEEK_SET) < 0)
		return err_sys(err, errno, "hand the state to the hook %s", hook->path);
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(err, errno, "make a pipe");
	pid = fork();
	if (pid == 0)
		hook_child(hook, dir, in, ends[1]);
	close(ends[1]);
	pidfd = pid > 0 ? sys_pidfd_open(pid, 0) : -1;
	if (pidfd < 0) {
		close(ends[0]);
		return err_sys(err, errno, "start the hook %s", hook->path);
	}
	ended = watch(pidfd, ends[0], hook->timeout_s, line, sizeof(line));
	close(ends[0]);
	if (!ended)
		sys_pidfd_send_signal(pidfd, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	line[strcspn(line, "\n")] = 0;
	if (!ended)
		return err_set(err, ETIMEDOUT, "the hook %s did not end within its %u seconds",
			       hook->path, hook->timeout_s);
	if (status == 0)
		return 0;
	return err_set(err, ECANCELED, "the hook %s failed (%s %d)%s%s", hook->path,
		       WIFSIGNALED(status) ? "signal" : "exit code",
		       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
		       line[0] ? ": " : "", line);
}
