/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both ends of the agent protocol in one process: the guest's agent with a backend that echoes, and
 * the host's session, joined by a socket pair and driven by one loop.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include "agent.h"
#include "tap.h"
#include "util/err.h"
#include "util/mem.h"
#include "vm/session.h"

#define ROUNDS_MAX 20000

/* ---- a backend whose process echoes its input and ends when that ends ----------------------- */

struct echo {
	struct process base;
	const struct process_events *events;
	size_t unconsumed;
	uint16_t rows, cols;
	int signo;
};

static struct echo *the_echo; /* the session's process under test */
static bool refuse_run;
static size_t most_unconsumed;

static ssize_t echo_write(struct process *p, const void *bytes, size_t n)
{
	struct echo *e = container_of(p, struct echo, base);
	size_t room = e->unconsumed >= STREAM_WINDOW ? 0 : STREAM_WINDOW - e->unconsumed;

	n = MIN(MIN(n, room), (size_t)16384);
	if (!n)
		return 0;
	e->unconsumed += n;
	most_unconsumed = MAX(most_unconsumed, e->unconsumed);
	e->events->output(e->events->data, STREAM_STDOUT, bytes, n);
	return (ssize_t)n;
}

static void echo_consumed(struct process *p, enum stream stream, size_t n)
{
	struct echo *e = container_of(p, struct echo, base);

	if (stream == STREAM_STDOUT)
		e->unconsumed -= MIN(n, e->unconsumed);
	e->events->stdin_room(e->events->data);
}

static void echo_close(struct process *p)
{
	struct echo *e = container_of(p, struct echo, base);

	e->events->output(e->events->data, STREAM_STDERR, "end", 3);
	e->events->exited(e->events->data, 42, NULL);
}

static int echo_resize(struct process *p, uint16_t rows, uint16_t cols)
{
	struct echo *e = container_of(p, struct echo, base);

	e->rows = rows;
	e->cols = cols;
	return 0;
}

static int echo_signal(struct process *p, int signo)
{
	container_of(p, struct echo, base)->signo = signo;
	return 0;
}

static void echo_free(struct process *p)
{
	free(container_of(p, struct echo, base));
	the_echo = NULL;
}

static const struct process_ops echo_ops = { echo_write,  echo_close,  echo_consumed,
					     echo_resize, echo_signal, echo_free };

static int fake_check(const struct plan *plan _unused_, struct err *err _unused_)
{
	return 0;
}

static int fake_run(struct loop *loop _unused_, const struct plan *plan _unused_,
		    const struct instance *inst _unused_, const struct process_events *events,
		    struct process **ret, struct err *err)
{
	struct echo *e;

	if (refuse_run)
		return err_exit(err, ENOENT, EXIT_NOT_FOUND, "no such\tcommand");
	e = calloc(1, sizeof(*e));
	e->base.ops = &echo_ops;
	e->events = events;
	*ret = &e->base;
	the_echo = e;
	events->started(events->data, getpid());
	return 0;
}

static int fake_exec(struct loop *loop, const struct plan *plan, const struct instance *inst,
		     const struct plan_process *what _unused_, const struct process_events *events,
		     struct process **ret, struct err *err)
{
	return fake_run(loop, plan, inst, events, ret, err);
}

static const struct backend_ops fake_backend = {
	.name = "fake", .check = fake_check, .run = fake_run, .exec = fake_exec
};

static int64_t clock_told;
static bool synced, guest_ended;

static void hook_clock(void *data _unused_, int64_t ns)
{
	clock_told = ns;
}
static int hook_prepare(void *data _unused_, const struct plan *plan _unused_,
			uint32_t flags _unused_, struct err *err _unused_)
{
	return 0;
}
static void hook_explain(void *data _unused_, int code _unused_, struct err *why _unused_) {}
static void hook_sync(void *data _unused_)
{
	synced = true;
}
static void hook_ended(void *data _unused_)
{
	guest_ended = true;
}
static const struct agent_hooks hooks = { hook_clock, hook_prepare, hook_explain,
					  hook_sync,  hook_ended,   NULL };

/* ---- the host's side ------------------------------------------------------------------------ */

struct host {
	struct loop loop;
	struct link link;
	struct vm_session session;
	struct agent agent;
	bool greeted, started, exited;
	int code, link_error;
	struct err why;
	size_t out, errout, sent, to_send;
	bool corrupt, hold_credit;
};

static void on_started(void *data, pid_t pid _unused_)
{
	((struct host *)data)->started = true;
}

