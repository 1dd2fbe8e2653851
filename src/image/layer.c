/* SPDX-License-Identifier: Apache-2.0 */
#include "image/layer.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "image/blob_writer.h"
#include "image/progress.h"
#include "image/ring.h"
#include "image/unpack.h"
#include "util/err.h"
#include "util/io.h"
#include "util/mem.h"
#include "util/str.h"

#define MAX_BYTES_DEFAULT (64ull << 30)
#define MAX_ENTRIES	  (16u << 20)

/* The raw blob: every byte that is read through it is hashed and written to the blob's file. */
struct tap {
	struct stream stream;
	struct stream *from;
	EVP_MD_CTX *hash;
	struct blob_writer writer;
	uint64_t bytes;
	struct progress *progress;
};

struct worker {
	struct ring ring;
	pthread_t thread;
	struct unpack_options options;
	struct unpack_result result;
	int r;
	struct err err;
	bool holding; /* a buffer that libarchive still reads from */
};

static ssize_t tap_read(struct stream *s, void *buf, size_t n, struct err *err)
{
	struct tap *t = container_of(s, struct tap, stream);
	ssize_t got = stream_read(t->from, buf, n, err);
	int r;

	if (got <= 0)
		return got;
	t->bytes += (uint64_t)got;
	EVP_DigestUpdate(t->hash, buf, (size_t)got);
	r = blob_writer_add(&t->writer, buf, (size_t)got);
	if (r < 0)
		return err_sys(err, -r, "write to the store");
	progress_add(t->progress, (uint64_t)got);
	return got;
}

static la_ssize_t ring_read(struct archive *a, void *data, const void **ret)
{
	struct worker *w = data;
	size_t n = 0;

	if (w->holding)
		ring_release(&w->ring);
	*ret = ring_take(&w->ring, &n);
	w->holding = *ret && n;
	if (!*ret) {
		archive_set_error(a, ECANCELED, "the stream broke off");
		return -1;
	}
	return (la_ssize_t)n;
}

/* The second thread. */
static void *work(void *data)
{
	struct worker *w = data;
	struct archive *a = unpack_archive_new();
	const void *rest;

	if (!a)
		w->r = err_sys(&w->err, ENOMEM, "unpack");
	else if (archive_read_open(a, w, NULL, ring_read, NULL) != ARCHIVE_OK)
		w->r = err_set(&w->err, EBADMSG, "%s", archive_error_string(a));
	else
		w->r = unpack_archive(a, &w->options, &w->result, &w->err);
	/* what follows the archive's end belongs to the digest */
	while (w->r == 0 && ring_read(a, w, &rest) > 0)
		;
	if (w->r < 0)
		ring_abort(&w->ring);
	archive_read_free(a);
	return NULL;
}

static void hash_text(EVP_MD_CTX *hash, char out[DIGEST_LEN + 1])
{
	uint8_t bytes[EVP_MAX_MD_SIZE];
	unsigned n;

	EVP_DigestFinal_ex(hash, bytes, &n);
	memcpy(out, "sha256:", 7);
	str_hex(bytes, n, out + 7);
}

/* Fills the ring from @from until its end. -ECANCELED: the other side gave up (it knows why). */
static int pump(struct stream *from, EVP_MD_CTX *diff_hash, uint64_t max_bytes, struct ring *ring,
		struct err *err)
{
	uint64_t total = 0;

	for (;;) {
		uint8_t *buf = ring_reserve(ring);
		ssize_t n;

		if (!buf)
			return -ECANCELED;
		n = stream_read_full(from, buf, RING_BUFFER_BYTES, err);
		if (n < 0)
			return (int)n;
		if (n == 0) {
			ring_end(ring);
			return 0;
		}
		total += (uint64_t)n;
		/* headers and padding are some; a bomb is orders of magnitude more */
		if (total / 2 > max_bytes)
			return err_set(err, EFBIG,
				       "it decompresses to more than the limit of %llu bytes "
				       "(PROA_MAX_LAYER_BYTES)",
				       (unsigned long long)max_bytes);
		if (diff_hash)
			EVP_DigestUpdate(diff_hash, buf, (size_t)n);
		ring_push(ring, (size_t)n);
	}
}

static int max_bytes_setting(uint64_t *ret, struct err *err)
{
	const char *text = getenv("PROA_MAX_LAYER_BYTES");

	*ret = MAX_BYTES_DEFAULT;
	if (text && str_to_bytes(text, ret) < 0)
		return err_set(err, EINVAL, "PROA_MAX_LAYER_BYTES=%s is no size (try 64g)", text);
	return 0;
}

/* Both threads; the files and hashes are ready. */
static int run(struct tap *tap, EVP_MD_CTX *diff_hash, struct layer *layer, struct worker *w,
	       struct err *err)
{
	struct stream *decoder = NULL, *from = &tap->stream;
	size_t n;
	int r = stream_peek(from, &n, err);

