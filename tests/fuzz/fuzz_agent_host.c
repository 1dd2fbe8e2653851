/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a hostile guest may send, as the host reads it: bytes through a pipe into frames, each
 * checked, and those of the first session into its handler. The first byte is how many bytes a read
 * gets.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include "link.h"
#include "util/err.h"
#include "util/mem.h"
#include "vm/session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct vm_session session;
static bool ended;

static void on_started(void *data _unused_, pid_t pid _unused_) {}

static void on_output(void *data _unused_, enum stream stream, const void *bytes, size_t n)
{
	static volatile uint8_t sum;

	for (size_t i = 0; i < n; i++)
		sum ^= ((const uint8_t *)bytes)[i];
	if (n % 2)
		session.base.ops->consumed(&session.base, stream, n);
}

static void on_room(void *data _unused_)
{
	(void)session.base.ops->write_stdin(&session.base, "more", 4);
}

static void on_exited(void *data _unused_, int code, const struct err *why)
{
	if (ended || code < 0 || code > 255 || (why && strpbrk(why->msg, "\n\033")))
		abort();
	ended = true;
}

static int on_frame(struct link *l _unused_, const struct frame *f)
{
	if (f->type == FRAME_HELLO)
		return 0;
	return vm_session_frame(&session, f) < 0 ? -EBADMSG : 0;
}

static void on_ended(struct link *l _unused_, int error _unused_) {}

static int any_signal(struct vm_session *s, int signo)
{
	return vm_session_signal(s, signo);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct process_events events = { on_started, on_output, on_room, on_exited,
						      NULL };
	static const struct vm_session_owner owner = { .signal = any_signal };
	static const struct link_handler handler = { .frame = on_frame, .ended = on_ended };
	static struct frame_reader reader;
	int pipe_fds[2], other[2], r = 0;
	struct loop loop;
	struct link link;
	size_t at = 1, step;

	if (size < 2 || pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) < 0 || pipe2(other, O_CLOEXEC) < 0)
		return 0;
	if (loop_init(&loop, NULL) < 0 ||
	    link_init(&link, &loop, other[1], FROM_GUEST, &handler) < 0)
		abort();
	ended = false;
	reader.start = reader.end = 0;
	step = (size_t)data[0] * 16 + 1;
	vm_session_init(&session, &link, SESSION_FIRST, &events, &owner);
	while (r >= 0 && at < size) {
		size_t n = MIN(step, size - at);
		struct frame f;

		if (write(pipe_fds[1], data + at, n) != (ssize_t)n)
			break;
		at += n;
		r = frame_reader_fill(&reader, pipe_fds[0]);
		while (r >= 0 && (r = frame_reader_next(&reader, &f)) > 0) {
			r = frame_check(&f, FROM_GUEST);
			if (r == 0)
				r = on_frame(&link, &f);
		}
	}
	link_done(&link);
	loop_done(&loop);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	close(other[0]);
	return 0;
}