static uint8_t pattern(size_t i)
{
	return (uint8_t)(i * 7 + i / 251);
}

static void on_output(void *data, enum stream stream, const void *bytes, size_t n)
{
	struct host *h = data;

	if (stream == STREAM_STDERR) {
		h->errout += n;
		return;
	}
	for (size_t i = 0; i < n; i++)
		if (((const uint8_t *)bytes)[i] != pattern(h->out + i))
			h->corrupt = true;
	h->out += n;
	if (!h->hold_credit)
		h->session.base.ops->consumed(&h->session.base, stream, n);
}

static void on_room(void *data)
{
	struct host *h = data;
	uint8_t buf[10000];

	while (h->sent < h->to_send) {
		size_t n = MIN(sizeof(buf), h->to_send - h->sent);
		ssize_t r;

		for (size_t i = 0; i < n; i++)
			buf[i] = pattern(h->sent + i);
		r = h->session.base.ops->write_stdin(&h->session.base, buf, n);
		if (r < 0)
			break;
		h->sent += (size_t)r;
		if ((size_t)r < n)
			return;
	}
	h->session.base.ops->close_stdin(&h->session.base);
}

static void on_exited(void *data, int code, const struct err *why)
{
	struct host *h = data;

	h->exited = true;
	h->code = code;
	if (why)
		h->why = *why;
}

static int host_frame(struct link *l, const struct frame *f)
{
	struct host *h = container_of(l, struct host, link);
	struct frame_hello hello;

	if (f->type != FRAME_HELLO)
		return vm_session_frame(&h->session, f) < 0 ? -EBADMSG : 0;
	frame_get(f, &hello, sizeof(hello));
	h->greeted = hello.magic == PROTOCOL_MAGIC && hello.version == PROTOCOL_VERSION;
	hello.realtime_ns = 1234567890;
	link_release(l, FRAME_HELLO, &hello, sizeof(hello));
	return 0;
}

static void host_ended(struct link *l, int error)
{
	container_of(l, struct host, link)->link_error = error ? error : -EPIPE;
}

static int no_signal(struct vm_session *s, int signo)
{
	return vm_session_signal(s, signo);
}

static const struct vm_session_owner owner = { .signal = no_signal };
static const struct link_handler handler = { .frame = host_frame, .ended = host_ended };
static struct process_events events;

