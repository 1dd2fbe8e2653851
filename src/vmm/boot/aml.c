/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/boot/aml.h"

#include <string.h>

#define ZERO_OP	  0x00
#define ONE_OP	  0x01
#define NAME_OP	  0x08
#define BYTE_OP	  0x0a
#define WORD_OP	  0x0b
#define DWORD_OP  0x0c
#define STRING_OP 0x0d
#define QWORD_OP  0x0e
#define SCOPE_OP  0x10
#define BUFFER_OP 0x11
#define METHOD_OP 0x14
#define EXT_OP	  0x5b
#define DEVICE_OP 0x82

void aml_byte(struct str_buf *b, uint8_t v)
{
	str_buf_add(b, &v, 1);
}

void aml_word(struct str_buf *b, uint16_t v)
{
	str_buf_add(b, &v, 2);
}

void aml_dword(struct str_buf *b, uint32_t v)
{
	str_buf_add(b, &v, 4);
}

void aml_qword(struct str_buf *b, uint64_t v)
{
	str_buf_add(b, &v, 8);
}

size_t aml_open(struct str_buf *b)
{
	size_t at = b->len;

	aml_dword(b, 0);
	return at;
}

void aml_close(struct str_buf *b, size_t at)
{
	size_t n;
	uint8_t *p;

	if (b->failed)
		return;
	/* section 20.2.4: the length counts itself; always in its four-byte form */
	n = b->len - at;
	p = (uint8_t *)b->data + at;
	p[0] = (uint8_t)(0xc0 | (n & 0x0f));
	p[1] = (uint8_t)(n >> 4);
	p[2] = (uint8_t)(n >> 12);
	p[3] = (uint8_t)(n >> 20);
}

size_t aml_scope(struct str_buf *b, const char *name)
{
	size_t at;

	aml_byte(b, SCOPE_OP);
	at = aml_open(b);
	str_buf_puts(b, name);
	return at;
}

size_t aml_device(struct str_buf *b, const char *name)
{
	size_t at;

	aml_byte(b, EXT_OP);
	aml_byte(b, DEVICE_OP);
	at = aml_open(b);
	str_buf_puts(b, name);
	return at;
}

size_t aml_method(struct str_buf *b, const char *name, uint8_t args)
{
	size_t at;

	aml_byte(b, METHOD_OP);
	at = aml_open(b);
	str_buf_puts(b, name);
	aml_byte(b, args);
	return at;
}

void aml_name(struct str_buf *b, const char *name)
{
	aml_byte(b, NAME_OP);
	str_buf_puts(b, name);
}

void aml_integer(struct str_buf *b, uint64_t v)
{
	if (v < 2) {
		aml_byte(b, v ? ONE_OP : ZERO_OP);
	} else if (v <= UINT8_MAX) {
		aml_byte(b, BYTE_OP);
		aml_byte(b, (uint8_t)v);
	} else if (v <= UINT16_MAX) {
		aml_byte(b, WORD_OP);
		aml_word(b, (uint16_t)v);
	} else if (v <= UINT32_MAX) {
		aml_byte(b, DWORD_OP);
		aml_dword(b, (uint32_t)v);
	} else {
		aml_byte(b, QWORD_OP);
		aml_qword(b, v);
	}
}

void aml_string(struct str_buf *b, const char *s)
{
	aml_byte(b, STRING_OP);
	str_buf_add(b, s, strlen(s) + 1);
}

static uint32_t hex_digit(char c)
{
	return c <= '9' ? (uint32_t)(c - '0') : (uint32_t)(c - 'A' + 10);
}

void aml_eisa_id(struct str_buf *b, const char *id)
{
	/* three letters of five bits, four hexadecimal digits, most significant byte first */
	uint32_t v = (uint32_t)(id[0] - '@') << 26 | (uint32_t)(id[1] - '@') << 21 |
		     (uint32_t)(id[2] - '@') << 16 | hex_digit(id[3]) << 12 |
		     hex_digit(id[4]) << 8 | hex_digit(id[5]) << 4 | hex_digit(id[6]);

	aml_byte(b, DWORD_OP);
	aml_dword(b, __builtin_bswap32(v));
}

/* ---- resources (section 6.4) ---------------------------------------------------------------- */

struct aml_resources aml_resources_open(struct str_buf *b)
{
	struct aml_resources r;

	aml_name(b, "_CRS");
	aml_byte(b, BUFFER_OP);
	r.buffer = aml_open(b);
	aml_byte(b, WORD_OP);
	r.size_at = b->len;
	aml_word(b, 0);
	r.start = b->len;
	return r;
}

void aml_resources_close(struct str_buf *b, const struct aml_resources *r)
{
	uint16_t n;

	aml_byte(b, 0x79); /* end tag; a checksum of zero is taken as right */
	aml_byte(b, 0);
	if (b->failed)
		return;
	n = (uint16_t)(b->len - r->start);
	memcpy(b->data + r->size_at, &n, 2);
	aml_close(b, r->buffer);
}

void aml_memory32(struct str_buf *b, uint32_t start, uint32_t bytes)
{
	aml_byte(b, 0x86);
	aml_word(b, 9);
	aml_byte(b, 1); /* read and write */
	aml_dword(b, start);
	aml_dword(b, bytes);
}

void aml_io(struct str_buf *b, uint16_t port, uint8_t count)
{
	aml_byte(b, 0x47);
	aml_byte(b, 1); /* decodes 16 bits */
	aml_word(b, port);
	aml_word(b, port);
	aml_byte(b, 1);
	aml_byte(b, count);
}

void aml_interrupt(struct str_buf *b, uint32_t gsi)
{
	aml_byte(b, 0x89);
	aml_word(b, 6);
	aml_byte(b, 0x03); /* consumer, edge, active high, exclusive */
	aml_byte(b, 1);
	aml_dword(b, gsi);
}

void aml_window(struct str_buf *b, uint8_t kind, uint32_t min, uint32_t max)
{
	bool bus = kind == 2;

	/* a WORD address space descriptor for bus numbers, a DWORD one else */
	aml_byte(b, bus ? 0x88 : 0x87);
	aml_word(b, bus ? 13 : 23);
	aml_byte(b, kind);
	aml_byte(b, 0x0c);				/* producer, both ends fixed */
	aml_byte(b, kind == 0 ? 1 : kind == 1 ? 3 : 0); /* writable, not cached; whole range */
	for (int i = 0; i < 5; i++) {
		/* granularity, minimum, maximum, offset, length */
		uint32_t v = i == 1 ? min : i == 2 ? max : i == 4 ? max - min + 1 : 0;

		if (bus)
			aml_word(b, (uint16_t)v);
		else
			aml_dword(b, v);
	}
}
