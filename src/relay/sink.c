/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/sink.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "util/mem.h"

#define CHUNK	   4096 /* PIPE_BUF: what a pipe that is "ready" takes without blocking */
#define SINK_BYTES (STREAM_WINDOW + 65536u)

static bool is_ready(const struct relay_sink *s, int timeout_ms)
{
	struct pollfd p = { .fd = s->watch.fd, .events = POLLOUT };

	return poll(&p, 1, timeout_ms) > 0 && p.revents;
}

static ssize_t write_piece(const struct relay_sink *s, const char *bytes, size_t n)
{
	switch (s->kind) {
	case SINK_SOCKET: return send(s->watch.fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	case SINK_PIPE: return write(s->watch.fd, bytes, MIN(n, (size_t)CHUNK));
	default: return write(s->watch.fd, bytes, n);
	}
}

/* Writes what goes out without waiting. Returns the bytes; all when nobody reads any more. */
static size_t write_ready(struct relay_sink *s, const char *bytes, size_t n)
{
	size_t done = 0;

	while (done < n && !s->broken && is_ready(s, 0)) {
		ssize_t w = write_piece(s, bytes + done, n - done);

		if (w >= 0)
			done += (size_t)w;
		else if (errno == EAGAIN)
			break;
		else if (errno != EINTR)
			s->broken = true;
	}
	return s->broken ? n : done;
}

static void drain(struct relay_sink *s)
{
	size_t n = write_ready(s, s->pending + s->at, s->len);

	s->len -= n;
	s->at = s->len ? s->at + n : 0;
	if (!s->len)
		loop_remove(s->loop, &s->watch);
	if (n)
		s->written(s, n);
}

static void sink_ready(struct loop_watch *w, uint32_t events _unused_)
{
	drain(container_of(w, struct relay_sink, watch));
}

static void keep(struct relay_sink *s, const char *bytes, size_t n)
{
	/* backends keep to their window, so it always fits; if not, wait rather than lose */
	while (s->len + n > SINK_BYTES) {
		(void)is_ready(s, -1);
		drain(s);
	}
	if (s->at + s->len + n > SINK_BYTES) {
		memmove(s->pending, s->pending + s->at, s->len);
		s->at = 0;
	}
	memcpy(s->pending + s->at + s->len, bytes, n);
	s->len += n;
	(void)loop_add(s->loop, &s->watch);
}

size_t relay_sink_put(struct relay_sink *s, const char *bytes, size_t n)
{
	size_t done = s->len ? 0 : write_ready(s, bytes, n);

	if (done < n)
		keep(s, bytes + done, n - done);
	return done;
}

int relay_sink_open(struct relay_sink *s, struct loop *loop, enum stream stream, int fd,
		    void (*written)(struct relay_sink *s, size_t n), void *data)
{
	struct stat st = { 0 };

	*s = (struct relay_sink){
		.loop = loop, .stream = stream, .written = written, .data = data
	};
	s->watch = (struct loop_watch){ .fd = fd, .events = EPOLLOUT, .call = sink_ready };
	s->broken = fstat(fd, &st) < 0;
	s->kind = S_ISSOCK(st.st_mode)	? SINK_SOCKET
		  : S_ISREG(st.st_mode) ? SINK_ANY_SIZE
					: SINK_PIPE;
	s->pending = malloc(SINK_BYTES);
	return s->pending ? 0 : -ENOMEM;
}

void relay_sink_close(struct relay_sink *s)
{
	if (s->loop)
		loop_remove(s->loop, &s->watch);
	free(s->pending);
	s->pending = NULL;
}
