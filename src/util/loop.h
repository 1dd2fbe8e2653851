/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small event loop: epoll, one callback per descriptor, signals through a signalfd.
 *
 * A watch is a struct of its user's, added and removed; the loop owns nothing and allocates
 * nothing. A callback may remove any watch, its own included; a watch removed in a round is not
 * called in the rest of it. Regular files, which epoll refuses, are
 * "always ready": their users write directly.
 *
 * With a lock, other threads that hold it may use the loop's functions as well: loop_run() is
 * called with the lock held, and lets go of it only while it waits. What became ready meanwhile is
 * not believed if a watch was removed in that time; it is told again.
 */
#ifndef PROA_UTIL_LOOP_H
#define PROA_UTIL_LOOP_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

struct err;

struct loop_watch {
	int fd;
	uint32_t events; /* EPOLLIN, EPOLLOUT; what is asked for now */
	void (*call)(struct loop_watch *w, uint32_t events);
	bool added;
};

#define LOOP_ROUND 32

struct loop {
	int epoll_fd;
	bool stopped;
	pthread_mutex_t *lock; /* NULL: one thread only */
	unsigned removals;
	struct epoll_event round[LOOP_ROUND]; /* events of the round being called */
	int round_count;
};

#define LOOP_INIT                                                                                  \
	{                                                                                          \
		.epoll_fd = -1                                                                     \
	}

int loop_init(struct loop *l, struct err *err);
void loop_done(struct loop *l);

/* Starts watching @w->fd for @w->events. The watch must stay where it is until removed. 0 or -errno
 * (-EPERM: a regular file, which is always ready). */
int loop_add(struct loop *l, struct loop_watch *w);
/* Changes what is asked for. Nothing is done when it is the same. 0 or -errno. */
int loop_set(struct loop *l, struct loop_watch *w, uint32_t events);
/* Stops watching; does not close. Nothing happens to a watch that is not added. */
void loop_remove(struct loop *l, struct loop_watch *w);

/* Calls ready watches until loop_stop(). 0 or -errno. */
int loop_run(struct loop *l, struct err *err);
/* One round: waits at most @timeout_ms (-1: for ever). Returns the events called, or -errno. */
int loop_once(struct loop *l, int timeout_ms);
static inline void loop_stop(struct loop *l)
{
	l->stopped = true;
}

#endif