static void open_both(struct host *h)
{
	int pair[2];

	*h = (struct host){ 0 };
	synced = guest_ended = refuse_run = false;
	clock_told = 0;
	most_unconsumed = 0;
	events = (struct process_events){ on_started, on_output, on_room, on_exited, h };
	if (loop_init(&h->loop, NULL) < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		abort();
	link_init(&h->link, &h->loop, pair[0], FROM_GUEST, &handler);
	link_hold(&h->link);
	vm_session_init(&h->session, &h->link, SESSION_FIRST, &events, &owner);
	agent_init(&h->agent, &h->loop, pair[1], &fake_backend, "/x", &hooks);
}

static void close_both(struct host *h)
{
	agent_done(&h->agent);
	link_done(&h->link);
	loop_done(&h->loop);
}

static void run_plan(struct host *h, uint32_t flags)
{
	char id[] = "id", root[] = "/", x[] = "x", *args[] = { x, NULL }, *none[] = { NULL };
	struct plan p = { .id = id, .process = { .args = args, .env = none, .cwd = root } };
	_cleanup_free_ uint8_t *bytes = NULL;
	struct frame_run run = { .flags = flags };
	size_t n;

	if (plan_encode(&p, &bytes, &n) < 0)
		abort();
	link_send_all(&h->link, FRAME_PLAN, SESSION_FIRST, bytes, n);
	link_send(&h->link, FRAME_RUN, SESSION_FIRST, &run, sizeof(run));
}

static void turn(struct host *h, const bool *until)
{
	for (int i = 0; i < ROUNDS_MAX && !*until && !h->link_error; i++)
		if (loop_once(&h->loop, 20) == 0)
			break;
}

/* ---- tests ---------------------------------------------------------------------------------- */

static void test_run(void)
{
	struct host h;

	open_both(&h);
	run_plan(&h, RUN_SYNC);
	h.to_send = 3000000; /* many windows */
	on_room(&h);
	turn(&h, &h.exited);
	ok(h.greeted && clock_told == 1234567890,
	   "greeting, and the clock in front of what waited");
	ok(h.started, "started");
	ok_int(h.out, h.to_send, "all input came back");
	ok(!h.corrupt, "unchanged");
	ok(most_unconsumed <= STREAM_WINDOW, "within the window");
	ok_int(h.errout, 3, "standard error apart");
	ok_int(h.code, 42, "exit code");
	ok(h.exited && synced && !h.why.errnum,
	   "ended by itself, after the sync that was asked for");
	close_both(&h);
}

static void test_slow_reader(void)
{
	struct host h;
	bool never = false;

	open_both(&h);
	run_plan(&h, 0);
	h.hold_credit = true;
	h.to_send = 1000000;
	on_room(&h);
	turn(&h, &never);
	ok(h.out > 0 && h.out <= STREAM_WINDOW + 16384, "without credit a window of output comes");
	ok(h.sent <= 3 * STREAM_WINDOW, "and only so much input is taken");
	h.hold_credit = false;
	h.session.base.ops->consumed(&h.session.base, STREAM_STDOUT, h.out);
	turn(&h, &h.exited);
	ok_int(h.out, h.to_send, "then all of it");
	close_both(&h);
}

static void test_control(void)
{
	struct host h;
	bool never = false;

	open_both(&h);
	run_plan(&h, 0);
	h.session.base.ops->resize(&h.session.base, 24, 80);
	h.session.base.ops->signal(&h.session.base, SIGTERM);
	turn(&h, &never);
	ok(the_echo && the_echo->rows == 24 && the_echo->cols == 80, "resize");
	ok(the_echo && the_echo->signo == SIGTERM, "signal");
	close_both(&h);
	ok(!the_echo, "the process goes with the agent");
}

static void test_refused(void)
{
	struct host h;

	open_both(&h);
	refuse_run = true;
	run_plan(&h, 0);
	turn(&h, &h.exited);
	ok(h.exited && !h.started, "a command that cannot start");
	ok_int(h.code, EXIT_NOT_FOUND, "with its exit code");
	ok_str(h.why.msg, "no such command", "and its reason, made printable");
	close_both(&h);
}

static void test_rules(void)
{
	static const struct {
		enum frame_type type;
		uint16_t session;
		size_t n;
		const char *what;
	} bad[] = {
		{ FRAME_STARTED, 0, 0, "a frame of the other side" },
		{ FRAME_RESIZE, 0, 3, "a payload of the wrong size" },
		{ (enum frame_type)99, 0, 0, "an unknown type" },
		{ FRAME_HELLO, 0, sizeof(struct frame_hello), "a second greeting" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		uint8_t payload[64] = { 0 };
		struct host h;

		open_both(&h);
		run_plan(&h, 0);
		link_send(&h.link, bad[i].type, bad[i].session, payload, bad[i].n);
		turn(&h, &guest_ended);
		ok(guest_ended, "%s ends the agent", bad[i].what);
		close_both(&h);
	}
}

static void test_flow(void)
{
	uint8_t payload[FRAME_MAX] = { 0 };
	struct frame_credit credit = { .stream = STREAM_STDOUT, .bytes = 10 };
	struct frame out = { .type = FRAME_OUTPUT, .length = FRAME_MAX, .payload = payload };
	struct frame give = { .type = FRAME_CREDIT,
			      .length = sizeof(credit),
			      .payload = (const uint8_t *)&credit };
	struct frame in = { .type = FRAME_INPUT, .length = FRAME_MAX, .payload = payload };
	struct vm_flow f;

	vm_flow_init(&f);
	ok(vm_flow_to_guest(&f, &give) == -EBADMSG, "credit for what was not sent");
	ok(vm_flow_from_guest(&f, &out) == 0 && vm_flow_from_guest(&f, &out) == 0,
	   "a window of output");
	ok(vm_flow_from_guest(&f, &out) == -EBADMSG, "and no more");
	ok(vm_flow_to_guest(&f, &give) == 0 && vm_flow_from_guest(&f, &out) == 0,
	   "until it is taken");
	ok(vm_flow_to_guest(&f, &in) == 0 && vm_flow_to_guest(&f, &in) == 0 &&
		   vm_flow_to_guest(&f, &in) == -EBADMSG,
	   "a window of input");
	credit.stream = STREAM_STDIN;
	credit.bytes = 1u << 30;
	ok(vm_flow_from_guest(&f, &give) == -EBADMSG, "room for more than a window");
}

int main(void)
{
	test_run();
	test_slow_reader();
	test_control();
	test_refused();
	test_rules();
	test_flow();
	return tap_done();
}
