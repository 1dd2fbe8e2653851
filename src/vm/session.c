/* SPDX-License-Identifier: Apache-2.0 */
#include "vm/session.h"

#include <errno.h>
#include <string.h>
#include "util/mem.h"

void vm_flow_init(struct vm_flow *f)
{
	*f = (struct vm_flow){ .input_room = STREAM_WINDOW };
}

static int add_output(struct vm_flow *f, enum stream stream, size_t n)
{
	/* one read beyond the window: the sender stops when it has reached it (plan/backend.h) */
	if (f->ended || f->unacked[stream] >= STREAM_WINDOW)
		return -EBADMSG;
	f->unacked[stream] += n;
	return 0;
}

int vm_flow_from_guest(struct vm_flow *f, const struct frame *frame)
{
	struct frame_credit c;

	switch (frame->type) {
	case FRAME_STARTED:
		if (f->started || f->ended)
			return -EBADMSG;
		f->started = true;
		return 0;
	case FRAME_OUTPUT: return add_output(f, STREAM_STDOUT, frame->length);
	case FRAME_ERROUT: return add_output(f, STREAM_STDERR, frame->length);
	case FRAME_CREDIT:
		frame_get(frame, &c, sizeof(c));
		if (c.stream != STREAM_STDIN || c.bytes > STREAM_WINDOW - f->input_room)
			return -EBADMSG;
		f->input_room += c.bytes;
		return 0;
	case FRAME_EXITED:
		if (f->ended)
			return -EBADMSG;
		f->ended = true;
		return 0;
	default: return -EBADMSG;
	}
}

int vm_flow_to_guest(struct vm_flow *f, const struct frame *frame)
{
	struct frame_credit c;

	switch (frame->type) {
	case FRAME_INPUT:
		if (f->input_end || frame->length > f->input_room)
			return -EBADMSG;
		f->input_room -= frame->length;
		return 0;
	case FRAME_INPUT_END:
		if (f->input_end)
			return -EBADMSG;
		f->input_end = true;
		return 0;
	case FRAME_CREDIT:
		frame_get(frame, &c, sizeof(c));
		if ((c.stream != STREAM_STDOUT && c.stream != STREAM_STDERR) ||
		    c.bytes > f->unacked[c.stream])
			return -EBADMSG;
		f->unacked[c.stream] -= c.bytes;
		return 0;
	default: return 0;
	}
}

/* ---- ops ------------------------------------------------------------------------------------ */

static struct vm_session *session_of(struct process *p)
{
	return container_of(p, struct vm_session, base);
}

static bool gone(const struct vm_session *s)
{
	return !s->link || s->flow.ended;
}

static ssize_t write_stdin(struct process *p, const void *bytes, size_t n)
{
	struct vm_session *s = session_of(p);
	size_t take = MIN(n, s->flow.input_room);

	if (gone(s) || s->flow.input_end)
		return -EPIPE;
	s->wants_room = take < n;
	link_send_all(s->link, FRAME_INPUT, s->id, bytes, take);
	s->flow.input_room -= take;
	return (ssize_t)take;
}

static void close_stdin(struct process *p)
{
	struct vm_session *s = session_of(p);

	if (gone(s) || s->flow.input_end)
		return;
	s->flow.input_end = true;
	link_send(s->link, FRAME_INPUT_END, s->id, NULL, 0);
}

static void consumed(struct process *p, enum stream stream, size_t n)
{
	struct vm_session *s = session_of(p);
	struct frame_credit c = { .stream = stream };

	n = MIN(n, s->flow.unacked[stream]);
	c.bytes = (uint32_t)n;
	s->flow.unacked[stream] -= n;
	if (n && !gone(s))
		link_send(s->link, FRAME_CREDIT, s->id, &c, sizeof(c));
}

static int resize(struct process *p, uint16_t rows, uint16_t cols)
{
	struct vm_session *s = session_of(p);
	struct frame_resize size = { .rows = rows, .cols = cols };

	if (gone(s))
		return -ESRCH;
	link_send(s->link, FRAME_RESIZE, s->id, &size, sizeof(size));
	return 0;
}

static int op_signal(struct process *p, int signo)
{
	struct vm_session *s = session_of(p);

	return s->owner->signal(s, signo);
}

static void op_free(struct process *p)
{
	if (p)
		session_of(p)->owner->free(session_of(p));
}

static const struct process_ops ops = {
	.write_stdin = write_stdin,
	.close_stdin = close_stdin,
	.consumed = consumed,
	.resize = resize,
	.signal = op_signal,
	.free = op_free,
};

void vm_session_init(struct vm_session *s, struct link *link, uint16_t id,
		     const struct process_events *events, const struct vm_session_owner *owner)
{
	*s = (struct vm_session){
		.base.ops = &ops, .link = link, .id = id, .events = events, .owner = owner
	};
	vm_flow_init(&s->flow);
}

int vm_session_signal(struct vm_session *s, int signo)
{
	struct frame_signal f = { .signo = signo };

	if (gone(s))
		return -ESRCH;
	link_send(s->link, FRAME_SIGNAL, s->id, &f, sizeof(f));
	return 0;
}

void vm_session_end(struct vm_session *s, int code, const struct err *why)
{
	/* the link is what tells a second end from the first: FRAME_EXITED sets flow.ended itself
	 */
	if (!s->link)
		return;
	s->link = NULL;
	s->flow.ended = true;
	s->events->exited(s->events->data, code, why);
}

int vm_session_frame(struct vm_session *s, const struct frame *f)
{
	struct err why = ERR_INIT;
	int code, r = vm_flow_from_guest(&s->flow, f);

	if (r < 0)
		return r;
	switch (f->type) {
	case FRAME_STARTED: s->events->started(s->events->data, s->pid); break;
	case FRAME_OUTPUT:
		s->events->output(s->events->data, STREAM_STDOUT, f->payload, f->length);
		break;
	case FRAME_ERROUT:
		s->events->output(s->events->data, STREAM_STDERR, f->payload, f->length);
		break;
	case FRAME_CREDIT:
		if (s->wants_room && !s->flow.input_end) {
			s->wants_room = false;
			s->events->stdin_room(s->events->data);
		}
		break;
	default:
		r = frame_get_exited(f, &code, &why);
		if (r < 0)
			return r;
		vm_session_end(s, code, why.errnum ? &why : NULL);
		return LINK_FREED;
	}
	return 0;
}
