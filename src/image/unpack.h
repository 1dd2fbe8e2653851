/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unpacks a layer (a tar archive of hostile origin) below a directory.
 *
 * libarchive reads the archive; every file is made by us, relative to a descriptor of its parent
 * directory, and parents are looked up by openat2(RESOLVE_IN_ROOT): the kernel itself keeps
 * absolute names, ".." and symbolic links, planted by the archive or not, inside the directory. The
 * last component is never followed (O_EXCL|O_NOFOLLOW and the *at calls' no-follow forms).
 *
 * The result is an overlayfs lower directory: ".wh.NAME" (image-spec layer.md) becomes a 0/0
 * character device NAME, ".wh..wh..opq" the attribute overlay.opaque of its directory.
 */
#ifndef PROA_IMAGE_UNPACK_H
#define PROA_IMAGE_UNPACK_H

#include <archive.h>
#include <stdbool.h>
#include <stdint.h>

struct err;

struct unpack_options {
	int root_fd;	    /* an empty directory */
	uint64_t max_bytes; /* of all files together, as they appear (holes count) */
	uint64_t max_entries;
	bool privileged; /* may chown and make devices; otherwise what is made belongs to the caller
			  */
};

struct unpack_result {
	uint64_t bytes, entries;
};

/*
 * Unpacks all of @a, opened for reading with unpack_archive_new(). -errno with a line that names
 * the entry; what was made until then stays for the caller to remove.
 */
int unpack_archive(struct archive *a, const struct unpack_options *options,
		   struct unpack_result *ret, struct err *err);

/* A reader that knows tar in all its forms and nothing else. NULL without memory. */
struct archive *unpack_archive_new(void);

#endif
