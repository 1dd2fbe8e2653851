/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel modules as files: what they depend on, in which order they load, and what they can do
 * without. */
#ifndef PROA_VM_MODULE_H
#define PROA_VM_MODULE_H

#include <stddef.h>
#include <stdint.h>

struct err;

/*
 * The value of "@key=" in a module's .modinfo section, within @bytes (not a copy), or NULL. Bytes
 * may be anything.
 */
const char *module_info(const uint8_t *bytes, size_t n, const char *key);

/*
 * Takes away, in place, what a guest does not need and pays for: the signature (a public-key
 * operation each, under emulation 30 ms) and the debugging types (.BTF: the kernel reads all of its
 * own, 5 MB, at the first module that has some). Returns the new size.
 */
size_t module_strip(uint8_t *bytes, size_t n);

/*
 * Writes DIR/modules.dep for the modules below DIR ("kernel/fs/x.ko: kernel/lib/y.ko …", as depmod
 * does), from their .modinfo. 0 or -errno.
 */
int module_write_deps(int dir_fd, const char *dir, struct err *err);

/*
 * The modules @names (NULL-terminated; "virtio_blk"; '-' and '_' are alike) and all they need, each
 * after what it depends on, as paths below DIR. A name that modules.dep does not have is taken as
 * built into the kernel. The caller frees *@ret with strv_free().
 */
int module_closure(int dir_fd, const char *dir, const char *const *names, char ***ret,
		   struct err *err);

#endif
