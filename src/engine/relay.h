/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The relay: between a process of a backend and our own standard input and output.
 *
 * It is the process_events of both `run` and `exec`; relay/sink.h and relay/input.h move the bytes.
 */
#ifndef PROA_ENGINE_RELAY_H
#define PROA_ENGINE_RELAY_H

#include <stdbool.h>
#include <termios.h>
#include "plan/backend.h"
#include "relay/input.h"
#include "relay/sink.h"
#include "util/err.h"
#include "util/loop.h"

struct log_file;

struct relay {
	struct loop *loop;
	struct process *process; /* set by the owner after run()/exec() */
	struct process_events events;
	struct relay_sink sinks[2];
	struct relay_input input;
	struct loop_watch signals;
	bool terminal, raw;
	struct termios saved;
	struct log_file *log;
	unsigned interrupts;
	void (*started)(void *data, pid_t pid);
	void *data;
	/* the result */
	bool running, exited, ended;
	int code;
	struct err why;
};

struct relay_options {
	bool interactive, terminal;
	int stdout_fd, stderr_fd;
	struct log_file *log; /* may be NULL */
	void (*started)(void *data, pid_t pid);
	void *data;
};

/* Signals are blocked and input is prepared; a terminal is made raw only when the process starts.
 */
int relay_init(struct relay *r, struct loop *loop, const struct relay_options *o, struct err *err);
/* Runs the loop until the process has ended and its output is written. */
int relay_run(struct relay *r, struct err *err);
/* How it ended: 0 and the exit code, or, when it was not its own end, -errno with the reason. */
int relay_result(const struct relay *r, int *ret_code, struct err *err);
/* Restores the terminal and the signals. Frees the process. */
void relay_done(struct relay *r);

/* Rows and columns of our terminal; 0 when standard input and output are none. */
void relay_terminal_size(uint16_t *ret_rows, uint16_t *ret_cols);

#endif
