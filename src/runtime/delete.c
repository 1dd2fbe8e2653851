/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include "runtime/create.h"
#include "runtime/runtime.h"
#include "util/err.h"
#include "util/mem.h"

static int delete (const struct runtime *rt, const char *id, bool force, struct err *err)
{
	_cleanup_(state_done) struct state s = STATE_INIT;
	enum state_status status;
	struct plan plan = { 0 };
	bool have_plan;
	int r = state_open(rt, id, true, &s, err);

	if (r == -ENOENT && force)
		return 0;
	if (r < 0)
		return r;
	status = state_status_of(&s);
	if (!force && (status == STATE_RUNNING || status == STATE_PAUSED))
		return err_set(err, EBUSY,
			       "cannot delete container %s that is not stopped: %s (use --force)",
			       id, state_status_name(status));
	have_plan = state_read_plan(&s, &plan, NULL) == 0;
	r = destroy(rt, &s, have_plan ? &plan : NULL, err);
	plan_done(&plan);
	return r;
}

int verb_delete(struct runtime *rt, int argc, char **argv)
{
	bool force = false;
	const struct args_option options[] = {
		{ 'f', "force", ARGS_FLAG, &force, NULL, "End it first, if it still runs" },
		{ .name = NULL },
	};
	struct args_usage usage = {
		.name = "delete",
		.synopsis = "[OPTIONS] CONTAINER",
		.summary = "Delete a container and what it held",
		.options = options,
		.min_args = 1,
		.max_args = -1,
	};
	int code = runtime_args(rt, &usage, &argc, argv), worst = 0;

	if (code >= 0)
		return code;
	for (int i = 0; i < argc; i++) {
		struct err err = ERR_INIT;

		if (delete (rt, argv[i], force, &err) < 0)
			worst = runtime_fail(rt, &err);
	}
	return worst;
}
