/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control groups: one group per container in every hierarchy that matters.
 *
 * Two kernels' worth of interface (Documentation/admin-guide/cgroup-v1, cgroup-v2.rst) behind one
 * table of functions; which one is in use is found out by looking at /sys/fs/cgroup, not by
 * version.
 *
 * A group is named by its path below each hierarchy's root, "proa/ID" or "docker/ID": without a
 * slash in front, without "." and "..". A limit that is asked for and cannot be had is an error
 * that names the limit, the file and the reason; nothing is left out silently.
 */
#ifndef PROA_CONTAINER_CGROUP_H
#define PROA_CONTAINER_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct cgroup_stats;
struct err;
struct plan_resources;

#define CGROUP_ROOT	"/sys/fs/cgroup"
#define CGROUP_PARENT	"proa"
#define CGROUP_PATH_MAX 1024 /* bytes of a path, with the NUL */

/* The v1 controllers that a container gets a group in, NULL-terminated. */
extern const char *const cgroup_v1_controllers[];

struct cgroup_ops {
	const char *name; /* "v1", "v2" */
	/* Makes the group with the parents it lacks, and sets the limits. A group that is there
	 * already is taken over unless it has processes (-EBUSY). When it fails, what it made is
	 * removed again. */
	int (*create)(const char *path, const struct plan_resources *limits, struct err *err);
	/* As create(), for a group that somebody else has made, maybe with a process in it that
	 * holds it open (cgroup_systemd.h). */
	int (*adopt)(const char *path, const struct plan_resources *limits, struct err *err);
	/* Changes the limits of a group that exists. */
	int (*update)(const char *path, const struct plan_resources *limits, struct err *err);
	/* Moves the calling, single-threaded process into the group. System calls only. 0 or
	 * -errno. */
	int (*join)(const char *path);
	/* A descriptor for CLONE_INTO_CGROUP, or -EBADF where there is nothing to clone into (v1
	 * without the v2 hierarchy beside it). join() is needed all the same. */
	int (*open)(const char *path);
	/* Removes the group and the groups below it. Absent is success; processes that are on
	 * their way out are waited for, some 100 ms. */
	int (*remove)(const char *path, struct err *err);
	/* How often the kernel's out-of-memory killer struck in the group; 0 when unknown. */
	uint64_t (*oom_kills)(const char *path);
	/* Stops or continues all processes of the group, and returns when that is so. */
	int (*freeze)(const char *path, bool on, struct err *err);
	/* 1 or 0, or -errno. */
	int (*is_frozen)(const char *path);
	/* Sends a signal to all processes of the group and of the groups below it, but not to the
	 * caller. SIGKILL also thaws it, and returns when no process is left (or -ETIMEDOUT). */
	int (*kill)(const char *path, int signo, struct err *err);
	/* The processes of the group and of the groups below it, the caller's to free. */
	int (*pids)(const char *path, pid_t **ret, size_t *ret_n, struct err *err);
	/* See cgroup_stats.h. What this kernel does not count is 0. */
	int (*stats)(const char *path, struct cgroup_stats *ret, struct err *err);
	/* Hands the group to a user, who may then make groups in it (runtime-spec, "Cgroup
	 * ownership"). v1, where that is not safe: does nothing. */
	int (*delegate)(const char *path, uid_t uid, gid_t gid, struct err *err);
};

extern const struct cgroup_ops cgroup_v1, cgroup_v2;

/* The interface this kernel offers, or NULL when no cgroup file system is mounted. */
const struct cgroup_ops *cgroup_detect(void);

/* Is there any limit in it that needs a cgroup? (Device rules are no limits here.) */
bool cgroup_has_limits(const struct plan_resources *limits);

/* Is @path a path as described above? -EINVAL, with the reason, when it is not. */
int cgroup_check_path(const char *path, struct err *err);

/* The group of a container: @chosen, or "proa/ID" when that is NULL, in @buf. */
#define CGROUP_DEFAULT_MAX 128
const char *cgroup_path_or_default(const char *chosen, const char *id,
				   char buf[CGROUP_DEFAULT_MAX]);

/*
 * The group of a process (0: the caller): of the v2 hierarchy when @controller is NULL, else of
 * that v1 controller's. Relative, "" for the root; the caller frees *@ret. -ENOENT when the process
 * is in no such hierarchy.
 */
int cgroup_path_of(pid_t pid, const char *controller, char **ret, struct err *err);

/* cgroup_path_of() of the caller in the hierarchy that its containers' groups are in. */
int cgroup_own_path(char **ret, struct err *err);

/* Could the caller make the group @path and put processes into it? For those who are not root. */
bool cgroup_can_create(const char *path);

#endif
