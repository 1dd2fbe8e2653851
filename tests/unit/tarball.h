/* SPDX-License-Identifier: Apache-2.0 */
/* Tar archives byte by byte, so that a test can write what no honest tool would. */
#ifndef PROA_TESTS_TARBALL_H
#define PROA_TESTS_TARBALL_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include "util/str.h"

static inline size_t tarball_min(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* A header as it is: @size is what it claims. */
static inline void tarball_header(struct str_buf *b, const char *name, char type, const char *link,
				  const char *size_field, unsigned mode)
{
	char h[512] = { 0 };
	unsigned sum = 0;

	memcpy(h, name, tarball_min(strlen(name), 100));
	snprintf(h + 100, 8, "%07o", mode);
	memcpy(h + 108, "0000000", 7);
	memcpy(h + 116, "0000000", 7);
	memcpy(h + 124, size_field, tarball_min(strlen(size_field), 12));
	memcpy(h + 136, "14500000000", 11);
	h[156] = type;
	memcpy(h + 157, link, tarball_min(strlen(link), 100));
	memcpy(h + 257, "ustar\00000", 8);
	memset(h + 148, ' ', 8);
	for (size_t i = 0; i < sizeof(h); i++)
		sum += (unsigned char)h[i];
	snprintf(h + 148, 8, "%06o", sum);
	str_buf_add(b, h, sizeof(h));
}

static inline void tarball_data(struct str_buf *b, const void *bytes, size_t n)
{
	static const char zeros[512];

	str_buf_add(b, bytes, n);
	str_buf_add(b, zeros, (512 - n % 512) % 512);
}

static inline void tarball_file(struct str_buf *b, const char *name, const char *text)
{
	char size[32];

	snprintf(size, sizeof(size), "%011zo", strlen(text));
	tarball_header(b, name, '0', "", size, 0644);
	tarball_data(b, text, strlen(text));
}

static inline void tarball_other(struct str_buf *b, const char *name, char type, const char *link)
{
	tarball_header(b, name, type, link, "00000000000", type == '5' ? 0755 : 0644);
}

/* One PAX record for the entry that follows; @n bytes of @value. */
static inline void tarball_pax(struct str_buf *b, const char *key, const void *value, size_t n)
{
	struct str_buf record = { 0 };
	char size[32];
	size_t len = strlen(key) + n + 3, digits = len + 3 > 999 ? 4 : len + 2 > 99 ? 3 : 2;

	str_buf_printf(&record, "%zu %s=", len + digits, key);
	str_buf_add(&record, value, n);
	str_buf_puts(&record, "\n");
	snprintf(size, sizeof(size), "%011zo", record.len);
	tarball_header(b, "pax", 'x', "", size, 0644);
	tarball_data(b, record.data, record.len);
	str_buf_done(&record);
}

static inline void tarball_end(struct str_buf *b)
{
	static const char zeros[1024];

	str_buf_add(b, zeros, sizeof(zeros));
}

#endif
