/* SPDX-License-Identifier: Apache-2.0 */
/* Where `proa save` writes to: a tar archive or a directory, file after file. */
#ifndef PROA_IMAGE_SAVE_TAR_H
#define PROA_IMAGE_SAVE_TAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct progress;

struct sink {
	int fd; /* of the archive, or of the directory */
	bool is_dir;
	struct progress *progress; /* may be NULL */
};

/* A directory entry; parents first. */
int sink_directory(struct sink *s, const char *name, struct err *err);
int sink_bytes(struct sink *s, const char *name, const void *bytes, size_t n, struct err *err);
/* A blob of @size bytes from @fd; -EBADMSG when it is shorter or its digest is another. */
int sink_blob(struct sink *s, const char *name, int fd, uint64_t size, const char *digest,
	      struct err *err);
/* The end of the archive. */
int sink_end(struct sink *s, struct err *err);

#endif
