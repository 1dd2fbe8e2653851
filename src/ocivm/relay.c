/* SPDX-License-Identifier: Apache-2.0 */
#include "ocivm/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include "util/mem.h"
#include "util/signal.h"

/* ---- output -------------------------------------------------------------------------------------
 */

static void on_written(struct relay_sink *s, size_t n)
{
	struct relay *r = s->data;

	if (r->process && !r->exited)
		r->process->ops->consumed(r->process, s->stream, n);
}

static void on_output(void *data, enum stream stream, const void *bytes, size_t n)
{
	struct relay *r = data;
	size_t done = relay_sink_put(&r->sinks[stream == STREAM_STDERR], bytes, n);

	if (done && r->process)
		r->process->ops->consumed(r->process, stream, done);
}

/* ---- signals ------------------------------------------------------------------------------------
 */

/* Those that go to the command: not what tells of our own children and pipes. */
static void watched_signals(sigset_t *set)
{
	signal_set_foreign(set);
	sigdelset(set, SIGCHLD);
	sigdelset(set, SIGPIPE);
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
	relay_input_pump(&r->input);
}

static void on_stdin_room(void *data)
{
	struct relay *r = data;

	if (r->running)
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
	relay_input_open(&r->input, loop, terminal < 0 ? STDIN_FILENO : terminal, &r->process);
	if (terminal < 0) {
		out = STDOUT_FILENO;
		error = STDERR_FILENO;
	} else {
		/* epoll takes a descriptor once */
		out = fcntl(terminal, F_DUPFD_CLOEXEC, 3);
		if (out < 0)
			return err_sys(err, errno, "watch the terminal");
	}
	if (relay_sink_open(&r->sinks[0], loop, STREAM_STDOUT, out, on_written, r) < 0 ||
	    relay_sink_open(&r->sinks[1], loop, STREAM_STDERR, error, on_written, r) < 0)
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

void relay_say(struct relay *r, const char *line)
{
	struct relay_sink *s = &r->sinks[r->terminal < 0];
	const char *end = r->terminal < 0 ? "\n" : "\r\n";

	(void)relay_sink_put(s, "proa: ", strlen("proa: "));
	(void)relay_sink_put(s, line, strlen(line));
	(void)relay_sink_put(s, end, strlen(end));
}

int relay_to_the_end(struct relay *r)
{
	struct err err = ERR_INIT;
	int ret = 0;

	while (ret == 0 && (!r->exited || !relay_sink_is_empty(&r->sinks[0]) ||
			    !relay_sink_is_empty(&r->sinks[1])))
		ret = one_round(r, &err);
	if (ret < 0)
		return err.exit_code;
	if (r->why.errnum)
		relay_say(r, r->why.msg);
	return r->code;
}

int relay_why(const struct relay *r, struct err *err)
{
	*err = r->why;
	err->exit_code = r->code;
	return -err->errnum;
}

void relay_done(struct relay *r)
{
	if (!r->loop)
		return;
	if (r->process)
		r->process->ops->free(r->process);
	relay_input_close(&r->input);
	loop_remove(r->loop, &r->signals);
	fd_close(r->signals.fd);
	for (size_t i = 0; i < ARRAY_SIZE(r->sinks); i++)
		relay_sink_close(&r->sinks[i]);
	if (r->terminal >= 0)
		fd_close(r->sinks[0].watch.fd);
}
