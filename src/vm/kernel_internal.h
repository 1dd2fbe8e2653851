/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files of the kernel store only. */
#ifndef PROA_VM_KERNEL_INTERNAL_H
#define PROA_VM_KERNEL_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

/* STORE/kernels as a descriptor, made if @make; or -errno. */
int kernel_store_open(const char *store, bool make, struct err *err);
/* May a kernel be called so? 0 or -EINVAL. */
int kernel_name_check(const char *name, struct err *err);

/* The payload of a bzImage (Documentation/x86/boot.rst): what is packed in it, and how. */
struct kernel_payload {
	size_t offset, length; /* in the file; without what the unpacker does not understand */
	const char *tool;      /* "lz4", which unpacks it with -dc; NULL: unknown packing */
	const char *package;   /* that has the tool */
};
enum kernel_format {
	KERNEL_ELF,
	KERNEL_BZIMAGE,
	KERNEL_UNKNOWN,
};
/* What kind of file this is. The bytes may be anything. @ret is set for a bzImage. */
enum kernel_format kernel_format_of(const uint8_t *bytes, size_t n, struct kernel_payload *ret);
/* "6.1.0-56-cloud-amd64" from an image of either kind, into @ret; false: none was found. */
bool kernel_version_of(const uint8_t *bytes, size_t n, char *ret, size_t size);

#endif
