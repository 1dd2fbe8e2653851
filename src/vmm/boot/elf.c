/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vmlinux: its loadable segments at their physical addresses, and its PVH entry, which a note
 * tells (Xen's public elfnote.h: name "Xen", type 18). All header fields are checked against the
 * file's and the memory's size.
 */
#include <elf.h>
#include <errno.h>
#include <string.h>
#include "util/err.h"
#include "util/mem.h"
#include "vmm/boot/boot.h"
#include "vmm/layout.h"

#define NOTE_PHYS32_ENTRY 18
#define SEGMENTS_MAX	  64

static size_t align4(size_t n)
{
	return (n + 3) & ~(size_t)3;
}

/* The entry in a segment of notes; 0: none. */
static gpa_t find_note(const uint8_t *at, size_t left)
{
	Elf64_Nhdr h;

	while (left >= sizeof(h)) {
		size_t name, desc;
		uint32_t entry;

		memcpy(&h, at, sizeof(h));
		name = align4(h.n_namesz);
		desc = align4(h.n_descsz);
		left -= sizeof(h);
		at += sizeof(h);
		if (name > left || desc > left - name)
			return 0;
		if (h.n_type == NOTE_PHYS32_ENTRY && h.n_namesz == 4 && !memcmp(at, "Xen", 4) &&
		    h.n_descsz >= sizeof(entry)) {
			memcpy(&entry, at + name, sizeof(entry));
			return entry;
		}
		at += name + desc;
		left -= name + desc;
	}
	return 0;
}

static int load_segment(const struct boot_image *image, const Elf64_Phdr *p, struct vmm_memory *m,
			struct err *err)
{
	uint8_t *to = memory_at(m, p->p_paddr, p->p_memsz);
	int r;

	if (p->p_filesz > p->p_memsz || p->p_paddr < LAYOUT_KERNEL_MIN)
		return err_set(err, ENOEXEC,
			       "the kernel \"%s\" is damaged: a segment lies about "
			       "its size or place",
			       image->name);
	if (!to)
		return err_set(err, ENOMEM,
			       "the kernel \"%s\" does not fit into the machine's memory: it needs "
			       "more than %llu MiB",
			       image->name, (unsigned long long)((p->p_paddr + p->p_memsz) >> 20));
	r = boot_place(image, p->p_offset, p->p_filesz, m, p->p_paddr);
	/* what lies behind is zero, for memory is fresh and only whole pages are mapped */
	return r < 0 ? err_sys(err, -r, "read the kernel \"%s\"", image->name) : 0;
}

static int check_header(const struct boot_image *image, const Elf64_Ehdr *h, struct err *err)
{
	if (h->e_ident[EI_CLASS] != ELFCLASS64 || h->e_ident[EI_DATA] != ELFDATA2LSB ||
	    h->e_machine != EM_X86_64)
		return err_set(err, ENOEXEC,
			       "the kernel \"%s\" is for another kind of processor; this is x86-64",
			       image->name);
	if (h->e_type != ET_EXEC && h->e_type != ET_DYN)
		return err_set(err, ENOEXEC, "\"%s\" is an ELF, but not a kernel", image->name);
	if (h->e_phentsize != sizeof(Elf64_Phdr) || h->e_phnum == 0 || h->e_phnum > SEGMENTS_MAX ||
	    h->e_phoff > image->size ||
	    (size_t)h->e_phnum * sizeof(Elf64_Phdr) > image->size - h->e_phoff)
		return err_set(err, ENOEXEC,
			       "the kernel \"%s\" is damaged: its program headers "
			       "lie outside of it",
			       image->name);
	return 0;
}

int boot_load_elf(const struct boot_image *image, struct vmm_memory *m, struct boot_kernel *ret,
		  struct err *err)
{
	Elf64_Ehdr h;
	int r;

	if (image->size < sizeof(h))
		return err_set(err, ENOEXEC, "\"%s\" is too short for a kernel", image->name);
	memcpy(&h, image->bytes, sizeof(h));
	r = check_header(image, &h, err);
	for (unsigned i = 0; r == 0 && i < h.e_phnum; i++) {
		Elf64_Phdr p;

		memcpy(&p, image->bytes + h.e_phoff + i * sizeof(p), sizeof(p));
		if (p.p_type == PT_INTERP)
			r = err_set(err, ENOEXEC, "\"%s\" is a program, not a kernel", image->name);
		else if (p.p_type == PT_LOAD && p.p_memsz) {
			r = load_segment(image, &p, m, err);
			ret->end = MAX(ret->end, p.p_paddr + p.p_memsz);
		} else if (p.p_type == PT_NOTE && p.p_offset <= image->size &&
			   p.p_filesz <= image->size - p.p_offset && !ret->pvh_entry) {
			ret->pvh_entry = find_note(image->bytes + p.p_offset, p.p_filesz);
		}
	}
	if (r < 0)
		return r;
	if (!ret->end)
		return err_set(err, ENOEXEC, "\"%s\" is an ELF, but has nothing to load",
			       image->name);
	/* a vmlinux starts in 64-bit mode at its physical entry */
	if (h.e_type == ET_EXEC && h.e_entry >= LAYOUT_KERNEL_MIN && h.e_entry < ret->end)
		ret->linux_entry = h.e_entry;
	return 0;
}
