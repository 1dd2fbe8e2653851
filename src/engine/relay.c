/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>
#include "engine/logfile.h"
#include "util/mem.h"

#define CHUNK	   4096 /* PIPE_BUF: what a pipe that is "ready" takes without blocking */
#define SINK_BYTES (STREAM_WINDOW + 65536u)
#define KILL_AFTER 3 /* interrupts in a row that a deaf process 1 is given */

void relay_terminal_size(uint16_t *ret_rows, uint16_t *ret_cols)
{
	struct winsize size;

	for (int fd = 0; fd <= 2; fd++)
		if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_row && size.ws_col) {
			*ret_rows = size.ws_row;
			*ret_cols = size.ws_col;
			return;
		}
	*ret_rows = *ret_cols = 0;
}

/* ---- output --------------------------------------------------------------------------------- */

static void end_if_over(struct relay *r)
{
	if (r->exited && r->sinks[0].len == 0 && r->sinks[1].len == 0) {
		r->ended = true;
		loop_stop(r->loop);
	}
}

static bool ready_for_write(const struct relay_sink *s)
{
	struct pollfd p = { .fd = s->fd, .events = POLLOUT };

	return s->regular || (poll(&p, 1, 0) > 0 && p.revents);
}

/* Writes what goes out without waiting. Returns the bytes; all of them when nobody reads any more.
 */
static size_t sink_write(struct relay_sink *s, const char *bytes, size_t n)
{
	size_t done = 0;

	while (done < n && !s->broken && ready_for_write(s)) {
		size_t chunk = s->regular ? n - done : MIN(n - done, (size_t)CHUNK);
		ssize_t w = write(s->fd, bytes + done, chunk);

		if (w >= 0)
			done += (size_t)w;
		else if (errno == EAGAIN)
			break;
		else if (errno != EINTR)
			s->broken = true;
	}
	return s->broken ? n : done;
}

static void sink_ready(struct loop_watch *w, uint32_t events _unused_)
{
	struct relay_sink *s = container_of(w, struct relay_sink, watch);
	size_t n = sink_write(s, s->pending + s->at, s->len);

	s->at += n;
	s->len -= n;
	if (n && s->relay->process && !s->relay->exited)
		s->relay->process->ops->consumed(s->relay->process, s->stream, n);
	if (s->len)
		return;
	s->at = 0;
	loop_remove(s->relay->loop, w);
	end_if_over(s->relay);
}

static void on_output(void *data, enum stream stream, const void *bytes, size_t n)
{
	struct relay *r = data;
	struct relay_sink *s = &r->sinks[stream == STREAM_STDERR];
	size_t done = 0;

	if (r->log)
		log_file_write(r->log, stream, bytes, n);
	if (!s->len)
		done = sink_write(s, bytes, n);
	if (done < n) {
		size_t rest = n - done;

		if (s->at + s->len + rest > SINK_BYTES) {
			memmove(s->pending, s->pending + s->at, s->len);
			s->at = 0;
		}
		/* the backend keeps to its window, so this always fits; if not, wait rather than
		 * lose */
		while (s->len + rest > SINK_BYTES) {
			struct pollfd p = { .fd = s->fd, .events = POLLOUT };
			size_t w;

			(void)poll(&p, 1, -1);
			w = sink_write(s, s->pending + s->at, s->len);
			memmove(s->pending, s->pending + s->at + w, s->len - w);
			s->at = 0;
			s->len -= w;
		}
		memcpy(s->pending + s->at + s->len, (const char *)bytes + done, rest);
		s->len += rest;
		(void)loop_add(r->loop, &s->watch);
	}
	if (done && r->process)
		r->process->ops->consumed(r->process, stream, done);
}

/* ---- input ---------------------------------------------------------------------------------- */

static void end_input(struct relay *r)
{
	r->input_ended = true;
	loop_remove(r->loop, &r->input);
	r->process->ops->close_stdin(r->process);
}

/* Moves input while both sides are ready. One buffer: what the process did not take is kept in it.
 */
static void pump_input(struct relay *r)
{
	ssize_t n;

	while (!r->input_ended && r->process) {
		if (!r->input_len) {
			struct pollfd p = { .fd = r->input.fd, .events = POLLIN };

			if (!r->input_regular && poll(&p, 1, 0) <= 0) {
				(void)loop_add(r->loop, &r->input);
				return;
			}
			n = read(r->input.fd, r->input_buf, sizeof(r->input_buf));
			if (n < 0 && (errno == EINTR || errno == EAGAIN))
				return;
			if (n <= 0) {
				end_input(r);
				return;
			}
			r->input_at = 0;
			r->input_len = (size_t)n;
		}
		n = r->process->ops->write_stdin(r->process, r->input_buf + r->input_at,
						 r->input_len);
		if (n < 0) {
			/* it reads no more: stop reading for it */
			r->input_ended = true;
			loop_remove(r->loop, &r->input);
			return;
		}
		if (n == 0) {
			loop_remove(r->loop, &r->input);
			return; /* stdin_room() follows */
		}
		r->input_at += (size_t)n;
		r->input_len -= (size_t)n;
	}
}

static void input_ready(struct loop_watch *w, uint32_t events _unused_)
{
	pump_input(container_of(w, struct relay, input));
}

static void on_stdin_room(void *data)
{
	struct relay *r = data;

	if (r->running)
		pump_input(r);
}

/* ---- terminal and signals ------------------------------------------------------------------- */

