/* SPDX-License-Identifier: Apache-2.0 */
#include "util/json_read.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "util/err.h"
#include "util/mem.h"
#include "util/str.h"

void json_read_init(struct json_read *r, char *text, size_t n, const char *what, struct err *err)
{
	*r = (struct json_read){
		.at = text, .end = text + n, .start = text, .what = what, .err = err
	};
	text[n] = 0;
}

/* "process.rlimits[2].type", of the value that is being read. */
static void path_text(const struct json_read *r, char *buf, size_t size)
{
	size_t n = 0;

	buf[0] = 0;
	for (unsigned i = 0; i < r->depth && n < size; i++) {
		int w = r->path[i].key
				? snprintf(buf + n, size - n, "%s%s", n ? "." : "", r->path[i].key)
				: snprintf(buf + n, size - n, "[%u]",
					   r->path[i].index ? r->path[i].index - 1 : 0);

		n += w > 0 ? (size_t)w : 0;
	}
}

void json_read_fail(struct json_read *r, int errnum, const char *fmt, ...)
{
	char path[200], reason[400];
	va_list ap;

	if (r->failed)
		return;
	path_text(r, path, sizeof(path));
	va_start(ap, fmt);
	vsnprintf(reason, sizeof(reason), fmt, ap);
	va_end(ap);
	r->failed =
		err_set(r->err, errnum, "%s: %s%s%s", r->what, path, path[0] ? ": " : "", reason);
	r->at = r->end; /* nothing more is read */
}

static void bad_syntax(struct json_read *r)
{
	unsigned line = 1;

	if (r->failed)
		return;
	for (const char *p = r->start; p < r->at; p++)
		line += *p == '\n';
	json_read_fail(r, EBADMSG,
		       r->at == r->end ? "the JSON text breaks off in line %u"
				       : "this is not JSON, in line %u",
		       line);
}

static char peek(struct json_read *r)
{
	while (r->at < r->end &&
	       (*r->at == ' ' || *r->at == '\n' || *r->at == '\t' || *r->at == '\r'))
		r->at++;
	return r->at < r->end ? *r->at : 0;
}

static bool take(struct json_read *r, char c)
{
	if (peek(r) != c || r->at == r->end)
		return false;
	r->at++;
	return true;
}

static bool take_word(struct json_read *r, const char *word)
{
	size_t n = strlen(word);

	(void)peek(r);
	if ((size_t)(r->end - r->at) < n || memcmp(r->at, word, n) != 0)
		return false;
	r->at += n;
	return true;
}

bool json_read_null(struct json_read *r)
{
	return take_word(r, "null");
}

int json_read_end(struct json_read *r)
{
	if (!r->failed && peek(r))
		bad_syntax(r);
	return r->failed;
}

/* ---- objects and arrays --------------------------------------------------------------------- */

/* What is entered but is not there: key() and item() end it at once. */
#define ABSENT ((const char *)1)

static void enter(struct json_read *r, char open, const char *kind)
{
	bool absent = r->failed || json_read_null(r);

	if (!absent && peek(r) != open) {
		json_read_fail(r, EINVAL, "must be %s", kind);
		absent = true;
	}
	if (r->depth == JSON_READ_DEPTH) {
		json_read_fail(r, E2BIG, "is nested too deep");
		return;
	}
	if (!absent)
		r->at++;
	r->path[r->depth].key = absent ? ABSENT : NULL;
	r->path[r->depth].index = 0;
	r->depth++;
}

void json_read_object(struct json_read *r)
{
	enter(r, '{', "an object");
}

void json_read_array(struct json_read *r)
{
	enter(r, '[', "an array");
}

/* Common to both: is there another one? Leaves at the end. */
static bool next(struct json_read *r, char close)
{
	unsigned top = r->depth - 1;

	if (r->depth == 0)
		return false;
	if (r->failed || r->path[top].key == ABSENT) {
		r->depth--;
		return false;
	}
	r->path[top].key = NULL;
	if (take(r, close)) {
		r->depth--;
		return false;
	}
	if (r->path[top].index++ && !take(r, ',')) {
		bad_syntax(r);
		r->depth--;
		return false;
	}
	return true;
}

static char *string_in_place(struct json_read *r);

bool json_read_key(struct json_read *r, char **ret_key)
{
	char *key;

	if (!next(r, '}'))
		return false;
	if (peek(r) != '"')
		bad_syntax(r);
	key = string_in_place(r);
	if (!key || !take(r, ':')) {
		bad_syntax(r);
		r->depth--;
		return false;
	}
	r->path[r->depth - 1].key = key;
	*ret_key = key;
	return true;
}

