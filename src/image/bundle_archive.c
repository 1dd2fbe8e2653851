/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the archive that images come in: its table of contents, or all in one pass. */
#include "image/bundle_archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "image/bundle.h"
#include "image/unpack.h"
#include "image/unpack_path.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/str.h"

#define ENTRIES_MAX   100000
#define DOCUMENT_MAX  (8u << 20)
#define DOCUMENTS_MAX (64u << 20)
#define READ_BYTES    (256u << 10)

/* The archive under libarchive, and the entry it stands at, as streams. */
struct outer {
	struct stream *from;
	uint8_t *buf;
	struct err *err;
};

struct entry_stream {
	struct stream stream;
	struct archive *archive;
};

static la_ssize_t outer_read(struct archive *a, void *data, const void **ret)
{
	struct outer *o = data;
	ssize_t r = stream_read(o->from, o->buf, READ_BYTES, o->err);

	*ret = o->buf;
	if (r < 0)
		archive_set_error(a, EIO, "%s", o->err->msg);
	return r < 0 ? -1 : r;
}

static ssize_t entry_read(struct stream *s, void *buf, size_t n, struct err *err)
{
	struct entry_stream *e = container_of(s, struct entry_stream, stream);
	la_ssize_t r = archive_read_data(e->archive, buf, n);

	if (r < 0)
		return err_set(err, EBADMSG, "%s", archive_error_string(e->archive));
	return r;
}

/* "../ID/layer.tar" from "OTHER/layer.tar": old docker save stores equal layers once. */
static int resolve_link(const char *name, const char *target, bool hard, char out[PATH_MAX])
{
	char joined[PATH_MAX], *parts[64];
	const char *slash = strrchr(name, '/');
	size_t n = 0;
	char *save = NULL;
	int len;

	if (hard || !slash || *target == '/')
		len = snprintf(joined, sizeof(joined), "%s", target);
	else
		len = snprintf(joined, sizeof(joined), "%.*s/%s", (int)(slash - name), name,
			       target);
	if (len < 0 || (size_t)len >= sizeof(joined))
		return -ENAMETOOLONG;
	for (char *p = strtok_r(joined, "/", &save); p; p = strtok_r(NULL, "/", &save)) {
		if (!strcmp(p, "."))
			continue;
		if (!strcmp(p, "..")) {
			if (n == 0)
				return -EINVAL;
			n--;
		} else if (n == ARRAY_SIZE(parts)) {
			return -ENAMETOOLONG;
		} else {
			parts[n++] = p;
		}
	}
	*out = 0;
	for (size_t i = 0, at = 0; i < n; i++)
		at += (size_t)snprintf(out + at, PATH_MAX - at, "%s%s", i ? "/" : "", parts[i]);
	return 0;
}

static int keep_document(struct bundle *b, struct bundle_entry *e, struct stream *from,
			 struct err *err)
{
	ssize_t n;

	b->kept_bytes += e->size_bytes;
	if (b->kept_bytes > DOCUMENTS_MAX)
		return err_set(err, EFBIG, "its documents are more than %u bytes", DOCUMENTS_MAX);
	e->bytes = malloc((size_t)e->size_bytes + 1);
	if (!e->bytes)
		return err_sys(err, ENOMEM, "read it");
	n = stream_read_full(from, e->bytes, (size_t)e->size_bytes, err);
	if (n < 0)
		return (int)n;
	e->bytes[n] = 0;
	e->bytes_len = (size_t)n;
	return 0;
}

/* One pass: keep it or stage it, by what it looks like. */
static int take_data(struct bundle *b, struct archive *a, struct bundle_entry *e, struct err *err)
{
	struct entry_stream s = { .stream.read = entry_read, .archive = a };
	struct layer_options options = { b->tmp_fd, b->next_layer, &b->progress };
	size_t n;
	int r = stream_peek(&s.stream, &n, err);

	if (r < 0)
		return r;
	if (compression_detect(s.stream.head, n) == COMPRESSION_NONE &&
	    !tar_detect(s.stream.head, n))
		return e->size_bytes <= DOCUMENT_MAX ? keep_document(b, e, &s.stream, err) : 0;
	b->next_layer++;
	e->why = calloc(1, sizeof(*e->why));
	if (!e->why)
		return err_sys(err, ENOMEM, "read it");
	err_clear(e->why);
	r = layer_stage(&s.stream, &options, &e->layer, e->why);
	/* it only matters if a manifest names it: a full disk or an interruption always does */
	if (r == -ENOSPC || r == -EDQUOT || r == -EINTR || r == -ENOMEM) {
		*err = *e->why;
		return r;
	}
	if (r == 0) {
		e->is_staged = true;
		free(TAKE_PTR(e->why));
	}
	return 0;
}

