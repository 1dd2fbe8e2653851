/* SPDX-License-Identifier: Apache-2.0 */
#include "util/str.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "util/mem.h"

void str_buf_done(struct str_buf *b)
{
	free(b->data);
	*b = (struct str_buf){ 0 };
}

static bool reserve(struct str_buf *b, size_t n)
{
	size_t need, cap;
	char *p;

	if (b->failed || __builtin_add_overflow(b->len, n, &need) ||
	    __builtin_add_overflow(need, 1, &need)) {
		b->failed = true;
		return false;
	}
	if (need <= b->cap)
		return true;
	cap = MAX(need, b->cap * 2);
	cap = MAX(cap, (size_t)64);
	p = realloc(b->data, cap);
	if (!p) {
		b->failed = true;
		return false;
	}
	b->data = p;
	b->cap = cap;
	return true;
}

void str_buf_add(struct str_buf *b, const void *bytes, size_t n)
{
	if (!reserve(b, n))
		return;
	if (n)
		memcpy(b->data + b->len, bytes, n);
	b->len += n;
	b->data[b->len] = 0;
}

void str_buf_puts(struct str_buf *b, const char *s)
{
	str_buf_add(b, s, strlen(s));
}

void str_buf_printf(struct str_buf *b, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0 || !reserve(b, (size_t)n)) {
		b->failed = true;
		return;
	}
	va_start(ap, fmt);
	vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
}

size_t strv_len(char *const *v)
{
	size_t n = 0;

	while (v && v[n])
		n++;
	return n;
}

int strv_take(char ***v, char *s)
{
	size_t n = strv_len(*v);
	char **grown;

	if (!s)
		return -ENOMEM;
	grown = reallocarray(*v, n + 2, sizeof(char *));
	if (!grown) {
		free(s);
		return -ENOMEM;
	}
	grown[n] = s;
	grown[n + 1] = NULL;
	*v = grown;
	return 0;
}

int strv_add(char ***v, const char *s)
{
	return strv_take(v, strdup(s));
}

char **strv_copy(char *const *v)
{
	size_t n = strv_len(v);
	char **copy = calloc(n + 1, sizeof(char *));

	if (!copy)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		copy[i] = strdup(v[i]);
		if (!copy[i]) {
			strv_free(copy);
			return NULL;
		}
	}
	return copy;
}

static bool env_is(const char *assignment, const char *name, size_t n)
{
	return !strncmp(assignment, name, n) && assignment[n] == '=';
}

const char *strv_env_get(char *const *v, const char *name)
{
	size_t n = strlen(name);

	for (; v && *v; v++)
		if (env_is(*v, name, n))
			return *v + n + 1;
	return NULL;
}

int strv_env_set(char ***v, const char *assignment)
{
	size_t n = strcspn(assignment, "=");

	for (char **p = *v; p && *p; p++) {
		if (env_is(*p, assignment, n)) {
			char *copy = strdup(assignment);

			if (!copy)
				return -ENOMEM;
			free(*p);
			*p = copy;
			return 0;
		}
	}
	return strv_add(v, assignment);
}

bool str_starts(const char *s, const char *prefix)
{
	return !strncmp(s, prefix, strlen(prefix));
}

bool str_ends(const char *s, const char *suffix)
{
	size_t n = strlen(s), m = strlen(suffix);

	return n >= m && !strcmp(s + n - m, suffix);
}

int str_to_u64(const char *s, uint64_t *ret)
{
	uint64_t v = 0;

	if (str_empty(s))
		return -EINVAL;
	for (; *s; s++) {
		if (*s < '0' || *s > '9')
			return -EINVAL;
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*s - '0'), &v))
			return -ERANGE;
	}
	*ret = v;
	return 0;
}

int str_to_u32(const char *s, uint32_t *ret)
{
	uint64_t v;
	int r = str_to_u64(s, &v);

	if (r < 0)
		return r;
	if (v > UINT32_MAX)
		return -ERANGE;
	*ret = (uint32_t)v;
	return 0;
}

int str_to_i64(const char *s, int64_t *ret)
{
	bool neg = s && *s == '-';
	uint64_t v;
	int r = str_to_u64(neg ? s + 1 : s, &v);

	if (r < 0)
		return r;
	if (v > INT64_MAX)
		return -ERANGE;
	*ret = neg ? -(int64_t)v : (int64_t)v;
	return 0;
}