	if (r < 0)
		return r;
	layer->compression = compression_detect(from->head, n);
	if (layer->compression != COMPRESSION_NONE) {
		r = decoder_new(layer->compression, from, &decoder, err);
		if (r < 0)
			return r;
		from = decoder;
	}
	r = pthread_create(&w->thread, NULL, work, w);
	if (r == 0) {
		r = pump(from, decoder ? diff_hash : NULL, w->options.max_bytes, &w->ring, err);
		if (r < 0)
			ring_abort(&w->ring);
		pthread_join(w->thread, NULL);
		/* who failed first knows the reason; the other was only told to stop */
		if (w->r < 0 && (r == -ECANCELED || r == 0)) {
			*err = w->err;
			r = w->r;
		}
	} else {
		r = err_sys(err, r, "start a thread");
	}
	decoder_free(decoder);
	return r;
}

static int prepare(struct tap *tap, struct worker *w, const struct layer_options *options,
		   const struct layer *layer, struct err *err)
{
	char diff[48];
	int fd, r = blob_writer_open(&tap->writer, options->tmp_fd, layer->blob);

	snprintf(diff, sizeof(diff), "%s/diff", layer->dir);
	if (r < 0)
		return err_sys(err, -r, "write to the store");
	if (mkdirat(options->tmp_fd, layer->dir, 0755) < 0 ||
	    mkdirat(options->tmp_fd, diff, 0755) < 0)
		return err_sys(err, errno, "write to the store");
	fd = openat(options->tmp_fd, diff, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, errno, "write to the store");
	w->options.root_fd = fd;
	w->options.max_entries = MAX_ENTRIES;
	w->options.privileged = geteuid() == 0;
	return max_bytes_setting(&w->options.max_bytes, err);
}

static int finish(struct tap *tap, EVP_MD_CTX *diff_hash, const struct layer_options *options,
		  const struct worker *w, struct layer *layer, struct err *err)
{
	char path[48], text[24];
	int r = blob_writer_finish(&tap->writer);

	if (r < 0)
		return err_sys(err, -r, "write to the store");
	hash_text(tap->hash, layer->digest);
	if (layer->compression == COMPRESSION_NONE)
		memcpy(layer->diff_id, layer->digest, sizeof(layer->diff_id));
	else
		hash_text(diff_hash, layer->diff_id);
	layer->blob_bytes = tap->bytes;
	layer->unpacked_bytes = w->result.bytes;
	snprintf(path, sizeof(path), "%s/size", layer->dir);
	snprintf(text, sizeof(text), "%llu", (unsigned long long)layer->unpacked_bytes);
	r = io_write_file(options->tmp_fd, path, text, strlen(text), 0644, 0);
	return r < 0 ? err_sys(err, -r, "write to the store") : 0;
}

int layer_stage(struct stream *in, const struct layer_options *options, struct layer *ret,
		struct err *err)
{
	struct layer layer = { 0 };
	struct tap tap = { .stream.read = tap_read,
			   .from = in,
			   .writer.fd = -EBADF,
			   .hash = EVP_MD_CTX_new(),
			   .progress = options->progress };
	struct worker w = { .options.root_fd = -EBADF, .err = ERR_INIT };
	EVP_MD_CTX *diff_hash = EVP_MD_CTX_new();
	int r = ring_init(&w.ring);

	snprintf(layer.blob, sizeof(layer.blob), "blob-%u", options->number);
	snprintf(layer.dir, sizeof(layer.dir), "layer-%u", options->number);
	if (r < 0 || !tap.hash || !diff_hash || !EVP_DigestInit_ex(tap.hash, EVP_sha256(), NULL) ||
	    !EVP_DigestInit_ex(diff_hash, EVP_sha256(), NULL))
		r = err_sys(err, ENOMEM, "read a layer");
	if (r == 0)
		r = prepare(&tap, &w, options, &layer, err);
	if (r == 0)
		r = run(&tap, diff_hash, &layer, &w, err);
	if (r == 0)
		r = finish(&tap, diff_hash, options, &w, &layer, err);
	blob_writer_done(&tap.writer);
	fd_close(w.options.root_fd);
	ring_done(&w.ring);
	EVP_MD_CTX_free(tap.hash);
	EVP_MD_CTX_free(diff_hash);
	if (r < 0) {
		layer_discard(options->tmp_fd, &layer);
		return r;
	}
	*ret = layer;
	return 0;
}

void layer_discard(int tmp_fd, struct layer *layer)
{
	if (*layer->blob)
		unlinkat(tmp_fd, layer->blob, 0);
	if (*layer->dir)
		io_remove_tree(tmp_fd, layer->dir);
	layer->blob[0] = layer->dir[0] = 0;
}
