/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A link: a descriptor that carries frames both ways, watched by a loop.
 *
 * Sending never blocks and never fails at once: frames are queued and written as the other side
 * takes them. The queue stays small because streams have windows (protocol.h); a user that passes
 * frames on for others looks at link_queued() before it reads more from them.
 */
#ifndef PROA_GUEST_LINK_H
#define PROA_GUEST_LINK_H

#include "protocol.h"
#include "util/loop.h"
#include "util/str.h"

struct link;

struct link_handler {
	/* A checked frame. Negative: it breaks a rule; the link ends with this error. The handler
	 * may free the link and then returns LINK_FREED. */
	int (*frame)(struct link *l, const struct frame *f);
	/* The other side is gone (@error 0) or the link broke (-errno; -EBADMSG: a rule was
	 * broken). The watch is removed already; the handler may free the link. */
	void (*ended)(struct link *l, int error);
	/* The queue was written to the last byte. May be NULL. */
	void (*drained)(struct link *l);
};

#define LINK_FREED 1

struct link {
	struct loop *loop;
	struct loop_watch watch;
	enum frame_origin peer; /* who sends what we read */
	const struct link_handler *handler;
	bool paused; /* link_pause(): what the other side sends waits */
	bool held;   /* link_hold(): what we send waits */
	int failed;  /* -errno of a write; told from the loop, not from within link_send() */
	struct str_buf queue;
	size_t sent; /* bytes of the queue that are written */
	struct frame_reader reader;
};

/* Takes @fd over (made non-blocking) and begins to watch it. 0 or -errno; @fd is taken in any case.
 */
int link_init(struct link *l, struct loop *loop, int fd, enum frame_origin peer,
	      const struct link_handler *handler);
/* Stops watching, closes, frees the queue. Nothing happens to one that is all zero. */
void link_done(struct link *l);

void link_send(struct link *l, enum frame_type type, uint16_t session, const void *payload,
	       size_t n);
/* @n bytes of any length as so many frames of @type as they need. */
void link_send_all(struct link *l, enum frame_type type, uint16_t session, const void *bytes,
		   size_t n);
void link_send_exited(struct link *l, uint16_t session, int code, const struct err *why);
size_t link_queued(const struct link *l);
void link_pause(struct link *l, bool on);
/* Queues what is sent and writes nothing, until link_release() puts one frame in front of it all.
 */
void link_hold(struct link *l);
void link_release(struct link *l, enum frame_type type, const void *payload, size_t n);

#endif
