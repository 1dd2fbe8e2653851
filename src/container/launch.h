/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting a stage: the parent's half of src/container/stage.h.
 */
#ifndef PROA_CONTAINER_LAUNCH_H
#define PROA_CONTAINER_LAUNCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "container/stage.h"

struct cgroup_ops;
struct plan;
struct plan_process;

/* Paths of newuidmap(1) and newgidmap(1), which map ranges of ids for those who are not root. */
struct launch_helpers {
	const char *newuidmap, *newgidmap;
};

struct launch_spec {
	const struct plan *plan;	      /* the container's */
	const struct plan_process *exec;      /* a further process in it; NULL: its first one */
	const char *stage;		      /* path of proa-stage or proa-init */
	const char *cgroup;		      /* path of the cgroup */
	const struct cgroup_ops *cgroups;     /* NULL: none is joined */
	int target_pidfd;		      /* exec: the container's first process; else -1 */
	int stdio[3];			      /* the child's ends; all -1 with a terminal */
	unsigned preserve_fds;		      /* descriptors 3… that are the command's as well */
	bool wait_for_start;		      /* in two halves: see stage.h */
	int start_fd;			      /* with it: the listening socket */
	bool detached;			      /* the command outlives this process */
	bool keyring;			      /* it gets a session keyring of its own */
	bool rootless;			      /* this process is not root of the host */
	const struct launch_helpers *helpers; /* rootless: NULL: ids are mapped without help */
	/* The child is there, in its namespaces, and waits: what else has to be done to it. */
	int (*prepare)(void *data, pid_t pid, struct err *err);
	void *data;
};

struct launch {
	pid_t pid;
	int pidfd;
	int sync_fd; /* non-blocking: reports of the stage, then end of file */
};

/*
 * Clones the child and hands it its plan; on return it is under way, and the caller reads
 * launch_next() until it says LAUNCH_RUNNING or LAUNCH_FAILED. The caller owns pidfd, sync_fd and
 * the child, which it must wait for. Does not close spec->stdio.
 */
int launch_start(const struct launch_spec *spec, struct launch *ret, struct err *err);

/* Writes struct stage_start and the plan (or the exec's process) to a child that waits for them. */
int launch_send_plan(const struct launch_spec *spec, int sync_fd, uint32_t source_count,
		     struct err *err);

enum launch_event {
	LAUNCH_AGAIN,	 /* nothing to read now */
	LAUNCH_TERMINAL, /* *ret_fd is the terminal's master, the caller's to close */
	LAUNCH_WARNING,	 /* @err has a line for the user */
	LAUNCH_RUNNING,	 /* the command was executed */
	LAUNCH_FAILED,	 /* @err says why it was not */
	LAUNCH_HOOKS, /* run the hooks that come before the root is entered, then launch_go_on() */
	LAUNCH_READY, /* it waits for its start; the stream is over */
	LAUNCH_SECCOMP, /* *ret_fd is the filter's notification descriptor, the caller's to close */
};

enum launch_event launch_next(int sync_fd, int *ret_fd, struct err *err);
int launch_go_on(int sync_fd, struct err *err);

/* The other half of a start: lets the stage that listens on @path (below @dir_fd) go on. *ret_fd is
 * the stream of its further reports, for launch_next(). */
int launch_connect(int dir_fd, const char *path, int *ret_fd, struct err *err);
/* Makes the listening socket of wait_for_start. */
int launch_listen(int dir_fd, const char *path, int *ret_fd, struct err *err);

#endif
