/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/relay.h"

#include <errno.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include "engine/logfile.h"
#include "util/mem.h"

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
	if (r->exited && relay_sink_is_empty(&r->sinks[0]) && relay_sink_is_empty(&r->sinks[1])) {
		r->ended = true;
		loop_stop(r->loop);
	}
}

static void on_written(struct relay_sink *s, size_t n)
{
	struct relay *r = s->data;

	if (r->process && !r->exited)
		r->process->ops->consumed(r->process, s->stream, n);
	end_if_over(r);
}

static void on_output(void *data, enum stream stream, const void *bytes, size_t n)
{
	struct relay *r = data;
	size_t done;

	if (r->log)
		log_file_write(r->log, stream, bytes, n);
	done = relay_sink_put(&r->sinks[stream == STREAM_STDERR], bytes, n);
	if (done && r->process)
		r->process->ops->consumed(r->process, stream, done);
}

static void on_stdin_room(void *data)
{
	struct relay *r = data;

	if (r->running)
		relay_input_pump(&r->input);
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
	relay_input_pump(&r->input);
}

static void on_exited(void *data, int code, const struct err *why)
{
	struct relay *r = data;

	r->exited = true;
	r->code = code;
	if (why)
		r->why = *why;
	relay_input_close(&r->input);
	end_if_over(r);
}

int relay_init(struct relay *r, struct loop *loop, const struct relay_options *o, struct err *err)
{
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
	relay_input_open(&r->input, loop, STDIN_FILENO, &r->process);
	r->input.ended = !o->interactive;
	if (relay_sink_open(&r->sinks[0], loop, STREAM_STDOUT, o->stdout_fd, on_written, r) < 0 ||
	    relay_sink_open(&r->sinks[1], loop, STREAM_STDERR, o->stderr_fd, on_written, r) < 0)
		return err_set(err, ENOMEM, "out of memory");
	return open_signals(r, err);
}

int relay_run(struct relay *r, struct err *err)
{
	if (r->input.ended)
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
	relay_input_close(&r->input);
	loop_remove(r->loop, &r->signals);
	fd_close(r->signals.fd);
	for (size_t i = 0; i < ARRAY_SIZE(r->sinks); i++)
		relay_sink_close(&r->sinks[i]);
}
