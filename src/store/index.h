/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store's index.json, and blobs small enough to be read whole.
 *
 * One descriptor for each name of an image; an image without a name has one descriptor without the
 * name's annotation. Our own annotations spare readers the way to manifest and configuration; where
 * another tool wrote the descriptor they are absent, and everything still works.
 */
#ifndef PROA_STORE_INDEX_H
#define PROA_STORE_INDEX_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct store;

#define INDEX_ANNOTATION_ID   "proa.image.id"
#define INDEX_ANNOTATION_SIZE "proa.image.size" /* of the unpacked files, in bytes, as text */

/* The index (an empty one when there is none). *ret is the whole document; the caller owns it. */
int index_read(struct store *s, json_t **ret, struct err *err);
/* Replaces it durably. The caller holds store_lock(). */
int index_write(struct store *s, const json_t *index, struct err *err);

/* The list of descriptors; borrowed. */
json_t *index_manifests(const json_t *index);
/* Borrowed; NULL when the image has no name or the descriptor none. */
const char *index_entry_name(const json_t *entry);
const char *index_entry_digest(const json_t *entry);
/* The image ID, from the annotation or else the manifest. *ret is the caller's. */
int index_entry_id(struct store *s, const json_t *entry, char **ret, struct err *err);

/* A new descriptor, or NULL without memory. @name may be NULL. */
json_t *index_entry_new(const char *media_type, const char *digest, uint64_t size_bytes,
			const char *id, uint64_t unpacked_bytes, const char *name);

/*
 * Puts @entry (taken over) into the index: a descriptor of the same name loses it, and stays as a
 * nameless one when it was the last of its image.
 */
int index_put(json_t *index, json_t *entry);
/* Takes away the name of descriptor @at; it stays, nameless, when @keep and it is the image's last.
 */
void index_untag(json_t *index, size_t at, bool keep);

/* Reads blob @digest of at most @max bytes and verifies it. @what names it in errors. */
int blob_read(struct store *s, const char *digest, size_t max, const char *what, char **ret,
	      size_t *ret_len, struct err *err);

#endif
