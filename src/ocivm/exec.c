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

static int begin(struct execution *x, const struct instance *inst, struct err *err)
{
	const struct plan_process *p = &x->start->plan.process;
	int r = adapt_process(p, err);

	if (r == 0)
		r = loop_init(&x->loop, err);
	if (r == 0)
		r = start_terminal(x->start, &x->terminal, err);
	if (r == 0)
		r = relay_init(&x->relay, &x->loop, x->terminal, err);
	if (r == 0)
		r = vm_client_exec(&x->loop, inst, p, VM_CLIENT_TIED, &x->relay.events,
				   &x->relay.process, err);
	if (r == 0)
		r = relay_until_running(&x->relay, err);
	if (r == 0 && x->relay.why.errnum && !x->relay.running) {
		r = relay_why(&x->relay, err);
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
		code = relay_to_the_end(&x.relay);
	}
	relay_done(&x.relay);
	fd_close(x.terminal);
	loop_done(&x.loop);
	return code;
}
