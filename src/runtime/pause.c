/* SPDX-License-Identifier: Apache-2.0 */
/* pause and resume: the cgroup's freezer. */
#include <errno.h>
#include "container/cgroup.h"
#include "runtime/runtime.h"
#include "runtime/state.h"
#include "util/err.h"
#include "util/mem.h"

static int set_frozen(const struct runtime *rt, const char *id, bool on, struct err *err)
{
	_cleanup_(state_done) struct state s = STATE_INIT;
	const struct cgroup_ops *cgroups;
	enum state_status status;
	int r = state_open(rt, id, true, &s, err);

	if (r < 0)
		return r;
	status = state_status_of(&s);
	if (status == STATE_STOPPED)
		return err_set(err, ESRCH, "container not running: %s", id);
	if (on && status != STATE_RUNNING && status != STATE_CREATED)
		return err_set(err, EINVAL, "cannot pause a container that is %s: %s",
			       state_status_name(status), id);
	if (!on && status != STATE_PAUSED)
		return err_set(err, EINVAL, "cannot resume a container that is not paused: %s", id);
	cgroups = state_cgroups(&s);
	if (!cgroups)
		return err_set(err, EOPNOTSUPP,
			       "container \"%s\" has no cgroup, which pausing needs", id);
	return cgroups->freeze(s.cgroup, on, err);
}

static int verb(struct runtime *rt, int argc, char **argv, bool on)
{
	static const struct args_option options[] = { { .name = NULL } };
	struct args_usage usage = {
		.name = on ? "pause" : "resume",
		.synopsis = "CONTAINER",
		.summary = on ? "Suspend all processes of a container"
			      : "Let the processes of a paused container go on",
		.options = options,
		.min_args = 1,
		.max_args = 1,
	};
	struct err err = ERR_INIT;
	int code = runtime_args(rt, &usage, &argc, argv);

	if (code >= 0)
		return code;
	return set_frozen(rt, argv[0], on, &err) < 0 ? runtime_fail(rt, &err) : 0;
}

int verb_pause(struct runtime *rt, int argc, char **argv)
{
	return verb(rt, argc, argv, true);
}

int verb_resume(struct runtime *rt, int argc, char **argv)
{
	return verb(rt, argc, argv, false);
}
