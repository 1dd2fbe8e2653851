/* SPDX-License-Identifier: Apache-2.0 */
/* The archive half of bundle.h. */
#ifndef PROA_IMAGE_BUNDLE_ARCHIVE_H
#define PROA_IMAGE_BUNDLE_ARCHIVE_H

#include <stdbool.h>

struct bundle;
struct bundle_entry;
struct err;

/* Reads the table of contents of b->fd (@seekable, not compressed), or else all of it. */
int bundle_archive_read(struct bundle *b, bool seekable, struct err *err);

/* Clean names; links are followed. NULL: absent (or links in a circle). */
struct bundle_entry *bundle_find(struct bundle *b, const char *name);
/* A new entry; NULL without memory. */
struct bundle_entry *bundle_add(struct bundle *b, const char *name);

#endif
