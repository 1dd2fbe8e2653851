/* SPDX-License-Identifier: Apache-2.0 */
/* What the stage's files share: stage.c (order of steps), stage_root.c, stage_mounts.c, … */
#ifndef PROA_CONTAINER_STAGE_INTERNAL_H
#define PROA_CONTAINER_STAGE_INTERNAL_H

#include <stdbool.h>
#include <sys/types.h>
#include "container/root_sources.h"
#include "container/stage.h"
#include "plan/plan.h"

struct stage {
	struct plan plan; /* STAGE_RUN; only .process is set in STAGE_EXEC */
	uint32_t mode;
	uint32_t flags; /* enum stage_flags */
	uint32_t cgroup_version;
	int sync_fd;  /* the stream to who launched us; -1 between the halves of a start */
	int start_fd; /* STAGE_WAIT: listening, for who starts us */
	int root_fd;  /* the new root, before and after pivot_root */
	int mount_ns; /* our own mount namespace, until it was checked */
	struct root_sources sources; /* the root and the plan's binds, detached */
	int terminal_fd;	     /* slave side, -1: none */
	uid_t uid;
	gid_t gid;
	gid_t *groups;
	size_t group_count;
	char command[4096]; /* path of what is executed */
};

/* stage_link.c: what goes to and comes from the parent. */
/* Takes the stream's place from argv, gets mode, plan and mounts. */
int stage_link_open(struct stage *s, int argc, char **argv, struct err *err);
/* @type: enum stage_report_type; @err may be NULL, @fd -1. */
int stage_report(struct stage *s, uint32_t type, const struct err *err, int fd);
/* Tells the parent something for the user; the start goes on. */
void stage_warn(struct stage *s, const struct err *err);
/* Lets the parent run its hooks, and waits until it has. */
int stage_wait_for_hooks(struct stage *s, struct err *err);
/* STAGE_WAIT: the second half begins when somebody connects. */
int stage_wait_for_start(struct stage *s, struct err *err);

/* stage_hooks.c: runs the plan's hooks of a point inside the container. */
int stage_hooks(struct stage *s, enum plan_hook_point point, struct err *err);

/* stage_kernel.c: what the kernel keeps for a process or a namespace: names, clocks, settings. */
int stage_names(struct stage *s, struct err *err);
int stage_loopback(struct stage *s, struct err *err);
int stage_late_namespaces(struct stage *s, struct err *err);
int stage_sysctls(struct stage *s, struct err *err);
int stage_scheduling(struct stage *s, struct err *err);
int stage_keyring(struct stage *s, struct err *err);
int stage_labels(struct stage *s, struct err *err);

/* stage_root.c: the root, attached and entered. */
int stage_root_open(struct stage *s, struct err *err);
int stage_root_enter(struct stage *s, struct err *err);
/* Opens @path inside the root for mounting on it; makes a directory or an empty file if absent. */
int stage_root_target(int root_fd, const char *path, bool directory, struct err *err);
/* The same, but a symbolic link at the end is the target itself. */
int stage_root_target_link(int root_fd, const char *path, struct err *err);

/* stage_mounts.c: the plan's mounts, masked and read-only paths, in the new root. */
int stage_mounts(struct stage *s, struct err *err);
/* Moves the detached mount @fd onto @target of the root. Does not close @fd. */
int stage_attach(struct stage *s, int fd, const char *target, bool directory, struct err *err);
/* A new file system as a detached mount; @attrs are MOUNT_ATTR_*. @source NULL: the type. */
int stage_new_fs(const char *type, const char *source, const char *const *options, uint64_t attrs,
		 struct err *err);

/* stage_cgroup.c: the container's view of its control groups. */
int stage_mount_cgroup(struct stage *s, const struct plan_mount *m, struct err *err);

/* stage_copy_up.c: copies the directory @from into the tmpfs @to (tmpcopyup). */
int stage_copy_up(int from, int to, struct err *err);

/* stage_hide.c: masked and read-only paths. */
int stage_hide_paths(struct stage *s, struct err *err);

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
/* The ids are the user's, and the rights still what the next function needs. */
int stage_user_become(struct stage *s, struct err *err);
/* Capabilities and system call filter: the last thing before the command. */
int stage_user_confine(struct stage *s, struct err *err);

/* stage_exec.c: finds the command, and says why it cannot be executed. */
int stage_exec_find(struct stage *s, struct err *err);
/* Executes it. Returns only on failure, explained. */
int stage_exec(struct stage *s, struct err *err);

/* reaper.c: the calling process 1 reaps and forwards signals until @child ends, then exits alike.
 */
_Noreturn void reaper_run(pid_t child);

#endif
