/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes a layer's blob past the page cache (O_DIRECT): it is read again only by `save`, and the
 * cache's pages would cost more time than all the hashing, in the same thread. Where the file
 * system does not do that, it writes as usual.
 */
#ifndef PROA_IMAGE_BLOB_WRITER_H
#define PROA_IMAGE_BLOB_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct blob_writer {
	int fd;
	uint8_t *buf; /* aligned */
	size_t len;
	bool direct;
};

/* Makes file @name below @dir_fd. 0 or -errno; always end with blob_writer_done(). */
int blob_writer_open(struct blob_writer *w, int dir_fd, const char *name);
int blob_writer_add(struct blob_writer *w, const void *bytes, size_t n);
/* Writes what is left. */
int blob_writer_finish(struct blob_writer *w);
void blob_writer_done(struct blob_writer *w);

#endif
