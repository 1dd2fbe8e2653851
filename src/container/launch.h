/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting a stage: the parent's half of src/container/stage.h.
 */
#ifndef PROA_CONTAINER_LAUNCH_H
#define PROA_CONTAINER_LAUNCH_H

#include <stdbool.h>
#include <sys/types.h>
#include "container/stage.h"

struct cgroup_ops;
struct plan;
struct plan_process;

struct launch_spec {
	const struct plan *plan;	  /* the container's */
	const struct plan_process *exec;  /* a further process in it; NULL: its first one */
	const char *stage;		  /* path of proa-init */
	const char *cgroup;		  /* its path (container/cgroup.h) */
	const struct cgroup_ops *cgroups; /* NULL: none is joined */
	int target_pidfd;		  /* exec: the container's first process; else -1 */
	int stdio[3];			  /* the child's ends; all -1 with a terminal */
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

enum launch_event {
	LAUNCH_AGAIN,	 /* nothing to read now */
	LAUNCH_TERMINAL, /* *ret_fd is the terminal's master, the caller's to close */
	LAUNCH_WARNING,	 /* @err has a line for the user */
	LAUNCH_RUNNING,	 /* the command was executed */
	LAUNCH_FAILED,	 /* @err says why it was not */
};

enum launch_event launch_next(struct launch *l, int *ret_fd, struct err *err);

#endif
