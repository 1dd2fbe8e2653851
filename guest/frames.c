/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes into frames, and which frames are allowed. Both sides and the fuzzers use this file.
 *
 * One table says who may send what and how long it may be, so that a handler never meets a payload
 * of a size it does not expect.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "protocol.h"
#include "util/err.h"
#include "util/mem.h"

enum allowed {
	GUEST = 1 << FROM_GUEST,
	HOST = 1 << FROM_HOST,
	CLIENT = 1 << FROM_CLIENT,
	ASKERS = HOST | CLIENT,
};

static const struct {
	uint8_t allowed;
	uint32_t min, max; /* payload bytes */
} rules[FRAME_TYPE_LAST + 1] = {
	[FRAME_HELLO] = { GUEST | HOST, sizeof(struct frame_hello), sizeof(struct frame_hello) },
	[FRAME_PLAN] = { ASKERS, 1, FRAME_MAX },
	[FRAME_RUN] = { HOST, sizeof(struct frame_run), sizeof(struct frame_run) },
	[FRAME_EXEC] = { ASKERS, sizeof(struct frame_exec), sizeof(struct frame_exec) },
	[FRAME_INPUT] = { ASKERS, 1, FRAME_MAX },
	[FRAME_INPUT_END] = { ASKERS, 0, 0 },
	[FRAME_RESIZE] = { ASKERS, sizeof(struct frame_resize), sizeof(struct frame_resize) },
	[FRAME_SIGNAL] = { ASKERS, sizeof(struct frame_signal), sizeof(struct frame_signal) },
	[FRAME_CLOSE] = { HOST, 0, 0 },
	[FRAME_CREDIT] = { GUEST | ASKERS, sizeof(struct frame_credit),
			   sizeof(struct frame_credit) },
	[FRAME_STARTED] = { GUEST, 0, 0 },
	[FRAME_OUTPUT] = { GUEST, 1, FRAME_MAX },
	[FRAME_ERROUT] = { GUEST, 1, FRAME_MAX },
	[FRAME_EXITED] = { GUEST, sizeof(struct frame_exited),
			   sizeof(struct frame_exited) + ERR_MSG_MAX - 1 },
	[FRAME_UPDATE] = { ASKERS, 0, 0 },
	[FRAME_KILL] = { CLIENT, sizeof(struct frame_signal), sizeof(struct frame_signal) },
};

int frame_check(const struct frame *f, enum frame_origin origin)
{
	if (f->type > FRAME_TYPE_LAST || !(rules[f->type].allowed & (1u << origin)))
		return -EBADMSG;
	if (f->length < rules[f->type].min || f->length > rules[f->type].max)
		return -EBADMSG;
	if (origin == FROM_CLIENT && f->session != 0)
		return -EBADMSG;
	return 0;
}

void frame_get(const struct frame *f, void *ret, size_t size)
{
	memcpy(ret, f->payload, size);
}

int frame_get_exited(const struct frame *f, int *ret_code, struct err *why)
{
	struct frame_exited e;
	size_t n = f->length - sizeof(e);

	frame_get(f, &e, sizeof(e));
	/* errno values end below 4096 (MAX_ERRNO of the kernel) */
	if (e.code < 0 || e.code > 255 || e.errnum < 0 || e.errnum > 4095)
		return -EBADMSG;
	*ret_code = e.code;
	err_clear(why);
	why->errnum = e.errnum;
	why->exit_code = e.code;
	for (size_t i = 0; i < n; i++) {
		uint8_t c = f->payload[sizeof(e) + i];

		/* one line for a person's terminal: nothing in it may move the cursor */
		why->msg[i] = (char)(c < 0x20 || c == 0x7f ? ' ' : c);
	}
	why->msg[n] = 0;
	return 0;
}

int frame_reader_fill(struct frame_reader *r, int fd)
{
	ssize_t n;

	if (r->start) {
		memmove(r->bytes, r->bytes + r->start, r->end - r->start);
		r->end -= r->start;
		r->start = 0;
	}
	if (r->end == sizeof(r->bytes))
		return -ENOBUFS;
	do
		n = read(fd, r->bytes + r->end, sizeof(r->bytes) - r->end);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	r->end += (size_t)n;
	return (int)n;
}

int frame_reader_next(struct frame_reader *r, struct frame *ret)
{
	struct frame_header h;

	if (r->end - r->start < sizeof(h))
		return 0;
	memcpy(&h, r->bytes + r->start, sizeof(h));
	if (h.length > FRAME_MAX)
		return -EBADMSG;
	if (r->end - r->start - sizeof(h) < h.length)
		return 0;
	*ret = (struct frame){ .type = h.type,
			       .session = h.session,
			       .length = h.length,
			       .payload = r->bytes + r->start + sizeof(h) };
	r->start += sizeof(h) + h.length;
	return 1;
}
