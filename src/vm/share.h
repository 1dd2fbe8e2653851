/* SPDX-License-Identifier: Apache-2.0 */
/* The directories and files of the host that a machine sees: one virtiofsd for all binds of a plan.
 */
#ifndef PROA_VM_SHARE_H
#define PROA_VM_SHARE_H

#include "vm/spawn.h"

struct err;
struct instance;
struct plan;

/* Where a machine's root is. */
enum vm_root {
	VM_ROOT_DISKS,	/* an overlay of the image's disk and one of its own */
	VM_ROOT_SHARED, /* a directory of the host, as it is */
	VM_ROOT_IMAGE,	/* a disk image, as it is */
};
enum vm_root vm_root_of(const struct plan *plan);

/* How many directories and files of the host the machine sees: binds, and perhaps its root. */
size_t vm_share_count(const struct plan *plan);

/* Finds virtiofsd; -ENOENT names the package. The caller frees *@ret. */
int vm_share_find(char **ret, struct err *err);

/*
 * Starts virtiofsd in a mount namespace of its own in which bind N of the plan is @dir/N and a
 * shared root @dir/root, and gives a socket connected to it in *@ret_fd (the caller's). A source
 * that is not there is an error, at once.
 * @inst is whose helper it is; @stderr_fd takes what virtiofsd complains about. 0 or -errno.
 */
int vm_share_start(const struct plan *plan, const struct instance *inst, const char *dir,
		   int stderr_fd, struct vm_helper *ret, int *ret_fd, struct err *err);

#endif
