/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a kernel finds at its start: PVH (Xen's docs/misc/pvh.pandoc, start_info.h) or Linux's
 * 64-bit boot protocol (Documentation/x86/boot.rst and zero-page.rst). Structures are written here
 * by their offsets, which are the specifications'.
 */
#include <errno.h>
#include <string.h>
#include "util/mem.h"
#include "vmm/boot/boot.h"
#include "vmm/layout.h"

/* ---- PVH ------------------------------------------------------------------------------------ */

struct pvh_start_info {
	uint32_t magic, version, flags, nr_modules;
	uint64_t modlist, cmdline, rsdp, memmap;
	uint32_t memmap_entries, reserved;
};
struct pvh_module {
	uint64_t start, bytes, cmdline, reserved;
};
struct pvh_range {
	uint64_t start, bytes;
	uint32_t type, reserved;
};
#define PVH_MAGIC 0x336ec578

int boot_write_pvh(const struct boot_kernel *k, const struct boot_files *f, struct vmm_memory *m,
		   struct vcpu_entry *ret)
{
	struct boot_range ranges[BOOT_RANGES_MAX];
	struct pvh_start_info info = {
		.magic = PVH_MAGIC, .version = 1, .cmdline = LAYOUT_CMDLINE, .rsdp = LAYOUT_ACPI
	};
	struct pvh_module module = { .start = f->initrd, .bytes = f->initrd_bytes };
	gpa_t at = LAYOUT_START_INFO + sizeof(info);

	info.nr_modules = f->initrd_bytes ? 1 : 0;
	info.modlist = at;
	memory_write(m, at, &module, sizeof(module));
	at += sizeof(module);
	info.memmap = at;
	info.memmap_entries = boot_ranges(m, ranges);
	for (unsigned i = 0; i < info.memmap_entries; i++, at += sizeof(struct pvh_range)) {
		struct pvh_range r = { .start = ranges[i].start,
				       .bytes = ranges[i].bytes,
				       .type = ranges[i].type };

		memory_write(m, at, &r, sizeof(r));
	}
	memory_write(m, LAYOUT_START_INFO, &info, sizeof(info));
	*ret = (struct vcpu_entry){ .ip = k->pvh_entry, .info = LAYOUT_START_INFO };
	return 0;
}

/* ---- Linux ---------------------------------------------------------------------------------- */

#define ZP_RSDP		  0x070
#define ZP_E820_ENTRIES	  0x1e8
#define ZP_SETUP	  0x1f1
#define ZP_BOOT_FLAG	  0x1fe
#define ZP_HEADER	  0x202
#define ZP_VERSION	  0x206
#define ZP_LOADER	  0x210
#define ZP_LOADFLAGS	  0x211
#define ZP_RAMDISK	  0x218
#define ZP_RAMDISK_BYTES  0x21c
#define ZP_CMDLINE	  0x228
#define ZP_ALIGNMENT	  0x230
#define ZP_CMDLINE_BYTES  0x238
#define ZP_E820		  0x2d0
#define LOADER_UNASSIGNED 0xff
#define LOADED_HIGH	  0x01
#define E820_BYTES	  20

static void put(uint8_t *page, size_t at, uint64_t value, size_t bytes)
{
	memcpy(page + at, &value, bytes);
}

/* The first 4 GiB, each byte at its own address, by pages of 2 MiB. */
static void write_page_tables(struct vmm_memory *m)
{
	uint8_t *tables = memory_at(m, LAYOUT_PAGE_TABLES, 6 * 4096);
	gpa_t pdpt = LAYOUT_PAGE_TABLES + 4096, pd = pdpt + 4096;

	put(tables, 0, pdpt | 3, 8);
	for (unsigned i = 0; i < 4; i++)
		put(tables, 4096 + i * 8, (pd + i * 4096ull) | 3, 8);
	for (unsigned i = 0; i < 4 * 512; i++)
		put(tables, 2 * 4096 + i * 8, ((uint64_t)i << 21) | 0x83, 8);
}

int boot_write_linux(const struct boot_kernel *k, const struct boot_files *f, struct vmm_memory *m,
		     struct vcpu_entry *ret)
{
	struct boot_range ranges[BOOT_RANGES_MAX];
	unsigned n = boot_ranges(m, ranges);
	uint8_t *page = memory_at(m, LAYOUT_ZERO_PAGE, 4096);

	memset(page, 0, 4096);
	if (k->setup_bytes) {
		memcpy(page + ZP_SETUP, k->setup, k->setup_bytes);
	} else {
		put(page, ZP_BOOT_FLAG, 0xaa55, 2);
		memcpy(page + ZP_HEADER, "HdrS", 4);
		put(page, ZP_VERSION, 0x20c, 2);
		put(page, ZP_ALIGNMENT, 0x1000000, 4);
		put(page, ZP_CMDLINE_BYTES, LAYOUT_CMDLINE_MAX - 1, 4);
	}
	page[ZP_LOADER] = LOADER_UNASSIGNED;
	page[ZP_LOADFLAGS] |= LOADED_HIGH;
	put(page, ZP_CMDLINE, LAYOUT_CMDLINE, 4);
	put(page, ZP_RAMDISK, f->initrd_bytes ? f->initrd : 0, 4);
	put(page, ZP_RAMDISK_BYTES, f->initrd_bytes, 4);
	put(page, ZP_RSDP, LAYOUT_ACPI, 8);
	page[ZP_E820_ENTRIES] = (uint8_t)n;
	for (unsigned i = 0; i < n; i++) {
		put(page, ZP_E820 + i * E820_BYTES, ranges[i].start, 8);
		put(page, ZP_E820 + i * E820_BYTES + 8, ranges[i].bytes, 8);
		put(page, ZP_E820 + i * E820_BYTES + 16, ranges[i].type, 4);
	}
	write_page_tables(m);
	*ret = (struct vcpu_entry){ .long_mode = true,
				    .ip = k->linux_entry,
				    .info = LAYOUT_ZERO_PAGE };
	return 0;
}
