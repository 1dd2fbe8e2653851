/* SPDX-License-Identifier: Apache-2.0 */
/* state: what runtime.md ("State") calls the state, and what runc adds to it. */
#include <stdio.h>
#include "runtime/runtime.h"
#include "runtime/state.h"
#include "util/err.h"
#include "util/json_write.h"
#include "util/mem.h"

int verb_state(struct runtime *rt, int argc, char **argv)
{
	static const struct args_option options[] = { { .name = NULL } };
	struct args_usage usage = {
		.name = "state",
		.synopsis = "CONTAINER",
		.summary = "Show the state of a container as JSON",
		.options = options,
		.min_args = 1,
		.max_args = 1,
	};
	_cleanup_(state_done) struct state s = STATE_INIT;
	struct json_write w = { .indent = 2 };
	struct err err = ERR_INIT;
	char when[40];
	int code = runtime_args(rt, &usage, &argc, argv);

	if (code >= 0)
		return code;
	if (state_open(rt, argv[0], false, &s, &err) < 0)
		return runtime_fail(rt, &err);
	json_write_object(&w);
	state_write_members(&w, &s, state_status_of(&s));
	json_write_member(&w, "created", runtime_time_text(s.created_s, s.created_ns, when));
	json_write_key(&w, "annotations");
	state_write_annotations(&w, s.annotations);
	json_write_member(&w, "owner", "");
	json_write_close(&w, '}');
	if (!w.out.failed)
		puts(w.out.data);
	str_buf_done(&w.out);
	return 0;
}
