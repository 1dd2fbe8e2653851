/* SPDX-License-Identifier: Apache-2.0 */
#include "util/loop.h"

#include <errno.h>
#include <unistd.h>
#include "util/err.h"
#include "util/mem.h"

int loop_init(struct loop *l, struct err *err)
{
	*l = (struct loop)LOOP_INIT;
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll_fd < 0)
		return err_sys(err, errno, "create an event loop");
	return 0;
}

void loop_done(struct loop *l)
{
	l->epoll_fd = fd_close(l->epoll_fd);
}

int loop_add(struct loop *l, struct loop_watch *w)
{
	struct epoll_event ev = { .events = w->events, .data.ptr = w };

	if (w->added)
		return 0;
	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, w->fd, &ev) < 0)
		return -errno;
	w->added = true;
	return 0;
}

int loop_set(struct loop *l, struct loop_watch *w, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };

	if (w->events == events)
		return 0;
	w->events = events;
	if (w->added && epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, w->fd, &ev) < 0)
		return -errno;
	return 0;
}

void loop_remove(struct loop *l, struct loop_watch *w)
{
	if (!w->added)
		return;
	epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
	w->added = false;
	/* all of them: another thread may hold events that it has not begun to call, as it waits
	 * for the lock under which it will; the kernel adds none for this watch any more */
	for (int i = 0; i < LOOP_ROUND; i++)
		if (l->round[i].data.ptr == w)
			l->round[i].data.ptr = NULL;
}

int loop_once(struct loop *l, int timeout_ms)
{
	int n = epoll_wait(l->epoll_fd, l->round, LOOP_ROUND, timeout_ms);

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	l->round_count = n;
	for (int i = 0; i < n; i++) {
		struct loop_watch *w = l->round[i].data.ptr;

		if (w)
			w->call(w, l->round[i].events);
	}
	l->round_count = 0;
	return n;
}

int loop_run(struct loop *l, struct err *err)
{
	l->stopped = false;
	while (!l->stopped) {
		int r = loop_once(l, -1);

		if (r < 0)
			return err_sys(err, -r, "wait for events");
	}
	return 0;
}
