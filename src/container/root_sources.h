/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROA_CONTAINER_ROOT_SOURCES_H
#define PROA_CONTAINER_ROOT_SOURCES_H

#include <stddef.h>

struct err;
struct plan;
struct plan_mount;

struct root_sources {
	int root;   /* the root file system, not attached anywhere */
	int *binds; /* for each of the plan's mounts: its source, or -1 if it is no bind */
	size_t count;
};

#define ROOT_SOURCES_INIT                                                                          \
	{                                                                                          \
		.root = -1                                                                         \
	}

/*
 * Opens them, while the host's paths still mean the host's files. @user_ns: the container's user
 * namespace, or -1; the root and the binds get its id map if the plan says so (map_sources), single
 * mounts that of their own or of it. Needs CAP_SYS_ADMIN over the mounts. On failure nothing is
 * left open.
 */
int root_sources_open(const struct plan *plan, int user_ns, struct root_sources *ret,
		      struct err *err);
void root_sources_done(struct root_sources *s);

/* Propagation and attributes of @m onto the detached mount @fd. */
int root_sources_set_attrs(int fd, const struct plan_mount *m, struct err *err);

#endif
