/* SPDX-License-Identifier: Apache-2.0 */
/* What a stage reports while it starts a process, for create, run, start and exec alike. */
#include <errno.h>
#include <poll.h>
#include "container/launch.h"
#include "runtime/create.h"
#include "runtime/runtime.h"
#include "util/err.h"
#include "util/mem.h"

static enum launch_event next_report(int sync_fd, int *ret_fd, struct err *err)
{
	for (;;) {
		struct pollfd ready = { .fd = sync_fd, .events = POLLIN };
		enum launch_event e = launch_next(sync_fd, ret_fd, err);

		if (e != LAUNCH_AGAIN)
			return e;
		if (poll(&ready, 1, -1) < 0 && errno != EINTR) {
			err_sys(err, errno, "wait for the container's start");
			return LAUNCH_FAILED;
		}
	}
}

static int broke_off(struct err *err)
{
	return err_set(err, EPROTO, "the container's start broke off");
}

static int take_terminal(const struct follow *f, int *fd, struct err *err)
{
	if (!f->ret_terminal)
		return broke_off(err);
	if (f->console_socket)
		return console_send(f->console_socket, *fd, err);
	*f->ret_terminal = TAKE_FD(*fd);
	return 0;
}

int runtime_follow(const struct follow *f, int sync_fd, struct err *err)
{
	for (;;) {
		int fd = -EBADF, r = 0;

		switch (next_report(sync_fd, &fd, err)) {
		case LAUNCH_RUNNING: return 0;
		case LAUNCH_READY: return f->waits ? 0 : broke_off(err);
		case LAUNCH_TERMINAL: r = take_terminal(f, &fd, err); break;
		case LAUNCH_HOOKS: r = f->hooks ? f->hooks(f->data, err) : broke_off(err); break;
		case LAUNCH_WARNING:
			runtime_warning(f->rt, "%s", err->msg);
			err_clear(err);
			break;
		case LAUNCH_SECCOMP:
			r = seccomp_notify(f->process, f->state, f->pid, f->status, fd, err);
			break;
		default: return err->errnum ? -err->errnum : broke_off(err);
		}
		fd_close(fd);
		if (r < 0)
			return r;
	}
}
