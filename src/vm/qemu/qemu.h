/* SPDX-License-Identifier: Apache-2.0 */
/* QEMU's microvm machine: the command line for it, and which guest options make its boot short. */
#ifndef PROA_VM_QEMU_H
#define PROA_VM_QEMU_H

#include <stdbool.h>
#include <stdint.h>

struct err;

struct qemu_spec {
	const char *binary; /* absolute path of qemu-system-x86_64 */
	const char *kernel; /* an ELF with a PVH note, or a bzImage */
	const char *initramfs;
	const char *root_disk; /* EROFS, never written, shared by machines; NULL: none */
	const char *own_disk;  /* ext4, of this machine alone; NULL: none */
	const char *image;     /* a disk with a root of any kind; NULL: none */
	bool image_read_only;
	const char *parameters; /* more words for the kernel's command line, NULL: none */
	char *const *more_args; /* more of QEMU's own, NULL: none */
	uint64_t memory_bytes;
	uint32_t cpus;
	bool kvm;	      /* else software emulation */
	uint64_t tsc_khz;     /* rate of the host's time stamp counter, 0: unknown */
	int agent_fd;	      /* a connected socket: the agent's port */
	int share_fd;	      /* a socket connected to virtiofsd; -1: no share */
	bool verbose_console; /* the kernel says all it does */
};

/* The argument vector, the caller's to free with strv_free(). The serial console is standard
 * output. 0 or -ENOMEM. */
int qemu_command(const struct qemu_spec *spec, char ***ret);

/* Finds qemu-system-x86_64 in PATH. -ENOENT names the package to install. */
int qemu_find(char **ret, struct err *err);
/* The same, or the one at @path, if that is not NULL. */
int qemu_choose(const char *path, char **ret, struct err *err);

/* The guest kernel's command line; the caller's to free. NULL: out of memory. */
char *qemu_kernel_command_line(const struct qemu_spec *spec);

#endif
