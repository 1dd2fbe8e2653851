/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A kernel as small as it can be: what the program headers load, and nothing else of the ELF. The
 * linker puts the parts of an x86 kernel at multiples of 2 MiB and fills the file up to them, in
 * our kernel more than half of it; here each such stretch is left out and becomes memory of the
 * segment before it that the file does not fill (p_memsz above p_filesz), as .bss is. A start
 * reads, and copies into the guest, so much less. Where the filler was int3, between code that
 * nothing jumps to, there are zeros then.
 */
#include <elf.h>
#include <errno.h>
#include <string.h>
#include "util/err.h"
#include "util/mem.h"
#include "util/str.h"
#include "vm/kernel_internal.h"

#define PAGE	     4096u
#define INT3	     0xccu
#define GAP_MIN	     (16 * PAGE) /* a shorter stretch costs less than a header and a step */
#define SEGMENTS_MAX 64

struct pack {
	const uint8_t *bytes;
	size_t n;
	Elf64_Ehdr h;
	Elf64_Phdr out[SEGMENTS_MAX];
	const uint8_t *data[SEGMENTS_MAX]; /* what out[i] has in the file */
	unsigned count;
};

/* Nothing but one of the two bytes that a linker fills with: zero, and int3 between code. */
static bool is_filler(const uint8_t *p, size_t n)
{
	return n == 0 || ((p[0] == 0 || p[0] == INT3) && !memcmp(p, p + 1, n - 1));
}

static int add(struct pack *p, const Elf64_Phdr *from, uint64_t at, uint64_t filesz, uint64_t memsz)
{
	if (p->count == SEGMENTS_MAX)
		return -E2BIG;
	p->out[p->count] = *from;
	p->out[p->count].p_vaddr += at;
	p->out[p->count].p_paddr += at;
	p->out[p->count].p_filesz = filesz;
	p->out[p->count].p_memsz = memsz;
	/* of a note it says where its parts are */
	if (from->p_type == PT_LOAD)
		p->out[p->count].p_align = PAGE;
	p->data[p->count++] = p->bytes + from->p_offset + at;
	return 0;
}

/* Where the filler that starts at @at ends, in whole pages or at the end. */
static uint64_t filler_end(const uint8_t *data, uint64_t at, uint64_t size)
{
	while (at < size) {
		uint64_t step = size - at < PAGE ? size - at : PAGE;

		if (!is_filler(data + at, step))
			break;
		at += step;
	}
	return at;
}

/* One PT_LOAD into as many as it has stretches between long rows of filler. */
static int split(struct pack *p, const Elf64_Phdr *s)
{
	const uint8_t *data = p->bytes + s->p_offset;
	uint64_t start = 0, at = 0;

	for (;;) {
		uint64_t end = filler_end(data, at, s->p_filesz);

		if (end == s->p_filesz)
			return add(p, s, start, at - start, s->p_memsz - start);
		if (end - at >= GAP_MIN) {
			int r = add(p, s, start, at - start, end - start);

			if (r < 0)
				return r;
			start = end;
		}
		/* on to the next page: this one has something in it, or the row was too short */
		at = (end > at ? end : at) + PAGE;
		if (at > s->p_filesz)
			at = s->p_filesz;
	}
}

static int read_segments(struct pack *p)
{
	int r = 0;

	if (p->n < sizeof(p->h))
		return -ENOEXEC;
	memcpy(&p->h, p->bytes, sizeof(p->h));
	if (memcmp(p->h.e_ident, ELFMAG, SELFMAG) != 0 || p->h.e_ident[EI_CLASS] != ELFCLASS64 ||
	    p->h.e_phentsize != sizeof(Elf64_Phdr) || p->h.e_phoff > p->n ||
	    (p->n - p->h.e_phoff) / sizeof(Elf64_Phdr) < p->h.e_phnum)
		return -ENOEXEC;
	for (unsigned i = 0; r == 0 && i < p->h.e_phnum; i++) {
		Elf64_Phdr s;

		memcpy(&s, p->bytes + p->h.e_phoff + i * sizeof(s), sizeof(s));
		if (s.p_type != PT_LOAD && s.p_type != PT_NOTE)
			continue;
		if (s.p_offset > p->n || s.p_filesz > p->n - s.p_offset || s.p_memsz < s.p_filesz)
			return -ENOEXEC;
		/* of a note the loader reads the file; it lies in a segment, too */
		r = s.p_type == PT_LOAD ? split(p, &s) : add(p, &s, 0, s.p_filesz, s.p_memsz);
	}
	return r;
}

int kernel_pack(const uint8_t *bytes, size_t n, struct str_buf *ret, struct err *err)
{
	static const uint8_t zeros[PAGE];
	struct pack p = { .bytes = bytes, .n = n };
	int r = read_segments(&p);
	uint64_t at;

	if (r < 0 || p.count == 0)
		return err_set(err, ENOEXEC, "what was built is not a kernel that can be loaded");
	at = PAGE;
	for (unsigned i = 0; i < p.count; i++) {
		/* as the address within its page, so that a loader may map it */
		at = (at + PAGE - 1) / PAGE * PAGE + p.out[i].p_vaddr % PAGE;
		p.out[i].p_offset = at;
		at += p.out[i].p_filesz;
	}
	p.h.e_phoff = sizeof(p.h);
	p.h.e_phnum = (Elf64_Half)p.count;
	p.h.e_shoff = 0;
	p.h.e_shnum = p.h.e_shstrndx = 0;
	str_buf_add(ret, &p.h, sizeof(p.h));
	str_buf_add(ret, p.out, p.count * sizeof(*p.out));
	for (unsigned i = 0; i < p.count && !ret->failed; i++) {
		while (ret->len < p.out[i].p_offset) {
			size_t left = p.out[i].p_offset - ret->len;

			str_buf_add(ret, zeros, left < PAGE ? left : PAGE);
			if (ret->failed)
				break;
		}
		str_buf_add(ret, p.data[i], p.out[i].p_filesz);
	}
	return ret->failed ? err_set(err, ENOMEM, "out of memory") : 0;
}
