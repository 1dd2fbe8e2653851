/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking into a kernel image. A bzImage is a real-mode header (the fields used here: 0x1f1
 * setup_sects, 0x202 "HdrS", 0x206 version, 0x20e kernel_version, 0x248 payload_offset, 0x24c
 * payload_length) with a packed ELF behind it. Unpacked once at import, the ELF starts through its
 * PVH entry, and no guest ever unpacks it again: under emulation that takes 0.3 s.
 */
#include <ctype.h>
#include <elf.h>
#include <string.h>
#include "util/mem.h"
#include "vm/kernel_internal.h"

#define HEADER_END 0x268

static uint32_t u32_at(const uint8_t *bytes, size_t at)
{
	uint32_t v;

	memcpy(&v, bytes + at, sizeof(v));
	return v;
}

static void find_tool(const uint8_t *bytes, struct kernel_payload *p)
{
	static const struct {
		uint8_t magic[6];
		uint8_t magic_len;
		uint8_t appended; /* bytes behind the packed data: its size unpacked, put there by
				     Kbuild */
		const char *tool, *package;
	} kinds[] = {
		{ { 0x02, 0x21, 0x4c, 0x18 }, 4, 4, "lz4", "lz4" },
		{ { 0x28, 0xb5, 0x2f, 0xfd }, 4, 4, "zstd", "zstd" },
		{ { 0xfd, '7', 'z', 'X', 'Z', 0 }, 6, 4, "xz", "xz-utils" },
		{ { 'B', 'Z', 'h' }, 3, 4, "bzip2", "bzip2" },
		{ { 0x1f, 0x8b }, 2, 0, "gzip", "gzip" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (p->length > kinds[i].appended + sizeof(kinds[i].magic) &&
		    !memcmp(bytes + p->offset, kinds[i].magic, kinds[i].magic_len)) {
			p->length -= kinds[i].appended;
			p->tool = kinds[i].tool;
			p->package = kinds[i].package;
			return;
		}
}

static bool is_bzimage(const uint8_t *bytes, size_t n)
{
	return n >= HEADER_END && !memcmp(bytes + 0x202, "HdrS", 4);
}

enum kernel_format kernel_format_of(const uint8_t *bytes, size_t n, struct kernel_payload *ret)
{
	size_t setup;

	*ret = (struct kernel_payload){ 0 };
	if (n >= sizeof(Elf64_Ehdr) && !memcmp(bytes, ELFMAG, SELFMAG))
		return KERNEL_ELF;
	if (!is_bzimage(bytes, n))
		return KERNEL_UNKNOWN;
	/* version 2.08 has the payload's place */
	if ((u32_at(bytes, 0x206) & 0xffff) < 0x208)
		return KERNEL_BZIMAGE;
	setup = ((size_t)(bytes[0x1f1] ? bytes[0x1f1] : 4) + 1) * 512;
	ret->length = u32_at(bytes, 0x24c);
	if (__builtin_add_overflow(setup, u32_at(bytes, 0x248), &ret->offset) || ret->offset > n ||
	    ret->length > n - ret->offset)
		*ret = (struct kernel_payload){ 0 };
	else
		find_tool(bytes, ret);
	return KERNEL_BZIMAGE;
}

/* One word of printable characters that may be a file name. */
static bool take_word(const uint8_t *p, size_t left, char *ret, size_t size)
{
	size_t k = 0;

	while (k < left && k + 1 < size && (isalnum(p[k]) || strchr("._+-", p[k] ? p[k] : ' '))) {
		ret[k] = (char)p[k];
		k++;
	}
	ret[k] = 0;
	return k > 0 && isdigit((unsigned char)ret[0]);
}

bool kernel_version_of(const uint8_t *bytes, size_t n, char *ret, size_t size)
{
	static const char mark[] = "Linux version ";
	const uint8_t *found;

	if (is_bzimage(bytes, n)) {
		size_t at = 0x200 + (u32_at(bytes, 0x20e) & 0xffff);

		return at < n && take_word(bytes + at, n - at, ret, size);
	}
	found = memmem(bytes, n, mark, sizeof(mark) - 1);
	if (!found)
		return false;
	found += sizeof(mark) - 1;
	return take_word(found, (size_t)(bytes + n - found), ret, size);
}
