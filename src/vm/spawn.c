/* SPDX-License-Identifier: Apache-2.0 */
#include "vm/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include "plan/backend.h"
#include "util/err.h"
#include "util/linux.h"
#include "util/mem.h"
#include "util/str.h"

#define FDS_MAX 8

/* Whether the process that this descriptor is of has ended; its number would not do, for in another
 * process namespace it has none. */
static bool has_ended(int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	return poll(&p, 1, 0) != 0;
}

static _Noreturn void child_main(const struct vm_spawn *s, int parent, char *const *env)
{
	int fds[3 + FDS_MAX], n = 3 + (int)s->fd_count,
			      null = open("/dev/null", O_RDWR | O_CLOEXEC);
	const char *what = "start";
	sigset_t none;
	int error;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (has_ended(parent))
		_exit(1); /* before the line above */
	/* its own group: a ^C of the terminal is proa's to handle */
	setpgid(0, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	fds[0] = null;
	fds[1] = s->stdout_fd < 0 ? null : s->stdout_fd;
	fds[2] = s->stderr_fd < 0 ? null : s->stderr_fd;
	for (size_t i = 0; i < s->fd_count; i++)
		fds[3 + i] = s->fds[i];
	/* out of the way first, so that no dup2 overwrites one that is still needed */
	for (int i = 0; i < n; i++)
		if (fds[i] >= 0)
			fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 3 + FDS_MAX);
	for (int i = 0; i < n; i++)
		if (fds[i] >= 0 && dup2(fds[i], i) < 0)
			goto fail;
	what = "join the cgroup of";
	errno = s->inst && s->inst->enter ? -s->inst->enter(s->inst) : 0;
	if (errno)
		goto fail;
	what = "prepare";
	errno = s->prepare ? s->prepare(s->data) : 0;
	if (errno)
		goto fail;
	what = "execute";
	execve(s->argv[0], s->argv, env);
fail:
	error = errno;
	dprintf(STDERR_FILENO, "cannot %s %s: %s\n", what, s->argv[0], strerror(error));
	_exit(127);
}

int vm_spawn(const struct vm_spawn *s, struct vm_helper *ret, struct err *err)
{
	bool own_pids = s->own_pids && geteuid() == 0;
	int pidfd = -EBADF;
	struct clone_args args = { .flags = CLONE_PIDFD | (own_pids ? CLONE_NEWPID : 0),
				   .pidfd = (uint64_t)(uintptr_t)&pidfd,
				   .exit_signal = SIGCHLD };
	_cleanup_close_ int parent = sys_pidfd_open(getpid(), 0);
	int pid;

	if (s->fd_count > FDS_MAX)
		return err_set(err, EINVAL, "too many descriptors for %s", s->argv[0]);
	if (parent < 0)
		return err_sys(err, errno, "start %s", s->argv[0]);
	pid = sys_clone3(&args);
	if (pid == 0)
		child_main(s, parent, environ);
	if (pid < 0)
		return err_sys(err, errno, "start %s", s->argv[0]);
	*ret = (struct vm_helper){ .pid = pid, .pidfd = pidfd };
	return 0;
}

int vm_spawn_wait(const struct vm_spawn *s, struct err *err)
{
	struct vm_helper h = VM_HELPER_INIT;
	int status = 0, r = vm_spawn(s, &h, err);

	if (r < 0)
		return r;
	while (waitpid(h.pid, &status, 0) < 0 && errno == EINTR)
		;
	close(h.pidfd);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int vm_find_program(const char *name, const char *needed_by, const char *package, char **ret,
		    struct err *err)
{
	const char *path = getenv("PATH");
	/* sbin is in root's PATH only after a login */
	_cleanup_free_ char *dirs =
		str_printf("%s:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", path ? path : "");
	char *save = NULL;

	if (!dirs)
		return err_set(err, ENOMEM, "out of memory");
	for (char *d = strtok_r(dirs, ":", &save); d; d = strtok_r(NULL, ":", &save)) {
		_cleanup_free_ char *file = str_printf("%s/%s", d, name);

		if (d[0] == '/' && file && access(file, X_OK) == 0) {
			*ret = TAKE_PTR(file);
			return 0;
		}
	}
	return err_set(err, ENOENT, "%s is not installed, and %s: apt-get install %s", name,
		       needed_by, package);
}

void vm_helper_end(struct vm_helper *h)
{
	if (h->pid > 0) {
		sys_pidfd_send_signal(h->pidfd, SIGKILL);
		while (waitpid(h->pid, NULL, 0) < 0 && errno == EINTR)
			;
		h->pid = 0;
	}
	h->pidfd = fd_close(h->pidfd);
}

int vm_helper_reap(struct vm_helper *h, int *ret_status)
{
	if (h->pid <= 0 || waitpid(h->pid, ret_status, WNOHANG) != h->pid)
		return 0;
	h->pid = 0;
	return 1;
}