static int take_entry(struct bundle *b, struct archive *a, struct archive_entry *entry,
		      struct err *err)
{
	const char *raw = archive_entry_pathname(entry), *link = archive_entry_hardlink(entry);
	bool hard = link;
	mode_t type = archive_entry_filetype(entry);
	char name[PATH_MAX], target[PATH_MAX];
	struct bundle_entry *e;

	if (!link && type == AE_IFLNK)
		link = archive_entry_symlink(entry);
	if (!raw || path_clean(raw, name, NULL) < 0 || !*name || (!link && type != AE_IFREG))
		return 0;
	if (b->count >= ENTRIES_MAX)
		return err_set(err, EFBIG, "it has more than %d files", ENTRIES_MAX);
	e = bundle_add(b, name);
	if (!e)
		return err_sys(err, ENOMEM, "read it");
	if (link) {
		if (resolve_link(name, link, hard, target) < 0)
			return 0;
		e->link = strdup(target);
		return e->link ? 0 : err_sys(err, ENOMEM, "read it");
	}
	if (archive_entry_size(entry) < 0)
		return err_set(err, EBADMSG, "a file of a negative size");
	e->size_bytes = (uint64_t)archive_entry_size(entry);
	e->offset = (uint64_t)archive_filter_bytes(a, 0);
	return b->one_pass ? take_data(b, a, e, err) : 0;
}

static int read_entries(struct bundle *b, struct archive *a, struct err *err)
{
	for (;;) {
		struct archive_entry *entry;
		int r = archive_read_next_header(a, &entry);

		if (r == ARCHIVE_EOF)
			return 0;
		if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
			return err_set(err, EBADMSG, "damaged archive: %s",
				       archive_error_string(a));
		r = take_entry(b, a, entry, err);
		if (r < 0)
			return r;
	}
}

/* What follows the end of the archive: padding, but a broken stream shows itself there. */
static int drain(struct outer *o)
{
	ssize_t n;

	do
		n = stream_read(o->from, o->buf, READ_BYTES, o->err);
	while (n > 0);
	return (int)n;
}

/* @from: all of the archive, decompressed */
static int read_one_pass(struct bundle *b, struct stream *from, struct err *err)
{
	struct outer o = { .from = from, .buf = malloc(READ_BYTES), .err = err };
	struct archive *a = unpack_archive_new();
	int r;

	b->one_pass = true;
	if (!a || !o.buf)
		r = err_sys(err, ENOMEM, "read it");
	else if (archive_read_open(a, &o, NULL, outer_read, NULL) != ARCHIVE_OK)
		r = err_set(err, EBADMSG, "%s", archive_error_string(a));
	else
		r = read_entries(b, a, err);
	if (r == 0)
		r = drain(&o);
	archive_read_free(a);
	free(o.buf);
	return r;
}

static int read_contents(struct bundle *b, struct err *err)
{
	struct archive *a = unpack_archive_new();
	int r;

	if (!a)
		return err_sys(err, ENOMEM, "read it");
	if (lseek(b->fd, 0, SEEK_SET) < 0)
		r = err_sys(err, errno, "seek");
	else if (archive_read_open_fd(a, b->fd, READ_BYTES) != ARCHIVE_OK)
		r = err_set(err, EBADMSG, "%s", archive_error_string(a));
	else
		r = read_entries(b, a, err);
	archive_read_free(a);
	return r;
}

int bundle_archive_read(struct bundle *b, bool seekable, struct err *err)
{
	struct fd_stream raw;
	struct stream *decoder = NULL;
	enum compression c;
	size_t n;
	int r;

	/* a redirected file that was read from already is a pipe to us */
	seekable = seekable && lseek(b->fd, 0, SEEK_CUR) == 0;
	fd_stream_init(&raw, b->fd, UINT64_MAX);
	r = stream_peek(&raw.stream, &n, err);
	if (r < 0)
		return r;
	if (n == 0)
		return err_set(err, EBADMSG, "it is empty");
	c = compression_detect(raw.stream.head, n);
	if (c == COMPRESSION_NONE && !tar_detect(raw.stream.head, n))
		return err_set(err, EBADMSG,
			       "it is neither a tar archive nor compressed with gzip, zstd, xz or "
			       "bzip2");
	if (c == COMPRESSION_NONE)
		return seekable ? read_contents(b, err) : read_one_pass(b, &raw.stream, err);
	b->progress.total_bytes = 0; /* what is counted is not what the file holds */
	r = decoder_new(c, &raw.stream, &decoder, err);
	if (r < 0)
		return r;
	r = read_one_pass(b, decoder, err);
	decoder_free(decoder);
	return r;
}