bool json_read_item(struct json_read *r)
{
	return next(r, ']');
}

/* ---- values --------------------------------------------------------------------------------- */

static int hex4(const char *p, const char *end)
{
	int v = 0;

	if (end - p < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		char c = p[i];
		int d = c >= '0' && c <= '9'   ? c - '0'
			: c >= 'a' && c <= 'f' ? c - 'a' + 10
			: c >= 'A' && c <= 'F' ? c - 'A' + 10
					       : -1;

		if (d < 0)
			return -1;
		v = v << 4 | d;
	}
	return v;
}

/* \uXXXX, perhaps a surrogate pair, as UTF-8 at *out. Never longer than what it is made of. */
static bool unicode_escape(struct json_read *r, char **out)
{
	int c = hex4(r->at, r->end), low;
	char *o = *out;

	if (c <= 0 || (c >= 0xdc00 && c < 0xe000))
		return false;
	r->at += 4;
	if (c >= 0xd800 && c < 0xdc00) {
		if (r->end - r->at < 6 || r->at[0] != '\\' || r->at[1] != 'u')
			return false;
		low = hex4(r->at + 2, r->end);
		if (low < 0xdc00 || low >= 0xe000)
			return false;
		r->at += 6;
		c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
	}
	if (c < 0x80) {
		*o++ = (char)c;
	} else if (c < 0x800) {
		*o++ = (char)(0xc0 | c >> 6);
		*o++ = (char)(0x80 | (c & 63));
	} else if (c < 0x10000) {
		*o++ = (char)(0xe0 | c >> 12);
		*o++ = (char)(0x80 | (c >> 6 & 63));
		*o++ = (char)(0x80 | (c & 63));
	} else {
		*o++ = (char)(0xf0 | c >> 18);
		*o++ = (char)(0x80 | (c >> 12 & 63));
		*o++ = (char)(0x80 | (c >> 6 & 63));
		*o++ = (char)(0x80 | (c & 63));
	}
	*out = o;
	return true;
}

static bool escape(struct json_read *r, char **out)
{
	static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
	const char *at;
	char c;

	if (r->at == r->end)
		return false;
	c = *r->at++;
	if (c == 'u')
		return unicode_escape(r, out);
	at = c ? strchr(names, c) : NULL;
	if (!at)
		return false;
	*(*out)++ = values[at - names];
	return true;
}

/* At a quote. The text behind it is decoded in place and ends with a NUL where its quote was. */
static char *string_in_place(struct json_read *r)
{
	char *start, *out;

	if (r->failed || r->at == r->end)
		return NULL;
	start = out = ++r->at;
	while (r->at < r->end && *r->at != '"') {
		char c = *r->at++;

		if ((unsigned char)c < 0x20) {
			r->at--;
			bad_syntax(r);
			return NULL;
		}
		if (c != '\\') {
			*out++ = c;
		} else if (!escape(r, &out)) {
			bad_syntax(r);
			return NULL;
		}
	}
	if (r->at == r->end) {
		bad_syntax(r);
		return NULL;
	}
	r->at++;
	*out = 0;
	return start;
}

char *json_read_string(struct json_read *r)
{
	if (r->failed || json_read_null(r))
		return NULL;
	if (peek(r) != '"') {
		json_read_fail(r, EINVAL, "must be a string");
		return NULL;
	}
	return string_in_place(r);
}

bool json_read_bool(struct json_read *r)
{
	if (r->failed || json_read_null(r) || take_word(r, "false"))
		return false;
	if (take_word(r, "true"))
		return true;
	json_read_fail(r, EINVAL, "must be true or false");
	return false;
}

/* An integer as sign and magnitude. False: null, or a mistake that is told. */
static bool integer(struct json_read *r, bool *ret_negative, uint64_t *ret)
{
	uint64_t v = 0;
	const char *first;

	if (r->failed || json_read_null(r))
		return false;
	*ret_negative = take(r, '-');
	for (first = r->at; r->at < r->end && *r->at >= '0' && *r->at <= '9'; r->at++)
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*r->at - '0'), &v)) {
			json_read_fail(r, ERANGE, "the number is too large");
			return false;
		}
	/* a number may have a fraction or an exponent in JSON, but no field of ours */
	if (r->at == first || (*first == '0' && r->at > first + 1) ||
	    (r->at < r->end && *r->at && strchr(".eE", *r->at))) {
		json_read_fail(r, EINVAL, "must be a whole number");
		return false;
	}
	*ret = v;
	return true;
}

