/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The owner of a machine that is a container to an engine.
 *
 * All that can be wrong is found before the start is reported as ready: the plan is made one for a
 * machine, the namespace of its network is looked at, files are opened, and the guest has booted as
 * far as its agent's greeting. What is left for the start itself is the plan: the guest builds the
 * root and executes the command. Without a second half (STAGE_WAIT is not set) the plan waits in
 * the link while the guest boots, as with `proa run`.
 *
 * We end when the command has ended and its output is written, with its exit code; and before that
 * QEMU and the share have ended, so that nothing is left in the container's cgroup.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "container/hook_run.h"
#include "container/stage.h"
#include "ocivm/ocivm.h"
#include "ocivm/relay.h"
#include "ocivm/start.h"
#include "util/err.h"
#include "util/io.h"
#include "util/loop.h"
#include "util/mem.h"
#include "util/proc.h"
#include "util/str.h"
#include "vm/machine.h"

struct owner {
	struct start *start;
	const struct instance *inst;
	struct loop loop;
	struct relay relay;
	struct vm_machine *machine;
	struct plan_hooks hooks[PLAN_HOOK_POINTS]; /* of the host */
	struct loop_watch start_watch;
	bool start_came;
	int terminal;
};

static void warn(void *data, const struct err *warning)
{
	(void)start_report(((struct owner *)data)->start, STAGE_REPORT_WARNING, warning, -1);
}

/* The machine ended (or could not run the command) without that anybody asked for it. */
static int take_end(struct owner *o, struct err *err)
{
	if (!o->relay.exited)
		return 0;
	if (!o->relay.why.errnum)
		return err_exit(err, ECANCELED, o->relay.code,
				"the machine was ended before its command ran");
	return relay_why(&o->relay, err);
}

/* ---- preparation --------------------------------------------------------------------------------
 */

/* Who has to end us without being answered finds us by this (kill.c). */
static int write_owner(const struct owner *o, struct err *err)
{
	_cleanup_free_ char *path = str_printf("%s/" OWNER_NAME, o->inst->run_dir);
	uint64_t start;
	char text[64];
	int n, r = proc_start_time(getpid(), &start);

	if (r < 0 || !path)
		return err_sys(err, r < 0 ? -r : ENOMEM, "look at our own process");
	n = snprintf(text, sizeof(text), "%d %llu\n", getpid(), (unsigned long long)start);
	r = io_write_file(AT_FDCWD, path, text, (size_t)n, 0600, 0);
	return r < 0 ? err_sys(err, -r, "write %s", path) : 0;
}

static int prepare(struct owner *o, struct err *err)
{
	struct plan *p = &o->start->plan;
	int r = 0;

	if (geteuid() != 0)
		r = err_set(err, EPERM,
			    "a bundle runs as a machine for root only: its directories "
			    "are shared with the machine, users and all");
	if (r == 0)
		r = write_owner(o, err);
	if (r == 0)
		r = network_enter(p, err);
	if (r == 0)
		r = network_check(p, err);
	if (r == 0)
		r = adapt_plan(p, o->hooks, warn, o, err);
	if (r == 0)
		r = vm_backend.check(p, err);
	if (r == 0)
		r = loop_init(&o->loop, err);
	if (r == 0)
		r = start_terminal(o->start, &o->terminal, err);
	return r == 0 ? relay_init(&o->relay, &o->loop, o->terminal, err) : r;
}

static int boot(struct owner *o, struct err *err)
{
	const char *facts = getenv("PROA_RUN_ROOT");
	int r;

	if (str_empty(facts))
		facts = "/run/proa";
	/* not kept is not an error: what is known of the host is then found out again */
	(void)io_mkdir_all(AT_FDCWD, facts, 0711);
	r = vm_machine_boot(&o->loop, &o->start->plan, o->inst, facts, &o->relay.events,
			    &o->machine, err);
	if (r == 0)
		o->relay.process = &o->machine->session.base;
	return r;
}

/* ---- hooks --------------------------------------------------------------------------------------
 */

