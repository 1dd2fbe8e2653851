/* SPDX-License-Identifier: Apache-2.0 */
#include "ocivm/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "util/mem.h"

#define CHUNK	   4096 /* PIPE_BUF: what a pipe that is "ready" takes without blocking */
#define SINK_BYTES (STREAM_WINDOW + 65536u)

/* ---- output -------------------------------------------------------------------------------------
 */

static bool ready_for_write(const struct relay_sink *s)
{
	struct pollfd p = { .fd = s->watch.fd, .events = POLLOUT };

	return poll(&p, 1, 0) > 0 && p.revents;
}

static ssize_t write_piece(const struct relay_sink *s, const char *bytes, size_t n)
{
	switch (s->kind) {
	case SINK_SOCKET: return send(s->watch.fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	case SINK_PIPE: return write(s->watch.fd, bytes, MIN(n, (size_t)CHUNK));
	default: return write(s->watch.fd, bytes, n);
	}
}

/* Writes what goes out without waiting. Returns the bytes; all of them when nobody reads any more.
 */
static size_t sink_write(struct relay_sink *s, const char *bytes, size_t n)
{
	size_t done = 0;

	while (done < n && !s->broken && ready_for_write(s)) {
		ssize_t w = write_piece(s, bytes + done, n - done);

		if (w >= 0)
			done += (size_t)w;
		else if (errno == EAGAIN)
			break;
		else if (errno != EINTR)
			s->broken = true;
	}
	return s->broken ? n : done;
}

static void sink_drain(struct relay_sink *s)
{
	struct relay *r = s->relay;
	size_t n = sink_write(s, s->pending + s->at, s->len);

	s->at += n;
	s->len -= n;
	if (n && r->process && !r->exited)
		r->process->ops->consumed(r->process, s->stream, n);
	if (s->len)
		return;
	s->at = 0;
	loop_remove(r->loop, &s->watch);
}

static void sink_ready(struct loop_watch *w, uint32_t events _unused_)
{
	sink_drain(container_of(w, struct relay_sink, watch));
}

static void sink_keep(struct relay_sink *s, const char *bytes, size_t n)
{
	if (s->at + s->len + n > SINK_BYTES) {
		memmove(s->pending, s->pending + s->at, s->len);
		s->at = 0;
	}
	/* the guest is held to its window (vm/session.c), so this always fits */
	n = MIN(n, SINK_BYTES - s->len);
	memcpy(s->pending + s->at + s->len, bytes, n);
	s->len += n;
	(void)loop_add(s->relay->loop, &s->watch);
}

static void on_output(void *data, enum stream stream, const void *bytes, size_t n)
{
	struct relay *r = data;
	struct relay_sink *s = &r->sinks[stream == STREAM_STDERR];
	size_t done = s->len ? 0 : sink_write(s, bytes, n);

	if (done < n)
		sink_keep(s, (const char *)bytes + done, n - done);
	if (done && r->process)
		r->process->ops->consumed(r->process, stream, done);
}

static int open_sink(struct relay *r, enum stream stream, int fd)
{
	struct relay_sink *s = &r->sinks[stream == STREAM_STDERR];
	struct stat st = { 0 };

	*s = (struct relay_sink){ .relay = r, .stream = stream };
	s->watch = (struct loop_watch){ .fd = fd, .events = EPOLLOUT, .call = sink_ready };
	s->broken = fstat(fd, &st) < 0; /* we were started without it */
	s->kind = S_ISSOCK(st.st_mode)	? SINK_SOCKET
		  : S_ISREG(st.st_mode) ? SINK_ANY_SIZE
					: SINK_PIPE;
	s->pending = malloc(SINK_BYTES);
	return s->pending ? 0 : -ENOMEM;
}

/* ---- signals ------------------------------------------------------------------------------------
 */

/* Not those of the process itself: what its own mistakes raise, and its children's ends. */
static void watched_signals(sigset_t *set)
{
	static const int own[] = { SIGSEGV, SIGBUS, SIGFPE,  SIGILL, SIGTRAP,
				   SIGABRT, SIGSYS, SIGCHLD, SIGPIPE };

	sigfillset(set);
	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		sigdelset(set, own[i]);
}

void relay_block_signals(void)
{
	sigset_t set;

	watched_signals(&set);
	sigprocmask(SIG_SETMASK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	/* whoever started us may ignore it, and then no child could be waited for */
	signal(SIGCHLD, SIG_DFL);
}

static void pass_size(struct relay *r)
{
	struct winsize size;

	if (r->terminal < 0 || ioctl(r->terminal, TIOCGWINSZ, &size) < 0 || !r->process ||
	    (size.ws_row == r->rows && size.ws_col == r->cols))
		return;
	/* before the command runs its terminal may not be there yet: on_started() comes back */
	if (!r->running || r->process->ops->resize(r->process, size.ws_row, size.ws_col) < 0)
		return;
	r->rows = size.ws_row;
	r->cols = size.ws_col;
}

static void signals_ready(struct loop_watch *w, uint32_t events _unused_)
{
	struct relay *r = container_of(w, struct relay, signals);
	struct signalfd_siginfo si;

	while (read(w->fd, &si, sizeof(si)) == sizeof(si)) {
		if (si.ssi_signo == SIGWINCH && r->terminal >= 0)
			pass_size(r);
		else if (r->process)
			(void)r->process->ops->signal(r->process, (int)si.ssi_signo);
	}
}

static int open_signals(struct relay *r, struct err *err)
{
	sigset_t set;

	watched_signals(&set);
	r->signals = (struct loop_watch){ .fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK),
					  .events = EPOLLIN,
					  .call = signals_ready };
	if (r->signals.fd < 0 || loop_add(r->loop, &r->signals) < 0)
		return err_sys(err, errno, "watch for signals");
	return 0;
}

/* ---- events -------------------------------------------------------------------------------------
 */

static void on_started(void *data, pid_t pid _unused_)
{
	struct relay *r = data;

	r->running = true;
	/* a change of size while it was starting */
	pass_size(r);
	relay_input_pump(r);
}

static void on_stdin_room(void *data)
{
	struct relay *r = data;

	if (r->running)
		relay_input_pump(r);
}

static void on_exited(void *data, int code, const struct err *why)
{
	struct relay *r = data;

	r->exited = true;
	r->code = code;
	if (why)
		r->why = *why;
	loop_remove(r->loop, &r->input);
}

/* ---- the whole ----------------------------------------------------------------------------------
 */

int relay_init(struct relay *r, struct loop *loop, int terminal, struct err *err)
{
	int out = terminal, error = -EBADF;

	*r = (struct relay){ .loop = loop, .terminal = terminal, .why = ERR_INIT };
	r->events = (struct process_events){ .started = on_started,
					     .output = on_output,
					     .stdin_room = on_stdin_room,
					     .exited = on_exited,
					     .data = r };
	r->signals.fd = -EBADF;
	relay_input_init(r, terminal < 0 ? STDIN_FILENO : terminal);
	if (terminal < 0) {
		out = STDOUT_FILENO;
		error = STDERR_FILENO;
	} else {
		/* epoll takes a descriptor once */
		out = fcntl(terminal, F_DUPFD_CLOEXEC, 3);
		if (out < 0)
			return err_sys(err, errno, "watch the terminal");
	}
	if (open_sink(r, STREAM_STDOUT, out) < 0 || open_sink(r, STREAM_STDERR, error) < 0)
		return err_set(err, ENOMEM, "out of memory");
	return open_signals(r, err);
}

static int one_round(struct relay *r, struct err *err)
{
	int n = loop_once(r->loop, -1);

	return n < 0 ? err_sys(err, -n, "wait for events") : 0;
}

int relay_until_running(struct relay *r, struct err *err)
{
	int ret = 0;

	while (ret == 0 && !r->running && !r->exited)
		ret = one_round(r, err);
	return ret;
}

int relay_until_ended(struct relay *r, struct err *err)
{
	int ret = 0;

	while (ret == 0 && (!r->exited || r->sinks[0].len || r->sinks[1].len))
		ret = one_round(r, err);
	return ret;
}

void relay_say(struct relay *r, const char *line)
{
	struct relay_sink *s = &r->sinks[r->terminal < 0];
	const char *end = r->terminal < 0 ? "\n" : "\r\n";

	(void)sink_write(s, "proa: ", strlen("proa: "));
	(void)sink_write(s, line, strlen(line));
	(void)sink_write(s, end, strlen(end));
}

void relay_done(struct relay *r)
{
	if (!r->loop)
		return;
	if (r->process)
		r->process->ops->free(r->process);
	loop_remove(r->loop, &r->input);
	loop_remove(r->loop, &r->signals);
	fd_close(r->signals.fd);
	for (size_t i = 0; i < ARRAY_SIZE(r->sinks); i++) {
		loop_remove(r->loop, &r->sinks[i].watch);
		free(r->sinks[i].pending);
	}
	if (r->terminal >= 0)
		fd_close(r->sinks[0].watch.fd);
}
