/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decompressors as streams: gzip by ISA-L (several times as fast as zlib; inflating is most of a
 * load), zstd by its library, the rare xz and bzip2 by libarchive.
 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <isa-l/igzip_lib.h>
#include <stdlib.h>
#include <zstd.h>
#include "image/stream.h"
#include "util/err.h"
#include "util/mem.h"

#define INPUT_BYTES (256u << 10)

struct decoder {
	struct stream stream;
	struct stream *from;
	enum compression kind;
	uint8_t *input;
	bool input_ended;
	struct inflate_state *gzip;
	bool in_member; /* between a gzip member's header and its end */
	ZSTD_DStream *zstd;
	ZSTD_inBuffer zstd_in;
	size_t zstd_hint; /* 0: at the end of a frame */
	struct archive *other;
	struct err *err; /* of the read under way, for libarchive's callback */
};

/* Reads more input; 0 at its end. */
static ssize_t refill(struct decoder *d, struct err *err)
{
	ssize_t r = stream_read(d->from, d->input, INPUT_BYTES, err);

	if (r == 0)
		d->input_ended = true;
	return r;
}

static ssize_t gzip_read(struct stream *s, void *buf, size_t n, struct err *err)
{
	struct decoder *d = container_of(s, struct decoder, stream);
	struct inflate_state *g = d->gzip;

	g->next_out = buf;
	g->avail_out = (uint32_t)MIN(n, (size_t)1 << 30);
	for (;;) {
		int r;

		if (!g->avail_in && !d->input_ended) {
			ssize_t got = refill(d, err);

			if (got < 0)
				return got;
			g->next_in = d->input;
			g->avail_in = (uint32_t)got;
		}
		if (!d->in_member) {
			if (!g->avail_in)
				break;
			isal_inflate_reset(g);
			g->crc_flag = ISAL_GZIP;
			d->in_member = true;
		}
		r = isal_inflate(g);
		if (r != ISAL_DECOMP_OK && r != ISAL_END_INPUT)
			return err_set(err, EBADMSG, "the gzip stream is damaged");
		if (g->block_state == ISAL_BLOCK_FINISH)
			d->in_member = false;
		if (g->avail_out == 0 || (g->next_out != (uint8_t *)buf && !g->avail_in))
			break;
		if (d->in_member && d->input_ended && !g->avail_in)
			return err_set(err, EBADMSG, "the gzip stream ends too early");
	}
	return g->next_out - (uint8_t *)buf;
}

static ssize_t zstd_read(struct stream *s, void *buf, size_t n, struct err *err)
{
	struct decoder *d = container_of(s, struct decoder, stream);
	ZSTD_outBuffer out = { .dst = buf, .size = n };

	while (out.pos == 0) {
		size_t had = d->zstd_in.pos;

		if (d->zstd_in.pos == d->zstd_in.size && !d->input_ended) {
			ssize_t got = refill(d, err);

			if (got < 0)
				return got;
			d->zstd_in = (ZSTD_inBuffer){ .src = d->input, .size = (size_t)got };
			had = 0;
		}
		if (d->input_ended && d->zstd_hint == 0)
			return 0;
		d->zstd_hint = ZSTD_decompressStream(d->zstd, &out, &d->zstd_in);
		if (ZSTD_isError(d->zstd_hint))
			return err_set(err, EBADMSG, "the zstd stream is damaged: %s",
				       ZSTD_getErrorName(d->zstd_hint));
		if (d->input_ended && out.pos == 0 && d->zstd_in.pos == had && d->zstd_hint != 0)
			return err_set(err, EBADMSG, "the zstd stream ends too early");
	}
	return (ssize_t)out.pos;
}

static la_ssize_t other_refill(struct archive *a, void *data, const void **ret)
{
	struct decoder *d = data;
	ssize_t r = refill(d, d->err);

	if (r < 0)
		archive_set_error(a, EIO, "%s", d->err ? d->err->msg : "read");
	*ret = d->input;
	return r < 0 ? -1 : r;
}

static ssize_t other_read(struct stream *s, void *buf, size_t n, struct err *err)
{
	struct decoder *d = container_of(s, struct decoder, stream);
	struct archive_entry *entry;
	la_ssize_t r;

	d->err = err;
	if (!d->in_member) {
		if (archive_read_open(d->other, d, NULL, other_refill, NULL) != ARCHIVE_OK ||
		    archive_read_next_header(d->other, &entry) != ARCHIVE_OK)
			return err_set(err, EBADMSG, "the compressed stream is damaged: %s",
				       archive_error_string(d->other));
		d->in_member = true;
	}
	r = archive_read_data(d->other, buf, n);
	if (r < 0)
		return err_set(err, EBADMSG, "the compressed stream is damaged: %s",
			       archive_error_string(d->other));
	return r;
}

static int init(struct decoder *d)
{
	switch (d->kind) {
	case COMPRESSION_GZIP:
		d->stream.read = gzip_read;
		d->gzip = calloc(1, sizeof(*d->gzip));
		if (!d->gzip)
			return -ENOMEM;
		isal_inflate_init(d->gzip);
		return 0;
	case COMPRESSION_ZSTD:
		d->stream.read = zstd_read;
		d->zstd = ZSTD_createDStream();
		return d->zstd ? 0 : -ENOMEM;
	default:
		d->stream.read = other_read;
		d->other = archive_read_new();
		if (!d->other)
			return -ENOMEM;
		archive_read_support_filter_xz(d->other);
		archive_read_support_filter_bzip2(d->other);
		archive_read_support_format_raw(d->other);
		return 0;
	}
}

int decoder_new(enum compression c, struct stream *from, struct stream **ret, struct err *err)
{
	struct decoder *d = calloc(1, sizeof(*d));

	if (d) {
		d->kind = c;
		d->from = from;
		d->input = malloc(INPUT_BYTES);
	}
	if (!d || !d->input || init(d) < 0) {
		if (d)
			decoder_free(&d->stream);
		return err_sys(err, ENOMEM, "decompress");
	}
	*ret = &d->stream;
	return 0;
}

void decoder_free(struct stream *decoder)
{
	struct decoder *d;

	if (!decoder)
		return;
	d = container_of(decoder, struct decoder, stream);
	free(d->gzip);
	ZSTD_freeDStream(d->zstd);
	if (d->other)
		archive_read_free(d->other);
	free(d->input);
	free(d);
}
