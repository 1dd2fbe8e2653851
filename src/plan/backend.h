/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seam: what the engine asks of a backend. Two exist: container_backend and vm_backend; neither
 * knows of the other, and the engine knows of neither but through this table.
 */
#ifndef PROA_PLAN_BACKEND_H
#define PROA_PLAN_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct err;
struct loop;
struct plan;
struct plan_process;
struct plan_resources;

enum stream {
	STREAM_STDIN = 0,
	STREAM_STDOUT = 1, /* with a terminal: all output */
	STREAM_STDERR = 2,
};

/*
 * A process of a container or machine, seen from outside: where its output comes from and its input
 * goes to. Backends embed it first in a struct of their own.
 *
 * Flow: the backend hands over output with events->output() and stops reading that stream when more
 * than STREAM_WINDOW bytes of it were not yet acknowledged with ops->consumed(). Input goes in with
 * ops->write_stdin(), which takes what there is room for; events->stdin_room() tells of new room.
 */
#define STREAM_WINDOW (64u << 10)

struct process_events {
	/* The process runs (its exec succeeded). @pid: the process on this host that stands for it
	 * (a container's init, the machine's VMM), 0 for an exec in a machine. */
	void (*started)(void *data, pid_t pid);
	/* The bytes are the callee's only during the call. */
	void (*output)(void *data, enum stream stream, const void *bytes, size_t n);
	void (*stdin_room)(void *data);
	/*
	 * The last event: all output was handed over before it. @code is what the command line tool
	 * exits with. @why is set when it was not the process's own end: it could not be started
	 * (code 125..127), the machine died, memory ran out. The handler may free the process.
	 */
	void (*exited)(void *data, int code, const struct err *why);
	void *data;
};

struct process;

struct process_ops {
	/* Bytes taken (0: no room now; stdin_room() follows), or -EPIPE when input was closed. */
	ssize_t (*write_stdin)(struct process *p, const void *bytes, size_t n);
	/* End of input, after what was written. */
	void (*close_stdin)(struct process *p);
	void (*consumed)(struct process *p, enum stream stream, size_t n);
	int (*resize)(struct process *p, uint16_t rows, uint16_t cols);
	int (*signal)(struct process *p, int signo);
	/* Ends it if it still runs (a container or machine is killed; an exec is left alone). */
	void (*free)(struct process *p);
};

struct process {
	const struct process_ops *ops;
};

/* Where a container or machine lives on disk. All paths are absolute; the strings are borrowed. */
struct instance {
	const char *id;	     /* 64 hex digits */
	const char *store;   /* root of the store (/var/lib/proa) */
	const char *dir;     /* its own durable directory, store/containers/ID: upper layer, log */
	const char *run_dir; /* its own volatile directory, /run/proa/ID: sockets, pids */
	const char *stage;   /* the executable proa-init; "/proc/self/exe" inside a guest */
	pid_t pid;	     /* as told by started(); 0 while unknown */
	uint64_t pid_start;  /* proc_start_time() of pid, so that a reused number is noticed */
	/* Called in each child that becomes a helper of this instance (QEMU, a file server), before
	 * it does; only system calls. 0 or -errno. NULL: nothing to do. */
	int (*enter)(const struct instance *inst);
};

struct backend_ops {
	const char *name; /* "container", "vm" */

	/* Refuses, before anything was made, what this backend cannot do. 0 or -errno with the way
	 * out. */
	int (*check)(const struct plan *plan, struct err *err);

	/*
	 * Makes what the plan says and starts its process. It comes up through the loop:
	 * events->started() or, if that fails later, events->exited(). What can be known at once
	 * (no kernel, no such file to bind) is returned as an error, with nothing left behind.
	 * @plan, @inst and @events must live until the process is freed. The caller frees *@ret.
	 */
	int (*run)(struct loop *loop, const struct plan *plan, const struct instance *inst,
		   const struct process_events *events, struct process **ret, struct err *err);

	/* A further process in a running instance, from any process of the same user. */
	int (*exec)(struct loop *loop, const struct plan *plan, const struct instance *inst,
		    const struct plan_process *what, const struct process_events *events,
		    struct process **ret, struct err *err);

	/* Sends a signal to the first process of a running instance, from any process. */
	int (*kill)(const struct instance *inst, int signo, struct err *err);

	/* Other limits for a running instance, by who owns it. NULL: it is not asked for this. */
	int (*update)(const struct plan *plan, const struct instance *inst,
		      const struct plan_resources *limits, struct err *err);

	/*
	 * Removes everything of an instance that is not a file in its two directories (cgroups,
	 * processes); called when it has ended or its owner died, any number of times.
	 */
	int (*cleanup)(const struct instance *inst, struct err *err);
};

extern const struct backend_ops container_backend;
extern const struct backend_ops vm_backend;

#endif
