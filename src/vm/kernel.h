/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel store: STORE/kernels/NAME holds one guest kernel:
 *
 *     vmlinux     the kernel as an ELF, unpacked once (or a bzImage that could not be)
 *     modules/    its modules as the package had them, with a modules.dep of our own
 *     info.json   version, source, time of import
 *     initramfs-… made from proa-init and the modules a machine needs, at first use
 *
 * and STORE/kernels/default is a symbolic link to the one that is used unless another is asked for.
 * A kernel is written under a temporary name and renamed: it is there whole or not at all.
 */
#ifndef PROA_VM_KERNEL_H
#define PROA_VM_KERNEL_H

#include <jansson.h>
#include <stdbool.h>

struct err;

#define KERNEL_DIR	  "kernels"
#define KERNEL_DEFAULT	  "default"
#define KERNEL_NAME_MAX	  64
#define KERNEL_IMAGE_NAME "vmlinux"

struct vm_kernel {
	char *dir;   /* absolute; NULL: an image outside of the store, without modules */
	char *image; /* absolute */
};
void vm_kernel_done(struct vm_kernel *k);

/*
 * The kernel called @name in the store at @store, the default one (@name NULL or ""), or, if the
 * name has a slash, the image at that path. -ENOENT says how to get one. Release with
 * vm_kernel_done().
 */
int vm_kernel_find(const char *store, const char *name, struct vm_kernel *ret, struct err *err);

enum kernel_use {
	KERNEL_SHARE = 1 << 0, /* the machine shares directories with the host */
	KERNEL_IMAGE = 1 << 1, /* its root is a disk image of some file system */
};

/*
 * The initramfs for this kernel: proa-init at @init, and the modules for a machine (@uses: enum
 * kernel_use). Made if it is not there. The caller frees *@ret.
 */
int vm_kernel_initramfs(const char *store, const struct vm_kernel *k, const char *init,
			unsigned uses, char **ret, struct err *err);

/* An array of objects, sorted by name: Name, Version, Source, Created (RFC 3339), Size (bytes),
 * Default. */
int vm_kernel_list(const char *store, json_t **ret, struct err *err);
int vm_kernel_set_default(const char *store, const char *name, struct err *err);
int vm_kernel_remove(const char *store, const char *name, struct err *err);

struct vm_kernel_import {
	const char *source;  /* a .deb, or an image (vmlinuz, vmlinux) */
	const char *modules; /* directory of its modules, or NULL; a .deb has its own */
	const char *name;    /* NULL: taken from the version */
	const char *origin;  /* what info.json says of where it is from; NULL: @source */
};

/* Imports, and makes it the default if it is the first. *@ret_name is the caller's to free. */
int vm_kernel_import(const char *store, const struct vm_kernel_import *what, char **ret_name,
		     struct err *err);

/*
 * Downloads the newest cloud kernel of this Debian with apt-get and imports it; nothing is
 * downloaded when it is there already. @progress (may be NULL) is called with a line for each step.
 */
int vm_kernel_pull(const char *store, void (*progress)(const char *line), char **ret_name,
		   struct err *err);

struct vm_kernel_build {
	const char
		*source; /* a directory, archive or package; NULL: the distribution's, by apt-get */
	const char *fragment; /* the options that are on; NULL: ours */
	const char *name;     /* NULL: its version */
	const char *keep; /* build in this directory and leave it; NULL: in one that is removed */
	unsigned jobs;	  /* 0: one per CPU */
};

/*
 * Compiles a kernel and imports it. Takes minutes and 1.6 GB; SIGINT, SIGTERM and SIGHUP break it
 * off without a trace (-EINTR, with the exit code in @err).
 */
int vm_kernel_build(const char *store, const struct vm_kernel_build *what,
		    void (*progress)(const char *line), char **ret_name, struct err *err);

#endif
