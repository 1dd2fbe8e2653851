/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between a process in the machine and the container's standard input and output on the host, of
 * whatever kind these are: pipes, sockets, files, devices; or our side of a pseudo-terminal.
 *
 * The descriptors are not ours alone (an engine, a shell, another container may have them too), so
 * they are never made non-blocking: each is asked first whether it is ready, and a pipe is given no
 * more than it then surely takes. Output that is not taken now is kept, and acknowledged to the
 * guest only when it is written; input is read only while the guest has room. So a slow reader
 * slows the command down and costs no memory.
 *
 * Signals that are sent to us go to the command. All of this begins to flow when the command runs.
 */
#ifndef PROA_OCIVM_RELAY_H
#define PROA_OCIVM_RELAY_H

#include <stdbool.h>
#include <stdint.h>
#include "plan/backend.h"
#include "util/err.h"
#include "util/loop.h"

struct relay_sink {
	struct loop_watch watch;
	struct relay *relay;
	enum stream stream;
	char *pending; /* STREAM_WINDOW and what one event may add */
	size_t at, len;
	enum { SINK_PIPE, SINK_SOCKET, SINK_ANY_SIZE } kind;
	bool broken; /* nobody reads any more: output is thrown away */
};

struct relay {
	struct loop *loop;
	struct process *process; /* set by the owner of the relay */
	struct process_events events;
	struct relay_sink sinks[2];
	struct loop_watch input, signals;
	int terminal; /* our side of it; -1: none */
	uint16_t rows, cols;
	bool input_ended;
	char input_buf[16384]; /* read, and not yet taken by the process: input_len bytes at
				  input_at */
	size_t input_at, input_len;
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
/* Runs the loop until the command has ended and its output is written. */
int relay_until_ended(struct relay *r, struct err *err);
/* Writes one line of ours behind the command's output. */
void relay_say(struct relay *r, const char *line);
/* Frees the process as well. */
void relay_done(struct relay *r);

/* relay_input.c: moves input while both sides are ready. */
void relay_input_init(struct relay *r, int fd);
void relay_input_pump(struct relay *r);

#endif
