/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bundles that are machines. proa-oci itself knows nothing of machines: it executes
 * proa-oci-machine, which stays as the container's process (its pid is the container's), and speaks
 * the stage's protocol (container/stage.h) over the same kind of stream.
 */
#ifndef PROA_RUNTIME_MACHINE_H
#define PROA_RUNTIME_MACHINE_H

struct err;
struct launch;
struct launch_spec;
struct plan_resources;
struct state;

/* As launch_start(): the machine's process, or with spec->exec a process that stands for one in it.
 */
int machine_launch(const struct launch_spec *spec, const struct state *s, struct launch *ret,
		   struct err *err);
/* Sends a signal to the first process in the machine. */
int machine_kill(const struct state *s, int signo, struct err *err);
/* Other limits for it, in its guest. */
int machine_update(const struct state *s, const struct plan_resources *limits, struct err *err);

#endif
