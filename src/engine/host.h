/* SPDX-License-Identifier: Apache-2.0 */
/* What this host can do, as a list of facts with what to change; for `proa info` and `proa doctor`.
 */
#ifndef PROA_ENGINE_HOST_H
#define PROA_ENGINE_HOST_H

#include <stddef.h>

struct store;

enum host_level {
	HOST_FINE,
	HOST_SLOWER,  /* works, but something is worse than it could be */
	HOST_MISSING, /* something cannot be used */
};

struct host_fact {
	const char *topic; /* "Containers", "Machines", "Images" */
	const char *name;  /* "cgroups" */
	enum host_level level;
	char value[256];  /* what is there */
	char advice[256]; /* what to install or change; "" when fine */
};

#define HOST_FACTS_MAX 24

/* Looks at everything; takes some milliseconds (the KVM probe is kept until the next boot). */
size_t host_look(struct store *s, struct host_fact facts[HOST_FACTS_MAX]);

#endif
