/* SPDX-License-Identifier: Apache-2.0 */
/* Other proa processes in a machine: their sessions, and the owner's passing of frames between
 * them. */
#ifndef PROA_VM_SWITCH_H
#define PROA_VM_SWITCH_H

#include "link.h"

struct err;
struct vm_switch;

struct vm_switch_owner {
	/* A client asks for a signal to the first process. 0 or -errno. */
	int (*signal)(void *data, int signo);
	void *data;
};

/* Listens on @dir/agent.sock. @guest is borrowed and outlives the switch. */
int vm_switch_open(struct loop *loop, const char *dir, struct link *guest,
		   const struct vm_switch_owner *owner, struct vm_switch **ret, struct err *err);
/* A checked frame of a session other than the first. -EBADMSG: it breaks a promise. */
int vm_switch_frame(struct vm_switch *s, const struct frame *f);
/* The guest took what was queued: clients that waited go on. */
void vm_switch_drained(struct vm_switch *s);
/* Tells all clients why their session ends, and ends. NULL is allowed. */
void vm_switch_free(struct vm_switch *s, const struct err *why);

#endif