/* createContainer: "in the container's namespace", which on the host is this process's. */
static int run_own_hooks(struct owner *o, struct err *err)
{
	const struct plan *p = &o->start->plan;
	const struct plan_hooks *h = &o->hooks[PLAN_HOOK_CREATE_CONTAINER];
	_cleanup_free_ char *state = NULL;
	int r = 0;

	if (!h->count)
		return 0;
	state = hook_state_json(p, "creating", getpid(), p->bundle ? p->bundle : "");
	if (!state)
		return err_set(err, ENOMEM, "out of memory");
	for (size_t i = 0; r == 0 && i < h->count; i++) {
		r = hook_run(&h->list[i], NULL, state, err);
		if (r < 0)
			err_wrap(err, "%s", plan_hook_names[PLAN_HOOK_CREATE_CONTAINER]);
	}
	return r;
}

/* The guest boots meanwhile. */
static int run_hooks(struct owner *o, struct err *err)
{
	int r = 0;

	if (o->hooks[PLAN_HOOK_PRESTART].count || o->hooks[PLAN_HOOK_CREATE_RUNTIME].count)
		r = start_wait_for_hooks(o->start, err);
	if (r == 0)
		r = run_own_hooks(o, err);
	return r == 0 ? network_check(&o->start->plan, err) : r;
}

/* ---- a start in two halves ----------------------------------------------------------------------
 */

static void start_ready_to_accept(struct loop_watch *w, uint32_t events _unused_)
{
	struct owner *o = container_of(w, struct owner, start_watch);

	loop_remove(&o->loop, w);
	o->start_came = true;
}

static int one_round(struct owner *o, struct err *err)
{
	int n = loop_once(&o->loop, -1);

	return n < 0 ? err_sys(err, -n, "wait for events") : take_end(o, err);
}

static int wait_for_start(struct owner *o, struct err *err)
{
	int r = 0;

	while (r == 0 && !o->machine->greeted)
		r = one_round(o, err);
	if (r == 0)
		r = start_ready(o->start, err);
	if (r < 0)
		return r;
	o->start_watch = (struct loop_watch){ .fd = o->start->listening,
					      .events = EPOLLIN,
					      .call = start_ready_to_accept };
	r = loop_add(&o->loop, &o->start_watch);
	if (r < 0)
		return err_sys(err, -r, "wait for the start");
	while (r == 0 && !o->start_came)
		r = one_round(o, err);
	loop_remove(&o->loop, &o->start_watch);
	if (r == 0)
		r = start_accept(o->start, err);
	/* Docker puts the interfaces in between create and start */
	return r == 0 ? network_check(&o->start->plan, err) : r;
}

/* ---- the whole ----------------------------------------------------------------------------------
 */

static int run(struct owner *o, struct err *err)
{
	int r = prepare(o, err);

	if (r == 0)
		r = boot(o, err);
	if (r == 0)
		r = run_hooks(o, err);
	/* no path of the host is used from here on */
	if (r == 0)
		r = view_enter(&o->start->plan, err);
	if (r == 0 && o->start->listening >= 0)
		r = wait_for_start(o, err);
	if (r == 0)
		r = vm_machine_run(o->machine, err);
	if (r == 0)
		r = relay_until_running(&o->relay, err);
	return r == 0 && !o->relay.running ? take_end(o, err) : r;
}

int owner_main(struct start *s, const struct instance *inst)
{
	struct owner o = { .start = s, .inst = inst, .loop = LOOP_INIT, .terminal = -EBADF };
	struct err err = ERR_INIT;
	int code, r = run(&o, &err);

	if (r < 0) {
		/* nobody listens while a created machine waits: its log is all there is */
		if (start_report(s, STAGE_REPORT_FAILED, &err, -1) < 0 && o.relay.why.errnum)
			relay_say(&o.relay, err.msg);
		code = err.exit_code;
	} else {
		start_running(s);
		code = relay_to_the_end(&o.relay);
	}
	relay_done(&o.relay);
	fd_close(o.terminal);
	loop_done(&o.loop);
	/* back to the plan, which frees them */
	for (size_t i = 0; i < PLAN_HOOK_POINTS; i++)
		if (o.hooks[i].count)
			s->plan.hooks[i] = o.hooks[i];
	return code;
}
