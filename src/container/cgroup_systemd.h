/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cgroups that systemd manages: a container in a transient scope unit.
 *
 * On a host whose cgroups are systemd's, a group that it does not know may be moved or limited
 * differently at any time. Asked for (--systemd-cgroup), it makes the group: a helper executable,
 * proa-systemd, which is linked with libsystemd as nothing else here is, puts *itself* into a new
 * scope and holds it open while the container is cloned into it. All further work on the group is
 * that of struct cgroup_ops, on the path that systemd gave it:
 *
 *     cgroup_unit_parse("system.slice:docker:ID")      docker-ID.scope in system.slice
 *     cgroup_systemd_start()                           the group exists, and has the helper in it
 *     ops->adopt(path, limits)                         limits that systemd does not know
 *     launch                                           the container is in it
 *     cgroup_systemd_release()                         the helper ends
 *     cgroup_systemd_set() and ops->update()           on "update"
 *     cgroup_systemd_stop() and ops->remove()          at the end
 */
#ifndef PROA_CONTAINER_CGROUP_SYSTEMD_H
#define PROA_CONTAINER_CGROUP_SYSTEMD_H

#include <stdbool.h>
#include <sys/types.h>

struct err;
struct plan_resources;

struct cgroup_unit {
	char *slice; /* "machine.slice"; "-.slice" is the root */
	char *name;  /* "proa-ID.scope" */
	char *path;  /* both as a cgroup path, "machine.slice/proa-ID.scope"; below the user's
		      * manager it is only the end of it */
};

/*
 * From a cgroupsPath "SLICE:PREFIX:NAME" (NULL or "": none of them is given). An empty slice is
 * system.slice, or @user: user.slice, as other runtimes have it; an empty prefix with a NAME makes
 * "NAME.scope"; without a NAME it is "proa" and @id.
 */
int cgroup_unit_parse(const char *text, const char *id, bool user, struct cgroup_unit *ret,
		      struct err *err);
void cgroup_unit_done(struct cgroup_unit *u);

/* "a-b-c.slice" as a path: "a.slice/a-b.slice/a-b-c.slice"; "-.slice": "". The caller frees it. */
int cgroup_expand_slice(const char *slice, char **ret, struct err *err);

struct cgroup_systemd {
	pid_t pid; /* of the helper */
	int hold;  /* closing it ends the helper */
};
#define CGROUP_SYSTEMD_INIT                                                                        \
	{                                                                                          \
		.pid = -1, .hold = -1                                                              \
	}

/*
 * Makes the scope, with the limits that systemd knows. *@ret_path is the group's path, the caller's
 * to free. @helper is the path of proa-systemd; @user: ask the user's manager, not the system's.
 */
int cgroup_systemd_start(const char *helper, const struct cgroup_unit *u,
			 const struct plan_resources *limits, bool user, struct cgroup_systemd *ret,
			 char **ret_path, struct err *err);
/* Ends the helper, when something else is in the scope, or nothing is to be. */
void cgroup_systemd_release(struct cgroup_systemd *s);
/* Tells systemd of changed limits. */
int cgroup_systemd_set(const char *helper, const struct cgroup_unit *u,
		       const struct plan_resources *limits, bool user, struct err *err);
/* Stops the unit; absent is success. */
int cgroup_systemd_stop(const char *helper, const struct cgroup_unit *u, bool user,
			struct err *err);

/* What systemd is told of the limits, "MemoryMax=1048576", for tests: a vector, the caller's. */
int cgroup_systemd_properties(const struct plan_resources *l, bool v2, char ***ret,
			      struct err *err);

#endif