int str_to_bytes(const char *s, uint64_t *ret_bytes)
{
	static const char units[] = "bkmgtp";
	uint64_t whole = 0, frac = 0, scale = 1, bytes;
	unsigned shift = 0;
	const char *unit;

	if (str_empty(s) || !isdigit((unsigned char)*s))
		return -EINVAL;
	for (; isdigit((unsigned char)*s); s++)
		if (__builtin_mul_overflow(whole, 10, &whole) ||
		    __builtin_add_overflow(whole, (uint64_t)(*s - '0'), &whole))
			return -ERANGE;
	if (*s == '.') {
		for (s++; isdigit((unsigned char)*s); s++) {
			if (scale >= 1000000)
				continue; /* digits below a millionth do not matter */
			frac = frac * 10 + (uint64_t)(*s - '0');
			scale *= 10;
		}
	}
	while (*s == ' ')
		s++;
	if (*s) {
		unit = strchr(units, tolower((unsigned char)*s));
		if (!unit)
			return -EINVAL;
		shift = (unsigned)(unit - units) * 10;
		s++;
		if (shift && tolower((unsigned char)*s) == 'i')
			s++;
		if (shift && tolower((unsigned char)*s) == 'b')
			s++;
		if (*s)
			return -EINVAL;
	}
	if (shift && whole >> (64 - shift))
		return -ERANGE;
	bytes = whole << shift;
	/* scale is at most 10^6, frac below it: the product with 2^shift/scale fits in 128 bits */
	if (__builtin_add_overflow(bytes, (uint64_t)(((unsigned __int128)frac << shift) / scale),
				   &bytes))
		return -ERANGE;
	*ret_bytes = bytes;
	return 0;
}

static char *human(uint64_t bytes, unsigned base, const char *const *units, size_t count, char *buf)
{
	double v = (double)bytes;
	size_t u = 0;

	while (v >= base && u + 1 < count) {
		v /= base;
		u++;
	}
	if (u == 0)
		snprintf(buf, 16, "%u%s", (unsigned)bytes, units[0]);
	else if (v < 10)
		snprintf(buf, 16, "%.2f%s", v, units[u]);
	else if (v < 100)
		snprintf(buf, 16, "%.1f%s", v, units[u]);
	else
		snprintf(buf, 16, "%.0f%s", v, units[u]);
	return buf;
}

char *str_human_bytes(uint64_t bytes, char buf[16])
{
	static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB", "EB" };

	return human(bytes, 1000, units, ARRAY_SIZE(units), buf);
}

char *str_human_mib(uint64_t bytes, char buf[16])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };

	return human(bytes, 1024, units, ARRAY_SIZE(units), buf);
}

char *str_human_ago(int64_t then_s, int64_t now_s, char buf[48])
{
	static const struct {
		int64_t seconds;
		const char *name;
	} units[] = {
		{ 365 * 86400, "year" }, { 30 * 86400, "month" }, { 7 * 86400, "week" },
		{ 86400, "day" },	 { 3600, "hour" },	  { 60, "minute" },
	};
	int64_t d = now_s - then_s;

	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		/* as Docker: a unit is used from two of it on, but for the smallest ones */
		if (d >= units[i].seconds * (units[i].seconds > 3600 ? 2 : 1)) {
			int64_t n = d / units[i].seconds;

			snprintf(buf, 48, "%lld %s%s ago", (long long)n, units[i].name,
				 n == 1 ? "" : "s");
			return buf;
		}
	}
	if (d < 1)
		snprintf(buf, 48, "Less than a second ago");
	else
		snprintf(buf, 48, "%lld second%s ago", (long long)d, d == 1 ? "" : "s");
	return buf;
}

/* Levenshtein distance, for words of up to 31 characters; longer ones are "far". */
static unsigned distance(const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b);
	unsigned row[32];

	if (n > 31 || m > 31)
		return 99;
	for (size_t j = 0; j <= m; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; i <= n; i++) {
		unsigned diagonal = row[0];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= m; j++) {
			unsigned above = row[j];
			unsigned change = diagonal + (a[i - 1] != b[j - 1]);

			row[j] = MIN(MIN(row[j - 1] + 1, above + 1), change);
			diagonal = above;
		}
	}
	return row[m];
}

const char *str_nearest(const char *word, const char *const *candidates)
{
	unsigned best = (unsigned)strlen(word) / 3 + 2;
	const char *nearest = NULL;

	for (; *candidates; candidates++) {
		unsigned d = distance(word, *candidates);

		if (d < best) {
			best = d;
			nearest = *candidates;
		}
	}
	return nearest;
}

void str_hex(const uint8_t *bytes, size_t n, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		out[2 * i] = digits[bytes[i] >> 4];
		out[2 * i + 1] = digits[bytes[i] & 15];
	}
	out[2 * n] = 0;
}

char *str_quote(const char *s, char *buf, size_t size)
{
	size_t o = 0;

	for (; *s && o + 5 < size; s++) {
		unsigned char c = (unsigned char)*s;

		if (c < 0x20 || c == 0x7f)
			o += (size_t)snprintf(buf + o, size - o, "\\x%02x", c);
		else
			buf[o++] = (char)c;
	}
	buf[o] = 0;
	return buf;
}

char *str_printf(const char *fmt, ...)
{
	va_list ap;
	char *s;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&s, fmt, ap);
	va_end(ap);
	return n < 0 ? NULL : s;
}
