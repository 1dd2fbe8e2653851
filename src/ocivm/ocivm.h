/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proa-oci-machine: what proa-oci (src/runtime) executes when a bundle is to be a machine. Seen
 * from proa-oci it is a stage (container/stage.h): it has the container's standard input and
 * output, reads a plan from its parent, reports over the same stream, and waits on the same socket
 * for its start. Seen from an engine it is the container's process: its pid, its exit code, its
 * signals.
 *
 *     proa-oci-machine PRESERVED STATE_DIR ID PID PIDSTART     a start, or an exec
 *     proa-oci-machine kill STATE_DIR ID SIGNO                 a signal to the first process
 *     proa-oci-machine update STATE_DIR ID                     its limits: a plan on standard input
 *
 * A start stays as the machine's owner (owner.c): it boots the machine, and the command's input and
 * output pass through it (relay.c). An exec stands for one process in it (exec.c) and reaches the
 * machine through the owner's socket in STATE_DIR. One file per concern; main.c has the command
 * line.
 */
#ifndef PROA_OCIVM_OCIVM_H
#define PROA_OCIVM_OCIVM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "plan/backend.h"
#include "plan/plan.h"

struct err;
struct start;

/* ---- owner.c, exec.c, kill.c: the result is the exit code --------------------------------------
 */

int owner_main(struct start *s, const struct instance *inst);
int exec_main(struct start *s, const struct instance *inst);
int kill_main(const struct instance *inst, const char *signo);
int update_main(const struct instance *inst);

/* In STATE_DIR: the owner's pid and start time, for a kill that the owner does not answer. */
#define OWNER_NAME "owner"

/* ---- adapt.c ------------------------------------------------------------------------------------
 */

/*
 * Makes the plan of a container one for a machine: namespaces of the host that it joins become new
 * ones, hooks of the host are taken out (into @ret_hooks, which then owns them), what cannot be had
 * in a machine is refused. @warn tells of what is left out because the plan says that it may be.
 */
int adapt_plan(struct plan *p, struct plan_hooks ret_hooks[PLAN_HOOK_POINTS],
	       void (*warn)(void *data, const struct err *warning), void *data, struct err *err);
/* What cannot be had of limits, at the start or later. */
int adapt_update(const struct plan_resources *r, struct err *err);
/* What cannot be had of a process, its first one or an exec's. */
int adapt_process(const struct plan_process *p, struct err *err);

/* ---- network.c ----------------------------------------------------------------------------------
 */

/* Enters the network namespace that the plan joins, or makes the new one: engines look for it here.
 */
int network_enter(const struct plan *p, struct err *err);
/* Refuses a namespace with interfaces that a machine would not have. */
int network_check(const struct plan *p, struct err *err);

/* ---- view.c -------------------------------------------------------------------------------------
 */

/* Leaves the host's mount namespace for one with the container's root and binds. */
int view_enter(const struct plan *p, struct err *err);

/* ---- terminal.c ---------------------------------------------------------------------------------
 */

/*
 * A pseudo-terminal of the host whose other side is the terminal in the guest: it passes bytes on
 * as they are. We become leader of a session with it, so that its hang-up and changes of its size
 * come as signals. Both descriptors are the caller's.
 */
int terminal_open(const struct plan_process *p, int *ret_master, int *ret_slave, struct err *err);

#endif
