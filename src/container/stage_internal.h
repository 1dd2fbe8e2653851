/* SPDX-License-Identifier: Apache-2.0 */
/* What the stage's files share: stage.c (order of steps), stage_root.c, stage_mounts.c, … */
#ifndef PROA_CONTAINER_STAGE_INTERNAL_H
#define PROA_CONTAINER_STAGE_INTERNAL_H

#include <sys/types.h>
#include "container/root_sources.h"
#include "container/stage.h"
#include "plan/plan.h"

struct stage {
	struct plan plan; /* STAGE_RUN; only .process is set in STAGE_EXEC */
	uint32_t mode;
	uint32_t cgroup_version;
	int root_fd;		     /* the new root, before and after pivot_root */
	int mount_ns;		     /* our own mount namespace, until it was checked */
	struct root_sources sources; /* the root and the plan's binds, detached */
	int terminal_fd;	     /* slave side, -1: none */
	uid_t uid;
	gid_t gid;
	gid_t *groups;
	size_t group_count;
};

/* Tells the parent something for the user; the start goes on. */
void stage_warn(const struct err *err);

/* stage_root.c: the root, attached and entered. */
int stage_root_open(struct stage *s, struct err *err);
int stage_root_enter(struct stage *s, struct err *err);
/* Opens @path inside the root for mounting on it; makes a directory or an empty file if absent. */
int stage_root_target(int root_fd, const char *path, bool directory, struct err *err);

/* stage_mounts.c: the plan's mounts, masked and read-only paths, in the new root. */
int stage_mounts(struct stage *s, struct err *err);
int stage_hide_paths(struct stage *s, struct err *err);
/* A new file system of @type with @options as a detached mount; @attrs are MOUNT_ATTR_*. */
int stage_new_fs(const char *type, const char *const *options, uint64_t attrs, struct err *err);

/* stage_devices.c */
int stage_devices(struct stage *s, struct err *err);

/* stage_files.c: /etc/hosts, /etc/hostname and /etc/resolv.conf of the container. */
int stage_files(struct stage *s, struct err *err);

/* stage_terminal.c */
int stage_terminal_open(struct stage *s, struct err *err);
int stage_terminal_attach(struct stage *s, struct err *err);

/* stage_user.c: finds the user in the root's files, sets HOME; becomes it. */
int stage_user_find(struct stage *s, struct err *err);
int stage_rlimits(struct stage *s, struct err *err);
int stage_user_become(struct stage *s, struct err *err);

/* stage_exec.c: finds and executes the command; explains why it cannot be. Returns only on failure.
 */
int stage_exec(struct stage *s, struct err *err);

/* reaper.c: the calling process 1 reaps and forwards signals until @child ends, then exits alike.
 */
_Noreturn void reaper_run(pid_t child);

#endif
