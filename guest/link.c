/* SPDX-License-Identifier: Apache-2.0 */
#include "link.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include "util/err.h"
#include "util/mem.h"

static void link_end(struct link *l, int error)
{
	loop_remove(l->loop, &l->watch);
	l->handler->ended(l, error);
}

static void want(struct link *l)
{
	uint32_t events = l->paused ? 0 : EPOLLIN;

	if ((link_queued(l) && !l->held) || l->failed)
		events |= EPOLLOUT;
	(void)loop_set(l->loop, &l->watch, events);
}

/* To a socket without SIGPIPE; the guest's end is a character device, which knows none. */
static ssize_t put(int fd, const void *bytes, size_t n)
{
	ssize_t r = send(fd, bytes, n, MSG_NOSIGNAL);

	return r < 0 && errno == ENOTSOCK ? write(fd, bytes, n) : r;
}

/* Writes what the other side takes now. 1: all is written. */
static int flush(struct link *l)
{
	while (link_queued(l)) {
		ssize_t n = put(l->watch.fd, l->queue.data + l->sent, link_queued(l));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0)
			return -errno;
		l->sent += (size_t)n;
	}
	l->queue.len = l->sent = 0;
	return 1;
}

/* Frames that are there. False: the link is gone. */
static bool take_frames(struct link *l)
{
	struct frame f;
	int r;

	while (!l->paused && (r = frame_reader_next(&l->reader, &f)) != 0) {
		if (r > 0)
			r = frame_check(&f, l->peer);
		if (r == 0)
			r = l->handler->frame(l, &f);
		if (r == LINK_FREED)
			return false;
		if (r < 0) {
			link_end(l, r);
			return false;
		}
	}
	return true;
}

static void link_ready(struct loop_watch *w, uint32_t events)
{
	struct link *l = container_of(w, struct link, watch);

	if (events & EPOLLOUT) {
		int r = l->failed ? l->failed : flush(l);

		if (r < 0) {
			link_end(l, r);
			return;
		}
		want(l);
		if (r > 0 && l->handler->drained)
			l->handler->drained(l);
	}
	if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	if (!l->paused || (events & (EPOLLHUP | EPOLLERR))) {
		int r = frame_reader_fill(&l->reader, l->watch.fd);

		if (r == -EAGAIN)
			return;
		if (r <= 0) {
			link_end(l, r);
			return;
		}
	}
	(void)take_frames(l);
}

int link_init(struct link *l, struct loop *loop, int fd, enum frame_origin peer,
	      const struct link_handler *handler)
{
	int flags = fcntl(fd, F_GETFL);

	*l = (struct link){ .loop = loop, .peer = peer, .handler = handler };
	l->watch = (struct loop_watch){ .fd = fd, .events = EPOLLIN, .call = link_ready };
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	return loop_add(loop, &l->watch);
}

void link_done(struct link *l)
{
	if (!l->loop)
		return;
	loop_remove(l->loop, &l->watch);
	fd_close(l->watch.fd);
	str_buf_done(&l->queue);
	l->loop = NULL;
}

size_t link_queued(const struct link *l)
{
	return l->queue.len - l->sent;
}

void link_send(struct link *l, enum frame_type type, uint16_t session, const void *payload,
	       size_t n)
{
	struct frame_header h = { .length = (uint32_t)n,
				  .type = (uint16_t)type,
				  .session = session };
	bool idle = !link_queued(l);
	int r;

	if (l->failed)
		return;
	if (idle) {
		l->queue.len = l->sent = 0;
	} else if (l->sent > 4 * FRAME_MAX) {
		/* a queue that is never empty must not grow for ever */
		memmove(l->queue.data, l->queue.data + l->sent, link_queued(l));
		l->queue.len -= l->sent;
		l->sent = 0;
	}
	str_buf_add(&l->queue, &h, sizeof(h));
	if (n)
		str_buf_add(&l->queue, payload, n);
	if (l->queue.failed)
		l->failed = -ENOMEM;
	r = idle && !l->failed && !l->held ? flush(l) : 0;
	if (r < 0)
		l->failed = r;
	want(l);
}

void link_send_all(struct link *l, enum frame_type type, uint16_t session, const void *bytes,
		   size_t n)
{
	const uint8_t *p = bytes;

	while (n) {
		size_t piece = MIN(n, (size_t)FRAME_MAX);

		link_send(l, type, session, p, piece);
		p += piece;
		n -= piece;
	}
}

void link_send_exited(struct link *l, uint16_t session, int code, const struct err *why)
{
	uint8_t payload[sizeof(struct frame_exited) + ERR_MSG_MAX];
	struct frame_exited e = { .code = code & 0xff, .errnum = why ? why->errnum : 0 };
	size_t n = why ? strnlen(why->msg, ERR_MSG_MAX - 1) : 0;

	memcpy(payload, &e, sizeof(e));
	if (n)
		memcpy(payload + sizeof(e), why->msg, n);
	link_send(l, FRAME_EXITED, session, payload, sizeof(e) + n);
}

void link_pause(struct link *l, bool on)
{
	if (l->paused == on)
		return;
	l->paused = on;
	want(l);
	/* frames already read wait in the reader, of which epoll knows nothing */
	if (!on)
		(void)take_frames(l);
}

void link_hold(struct link *l)
{
	l->held = true;
}

void link_release(struct link *l, enum frame_type type, const void *payload, size_t n)
{
	struct str_buf waiting = l->queue;

	l->queue = (struct str_buf){ 0 };
	link_send(l, type, SESSION_FIRST, payload, n);
	str_buf_add(&l->queue, waiting.data, waiting.len);
	if (waiting.failed || l->queue.failed)
		l->failed = -ENOMEM;
	str_buf_done(&waiting);
	l->held = false;
	want(l);
}
