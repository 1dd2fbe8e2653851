/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's agent, with a backend that takes everything and answers at once, reading any bytes
 * from its port. The greeting is put in front, for without it nothing else is looked at.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include "agent.h"
#include "util/err.h"
#include "util/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct eater {
	struct process base;
	const struct process_events *events;
};

static ssize_t eat(struct process *p, const void *bytes, size_t n)
{
	struct eater *e = container_of(p, struct eater, base);

	if (n % 3 == 0)
		return 0;
	e->events->output(e->events->data, STREAM_STDERR, bytes, n);
	return (ssize_t)n;
}

static void eat_close(struct process *p)
{
	struct eater *e = container_of(p, struct eater, base);

	e->events->exited(e->events->data, 0, NULL);
}

static void eat_consumed(struct process *p, enum stream stream _unused_, size_t n _unused_)
{
	struct eater *e = container_of(p, struct eater, base);

	e->events->stdin_room(e->events->data);
}

static int eat_resize(struct process *p _unused_, uint16_t rows _unused_, uint16_t cols _unused_)
{
	return 0;
}

static int eat_signal(struct process *p _unused_, int signo)
{
	if (signo < 1 || signo > 64)
		abort();
	return 0;
}

static void eat_free(struct process *p)
{
	free(container_of(p, struct eater, base));
}

static const struct process_ops eater_ops = { eat,	  eat_close,  eat_consumed,
					      eat_resize, eat_signal, eat_free };

static int any_check(const struct plan *plan _unused_, struct err *err _unused_)
{
	return 0;
}

static int any_run(struct loop *loop _unused_, const struct plan *plan _unused_,
		   const struct instance *inst _unused_, const struct process_events *events,
		   struct process **ret, struct err *err _unused_)
{
	struct eater *e = calloc(1, sizeof(*e));

	e->base.ops = &eater_ops;
	e->events = events;
	*ret = &e->base;
	events->started(events->data, 2);
	return 0;
}

static int any_exec(struct loop *loop, const struct plan *plan, const struct instance *inst,
		    const struct plan_process *what _unused_, const struct process_events *events,
		    struct process **ret, struct err *err)
{
	return any_run(loop, plan, inst, events, ret, err);
}

static bool over;

static void hook_clock(void *data _unused_, int64_t ns _unused_) {}
static int hook_prepare(void *data _unused_, const struct plan *plan _unused_,
			uint32_t flags _unused_, struct err *err _unused_)
{
	return 0;
}
static void hook_explain(void *data _unused_, int code _unused_, struct err *why _unused_) {}
static void hook_sync(void *data _unused_) {}
static void hook_ended(void *data _unused_)
{
	over = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct backend_ops backend = {
		.name = "any", .check = any_check, .run = any_run, .exec = any_exec
	};
	static const struct agent_hooks hooks = { hook_clock, hook_prepare, hook_explain,
						  hook_sync,  hook_ended,   NULL };
	struct {
		struct frame_header h;
		struct frame_hello hello;
	} greeting = { { sizeof(struct frame_hello), FRAME_HELLO, 0 },
		       { PROTOCOL_MAGIC, PROTOCOL_VERSION, 1 } };
	static struct agent agent;
	static uint8_t answers[65536];
	struct loop loop;
	int pair[2];

	/* one socket buffer's worth, so that nothing has to be written in turns */
	if (size > 60000 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return 0;
	if (loop_init(&loop, NULL) < 0 || fcntl(pair[0], F_SETFL, O_NONBLOCK) < 0 ||
	    agent_init(&agent, &loop, pair[1], &backend, "/x", &hooks) < 0)
		abort();
	over = false;
	(void)!write(pair[0], &greeting, sizeof(greeting));
	(void)!write(pair[0], data, size);
	shutdown(pair[0], SHUT_WR);
	for (int i = 0; i < 1000 && !over && loop_once(&loop, 0) > 0; i++)
		while (read(pair[0], answers, sizeof(answers)) > 0)
			;
	agent_done(&agent);
	loop_done(&loop);
	close(pair[0]);
	return 0;
}
