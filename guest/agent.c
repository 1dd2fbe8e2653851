/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames into calls of struct process_ops, and struct process_events into frames.
 *
 * A session begins with pieces of an encoded plan, which are collected; FRAME_RUN or FRAME_EXEC
 * starts the process. Input is kept in a buffer of at most a window until the process has room, and
 * each byte taken is acknowledged; output needs no buffer of ours, for the backend stops by itself
 * at a window of unacknowledged bytes and FRAME_CREDIT is passed on to it.
 *
 * What the host sends is checked as if it were hostile: it costs nothing and makes a mistake
 * visible as -EBADMSG instead of as a broken guest.
 */
#include "agent.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include "util/err.h"
#include "util/mem.h"
#include "util/proc.h"

struct agent_session {
	struct agent_session *next;
	struct agent *agent;
	uint16_t id;
	bool started; /* FRAME_RUN/EXEC came */
	bool closed;  /* nobody listens */
	bool tied;    /* then it ends */
	struct str_buf plan;
	struct plan_process what; /* of an exec */
	struct process_events events;
	struct process *process;
	struct str_buf input;
	size_t input_taken; /* bytes of the buffer that the process has */
	bool input_end;
};

static struct agent_session *session_find(struct agent *a, uint16_t id)
{
	struct agent_session *s = a->sessions;

	while (s && s->id != id)
		s = s->next;
	return s;
}

static struct agent_session *session_new(struct agent *a, uint16_t id)
{
	struct agent_session *s;

	if (a->session_count >= AGENT_SESSIONS_MAX)
		return NULL;
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->agent = a;
	s->id = id;
	s->next = a->sessions;
	a->sessions = s;
	a->session_count++;
	return s;
}

static void session_free(struct agent_session *s)
{
	struct agent_session **at = &s->agent->sessions;

	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	s->agent->session_count--;
	if (s->process)
		s->process->ops->free(s->process);
	str_buf_done(&s->plan);
	str_buf_done(&s->input);
	plan_process_done(&s->what);
	free(s);
}

/* ---- from the process ----------------------------------------------------------------------- */

static void on_started(void *data, pid_t pid)
{
	struct agent_session *s = data;

	if (s->id == SESSION_FIRST) {
		s->agent->inst.pid = pid;
		(void)proc_start_time(pid, &s->agent->inst.pid_start);
	}
	if (!s->closed)
		link_send(&s->agent->link, FRAME_STARTED, s->id, NULL, 0);
}

static void on_output(void *data, enum stream stream, const void *bytes, size_t n)
{
	struct agent_session *s = data;

	if (s->closed) {
		s->process->ops->consumed(s->process, stream, n);
		return;
	}
	link_send_all(&s->agent->link, stream == STREAM_STDERR ? FRAME_ERROUT : FRAME_OUTPUT, s->id,
		      bytes, n);
}

/* Gives the process what it takes of the buffer, and the host room for as much. */
static void feed(struct agent_session *s)
{
	struct frame_credit credit = { .stream = STREAM_STDIN };

	while (s->process && s->input_taken < s->input.len) {
		ssize_t n = s->process->ops->write_stdin(s->process, s->input.data + s->input_taken,
							 s->input.len - s->input_taken);

		if (n == 0)
			break;
		if (n < 0) /* nobody reads: as with a pipe, the rest is lost, and more is taken */
			n = (ssize_t)(s->input.len - s->input_taken);
		s->input_taken += (size_t)n;
		credit.bytes += (uint32_t)n;
	}
	if (s->input_taken == s->input.len) {
		s->input.len = s->input_taken = 0;
		if (s->input_end && s->process)
			s->process->ops->close_stdin(s->process);
	}
	if (credit.bytes && !s->closed)
		link_send(&s->agent->link, FRAME_CREDIT, s->id, &credit, sizeof(credit));
}

static void on_stdin_room(void *data)
{
	feed(data);
}

static void on_exited(void *data, int code, const struct err *why)
{
	struct agent_session *s = data;
	struct agent *a = s->agent;
	struct err more = ERR_INIT;

	if (s->id == SESSION_FIRST && !why)
		a->hooks->explain(a->hooks->data, code, &more);
	if (s->id == SESSION_FIRST && (a->run_flags & RUN_SYNC))
		a->hooks->sync(a->hooks->data);
	if (!s->closed)
		link_send_exited(&a->link, s->id, code, more.errnum ? &more : why);
	session_free(s);
}

/* ---- from the host -------------------------------------------------------------------------- */

