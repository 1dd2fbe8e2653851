/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bzImage that unpacks itself in the guest, by the 64-bit boot protocol
 * (Documentation/x86/boot.rst): protocol 2.12 or later with XLF_KERNEL_64; the protected-mode part
 * goes to the address that the header prefers, and starts 0x200 bytes behind it.
 */
#include <errno.h>
#include <string.h>
#include "util/err.h"
#include "util/mem.h"
#include "vmm/boot/boot.h"
#include "vmm/layout.h"

#define SETUP_START  0x1f1
#define SETUP_SECTS  0x1f1
#define SETUP_JUMP   0x201 /* length of the header: its end is 0x202 + this byte */
#define VERSION	     0x206
#define XLOADFLAGS   0x236
#define PREF_ADDRESS 0x258
#define INIT_SIZE    0x260
#define KERNEL_64    1
#define ENTRY_64     0x200

static uint64_t field(const struct boot_image *image, size_t at, size_t bytes)
{
	uint64_t v = 0;

	memcpy(&v, image->bytes + at, bytes);
	return v;
}

int boot_load_bzimage(const struct boot_image *image, struct vmm_memory *m, struct boot_kernel *ret,
		      struct err *err)
{
	uint64_t sectors = field(image, SETUP_SECTS, 1), version = field(image, VERSION, 2);
	uint64_t start = ((sectors ? sectors : 4) + 1) * 512, at = field(image, PREF_ADDRESS, 8);
	uint64_t need = field(image, INIT_SIZE, 4);
	size_t setup = 0x202 + field(image, SETUP_JUMP, 1) - SETUP_START;
	int r;

	if (version < 0x20c || !(field(image, XLOADFLAGS, 2) & KERNEL_64))
		return err_set(err, ENOEXEC,
			       "the kernel \"%s\" has no 64-bit entry (boot protocol %llu.%llu)",
			       image->name, (unsigned long long)version >> 8,
			       (unsigned long long)version & 255);
	if (start >= image->size || at < LAYOUT_KERNEL_MIN)
		return err_set(err, ENOEXEC,
			       "the kernel \"%s\" is damaged: its header points out "
			       "of it",
			       image->name);
	if (!memory_at(m, at, MAX(need, image->size - start)))
		return err_set(err, ENOMEM,
			       "the kernel \"%s\" does not fit into the machine's memory: it needs "
			       "more than %llu MiB",
			       image->name, (unsigned long long)((at + need) >> 20));
	ret->setup_bytes = MIN(setup, sizeof(ret->setup));
	memcpy(ret->setup, image->bytes + SETUP_START, ret->setup_bytes);
	r = boot_place(image, start, image->size - start, m, at);
	if (r < 0)
		return err_sys(err, -r, "read the kernel \"%s\"", image->name);
	ret->linux_entry = at + ENTRY_64;
	ret->end = at + MAX(need, image->size - start);
	return 0;
}
