/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run: create and start in one, and unless detached, stay until the end and delete. Nothing waits
 * for a start in between: the command is executed as soon as its container is there.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include "runtime/create.h"
#include "runtime/runtime.h"
#include "util/err.h"
#include "util/linux.h"
#include "util/mem.h"

static int stay(const struct runtime *rt, const struct create_options *o, struct created *c,
		struct err *err)
{
	int code = console_stay(c->pidfd, c->terminal, err), r = 0;

	c->terminal = fd_close(c->terminal);
	if (code < 0)
		sys_pidfd_send_signal(c->pidfd, SIGKILL);
	if (!o->keep)
		r = destroy(rt, &c->state, &c->config.plan, err);
	return r < 0 ? r : code;
}

static int run(const struct runtime *rt, const char *id, const struct create_options *o,
	       struct err *err)
{
	struct created c;
	int r;

	if (!o->detach)
		console_prepare(!o->no_subreaper);
	r = create_container(rt, id, o, &c, err);
	if (r < 0)
		return r;
	r = hooks_run(&c.config.plan, PLAN_HOOK_POSTSTART, &c.state, STATE_RUNNING, err);
	if (r < 0) {
		struct err ignored = ERR_INIT;

		sys_pidfd_send_signal(c.pidfd, SIGKILL);
		(void)waitid((idtype_t)P_PIDFD, (id_t)c.pidfd, NULL, WEXITED);
		(void)destroy(rt, &c.state, &c.config.plan, &ignored);
	} else if (!o->detach) {
		r = stay(rt, o, &c, err);
	}
	created_done(&c);
	return r;
}

int verb_run(struct runtime *rt, int argc, char **argv)
{
	struct create_options o = { .start = true };
	const struct args_option options[] = {
		CREATE_OPTIONS(o),
		{ 'd', "detach", ARGS_FLAG, &o.detach, NULL, "Do not stay for its end" },
		{ 0, "keep", ARGS_FLAG, &o.keep, NULL, "Do not delete it when it has ended" },
		{ 0, "no-subreaper", ARGS_FLAG, &o.no_subreaper, NULL,
		  "Do not take over the processes it leaves behind" },
		{ .name = NULL },
	};
	struct args_usage usage = {
		.name = "run",
		.synopsis = "[OPTIONS] CONTAINER",
		.summary = "Create and start a container of a bundle",
		.examples = "  proa-oci run --bundle /containers/web web\n"
			    "  cd /containers/web && proa-oci run -d web\n",
		.options = options,
		.min_args = 1,
		.max_args = 1,
	};
	struct err err = ERR_INIT;
	int code = runtime_args(rt, &usage, &argc, argv), r;

	if (code >= 0)
		return code;
	r = run(rt, argv[0], &o, &err);
	return r < 0 ? runtime_fail(rt, &err) : r;
}
