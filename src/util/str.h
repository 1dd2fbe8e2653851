/* SPDX-License-Identifier: Apache-2.0 */
/* Strings: vectors, a growing buffer, numbers and sizes as people write and read them. */
#ifndef PROA_UTIL_STR_H
#define PROA_UTIL_STR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A growing byte buffer; always NUL-terminated once something was added. Zero-initialise,
 * str_buf_done(). */
struct str_buf {
	char *data;
	size_t len, cap;
	bool failed; /* an allocation failed; every later call does nothing, check once at the end
		      */
};

void str_buf_done(struct str_buf *b);
void str_buf_add(struct str_buf *b, const void *bytes, size_t n);
void str_buf_puts(struct str_buf *b, const char *s);
void str_buf_printf(struct str_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Length of a NULL-terminated vector (NULL counts as empty). */
size_t strv_len(char *const *v);
/* Appends a copy of @s to the vector (*@v may be NULL). Returns 0 or -ENOMEM. */
int strv_add(char ***v, const char *s);
/* Appends @s itself, which the vector then owns; frees it when it fails. */
int strv_take(char ***v, char *s);
/* A deep copy; NULL when out of memory. A NULL vector copies to an empty one. */
char **strv_copy(char *const *v);
/* The value of NAME in a vector of NAME=value, or NULL. Not a copy. */
const char *strv_env_get(char *const *v, const char *name);
/* Puts NAME=value into the vector, in the place of an earlier NAME. Returns 0 or -ENOMEM. */
int strv_env_set(char ***v, const char *assignment);

bool str_starts(const char *s, const char *prefix);
bool str_ends(const char *s, const char *suffix);
static inline bool str_empty(const char *s)
{
	return !s || !*s;
}

/* Whole-string decimal numbers; 0 or -EINVAL/-ERANGE. No sign, no white space, no empty string. */
int str_to_u64(const char *s, uint64_t *ret);
int str_to_u32(const char *s, uint32_t *ret);
int str_to_i64(const char *s, int64_t *ret);

/*
 * Sizes as Docker takes them: a number, maybe with a fraction, and b, k, m, g, t (or kb, kib …;
 * powers of 1024 each). 0 or -EINVAL/-ERANGE.
 */
int str_to_bytes(const char *s, uint64_t *ret_bytes);

/* "142MB", "1.3GB" as Docker prints sizes (powers of 1000). @buf holds at least 16 bytes; returns
 * it. */
char *str_human_bytes(uint64_t bytes, char buf[16]);
/* "256MiB" (powers of 1024), for memory. */
char *str_human_mib(uint64_t bytes, char buf[16]);
/* "3 minutes ago" for @then_s seconds since the epoch. @buf holds 48 bytes. */
char *str_human_ago(int64_t then_s, int64_t now_s, char buf[48]);

/* The candidate nearest to @word by edit distance, if it is near enough for a «did you mean»; or
 * NULL. */
const char *str_nearest(const char *word, const char *const *candidates);

/* Lower-case hex of @n bytes into @out (2n+1 bytes). */
void str_hex(const uint8_t *bytes, size_t n, char *out);

/* Is @s a shell-safe, one-line, printable text? Otherwise print it through str_quote(). */
char *str_quote(const char *s, char *buf, size_t size);

/* asprintf that returns the string or NULL. */
char *str_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
