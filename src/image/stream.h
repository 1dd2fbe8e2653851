/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes that come one after the other: from a descriptor, an archive's entry, or out of a
 * decompressor. A concrete stream embeds struct stream first and sets its read function.
 */
#ifndef PROA_IMAGE_STREAM_H
#define PROA_IMAGE_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct err;

#define STREAM_HEAD_MAX 512

struct stream {
	/* Up to @n bytes, 0 at the end, -errno with @err filled. */
	ssize_t (*read)(struct stream *s, void *buf, size_t n, struct err *err);
	/* bytes that stream_peek() has read ahead */
	uint8_t head[STREAM_HEAD_MAX];
	size_t head_len, head_at;
};

/* Up to @n bytes, 0 at the end, -errno. */
ssize_t stream_read(struct stream *s, void *buf, size_t n, struct err *err);
/* Reads until @n bytes are there or the end comes. */
ssize_t stream_read_full(struct stream *s, void *buf, size_t n, struct err *err);
/* Looks at the first bytes (at most STREAM_HEAD_MAX) without taking them; before any read only. */
int stream_peek(struct stream *s, size_t *ret_len, struct err *err);

/* Of a descriptor, borrowed, from where it stands; at most @left_bytes (UINT64_MAX: to the end). */
struct fd_stream {
	struct stream stream;
	int fd;
	uint64_t left_bytes;
};
void fd_stream_init(struct fd_stream *s, int fd, uint64_t left_bytes);

enum compression {
	COMPRESSION_NONE,
	COMPRESSION_GZIP,
	COMPRESSION_ZSTD,
	COMPRESSION_OTHER, /* xz or bzip2, through libarchive */
};

/* By the magic number at the beginning. */
enum compression compression_detect(const uint8_t *head, size_t n);
/* Does it begin like a tar archive, or like an empty one? */
bool tar_detect(const uint8_t *head, size_t n);

/* What @from (borrowed) decompresses to. -errno; the caller: decoder_free(). */
int decoder_new(enum compression c, struct stream *from, struct stream **ret, struct err *err);
void decoder_free(struct stream *decoder);

/* Set by a signal handler: every read then fails with -EINTR, so that a command can tidy up. */
extern volatile int stream_interrupted;

#endif
