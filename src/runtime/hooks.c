/* SPDX-License-Identifier: Apache-2.0 */
/* The hooks that run in the runtime's namespaces (runtime-spec, config.md, "POSIX-platform Hooks").
 */
#include <errno.h>
#include "container/hook_run.h"
#include "runtime/create.h"
#include "runtime/runtime.h"
#include "util/err.h"
#include "util/mem.h"

static char *state_text(const struct plan *plan, const struct state *s, enum state_status status)
{
	return hook_state_json(plan, state_status_name(status),
			       status == STATE_STOPPED ? 0 : s->pid, s->bundle);
}

int hooks_run(const struct plan *plan, enum plan_hook_point point, const struct state *s,
	      enum state_status status, struct err *err)
{
	const struct plan_hooks *h = &plan->hooks[point];
	_cleanup_free_ char *state = h->count ? state_text(plan, s, status) : NULL;

	if (h->count && !state)
		return err_set(err, ENOMEM, "out of memory");
	for (size_t i = 0; i < h->count; i++) {
		int r = hook_run(&h->list[i], s->bundle, state, err);

		if (r < 0)
			return err_wrap(err, "%s", plan_hook_names[point]);
	}
	return 0;
}

void hooks_run_poststop(const struct runtime *rt, const struct plan *plan, const struct state *s)
{
	const struct plan_hooks *h = &plan->hooks[PLAN_HOOK_POSTSTOP];
	_cleanup_free_ char *state = h->count ? state_text(plan, s, STATE_STOPPED) : NULL;

	for (size_t i = 0; state && i < h->count; i++) {
		struct err err = ERR_INIT;

		/* a warning, and the others run all the same */
		if (hook_run(&h->list[i], s->bundle, state, &err) < 0)
			runtime_warning(rt, "poststop: %s", err.msg);
	}
}
