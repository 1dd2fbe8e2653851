/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is kept of a container between two invocations: a directory ROOT/ID with
 *
 *     state        a line of JSON: what `state` tells, and where its processes and cgroup are;
 *                  behind it the plan it was made of, as bytes (plan/wire.c), for exec. It comes
 *                  by rename, and makes the container exist
 *
 *     cgroup       a symbolic link with the path of its cgroup: for what is left when its creation
 *                  breaks off before there is a state
 *     start        the socket on which the process waits; there until it was started
 *
 * The directory's creation reserves the ID. Who changes something holds a lock on it (flock, so
 * that it ends with its holder). Nothing here outlives a reboot, so nothing is synced.
 */
#ifndef PROA_RUNTIME_STATE_H
#define PROA_RUNTIME_STATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct cgroup_ops;
struct err;
struct plan;
struct runtime;
struct json_write;

#define STATE_NAME   "state"
#define STATE_CGROUP "cgroup"
#define STATE_START  "start"

enum state_status {
	STATE_CREATING =
		0, /* the directory is there and no state yet: it is being made, or broke off */
	STATE_CREATED,
	STATE_RUNNING,
	STATE_PAUSED,
	STATE_STOPPED,
};

struct state {
	char *id;
	int dir_fd;
	pid_t pid;
	uint64_t pid_start; /* proc_start_time(), so that a reused number is noticed */
	int64_t created_s;
	long created_ns;
	char *bundle, *rootfs, *oci_version;
	char *cgroup;	/* path in each hierarchy, NULL: none was made */
	char *scope;	/* the systemd unit that holds it, NULL: none */
	uint32_t owner; /* uid of who created it */
	bool vm;
	bool own_pids; /* it has a pid namespace of its own: the end of its first process ends all
			*/
	char **annotations;
	char *text; /* the file, once it was read: the plan's bytes are in it */
	size_t plan_at, plan_len;
};

#define STATE_INIT                                                                                 \
	{                                                                                          \
		.dir_fd = -EBADF                                                                   \
	}

const char *state_status_name(enum state_status status);

/* Reserves @id: makes and locks its directory. -EEXIST when it is taken. */
int state_reserve(const struct runtime *rt, const char *id, int *ret_dir, struct err *err);
/* Before the cgroup at @path is made. */
int state_note_cgroup(const struct state *s, const char *path, struct err *err);
/* Writes state and plan. */
int state_save(const struct state *s, const struct plan *plan, struct err *err);

/* Opens an existing one; with @lock, waits until nobody else changes it. -ENOENT: «does not exist».
 */
int state_open(const struct runtime *rt, const char *id, bool lock, struct state *ret,
	       struct err *err);
int state_read_plan(const struct state *s, struct plan *ret, struct err *err);
/* Who handles its cgroup; NULL: it has none. */
const struct cgroup_ops *state_cgroups(const struct state *s);
enum state_status state_status_of(const struct state *s);
/* A pidfd of its first process; -ESRCH when it has ended. */
int state_process(const struct state *s);
/* Removes directory and all. */
int state_remove(const struct runtime *rt, const char *id, struct err *err);
void state_done(struct state *s);

/* The members of runtime.md, "State", into an object that is open. */
void state_write_members(struct json_write *w, const struct state *s, enum state_status status);
/* "KEY=VALUE"… as an object. */
void state_write_annotations(struct json_write *w, char *const *annotations);

#endif
