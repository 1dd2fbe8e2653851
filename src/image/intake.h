/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `load` and `import` have in common: a session with the store in which layers and documents
 * are staged, and which ends in one publication or leaves nothing.
 */
#ifndef PROA_IMAGE_INTAKE_H
#define PROA_IMAGE_INTAKE_H

#include <stddef.h>
#include <stdint.h>
#include "image/layer.h"
#include "oci/image_config.h"
#include "oci/manifest.h"
#include "store/publish.h"
#include "store/store.h"

struct err;

struct intake {
	struct store *store;
	struct store_tmp tmp;
	int pin;
	struct publish publish;
};

int intake_begin(struct intake *in, struct store *s, struct err *err);
/* Removes what was staged and not published, and garbage that others left. */
void intake_done(struct intake *in);

/* Stages a document. */
int intake_document(struct intake *in, const char *digest, const char *bytes, size_t n,
		    struct err *err);
/* Takes a staged layer over; one that the store has already is dropped. */
int intake_layer(struct intake *in, const struct layer *layer, struct err *err);

/* Is the layer unpacked in the store or staged? *ret_unpacked gets its size. */
bool intake_has_layer(struct intake *in, const char *diff_id, uint64_t *ret_unpacked);
/* Is the blob in the store? *ret_bytes gets its size. */
bool intake_has_blob(struct intake *in, const char *digest, uint64_t *ret_bytes);

/* Adds the image; @names may be NULL or empty. */
int intake_image(struct intake *in, const char *media_type, const char *manifest_digest,
		 uint64_t manifest_bytes, const char *id, uint64_t unpacked_bytes,
		 char *const *names, struct err *err);

/* Stages configuration and a new OCI manifest over these layers, and adds the image. */
int intake_new_image(struct intake *in, const char *config, size_t config_len,
		     const struct layer *layers, size_t count, char *const *names, struct err *err);

int intake_publish(struct intake *in, struct err *err);

const char *layer_media_type(enum compression c);

#endif
