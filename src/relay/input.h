/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes to a process's standard input, from a descriptor of ours: read only while the process
 * has room. As with sinks, the descriptor is asked whether it is ready and never changed.
 */
#ifndef PROA_RELAY_INPUT_H
#define PROA_RELAY_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include "plan/backend.h"
#include "util/loop.h"

struct relay_input {
	struct loop_watch watch;
	struct loop *loop;
	struct process **process; /* who gets it; may be NULL for now */
	bool ended;		  /* of either side: nothing more is read */
	char buf[16384];	  /* read, and not yet taken: len bytes at at */
	size_t at, len;
};

/* @fd and @process are borrowed. Nothing is read before the first relay_input_pump(). */
void relay_input_open(struct relay_input *in, struct loop *loop, int fd, struct process **process);
/* Moves input while both sides are ready; called when the process starts or has room again. */
void relay_input_pump(struct relay_input *in);
/* Stops reading; the process is not told. */
void relay_input_close(struct relay_input *in);

#endif
