/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>
#include "container/cgroup.h"
#include "runtime/create.h"
#include "runtime/machine.h"
#include "runtime/runtime.h"
#include "util/err.h"
#include "util/linux.h"
#include "util/mem.h"
#include "util/signal.h"

static int kill_all(const struct state *s, int signo, struct err *err)
{
	const struct cgroup_ops *cgroups = state_cgroups(s);

	if (!cgroups)
		return err_set(
			err, EOPNOTSUPP,
			"container \"%s\" has no cgroup, which --all needs to find its processes",
			s->id);
	return cgroups->kill(s->cgroup, signo, err);
}

/*
 * A frozen machine does not answer. What its process is sent waits there, as a container's does,
 * and is passed on when it goes on; and what is to end it has to thaw it.
 */
static int kill_machine(const struct state *s, int process, int signo, struct err *err)
{
	const struct cgroup_ops *cgroups = state_cgroups(s);
	bool frozen = cgroups && cgroups->is_frozen(s->cgroup) > 0;
	int r = 0;

	if (frozen && signo == SIGKILL)
		r = cgroups->freeze(s->cgroup, false, err);
	else if (frozen && signo != SIGSTOP)
		return sys_pidfd_send_signal(process, signo) < 0
			       ? err_sys(err, errno, "send signal %d to container \"%s\"", signo,
					 s->id)
			       : 0;
	return r < 0 ? r : machine_kill(s, signo, err);
}

static int kill_first(const struct state *s, int signo, struct err *err)
{
	_cleanup_close_ int fd = state_process(s);
	const struct cgroup_ops *cgroups = state_cgroups(s);

	if (fd < 0)
		return err_set(err, ESRCH, "container not running: %s", s->id);
	if (s->vm)
		return kill_machine(s, fd, signo, err);
	/* its end would leave the others: they are all that can be meant */
	if (signo == SIGKILL && !s->own_pids && s->cgroup)
		return kill_all(s, signo, err);
	if (sys_pidfd_send_signal(fd, signo) < 0)
		return err_sys(err, errno, "send signal %d to container \"%s\"", signo, s->id);
	/* a frozen process dies when it is thawed */
	if (signo == SIGKILL && cgroups && cgroups->is_frozen(s->cgroup) > 0)
		return cgroups->freeze(s->cgroup, false, err);
	return 0;
}

static int send(const struct runtime *rt, const char *id, const char *signal, bool all,
		struct err *err)
{
	_cleanup_(state_done) struct state s = STATE_INIT;
	int signo = signal_parse(signal), r;

	if (signo < 0)
		return err_set(err, EINVAL, "unknown signal \"%s\"", signal);
	r = state_open(rt, id, false, &s, err);
	if (r < 0)
		return r;
	return all && !s.vm ? kill_all(&s, signo, err) : kill_first(&s, signo, err);
}

int verb_kill(struct runtime *rt, int argc, char **argv)
{
	bool all = false;
	const struct args_option options[] = {
		{ 'a', "all", ARGS_FLAG, &all, NULL, "Send it to all processes of the container" },
		{ .name = NULL },
	};
	struct args_usage usage = {
		.name = "kill",
		.synopsis = "[OPTIONS] CONTAINER [SIGNAL]",
		.summary = "Send a signal to a container (default: SIGTERM)",
		.examples = "  proa-oci kill web KILL\n",
		.options = options,
		.min_args = 1,
		.max_args = 2,
	};
	struct err err = ERR_INIT;
	int code = runtime_args(rt, &usage, &argc, argv);

	if (code >= 0)
		return code;
	return send(rt, argv[0], argc > 1 ? argv[1] : "SIGTERM", all, &err) < 0
		       ? runtime_fail(rt, &err)
		       : 0;
}
