/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One layer on its way in: its blob is read once, and in that pass hashed, kept, decompressed,
 * hashed again (the diffID) and unpacked. Reading, hashing and inflating are one thread, unpacking
 * is another; both have about the same work.
 */
#ifndef PROA_IMAGE_LAYER_H
#define PROA_IMAGE_LAYER_H

#include <stdbool.h>
#include <stdint.h>
#include "image/stream.h"
#include "oci/digest.h"

struct err;
struct progress;

struct layer {
	char blob[32]; /* name in the temporary directory; "" when it is not there (any more) */
	char dir[32];  /* the same for the directory with diff/ and size */
	char digest[DIGEST_LEN + 1];
	char diff_id[DIGEST_LEN + 1];
	uint64_t blob_bytes, unpacked_bytes;
	enum compression compression;
};

struct layer_options {
	int tmp_fd;
	unsigned number;	   /* makes the names in the temporary directory unique */
	struct progress *progress; /* may be NULL */
};

/*
 * Takes all of @in. On failure what it made is removed again. The unpacking limit is
 * PROA_MAX_LAYER_BYTES (64g unless set).
 */
int layer_stage(struct stream *in, const struct layer_options *options, struct layer *ret,
		struct err *err);

/* Removes what is staged of it. */
void layer_discard(int tmp_fd, struct layer *layer);

#endif
