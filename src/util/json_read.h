/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading JSON (RFC 8259) in one pass, in place, without a tree.
 *
 * Why not jansson, which the rest of proa uses: an OCI runtime reads one config.json and starts a
 * process; a tree of it costs more time and memory than the whole start, and proa-oci is linked
 * statically against musl, for which Debian has no jansson. The reader walks the text once; strings
 * are decoded where they stand and are valid as long as the text is. Nothing is allocated.
 *
 *     json_read_init(&r, text, n, "config.json", err);
 *     for (json_read_object(&r); json_read_key(&r, &key);)
 *             if (!strcmp(key, "hostname"))
 *                     hostname = json_read_string(&r);
 *             else
 *                     json_read_skip(&r);
 *     return json_read_end(&r);
 *
 * The first mistake is kept, with the place where it is ("config.json: process.args: …"), and
 * everything after it does nothing: check once, at the end. A value may be `null` wherever it may
 * be absent; getters then return NULL or leave the result alone.
 */
#ifndef PROA_UTIL_JSON_READ_H
#define PROA_UTIL_JSON_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

#define JSON_READ_DEPTH 32

struct json_read {
	char *at, *end;
	const char *start, *what;
	struct err *err;
	int failed; /* -errno of the first mistake */
	unsigned depth;
	struct {
		const char *key; /* NULL: an array */
		unsigned index;	 /* of the member or element, from 1 */
	} path[JSON_READ_DEPTH];
};

/* @text is changed while it is read; text[n] must be there and is made NUL. @what names it. */
void json_read_init(struct json_read *r, char *text, size_t n, const char *what, struct err *err);
/* Nothing but white space may follow. 0, or -errno of the first mistake, which is in err. */
int json_read_end(struct json_read *r);

/* Goes into an object or array; null and mistakes count as an empty one. */
void json_read_object(struct json_read *r);
void json_read_array(struct json_read *r);
/* The next member's key / whether there is another element; false at the end, which is passed. */
bool json_read_key(struct json_read *r, char **ret_key);
bool json_read_item(struct json_read *r);

/* Values. A NUL character in a string is a mistake. */
char *json_read_string(struct json_read *r);
bool json_read_bool(struct json_read *r);
void json_read_i64(struct json_read *r, int64_t *ret);
void json_read_u64(struct json_read *r, uint64_t *ret);
/* As above, with an upper limit; for fields of fewer bits. */
uint64_t json_read_uint(struct json_read *r, uint64_t max);
int64_t json_read_int(struct json_read *r, int64_t min, int64_t max);
/* Passes null and returns true; else leaves the value. */
bool json_read_null(struct json_read *r);
/* Passes any value; *ret… (may be NULL) is its text, unchanged. */
void json_read_skip(struct json_read *r);
void json_read_raw(struct json_read *r, const char **ret, size_t *ret_len);
/* Appends the strings of an array to a vector. */
void json_read_strv(struct json_read *r, char ***ret);
/* Appends the entries of an object of strings as "KEY=VALUE". */
void json_read_pairs(struct json_read *r, char ***ret);
/* Replaces *field by a copy of the string (NULL for null). */
void json_read_dup(struct json_read *r, char **field);

/* The value just read is not one that is allowed: "process.cwd: @fmt". */
void json_read_fail(struct json_read *r, int errnum, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
