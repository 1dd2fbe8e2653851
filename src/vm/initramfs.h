/* SPDX-License-Identifier: Apache-2.0 */
/* A newc cpio archive, the format of an initramfs (Documentation/driver-api/early-userspace). */
#ifndef PROA_VM_INITRAMFS_H
#define PROA_VM_INITRAMFS_H

#include <stddef.h>
#include <stdint.h>
#include "util/str.h"

struct initramfs {
	struct str_buf bytes;
	uint32_t inode;
};

/* Parents come before what is in them. Failures stay in bytes.failed. */
void initramfs_add_dir(struct initramfs *i, const char *path);
void initramfs_add_file(struct initramfs *i, const char *path, unsigned mode, const void *bytes,
			size_t n);
/* The trailer; nothing is added after it. */
void initramfs_end(struct initramfs *i);

#endif
