/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hooks that run inside the container: createContainer before its root is entered (their paths
 * are the host's), startContainer right before the command (their paths are the container's).
 */
#include <unistd.h>
#include "container/hook_run.h"
#include "container/stage_internal.h"
#include "util/mem.h"

int stage_hooks(struct stage *s, enum plan_hook_point point, struct err *err)
{
	const struct plan_hooks *h = &s->plan.hooks[point];
	_cleanup_free_ char *state = NULL;

	if (h->count == 0)
		return 0;
	/* the pid is the one that the container knows */
	state = hook_state_json(&s->plan,
				point == PLAN_HOOK_CREATE_CONTAINER ? "creating" : "created",
				getpid(), s->plan.bundle ? s->plan.bundle : "");
	if (!state)
		return err_set(err, ENOMEM, "out of memory");
	for (size_t i = 0; i < h->count; i++) {
		int r = hook_run(&h->list[i],
				 point == PLAN_HOOK_CREATE_CONTAINER ? s->plan.bundle : NULL, state,
				 err);

		if (r < 0)
			return err_wrap(err, "%s", plan_hook_names[point]);
	}
	return 0;
}
