/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROA_CONTAINER_ROOT_SOURCES_H
#define PROA_CONTAINER_ROOT_SOURCES_H

#include <stddef.h>

struct err;
struct plan;

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
 * Opens them, while the host's paths still mean the host's files. @user_ns: a user namespace whose
 * id map the mounts get, or -1. Needs CAP_SYS_ADMIN. On failure nothing is left open.
 */
int root_sources_open(const struct plan *plan, int user_ns, struct root_sources *ret,
		      struct err *err);
void root_sources_done(struct root_sources *s);

#endif
