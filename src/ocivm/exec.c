/* SPDX-License-Identifier: Apache-2.0 */
/* A process that stands for an exec in the machine: all it has is a session with the owner. */
#include <errno.h>
#include "container/stage.h"
#include "ocivm/ocivm.h"
#include "ocivm/relay.h"
#include "ocivm/start.h"
#include "util/err.h"
#include "util/loop.h"
#include "util/mem.h"
#include "vm/client.h"

struct execution {
	struct start *start;
	struct loop loop;
	struct relay relay;
	int terminal;
};

static int open_terminal(struct execution *x, struct err *err)
{
	_cleanup_close_ int master = -EBADF;
	int r;

	if (!x->start->plan.process.terminal)
		return 0;
	r = terminal_open(&x->start->plan.process, &master, &x->terminal, err);
	if (r == 0 && start_report(x->start, STAGE_REPORT_TERMINAL, NULL, master) < 0)
		r = err_set(err, ECANCELED, "the start was given up");
	return r;
}

static int begin(struct execution *x, const struct instance *inst, struct err *err)
{
	const struct plan_process *p = &x->start->plan.process;
	int r = adapt_process(p, err);

	if (r == 0)
		r = loop_init(&x->loop, err);
	if (r == 0)
		r = open_terminal(x, err);
	if (r == 0)
		r = relay_init(&x->relay, &x->loop, x->terminal, err);
	if (r == 0)
		r = vm_client_exec(&x->loop, inst, p, VM_CLIENT_TIED, &x->relay.events,
				   &x->relay.process, err);
	if (r == 0)
		r = relay_until_running(&x->relay, err);
	if (r == 0 && x->relay.why.errnum && !x->relay.running) {
		*err = x->relay.why;
		err->exit_code = x->relay.code;
		r = -err->errnum;
	}
	return r;
}

int exec_main(struct start *s, const struct instance *inst)
{
	struct execution x = { .start = s, .loop = LOOP_INIT, .terminal = -EBADF };
	struct err err = ERR_INIT;
	int code, r = begin(&x, inst, &err);

	if (r < 0) {
		(void)start_report(s, STAGE_REPORT_FAILED, &err, -1);
		code = err.exit_code;
	} else {
		start_running(s);
		r = relay_until_ended(&x.relay, &err);
		code = r < 0 ? err.exit_code : x.relay.code;
		if (r == 0 && x.relay.why.errnum)
			relay_say(&x.relay, x.relay.why.msg);
	}
	relay_done(&x.relay);
	fd_close(x.terminal);
	loop_done(&x.loop);
	return code;
}
