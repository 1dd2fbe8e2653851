/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work that takes minutes and leaves a gigabyte behind if it is broken off: the signals that would
 * end this process are held back and read from a descriptor, beside the end of the program that
 * does the work. When one comes, that program and all its children are ended (vm_spawn() gives each
 * program a process group of its own), and the caller tidies up on its usual way out.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include "util/err.h"
#include "util/linux.h"
#include "util/mem.h"
#include "vm/kernel_internal.h"
#include "vm/spawn.h"

#define TICK_MS	 20000
#define GRACE_MS 3000

int kernel_hold_begin(struct kernel_hold *h, struct err *err)
{
	sigset_t ending;
	int r;

	sigemptyset(&ending);
	sigaddset(&ending, SIGINT);
	sigaddset(&ending, SIGTERM);
	sigaddset(&ending, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &ending, &h->before) < 0)
		return err_sys(err, errno, "hold signals back");
	h->fd = signalfd(-1, &ending, SFD_CLOEXEC | SFD_NONBLOCK);
	if (h->fd >= 0)
		return 0;
	r = err_sys(err, errno, "hold signals back");
	sigprocmask(SIG_SETMASK, &h->before, NULL);
	return r;
}

void kernel_hold_end(struct kernel_hold *h)
{
	if (h->fd >= 0)
		sigprocmask(SIG_SETMASK, &h->before, NULL);
	h->fd = fd_close(h->fd);
}

/* Ends the program and what it started: politely, so that a make removes half a file; then not. */
static void end_group(struct vm_helper *helper)
{
	struct pollfd end = { .fd = helper->pidfd, .events = POLLIN };
	pid_t group = helper->pid;

	if (kill(-group, SIGTERM) == 0)
		(void)poll(&end, 1, GRACE_MS);
	vm_helper_end(helper);
	(void)kill(-group, SIGKILL);
}

int kernel_hold_run(const struct kernel_hold *h, const struct vm_spawn *s, void (*tick)(void *data),
		    void *data, struct err *err)
{
	struct vm_helper helper = VM_HELPER_INIT;
	struct signalfd_siginfo info;
	int status = 0, r = vm_spawn(s, &helper, err);

	if (r < 0)
		return r;
	while (!vm_helper_reap(&helper, &status)) {
		struct pollfd p[] = { { .fd = helper.pidfd, .events = POLLIN },
				      { .fd = h->fd, .events = POLLIN } };

		if (poll(p, ARRAY_SIZE(p), TICK_MS) == 0 && tick)
			tick(data);
		if (read(h->fd, &info, sizeof(info)) != sizeof(info))
			continue;
		end_group(&helper);
		return err_exit(err, EINTR, 128 + (int)info.ssi_signo, "interrupted: %s",
				strsignal((int)info.ssi_signo));
	}
	vm_helper_end(&helper);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
