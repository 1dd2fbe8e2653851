/* SPDX-License-Identifier: Apache-2.0 */
/* The stage's side of container/stage.h, for a process that is no stage. */
#ifndef PROA_OCIVM_START_H
#define PROA_OCIVM_START_H

#include <stdint.h>
#include "plan/plan.h"

struct err;

struct start {
	int fd;	       /* the stream; -1 once it is over */
	int listening; /* with STAGE_WAIT: where the start comes in */
	uint32_t mode, flags;
	struct plan plan; /* STAGE_RUN; STAGE_EXEC: its process alone */
};

/* Takes the stream after @preserved descriptors and reads what is to be started. -EPROTO. */
int start_open(struct start *s, uint32_t preserved, struct err *err);
void start_done(struct start *s);

/* Sends one report; -EPIPE when nobody listens any more. @fd: to hand over with it, or -1. */
int start_report(struct start *s, uint32_t type, const struct err *err, int fd);
/* Makes the terminal that the process wants and hands its master over. *@ret_slave is the caller's.
 */
int start_terminal(struct start *s, int *ret_slave, struct err *err);
/* The hooks of the host are to be run: tells so and waits until they were. */
int start_wait_for_hooks(struct start *s, struct err *err);
/* Everything but the command is there: the stream is over, and the next one comes from a start. */
int start_ready(struct start *s, struct err *err);
/* Takes the connection that is waiting. */
int start_accept(struct start *s, struct err *err);
/* The command runs. */
void start_running(struct start *s);

#endif
