/* SPDX-License-Identifier: Apache-2.0 */
/* The input half of the relay. One buffer: what the process did not take is kept in it. */
#include <errno.h>
#include <poll.h>
#include <unistd.h>
#include "ocivm/relay.h"
#include "util/mem.h"

static void end_input(struct relay *r)
{
	r->input_ended = true;
	loop_remove(r->loop, &r->input);
	r->process->ops->close_stdin(r->process);
}

/* False: nothing to read now, or ever. */
static bool fill(struct relay *r)
{
	struct pollfd p = { .fd = r->input.fd, .events = POLLIN };
	ssize_t n;

	if (poll(&p, 1, 0) <= 0) {
		(void)loop_add(r->loop, &r->input);
		return false;
	}
	n = read(r->input.fd, r->input_buf, sizeof(r->input_buf));
	if (n < 0 && (errno == EINTR || errno == EAGAIN)) {
		(void)loop_add(r->loop, &r->input);
		return false;
	}
	if (n <= 0) {
		end_input(r);
		return false;
	}
	r->input_at = 0;
	r->input_len = (size_t)n;
	return true;
}

void relay_input_pump(struct relay *r)
{
	while (!r->input_ended && r->process && (r->input_len || fill(r))) {
		ssize_t n = r->process->ops->write_stdin(r->process, r->input_buf + r->input_at,
							 r->input_len);

		if (n < 0)
			r->input_ended = true; /* it reads no more: stop reading for it */
		if (n <= 0) {
			loop_remove(r->loop, &r->input); /* until stdin_room() */
			return;
		}
		r->input_at += (size_t)n;
		r->input_len -= (size_t)n;
	}
}

static void input_ready(struct loop_watch *w, uint32_t events _unused_)
{
	relay_input_pump(container_of(w, struct relay, input));
}

void relay_input_init(struct relay *r, int fd)
{
	r->input = (struct loop_watch){ .fd = fd, .events = EPOLLIN, .call = input_ready };
}
