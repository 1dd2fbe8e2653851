/* SPDX-License-Identifier: Apache-2.0 */
/* From work in progress to images with names: the one place where things become visible. */
#ifndef PROA_STORE_PUBLISH_H
#define PROA_STORE_PUBLISH_H

#include <stddef.h>
#include <stdint.h>

struct err;
struct store;
struct store_tmp;

/* Something in the temporary directory and the digest under which it is to be seen. */
struct publish_item {
	char *staged; /* name in the temporary directory */
	char *digest; /* of the blob, or diffID of the layer */
};

struct publish_image {
	char *media_type, *manifest_digest;
	uint64_t manifest_bytes, unpacked_bytes;
	char *id;
	char **names; /* full; may be empty */
};

struct publish {
	struct publish_item *blobs, *layers;
	size_t blob_count, layer_count;
	struct publish_image *images;
	size_t image_count;
};

/* Each takes copies of the strings; a digest that was added before is not added again. 0, -ENOMEM.
 */
int publish_add_blob(struct publish *p, const char *staged, const char *digest);
int publish_add_layer(struct publish *p, const char *staged, const char *diff_id);
/* The new image, zeroed, for the caller to fill; NULL without memory. */
struct publish_image *publish_add_image(struct publish *p);
void publish_done(struct publish *p);

/*
 * Makes it all durable, then visible (store.h tells the order). The caller has held store_pin()
 * since before it decided which layers were there already. What exists already is left as it is.
 */
int store_publish(struct store *s, struct store_tmp *tmp, const struct publish *p, struct err *err);

#endif
