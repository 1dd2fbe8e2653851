/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process in a machine, as its user on the host sees it: struct process over a link. Used by the
 * owner for the machine's first process, and by another proa process for an exec.
 */
#ifndef PROA_VM_SESSION_H
#define PROA_VM_SESSION_H

#include "link.h"
#include "plan/backend.h"
#include "util/err.h"

struct plan;
struct plan_process;

/*
 * What is under way in one session, counted where frames pass: the sender's promise is checked, not
 * believed. Zero-initialise, then flow_init().
 */
struct vm_flow {
	size_t input_room; /* bytes of input that may still be sent */
	size_t unacked[3]; /* bytes of each output stream that were passed on, not yet acknowledged
			    */
	bool input_end, started, ended;
};
void vm_flow_init(struct vm_flow *f);
/* A frame of the guest that belongs to the session: 0, or -EBADMSG when it breaks a promise. */
int vm_flow_from_guest(struct vm_flow *f, const struct frame *frame);
/* The same for a frame towards the guest. */
int vm_flow_to_guest(struct vm_flow *f, const struct frame *frame);

struct vm_session;
struct vm_session_owner {
	int (*signal)(struct vm_session *s, int signo);
	void (*free)(struct vm_session *s);
};

struct vm_session {
	struct process base;
	struct link *link; /* NULL once it is gone */
	uint16_t id;
	const struct process_events *events;
	const struct vm_session_owner *owner;
	pid_t pid; /* told by started() */
	struct vm_flow flow;
	bool wants_room; /* write_stdin() took less than it was offered */
};

void vm_session_init(struct vm_session *s, struct link *link, uint16_t id,
		     const struct process_events *events, const struct vm_session_owner *owner);
/* A checked frame of this session. May free the session (then LINK_FREED is returned). -EBADMSG. */
int vm_session_frame(struct vm_session *s, const struct frame *f);
/* Tells its end, once; later calls do nothing. May free the session. */
void vm_session_end(struct vm_session *s, int code, const struct err *why);
/* Sends a signal to the process in the guest. */
int vm_session_signal(struct vm_session *s, int signo);

#endif
