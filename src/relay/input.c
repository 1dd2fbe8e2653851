/* SPDX-License-Identifier: Apache-2.0 */
#include "relay/input.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>
#include "util/mem.h"

static void end(struct relay_input *in)
{
	relay_input_close(in);
	(*in->process)->ops->close_stdin(*in->process);
}

/* False: nothing to read now, or ever. Files, which epoll refuses, are always ready for poll(2). */
static bool fill(struct relay_input *in)
{
	struct pollfd p = { .fd = in->watch.fd, .events = POLLIN };
	bool ready = poll(&p, 1, 0) > 0;
	ssize_t n = ready ? read(in->watch.fd, in->buf, sizeof(in->buf)) : -1;

	if (!ready || (n < 0 && (errno == EINTR || errno == EAGAIN))) {
		(void)loop_add(in->loop, &in->watch);
		return false;
	}
	if (n <= 0) {
		end(in);
		return false;
	}
	in->at = 0;
	in->len = (size_t)n;
	return true;
}

void relay_input_pump(struct relay_input *in)
{
	while (!in->ended && *in->process && (in->len || fill(in))) {
		struct process *p = *in->process;
		ssize_t n = p->ops->write_stdin(p, in->buf + in->at, in->len);

		if (n < 0)
			in->ended = true; /* it reads no more: stop reading for it */
		if (n <= 0) {
			loop_remove(in->loop, &in->watch); /* until there is room */
			return;
		}
		in->at += (size_t)n;
		in->len -= (size_t)n;
	}
}

static void input_ready(struct loop_watch *w, uint32_t events _unused_)
{
	relay_input_pump(container_of(w, struct relay_input, watch));
}

void relay_input_open(struct relay_input *in, struct loop *loop, int fd, struct process **process)
{
	in->watch = (struct loop_watch){ .fd = fd, .events = EPOLLIN, .call = input_ready };
	in->loop = loop;
	in->process = process;
	in->ended = false;
	in->at = in->len = 0;
}

void relay_input_close(struct relay_input *in)
{
	in->ended = true;
	if (in->loop)
		loop_remove(in->loop, &in->watch);
}
