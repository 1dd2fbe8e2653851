/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between a process in the machine and the container's standard input and output on the host, of
 * whatever kind these are: pipes, sockets, files, devices; or our side of a pseudo-terminal.
 * relay/sink.h and relay/input.h move the bytes.
 *
 * Signals that are sent to us go to the command. All of this begins to flow when the command runs.
 */
#ifndef PROA_OCIVM_RELAY_H
#define PROA_OCIVM_RELAY_H

#include <stdbool.h>
#include <stdint.h>
#include "plan/backend.h"
#include "relay/input.h"
#include "relay/sink.h"
#include "util/err.h"
#include "util/loop.h"

struct relay {
	struct loop *loop;
	struct process *process; /* set by the owner of the relay */
	struct process_events events;
	struct relay_sink sinks[2];
	struct relay_input input;
	struct loop_watch signals;
	int terminal; /* our side of it; -1: none */
	uint16_t rows, cols;
	bool running, exited; /* the command: it was executed; it, or the try, is over */
	int code;	      /* the result */
	struct err why;	      /* errnum 0: it ended by itself */
};

/* Blocks what relay_init() then watches; early, so that no signal ends us before that. */
void relay_block_signals(void);
/* @terminal is borrowed; -1: standard input, output and error output are relayed. */
int relay_init(struct relay *r, struct loop *loop, int terminal, struct err *err);
/* Runs the loop until the command runs, or it is known that it will not. */
int relay_until_running(struct relay *r, struct err *err);
/*
 * Runs the loop until the command has ended and its output is written, with a line of ours if the
 * end was not its own. The exit code.
 */
int relay_to_the_end(struct relay *r);
/* How a command ended that did not end by itself, as an error. */
int relay_why(const struct relay *r, struct err *err);
/* Writes one line of ours behind the command's output. */
void relay_say(struct relay *r, const char *line);
/* Frees the process as well. */
void relay_done(struct relay *r);

#endif
