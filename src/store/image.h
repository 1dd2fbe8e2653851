/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images in the store: found by name or ID, listed, named, removed. Needs JSON only, so that the
 * main executable has it; what needs libarchive and OpenSSL is src/image.
 */
#ifndef PROA_STORE_IMAGE_H
#define PROA_STORE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "oci/image_config.h"
#include "oci/manifest.h"

struct err;
struct store;

struct store_image {
	char *id;	       /* "sha256:<hex of the configuration>" */
	char *manifest_digest; /* "sha256:…" */
	char **names;	       /* all full names of it, sorted; may be empty */
	char **layer_dirs;     /* absolute, topmost first: overlayfs lowerdirs. Equal ones once. */
	struct oci_manifest manifest;
	struct image_config config;
	uint64_t size_bytes; /* of the unpacked files */
	int64_t created_s;
};

/*
 * Finds an image by name ("debian", "localhost/x:1", "name@sha256:…") or by its ID or a prefix of
 * it; a name goes before an ID. The digests of manifest and configuration are verified, the layers
 * are there. -ENOENT: no such image; -EINVAL: malformed or ambiguous; -EBADMSG: damaged.
 * The caller: store_image_done().
 */
int store_image_find(struct store *s, const char *ref_or_id, struct store_image *ret,
		     struct err *err);
void store_image_done(struct store_image *i);

/* All images, newest first. The caller: store_images_free(). A damaged image is skipped, warned of.
 */
int store_image_list(struct store *s, struct store_image **ret, size_t *ret_count, struct err *err);
void store_images_free(struct store_image *list, size_t count);

/* Where the image's EROFS file is or would be; the caller frees it. 0 or -ENOMEM. */
int store_image_erofs_path(struct store *s, const struct store_image *i, char **ret);

/* Gives the image the further name @target, taking it from another image that had it. */
int store_image_tag(struct store *s, const char *ref_or_id, const char *target, struct err *err);

struct store_removal {
	char **untagged; /* full names */
	char **deleted;	 /* digests: the image ID, then layers that nothing else uses */
};

/*
 * Docker's rmi: a name is taken away; with the last name, or by ID, the image goes. -EBUSY when a
 * container uses it; @force then takes the names away and leaves the data until the container is
 * gone. The caller: store_removal_done(), also after an error.
 */
int store_image_remove(struct store *s, const char *ref_or_id, bool force,
		       struct store_removal *ret, struct err *err);
void store_removal_done(struct store_removal *r);

#endif
