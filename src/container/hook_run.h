/* SPDX-License-Identifier: Apache-2.0 */
/* Running one hook (runtime-spec, config.md, "POSIX-platform Hooks"), on the host or in the stage.
 */
#ifndef PROA_CONTAINER_HOOK_RUN_H
#define PROA_CONTAINER_HOOK_RUN_H

#include <stddef.h>

struct err;
struct plan;
struct plan_hook;

/*
 * Executes @hook in @dir (NULL: where we are) with @state on its standard input, and waits for it,
 * at most its timeout. What it writes is the reason in the error when it fails. 0 or -errno.
 */
int hook_run(const struct plan_hook *hook, const char *dir, const char *state, struct err *err);

/* The container's state as JSON (runtime.md, "State"); the caller frees it. NULL: no memory. */
char *hook_state_json(const struct plan *plan, const char *status, int pid, const char *bundle);

#endif
