/* SPDX-License-Identifier: Apache-2.0 */
#include "image/stream.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "util/err.h"
#include "util/mem.h"

volatile int stream_interrupted;

ssize_t stream_read(struct stream *s, void *buf, size_t n, struct err *err)
{
	size_t have = s->head_len - s->head_at;

	if (stream_interrupted)
		return err_set(err, EINTR, "interrupted");
	if (!have)
		return s->read(s, buf, n, err);
	n = MIN(n, have);
	memcpy(buf, s->head + s->head_at, n);
	s->head_at += n;
	return (ssize_t)n;
}

ssize_t stream_read_full(struct stream *s, void *buf, size_t n, struct err *err)
{
	size_t done = 0;

	while (done < n) {
		ssize_t r = stream_read(s, (char *)buf + done, n - done, err);

		if (r < 0)
			return r;
		if (r == 0)
			break;
		done += (size_t)r;
	}
	return (ssize_t)done;
}

int stream_peek(struct stream *s, size_t *ret_len, struct err *err)
{
	while (s->head_len < STREAM_HEAD_MAX) {
		ssize_t r = s->read(s, s->head + s->head_len, STREAM_HEAD_MAX - s->head_len, err);

		if (r < 0)
			return (int)r;
		if (r == 0)
			break;
		s->head_len += (size_t)r;
	}
	*ret_len = s->head_len;
	return 0;
}

static ssize_t fd_read(struct stream *s, void *buf, size_t n, struct err *err)
{
	struct fd_stream *f = container_of(s, struct fd_stream, stream);
	ssize_t r;

	n = (size_t)MIN((uint64_t)n, f->left_bytes);
	do {
		if (stream_interrupted)
			return err_set(err, EINTR, "interrupted");
		r = read(f->fd, buf, n);
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return err_sys(err, errno, "read");
	if (f->left_bytes != UINT64_MAX)
		f->left_bytes -= (uint64_t)r;
	return r;
}

void fd_stream_init(struct fd_stream *s, int fd, uint64_t left_bytes)
{
	*s = (struct fd_stream){ .stream.read = fd_read, .fd = fd, .left_bytes = left_bytes };
}

enum compression compression_detect(const uint8_t *head, size_t n)
{
	static const struct {
		const char *magic;
		size_t n;
		enum compression c;
	} known[] = {
		{ "\x1f\x8b\x08", 3, COMPRESSION_GZIP },
		{ "\x28\xb5\x2f\xfd", 4, COMPRESSION_ZSTD },
		{ "\xfd"
		  "7zXZ\0",
		  6, COMPRESSION_OTHER },
		{ "BZh", 3, COMPRESSION_OTHER },
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (n >= known[i].n && !memcmp(head, known[i].magic, known[i].n))
			return known[i].c;
	/* a zstd stream may begin with a skippable frame: 0x184D2A5? little-endian */
	if (n >= 4 && (head[0] & 0xf0) == 0x50 && !memcmp(head + 1, "\x2a\x4d\x18", 3))
		return COMPRESSION_ZSTD;
	return COMPRESSION_NONE;
}

/* The checksum of a header says more than its magic, which old archives lack. */
bool tar_detect(const uint8_t *head, size_t n)
{
	unsigned sum = 0, want = 0;
	bool zero = true;

	if (n < STREAM_HEAD_MAX)
		return false;
	for (size_t i = 0; i < STREAM_HEAD_MAX; i++) {
		zero &= !head[i];
		sum += i >= 148 && i < 156 ? ' ' : head[i];
	}
	for (size_t i = 148; i < 156; i++) {
		if (head[i] >= '0' && head[i] <= '7')
			want = want * 8 + head[i] - '0';
		else if (head[i] != ' ')
			break;
	}
	return zero || sum == want;
}
