/* SPDX-License-Identifier: Apache-2.0 */
/* From a kernel's file to memory that a processor can start in. */
#ifndef PROA_VMM_BOOT_BOOT_H
#define PROA_VMM_BOOT_BOOT_H

#include "vmm/memory.h"
#include "vmm/vcpu.h"

struct err;
struct vmm_config;

/* A kernel's file, mapped. */
struct boot_image {
	int fd;
	const uint8_t *bytes;
	size_t size;
	const char *name;
};

/* One piece of the memory map, as both protocols tell it (e820 types). */
struct boot_range {
	uint64_t start, bytes;
	uint32_t type;
};
#define BOOT_RAM	1
#define BOOT_RESERVED	2
#define BOOT_ACPI	3
#define BOOT_RANGES_MAX 8

/*
 * Puts kernel, initrd, command line and what the protocol needs into memory, and says where to
 * start. Errors name the file and what is wrong with it. 0 or -errno.
 */
int boot_load(const struct vmm_config *config, struct vmm_memory *m, struct vcpu_entry *ret,
	      struct err *err);

/* ---- between the files of this folder ---- */

/* What a loaded kernel is like. */
struct boot_kernel {
	gpa_t pvh_entry;    /* 0: none */
	gpa_t linux_entry;  /* of the 64-bit protocol; 0: none */
	gpa_t end;	    /* first free byte behind it */
	uint8_t setup[128]; /* bzImage: its setup header, from 0x1f1 on */
	size_t setup_bytes;
};

/* vmlinux. */
int boot_load_elf(const struct boot_image *image, struct vmm_memory *m, struct boot_kernel *ret,
		  struct err *err);
/* bzImage, to be unpacked by the guest itself. */
int boot_load_bzimage(const struct boot_image *image, struct vmm_memory *m, struct boot_kernel *ret,
		      struct err *err);
/* The ELF in a bzImage, as a file in the cache (unpack.c); -ENOENT: it cannot be unpacked here. */
int boot_unpack(const struct boot_image *image, int *ret_fd, struct err *err);

/* The memory map; the count. */
unsigned boot_ranges(const struct vmm_memory *m, struct boot_range ret[BOOT_RANGES_MAX]);

struct boot_files {
	gpa_t initrd;
	uint64_t initrd_bytes; /* 0: none */
	uint32_t cmdline_bytes;
};
int boot_write_pvh(const struct boot_kernel *k, const struct boot_files *f, struct vmm_memory *m,
		   struct vcpu_entry *ret);
int boot_write_linux(const struct boot_kernel *k, const struct boot_files *f, struct vmm_memory *m,
		     struct vcpu_entry *ret);

/* Puts bytes of a file into memory: a private mapping where it pays and offset and memory allow it,
 * else a copy (load.c says when). 0 or -errno. */
int boot_place(const struct boot_image *image, uint64_t offset, uint64_t bytes,
	       struct vmm_memory *m, gpa_t at);

#endif
