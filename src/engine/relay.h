/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The relay: between a process of a backend and our own standard input and output.
 *
 * It is the process_events of both `run` and `exec`. Output that standard output does not take now
 * is kept, and acknowledged to the backend only when it is written, so that a slow reader slows the
 * process down and costs no memory. Input is read only while the process has room.
 */
#ifndef PROA_ENGINE_RELAY_H
#define PROA_ENGINE_RELAY_H

#include <stdbool.h>
#include <termios.h>
#include "plan/backend.h"
#include "util/err.h"
#include "util/loop.h"

struct log_file;

struct relay_sink {
	struct loop_watch watch;
	struct relay *relay;
	enum stream stream;
	int fd;
	char *pending; /* STREAM_WINDOW and what one event may add */
	size_t at, len;
	bool regular; /* a file: a write never has to wait */
	bool broken;  /* nobody reads any more: output is thrown away */
};

struct relay {
	struct loop *loop;
	struct process *process; /* set by the owner after run()/exec() */
	struct process_events events;
	struct relay_sink sinks[2];
	struct loop_watch input, signals;
	bool input_regular, input_ended, terminal;
	char input_buf[16384]; /* read, and not yet taken by the process: input_len bytes at
				  input_at */
	size_t input_at, input_len;
	bool raw;
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
