/* SPDX-License-Identifier: Apache-2.0 */
#include "ocivm/start.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "container/stage.h"
#include "ocivm/ocivm.h"
#include "util/err.h"
#include "util/io.h"
#include "util/linux.h"
#include "util/mem.h"

#define CLOSE_ON_EXEC_FROM 3u

static bool is_socket(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

static int receive(struct start *s, struct err *err)
{
	struct stage_start h;
	int r = stage_read_start(s->fd, "the machine's process", &h, &s->plan, err);

	if (r < 0)
		return r;
	if (h.source_count)
		return err_set(err, EPROTO, "a machine opens the sources of its mounts itself");
	s->mode = h.mode;
	s->flags = h.flags;
	return 0;
}

int start_open(struct start *s, uint32_t preserved, struct err *err)
{
	int fd = STAGE_FIRST_FD + (int)preserved, r;

	*s = (struct start){ .fd = -EBADF, .listening = -EBADF };
	if (!is_socket(fd))
		return err_set(err, EPROTO, "this is a part of proa-oci and is started by it only");
	s->fd = fd;
	sys_close_range(CLOSE_ON_EXEC_FROM, ~0u, CLOSE_RANGE_CLOEXEC);
	r = receive(s, err);
	if (r < 0)
		return r;
	if ((s->flags & STAGE_WAIT) && !is_socket(fd + 1))
		return err_set(err, EPROTO, "the machine's process got no socket to wait on");
	if (s->flags & STAGE_WAIT)
		s->listening = fd + 1;
	if (preserved)
		return err_set(err, EOPNOTSUPP,
			       "--preserve-fds, socket activation: open descriptors do not reach "
			       "into a machine");
	return 0;
}

void start_done(struct start *s)
{
	s->fd = fd_close(s->fd);
	s->listening = fd_close(s->listening);
	plan_done(&s->plan);
}

/* Engines keep an error as one line; what QEMU or a guest's console said last has several. */
static void join_lines(char *msg)
{
	char *to = msg;

	for (const char *from = msg; *from; from++) {
		if (*from != '\n') {
			*to++ = *from;
			continue;
		}
		*to++ = ' ';
		while (from[1] == ' ' || from[1] == '\n')
			from++;
		if (from[1] && to < from)
			*to++ = '|', *to++ = ' ';
	}
	*to = 0;
}

int start_report(struct start *s, uint32_t type, const struct err *err, int fd)
{
	struct stage_report r = { .type = type };

	if (s->fd < 0)
		return -EPIPE;
	if (err) {
		r.err = *err;
		join_lines(r.err.msg);
	}
	return io_send_fd(s->fd, &r, sizeof(r), fd);
}

int start_terminal(struct start *s, int *ret_slave, struct err *err)
{
	_cleanup_close_ int master = -EBADF;
	int r;

	if (!s->plan.process.terminal)
		return 0;
	r = terminal_open(&s->plan.process, &master, ret_slave, err);
	if (r == 0 && start_report(s, STAGE_REPORT_TERMINAL, NULL, master) < 0)
		r = err_set(err, ECANCELED, "the start was given up");
	return r;
}

int start_wait_for_hooks(struct start *s, struct err *err)
{
	char byte;

	if (start_report(s, STAGE_REPORT_HOOKS, NULL, -1) < 0 || io_read_full(s->fd, &byte, 1) != 1)
		return err_set(err, ECANCELED, "the start was given up");
	return 0;
}

int start_ready(struct start *s, struct err *err)
{
	if (s->flags & STAGE_DETACHED)
		prctl(PR_SET_PDEATHSIG, 0);
	if (start_report(s, STAGE_REPORT_READY, NULL, -1) < 0)
		return err_set(err, ECANCELED, "the start was given up");
	s->fd = fd_close(s->fd);
	return 0;
}

int start_accept(struct start *s, struct err *err)
{
	s->fd = accept4(s->listening, NULL, NULL, SOCK_CLOEXEC);
	if (s->fd < 0)
		return err_sys(err, errno, "wait for the start");
	s->listening = fd_close(s->listening);
	return 0;
}

void start_running(struct start *s)
{
	if (s->flags & STAGE_DETACHED)
		prctl(PR_SET_PDEATHSIG, 0);
	s->fd = fd_close(s->fd);
}
