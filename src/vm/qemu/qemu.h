/* SPDX-License-Identifier: Apache-2.0 */
/* QEMU's microvm machine: the command line for it, and which guest options make its boot short. */
#ifndef PROA_VM_QEMU_H
#define PROA_VM_QEMU_H

#include "vm/hypervisor.h"

/* Finds qemu-system-x86_64 in PATH. -ENOENT names the package to install. */
int qemu_find(char **ret, struct err *err);
/* The same, or the one at @path, if that is not NULL. */
int qemu_choose(const char *path, char **ret, struct err *err);

/* The guest kernel's command line; the caller's to free. NULL: out of memory. */
char *qemu_kernel_command_line(const struct vm_spec *spec);

#endif