static int fail_session(struct agent_session *s, const struct err *err)
{
	link_send_exited(&s->agent->link, s->id, err->exit_code, err);
	session_free(s);
	return 0;
}

static void set_events(struct agent_session *s)
{
	s->events = (struct process_events){ .started = on_started,
					     .output = on_output,
					     .stdin_room = on_stdin_room,
					     .exited = on_exited,
					     .data = s };
}

static int on_run(struct agent *a, struct agent_session *s, const struct frame *f)
{
	struct err err = ERR_INIT;
	struct frame_run run;
	int r;

	frame_get(f, &run, sizeof(run));
	if (s->id != SESSION_FIRST || a->have_plan || (run.flags & ~(uint32_t)RUN_FLAGS_ALL))
		return -EBADMSG;
	if ((run.flags & RUN_ROOT_SHARED) && (run.flags & RUN_ROOT_IMAGE))
		return -EBADMSG;
	r = plan_decode((const uint8_t *)s->plan.data, s->plan.len, &a->plan, &err);
	if (r < 0)
		return fail_session(s, &err);
	str_buf_done(&s->plan);
	a->have_plan = true;
	a->run_flags = run.flags;
	a->inst.id = a->plan.id;
	s->started = true;
	set_events(s);
	r = a->hooks->prepare(a->hooks->data, &a->plan, run.flags, &err);
	if (r == 0)
		r = a->backend->check(&a->plan, &err);
	if (r == 0)
		r = a->backend->run(a->loop, &a->plan, &a->inst, &s->events, &s->process, &err);
	if (r < 0)
		return fail_session(s, &err);
	feed(s);
	return 0;
}

static int on_exec(struct agent *a, struct agent_session *s, const struct frame *f)
{
	struct err err = ERR_INIT;
	struct frame_exec exec;
	int r;

	frame_get(f, &exec, sizeof(exec));
	if (s->id == SESSION_FIRST || (exec.flags & ~(uint32_t)EXEC_FLAGS_ALL))
		return -EBADMSG;
	s->tied = exec.flags & EXEC_TIED;
	r = plan_process_decode((const uint8_t *)s->plan.data, s->plan.len, &s->what, &err);
	if (r < 0)
		return fail_session(s, &err);
	str_buf_done(&s->plan);
	s->started = true;
	set_events(s);
	r = a->inst.pid ? a->backend->exec(a->loop, &a->plan, &a->inst, &s->what, &s->events,
					   &s->process, &err)
			: err_set(&err, ESRCH, "the machine's command is not running");
	if (r < 0)
		return fail_session(s, &err);
	feed(s);
	return 0;
}

/* Other limits for the first process: answered at once, and the session is over. */
static int on_update(struct agent *a, struct agent_session *s)
{
	struct err err = ERR_INIT;
	struct plan limits = { 0 };
	int r;

	if (s->id == SESSION_FIRST)
		return -EBADMSG;
	r = plan_decode((const uint8_t *)s->plan.data, s->plan.len, &limits, &err);
	if (r == 0 && !a->inst.pid)
		r = err_set(&err, ESRCH, "the machine's command is not running");
	if (r == 0 && !a->backend->update)
		r = err_set(&err, EOPNOTSUPP, "limits cannot be changed here");
	if (r == 0)
		r = a->backend->update(&a->plan, &a->inst, &limits.resources, &err);
	link_send_exited(&a->link, s->id, r < 0 ? err.exit_code : 0, r < 0 ? &err : NULL);
	plan_done(&limits);
	session_free(s);
	return 0;
}

static int on_input(struct agent_session *s, const struct frame *f)
{
	if (s->input_end || s->input.len - s->input_taken + f->length > STREAM_WINDOW)
		return -EBADMSG;
	if (s->input_taken) {
		memmove(s->input.data, s->input.data + s->input_taken,
			s->input.len - s->input_taken);
		s->input.len -= s->input_taken;
		s->input_taken = 0;
	}
	str_buf_add(&s->input, f->payload, f->length);
	if (s->input.failed)
		return -ENOMEM;
	feed(s);
	return 0;
}

static int on_credit(struct agent_session *s, const struct frame *f)
{
	struct frame_credit c;

	frame_get(f, &c, sizeof(c));
	if ((c.stream != STREAM_STDOUT && c.stream != STREAM_STDERR) || c.bytes > 2 * STREAM_WINDOW)
		return -EBADMSG;
	if (s->process)
		s->process->ops->consumed(s->process, (enum stream)c.stream, c.bytes);
	return 0;
}

