/* SPDX-License-Identifier: Apache-2.0 */
/* What the launcher's files share: launch.c (the order), launch_clone.c, launch_idmap.c. */
#ifndef PROA_CONTAINER_LAUNCH_INTERNAL_H
#define PROA_CONTAINER_LAUNCH_INTERNAL_H

#include "container/launch.h"
#include "plan/plan.h"

/*
 * launch_clone.c: the child, in its namespaces and cgroup, on its way to become the stage.
 * @stage: the sealed memfd; @sync: the child's end of the stream. Once ret->pid is set there is a
 * child to end and to wait for, also on failure.
 */
int launch_clone(const struct launch_spec *spec, int stage, int sync, struct launch *ret,
		 struct err *err);

/* launch_idmap.c: maps the ids of the child's new user namespace, if it has one. */
int launch_map_ids(const struct launch_spec *spec, pid_t pid, struct err *err);
/* A user namespace with these maps and no process in it, for a mount; its descriptor or -errno. */
int launch_map_namespace(const struct plan_mount *m, struct err *err);

/* As io_write_full(), without SIGPIPE: the stage may be gone. */
int launch_send(int sock, const void *bytes, size_t n);

/* Does the plan have this namespace made new? */
static inline bool launch_is_new(const struct plan *p, uint32_t ns)
{
	return (p->namespaces & ~p->joined & ns) != 0;
}

#endif
