/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What images come in: a directory, or a tar archive. Either way a set of named files, of which the
 * small ones are documents and the big ones layers.
 *
 * A directory and an uncompressed archive file are looked at first (the archive's table of contents
 * costs one seek for each entry), so that only what is wanted is read. An archive that comes
 * through a pipe or a decompressor can be read just once, and docker save writes manifest.json
 * last: there every entry that looks like a layer is staged as it flows by, and what no manifest
 * asks for is dropped in the end.
 */
#ifndef PROA_IMAGE_BUNDLE_H
#define PROA_IMAGE_BUNDLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "image/layer.h"
#include "image/progress.h"

struct err;

struct bundle_entry {
	char *name;  /* clean, without a leading "./" */
	char *link;  /* of a symbolic or hard link: the clean name it means */
	char *bytes; /* of a document that was kept (one-pass archives) */
	size_t bytes_len;
	uint64_t offset, size_bytes; /* of the data in the archive file */
	bool is_staged;
	struct layer layer;
	struct err *why; /* the reason why it could not be staged, or NULL */
};

struct bundle {
	int fd; /* directory or archive */
	bool is_dir, one_pass;
	char *name; /* for messages */
	struct bundle_entry *entries;
	size_t count;
	int tmp_fd;
	unsigned next_layer;
	uint64_t kept_bytes;
	struct progress progress;
};

/*
 * Opens @path (NULL: standard input). Layers are staged in @tmp_fd (borrowed). The caller:
 * bundle_done(), also after an error.
 */
int bundle_open(const char *path, int tmp_fd, bool quiet, struct bundle *ret, struct err *err);
void bundle_done(struct bundle *b);

bool bundle_has(struct bundle *b, const char *name);
/* A document of at most @max bytes. -ENOENT with a line. The caller frees *@ret. */
int bundle_document(struct bundle *b, const char *name, size_t max, char **ret, size_t *ret_len,
		    struct err *err);
/* Stages a layer, unless that was done before. */
int bundle_layer(struct bundle *b, const char *name, struct layer *ret, struct err *err);

#endif