static void on_control(struct agent_session *s, const struct frame *f)
{
	struct frame_resize size;
	struct frame_signal signal;

	if (!s->process)
		return;
	if (f->type == FRAME_RESIZE) {
		frame_get(f, &size, sizeof(size));
		(void)s->process->ops->resize(s->process, size.rows, size.cols);
	} else if (f->type == FRAME_SIGNAL) {
		frame_get(f, &signal, sizeof(signal));
		if (signal.signo > 0 && signal.signo <= 64)
			(void)s->process->ops->signal(s->process, signal.signo);
	}
}

static void on_close(struct agent_session *s)
{
	s->closed = true;
	if (!s->started) {
		session_free(s);
		return;
	}
	if (s->tied && s->process)
		(void)s->process->ops->signal(s->process, SIGKILL);
	s->input_end = true;
	feed(s);
}

static int on_plan(struct agent *a, struct agent_session *s, const struct frame *f)
{
	if (!s)
		s = session_new(a, f->session);
	if (!s) /* told when FRAME_EXEC comes */
		return 0;
	if (s->started || s->plan.len + f->length > PLAN_WIRE_MAX)
		return -EBADMSG;
	str_buf_add(&s->plan, f->payload, f->length);
	return s->plan.failed ? -ENOMEM : 0;
}

static int on_hello(struct agent *a, const struct frame *f)
{
	struct frame_hello h;

	frame_get(f, &h, sizeof(h));
	if (a->greeted || h.magic != PROTOCOL_MAGIC || h.version != PROTOCOL_VERSION)
		return -EBADMSG;
	a->greeted = true;
	a->hooks->clock(a->hooks->data, h.realtime_ns);
	return 0;
}

static int on_frame(struct link *l, const struct frame *f)
{
	struct agent *a = container_of(l, struct agent, link);
	struct agent_session *s = session_find(a, f->session);

	if (f->type == FRAME_HELLO)
		return on_hello(a, f);
	if (!a->greeted)
		return -EBADMSG;
	if (f->type == FRAME_PLAN)
		return on_plan(a, s, f);
	if (!s && (f->type == FRAME_EXEC || f->type == FRAME_UPDATE)) {
		struct err err = ERR_INIT;

		err_set(&err, EAGAIN, "too many commands run in this machine at once (%u)",
			AGENT_SESSIONS_MAX);
		link_send_exited(&a->link, f->session, err.exit_code, &err);
		return 0;
	}
	/* a session that ended while this frame was under way */
	if (!s || (s->closed && f->type != FRAME_CREDIT))
		return 0;
	if (!s->started && f->type == FRAME_UPDATE)
		return on_update(a, s);
	if (!s->started && (f->type == FRAME_RUN || f->type == FRAME_EXEC))
		return f->type == FRAME_RUN ? on_run(a, s, f) : on_exec(a, s, f);
	switch (f->type) {
	case FRAME_INPUT: return on_input(s, f);
	case FRAME_INPUT_END:
		s->input_end = true;
		feed(s);
		return 0;
	case FRAME_CREDIT: return on_credit(s, f);
	case FRAME_CLOSE: on_close(s); return 0;
	case FRAME_RESIZE:
	case FRAME_SIGNAL: on_control(s, f); return 0;
	default: return -EBADMSG;
	}
}

static void on_ended(struct link *l, int error _unused_)
{
	struct agent *a = container_of(l, struct agent, link);

	a->hooks->ended(a->hooks->data);
}

int agent_init(struct agent *a, struct loop *loop, int fd, const struct backend_ops *backend,
	       const char *stage, const struct agent_hooks *hooks)
{
	static const struct link_handler handler = { .frame = on_frame, .ended = on_ended };
	struct frame_hello h = { .magic = PROTOCOL_MAGIC, .version = PROTOCOL_VERSION };
	int r;

	*a = (struct agent){ .loop = loop, .backend = backend, .hooks = hooks };
	a->inst = (struct instance){
		.store = GUEST_DIR, .dir = GUEST_DIR, .run_dir = GUEST_DIR, .stage = stage
	};
	r = link_init(&a->link, loop, fd, FROM_HOST, &handler);
	if (r == 0)
		link_send(&a->link, FRAME_HELLO, SESSION_FIRST, &h, sizeof(h));
	return r;
}

void agent_done(struct agent *a)
{
	while (a->sessions)
		session_free(a->sessions);
	link_done(&a->link);
	plan_done(&a->plan);
}
