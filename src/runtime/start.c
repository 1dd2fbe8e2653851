/* SPDX-License-Identifier: Apache-2.0 */
/*
 * start: connects to the socket on which the created process waits. What it reports from then on
 * (a hook that failed, a command that cannot be executed) comes over that connection; its end means
 * that the command runs.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include "container/launch.h"
#include "runtime/create.h"
#include "runtime/runtime.h"
#include "util/err.h"
#include "util/linux.h"
#include "util/mem.h"

static int check_status(const struct state *s, struct err *err)
{
	switch (state_status_of(s)) {
	case STATE_CREATED: return 0;
	case STATE_CREATING:
		return err_set(err, EAGAIN, "container \"%s\" is still being created", s->id);
	case STATE_STOPPED:
		return err_set(err, ESRCH, "cannot start a container that has stopped: %s", s->id);
	default:
		return err_set(err, EALREADY, "cannot start an already running container: %s",
			       s->id);
	}
}

static int start(const struct runtime *rt, const struct state *s, struct err *err)
{
	struct plan plan = { 0 };
	_cleanup_close_ int stream = -EBADF;
	const struct follow f = { .rt = rt,
				  .process = &plan.process,
				  .state = s,
				  .pid = s->pid,
				  .status = STATE_CREATED };
	int r = check_status(s, err);

	if (r == 0)
		r = state_read_plan(s, &plan, err);
	if (r == 0)
		r = launch_connect(s->dir_fd, STATE_START, &stream, err);
	if (r == 0)
		r = runtime_follow(&f, stream, err);
	/* started, or never to be: in both cases nobody waits there any more */
	if (stream >= 0)
		(void)unlinkat(s->dir_fd, STATE_START, 0);
	if (r == 0) {
		r = hooks_run(&plan, PLAN_HOOK_POSTSTART, s, STATE_RUNNING, err);
		if (r < 0) {
			int first = state_process(s);

			if (first >= 0)
				(void)sys_pidfd_send_signal(first, SIGKILL);
			fd_close(first);
		}
	}
	plan_done(&plan);
	return r;
}

int verb_start(struct runtime *rt, int argc, char **argv)
{
	static const struct args_option options[] = { { .name = NULL } };
	struct args_usage usage = {
		.name = "start",
		.synopsis = "CONTAINER",
		.summary = "Start the process of a created container",
		.options = options,
		.min_args = 1,
		.max_args = 1,
	};
	struct state s = STATE_INIT;
	struct err err = ERR_INIT;
	int code = runtime_args(rt, &usage, &argc, argv), r;

	if (code >= 0)
		return code;
	r = state_open(rt, argv[0], true, &s, &err);
	if (r == 0)
		r = start(rt, &s, &err);
	state_done(&s);
	return r < 0 ? runtime_fail(rt, &err) : 0;
}
