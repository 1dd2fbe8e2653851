/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this room share and others need not know. */
#ifndef PROA_STORE_INTERNAL_H
#define PROA_STORE_INTERNAL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct err;
struct store;
struct store_image;

/* Position of the descriptor that @text (a name, or an ID or a prefix of one) means. */
int store_entry_find(struct store *s, const json_t *index, const char *text, size_t *ret,
		     bool *ret_by_id, struct err *err);

/* The image behind a descriptor. */
int store_image_fill(struct store *s, const json_t *index, const json_t *entry,
		     struct store_image *ret, struct err *err);

#endif