void json_read_u64(struct json_read *r, uint64_t *ret)
{
	bool negative;
	uint64_t v;

	if (!integer(r, &negative, &v))
		return;
	if (negative && v)
		json_read_fail(r, ERANGE, "must not be negative");
	else
		*ret = v;
}

void json_read_i64(struct json_read *r, int64_t *ret)
{
	bool negative;
	uint64_t v;

	if (!integer(r, &negative, &v))
		return;
	if (v > (uint64_t)INT64_MAX)
		json_read_fail(r, ERANGE, "the number is too large");
	else
		*ret = negative ? -(int64_t)v : (int64_t)v;
}

uint64_t json_read_uint(struct json_read *r, uint64_t max)
{
	uint64_t v = 0;

	json_read_u64(r, &v);
	if (v <= max)
		return v;
	json_read_fail(r, ERANGE, "%llu is more than %llu", (unsigned long long)v,
		       (unsigned long long)max);
	return 0;
}

int64_t json_read_int(struct json_read *r, int64_t min, int64_t max)
{
	int64_t v = 0;

	json_read_i64(r, &v);
	if (v >= min && v <= max)
		return v;
	json_read_fail(r, ERANGE, "%lld is not between %lld and %lld", (long long)v, (long long)min,
		       (long long)max);
	return 0;
}

/* A string that is passed and not decoded. */
static void skip_string(struct json_read *r)
{
	for (r->at++; r->at < r->end && *r->at != '"'; r->at++) {
		if ((unsigned char)*r->at < 0x20) {
			bad_syntax(r);
			return;
		}
		if (*r->at == '\\' && ++r->at == r->end)
			break;
	}
	if (r->at == r->end)
		bad_syntax(r);
	else
		r->at++;
}

static void skip_number(struct json_read *r)
{
	size_t n = strspn(r->at, "+-.0123456789eE");

	if (n == 0)
		bad_syntax(r);
	else
		r->at += n;
}

static void skip_scalar(struct json_read *r)
{
	if (peek(r) == '"')
		skip_string(r);
	else if (!take_word(r, "null") && !take_word(r, "true") && !take_word(r, "false"))
		skip_number(r);
}

/*
 * Nested values are counted and not recursed into: brackets must pair, and between them any order
 * of values, commas and colons passes, for nobody looks at what is skipped.
 */
void json_read_skip(struct json_read *r)
{
	char stack[JSON_READ_DEPTH];
	unsigned depth = 0;

	do {
		char c = peek(r);

		if (r->failed)
			return;
		if (c == '{' || c == '[') {
			if (depth == JSON_READ_DEPTH) {
				json_read_fail(r, E2BIG, "is nested too deep");
				return;
			}
			stack[depth++] = c == '{' ? '}' : ']';
			r->at++;
		} else if (depth && c == stack[depth - 1]) {
			depth--;
			r->at++;
		} else if (depth && (c == ',' || c == ':')) {
			r->at++;
		} else {
			skip_scalar(r);
		}
	} while (depth && !r->failed);
}

void json_read_raw(struct json_read *r, const char **ret, size_t *ret_len)
{
	const char *start;

	(void)peek(r);
	start = r->at;
	json_read_skip(r);
	if (r->failed)
		return;
	*ret = start;
	*ret_len = (size_t)(r->at - start);
}

void json_read_strv(struct json_read *r, char ***ret)
{
	for (json_read_array(r); json_read_item(r);) {
		char *s = json_read_string(r);

		if (!s)
			json_read_fail(r, EINVAL, "must be a string");
		else if (strv_add(ret, s) < 0)
			json_read_fail(r, ENOMEM, "out of memory");
	}
}

void json_read_pairs(struct json_read *r, char ***ret)
{
	char *key;

	for (json_read_object(r); json_read_key(r, &key);) {
		const char *value = json_read_string(r);

		if (!r->failed && strv_take(ret, str_printf("%s=%s", key, value ? value : "")) < 0)
			json_read_fail(r, ENOMEM, "out of memory");
	}
}

void json_read_dup(struct json_read *r, char **field)
{
	char *s = json_read_string(r), *copy = s ? strdup(s) : NULL;

	if (s && !copy)
		json_read_fail(r, ENOMEM, "out of memory");
	if (r->failed) {
		free(copy);
		return;
	}
	free(*field);
	*field = copy;
}
