/* SPDX-License-Identifier: Apache-2.0 */
/* What the engine's files share. */
#ifndef PROA_ENGINE_INTERNAL_H
#define PROA_ENGINE_INTERNAL_H

#include "engine/engine.h"

#define PLAN_NAME "plan"

/* The struct instance of a container; its strings are the container's, and @stage's. */
void engine_instance(const struct store *s, const struct container *c, const char *stage,
		     struct instance *ret);

/* Reads ROOT/containers/ID/plan. The caller: plan_done(). */
int engine_read_plan(const struct container *c, struct plan *ret, struct err *err);

#endif
