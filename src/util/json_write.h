/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing JSON into a str_buf, for programs without jansson (util/json_read.h says why).
 *
 * The writer puts commas and, when @indent is above 0, line breaks; who calls it keeps objects and
 * arrays balanced. Bytes that are not UTF-8 are written as U+FFFD: what comes from an image must
 * not make the output invalid.
 */
#ifndef PROA_UTIL_JSON_WRITE_H
#define PROA_UTIL_JSON_WRITE_H

#include <stdbool.h>
#include <stdint.h>
#include "util/str.h"

struct json_write {
	struct str_buf
		out; /* str_buf_done() is the caller's; out.failed says whether memory ran out */
	unsigned indent; /* blanks a level, 0: all in one line */
	unsigned depth;
	bool first; /* nothing was written yet in the innermost object or array */
	bool after_key;
};

void json_write_object(struct json_write *w);
void json_write_array(struct json_write *w);
void json_write_close(struct json_write *w, char bracket);
void json_write_key(struct json_write *w, const char *key);
void json_write_string(struct json_write *w, const char *s); /* NULL is written as null */
void json_write_u64(struct json_write *w, uint64_t v);
void json_write_i64(struct json_write *w, int64_t v);
void json_write_bool(struct json_write *w, bool v);
/* Text that is JSON already. */
void json_write_raw(struct json_write *w, const char *text);

/* "key": value, in one call. */
void json_write_member(struct json_write *w, const char *key, const char *value);
void json_write_member_u64(struct json_write *w, const char *key, uint64_t v);
/* An array of strings. */
void json_write_strv(struct json_write *w, const char *const *v);

/* The quoted string alone, into any buffer. */
void json_write_quoted(struct str_buf *b, const char *s);

#endif
