/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent: drives a backend on behalf of the other end of a link. In a guest that is the
 * container backend; unit tests give it another.
 */
#ifndef PROA_GUEST_AGENT_H
#define PROA_GUEST_AGENT_H

#include "link.h"
#include "plan/backend.h"
#include "plan/plan.h"

struct agent;
struct agent_session;

struct agent_hooks {
	/* The host told its clock. */
	void (*clock)(void *data, int64_t realtime_ns);
	/* Before the first process: make what the plan refers to. 0 or -errno. */
	int (*prepare)(void *data, const struct plan *plan, uint32_t run_flags, struct err *err);
	/* The first process ended with @code and nothing says why: fill @why if there is more to
	 * say. */
	void (*explain)(void *data, int code, struct err *why);
	/* After the first process, before its end is told; RUN_SYNC was asked for. */
	void (*sync)(void *data);
	/* The host is gone. */
	void (*ended)(void *data);
	void *data;
};

#define AGENT_SESSIONS_MAX 128u

struct agent {
	struct loop *loop;
	const struct backend_ops *backend;
	const struct agent_hooks *hooks;
	struct link link;
	struct plan plan; /* of the first process, once it was sent */
	bool have_plan, greeted;
	uint32_t run_flags;
	struct instance inst;
	struct agent_session *sessions;
	unsigned session_count;
};

/* Takes @fd over, greets, and serves until hooks->ended(). @stage: see struct instance. */
int agent_init(struct agent *a, struct loop *loop, int fd, const struct backend_ops *backend,
	       const char *stage, const struct agent_hooks *hooks);
/* Ends the first process if it runs, and frees all sessions. */
void agent_done(struct agent *a);

#endif
