/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a process's output goes: a pipe, socket, file, device or terminal of ours.
 *
 * The descriptor is not ours alone (a shell, an engine, another container may have it too), so it
 * is never made non-blocking: it is asked first whether it is ready, and a pipe is given no more
 * than it then surely takes. What is not taken now is kept, and counts as consumed only when it is
 * written: a slow reader slows the process down and costs no memory.
 */
#ifndef PROA_RELAY_SINK_H
#define PROA_RELAY_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include "plan/backend.h"
#include "util/loop.h"

struct relay_sink {
	struct loop_watch watch;
	struct loop *loop;
	enum stream stream;
	char *pending; /* STREAM_WINDOW and what one event may add */
	size_t at, len;
	enum { SINK_PIPE, SINK_SOCKET, SINK_ANY_SIZE } kind;
	bool broken; /* nobody reads any more: output is thrown away */
	void (*written)(struct relay_sink *s, size_t n);
	void *data; /* the user's */
};

/*
 * @fd is borrowed, and may be closed: we may have been started without it. @written is called when
 * @n bytes that had been kept went out (or were thrown away). 0 or -ENOMEM.
 */
int relay_sink_open(struct relay_sink *s, struct loop *loop, enum stream stream, int fd,
		    void (*written)(struct relay_sink *s, size_t n), void *data);
void relay_sink_close(struct relay_sink *s);

/* Takes all @n bytes. Returns how many went out at once; for the rest, written() follows. */
size_t relay_sink_put(struct relay_sink *s, const char *bytes, size_t n);

static inline bool relay_sink_is_empty(const struct relay_sink *s)
{
	return s->len == 0;
}

#endif
