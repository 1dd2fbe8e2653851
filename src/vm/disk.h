/* SPDX-License-Identifier: Apache-2.0 */
/* The disk of a machine's own: a sparse file with an empty ext4, copied from a template. */
#ifndef PROA_VM_DISK_H
#define PROA_VM_DISK_H

struct err;

/*
 * Makes sure that DIR/disk.ext4 is there: copied from the store's template, which the first call
 * makes with mkfs.ext4. One that is there stays as it is. The caller frees *@ret.
 */
int vm_disk_make(const char *store, const char *dir, char **ret, struct err *err);

#endif