static void make_raw(struct relay *r)
{
	struct termios raw;

	if (!r->terminal || r->raw || tcgetattr(STDIN_FILENO, &r->saved) < 0)
		return;
	raw = r->saved;
	cfmakeraw(&raw);
	if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0)
		r->raw = true;
}

static void handle_signal(struct relay *r, int signo)
{
	if (signo == SIGWINCH) {
		uint16_t rows, cols;

		relay_terminal_size(&rows, &cols);
		if (r->terminal && rows && r->process)
			(void)r->process->ops->resize(r->process, rows, cols);
		return;
	}
	if (!r->process)
		return;
	if (signo == SIGINT || signo == SIGTERM)
		r->interrupts++;
	/* process 1 ignores what it has no handler for; nobody should need another terminal to end
	 * it */
	(void)r->process->ops->signal(
		r->process, r->interrupts >= KILL_AFTER && (signo == SIGINT || signo == SIGTERM)
				    ? SIGKILL
				    : signo);
}

static void signals_ready(struct loop_watch *w, uint32_t events _unused_)
{
	struct relay *r = container_of(w, struct relay, signals);
	struct signalfd_siginfo si;

	while (read(w->fd, &si, sizeof(si)) == sizeof(si))
		handle_signal(r, (int)si.ssi_signo);
}

static int open_signals(struct relay *r, struct err *err)
{
	static const int forwarded[] = { SIGHUP,  SIGINT,  SIGQUIT, SIGTERM, SIGUSR1,
					 SIGUSR2, SIGALRM, SIGCONT, SIGWINCH };
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(forwarded); i++)
		sigaddset(&set, forwarded[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	r->signals = (struct loop_watch){ .fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK),
					  .events = EPOLLIN,
					  .call = signals_ready };
	if (r->signals.fd < 0 || loop_add(r->loop, &r->signals) < 0)
		return err_sys(err, errno, "watch for signals");
	return 0;
}

/* ---- events --------------------------------------------------------------------------------- */

static void on_started(void *data, pid_t pid)
{
	struct relay *r = data;

	r->running = true;
	make_raw(r);
	if (r->started)
		r->started(r->data, pid);
	/* a resize while it was starting */
	if (r->terminal)
		handle_signal(r, SIGWINCH);
	if (r->process)
		pump_input(r);
}

static void on_exited(void *data, int code, const struct err *why)
{
	struct relay *r = data;

	r->exited = true;
	r->code = code;
	if (why)
		r->why = *why;
	loop_remove(r->loop, &r->input);
	end_if_over(r);
}

static int open_sink(struct relay *r, enum stream stream, int fd)
{
	struct relay_sink *s = &r->sinks[stream == STREAM_STDERR];
	struct stat st;

	*s = (struct relay_sink){ .relay = r, .stream = stream, .fd = fd };
	s->watch = (struct loop_watch){ .fd = fd, .events = EPOLLOUT, .call = sink_ready };
	s->regular = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
	if (fcntl(fd, F_GETFD) < 0)
		s->broken = true; /* we were started without it */
	s->pending = malloc(SINK_BYTES);
	return s->pending ? 0 : -ENOMEM;
}

int relay_init(struct relay *r, struct loop *loop, const struct relay_options *o, struct err *err)
{
	struct stat st;

	*r = (struct relay){ .loop = loop,
			     .terminal = o->terminal && isatty(STDIN_FILENO) == 1,
			     .log = o->log,
			     .started = o->started,
			     .data = o->data };
	r->events = (struct process_events){ .started = on_started,
					     .output = on_output,
					     .stdin_room = on_stdin_room,
					     .exited = on_exited,
					     .data = r };
	r->signals.fd = -EBADF;
	r->input =
		(struct loop_watch){ .fd = STDIN_FILENO, .events = EPOLLIN, .call = input_ready };
	r->input_ended = !o->interactive;
	/* what epoll refuses (files, /dev/null) is always ready */
	r->input_regular =
		fstat(STDIN_FILENO, &st) < 0 || S_ISREG(st.st_mode) || S_ISDIR(st.st_mode);
	if (open_sink(r, STREAM_STDOUT, o->stdout_fd) < 0 ||
	    open_sink(r, STREAM_STDERR, o->stderr_fd) < 0)
		return err_set(err, ENOMEM, "out of memory");
	return open_signals(r, err);
}

int relay_run(struct relay *r, struct err *err)
{
	if (r->input_ended)
		r->process->ops->close_stdin(r->process);
	while (!r->ended) {
		int n = loop_once(r->loop, -1);

		if (n < 0)
			return err_sys(err, -n, "wait for events");
	}
	return 0;
}

int relay_result(const struct relay *r, int *ret_code, struct err *err)
{
	*ret_code = r->code;
	if (!r->why.errnum)
		return 0;
	*err = r->why;
	err->exit_code = r->code;
	return -r->why.errnum;
}

void relay_done(struct relay *r)
{
	if (r->raw)
		(void)tcsetattr(STDIN_FILENO, TCSADRAIN, &r->saved);
	if (r->process)
		r->process->ops->free(r->process);
	loop_remove(r->loop, &r->input);
	loop_remove(r->loop, &r->signals);
	fd_close(r->signals.fd);
	for (size_t i = 0; i < ARRAY_SIZE(r->sinks); i++) {
		loop_remove(r->loop, &r->sinks[i].watch);
		free(r->sinks[i].pending);
	}
}
