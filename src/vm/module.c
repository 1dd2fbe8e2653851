/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One module file: an ELF object (gABI, 64-bit, little-endian) with its facts as NUL-terminated
 * "key=value" strings in the section .modinfo, and perhaps a signature behind it
 * (linux/module_signature.h). Every offset is checked: the file may come from anywhere.
 */
#include "vm/module.h"

#include <elf.h>
#include <stdbool.h>
#include <string.h>
#include "util/mem.h"

#define SIGNATURE_MARK "~Module signature appended~\n"

struct elf {
	uint8_t *bytes;
	size_t n;
	Elf64_Ehdr h;
	Elf64_Shdr names;
};

static bool inside(const struct elf *e, uint64_t offset, uint64_t size)
{
	return offset <= e->n && size <= e->n - offset;
}

static bool section(const struct elf *e, unsigned i, Elf64_Shdr *ret)
{
	if (i >= e->h.e_shnum || !inside(e, e->h.e_shoff, (uint64_t)e->h.e_shnum * sizeof(*ret)))
		return false;
	memcpy(ret, e->bytes + e->h.e_shoff + i * sizeof(*ret), sizeof(*ret));
	return true;
}

static bool elf_open(struct elf *e, uint8_t *bytes, size_t n)
{
	*e = (struct elf){ .bytes = bytes, .n = n };
	if (n < sizeof(e->h))
		return false;
	memcpy(&e->h, bytes, sizeof(e->h));
	if (memcmp(e->h.e_ident, ELFMAG, SELFMAG) != 0 || e->h.e_ident[EI_CLASS] != ELFCLASS64 ||
	    e->h.e_ident[EI_DATA] != ELFDATA2LSB || e->h.e_shentsize != sizeof(Elf64_Shdr))
		return false;
	return section(e, e->h.e_shstrndx, &e->names) &&
	       inside(e, e->names.sh_offset, e->names.sh_size) && e->names.sh_size > 0 &&
	       bytes[e->names.sh_offset + e->names.sh_size - 1] == 0;
}

/* The section's header and where that is in the file; false: there is none of this name. */
static bool elf_find(const struct elf *e, const char *name, Elf64_Shdr *ret, size_t *ret_at)
{
	for (unsigned i = 0; i < e->h.e_shnum; i++) {
		Elf64_Shdr s;

		if (!section(e, i, &s) || s.sh_name >= e->names.sh_size ||
		    s.sh_type == SHT_NOBITS || !inside(e, s.sh_offset, s.sh_size))
			continue;
		if (strcmp((const char *)e->bytes + e->names.sh_offset + s.sh_name, name) != 0)
			continue;
		*ret = s;
		*ret_at = e->h.e_shoff + i * sizeof(s);
		return true;
	}
	return false;
}

const char *module_info(const uint8_t *bytes, size_t n, const char *key)
{
	struct elf e;
	Elf64_Shdr s;
	size_t at, len = strlen(key);
	const char *p, *end;

	if (!elf_open(&e, (uint8_t *)(uintptr_t)bytes, n) || !elf_find(&e, ".modinfo", &s, &at) ||
	    s.sh_size == 0 || bytes[s.sh_offset + s.sh_size - 1] != 0)
		return NULL;
	p = (const char *)bytes + s.sh_offset;
	for (end = p + s.sh_size; p < end; p += strlen(p) + 1)
		if (!strncmp(p, key, len) && p[len] == '=')
			return p + len + 1;
	return NULL;
}

size_t module_strip(uint8_t *bytes, size_t n)
{
	static const size_t mark = sizeof(SIGNATURE_MARK) - 1;
	struct elf e;
	Elf64_Shdr s;
	size_t at;

	/* behind the object: the signature, 12 bytes that end with its length (big-endian), the
	 * mark */
	if (n > mark + 12 && !memcmp(bytes + n - mark, SIGNATURE_MARK, mark)) {
		const uint8_t *p = bytes + n - mark - 4;
		size_t len = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];

		if (len <= n - mark - 12)
			n -= mark + 12 + len;
	}
	if (elf_open(&e, bytes, n) && elf_find(&e, ".BTF", &s, &at)) {
		/* without a name and a type it is neither found nor loaded */
		s.sh_name = 0;
		s.sh_flags = 0;
		s.sh_type = SHT_NULL;
		memcpy(bytes + at, &s, sizeof(s));
	}
	return n;
}
