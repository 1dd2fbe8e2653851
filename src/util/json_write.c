/* SPDX-License-Identifier: Apache-2.0 */
#include "util/json_write.h"

#include <string.h>

/* Length of the UTF-8 character at @s, 0 if there is none (RFC 3629, section 4). */
static size_t utf8_length(const unsigned char *s)
{
	size_t n = s[0] < 0x80	 ? 1
		   : s[0] < 0xc2 ? 0
		   : s[0] < 0xe0 ? 2
		   : s[0] < 0xf0 ? 3
		   : s[0] < 0xf5 ? 4
				 : 0;

	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

void json_write_quoted(struct str_buf *b, const char *s)
{
	const unsigned char *p = (const unsigned char *)s;

	str_buf_add(b, "\"", 1);
	while (*p) {
		size_t n = utf8_length(p);

		if (*p == '"' || *p == '\\')
			str_buf_printf(b, "\\%c", *p);
		else if (*p == '\n')
			str_buf_puts(b, "\\n");
		else if (*p == '\t')
			str_buf_puts(b, "\\t");
		else if (*p < 0x20 || *p == 0x7f)
			str_buf_printf(b, "\\u%04x", *p);
		else if (n)
			str_buf_add(b, p, n);
		else
			str_buf_puts(b, "\\ufffd");
		p += n ? n : 1;
	}
	str_buf_add(b, "\"", 1);
}

static void new_line(struct json_write *w)
{
	if (!w->indent)
		return;
	str_buf_add(&w->out, "\n", 1);
	for (unsigned i = 0; i < w->depth * w->indent; i++)
		str_buf_add(&w->out, " ", 1);
}

/* What stands in front of a value or key: a comma, a line. */
static void begin(struct json_write *w)
{
	if (w->after_key) {
		w->after_key = false;
		return;
	}
	if (!w->first && w->depth)
		str_buf_add(&w->out, ",", 1);
	if (w->depth)
		new_line(w);
	w->first = false;
}

static void open_level(struct json_write *w, const char *bracket)
{
	begin(w);
	str_buf_puts(&w->out, bracket);
	w->depth++;
	w->first = true;
}

void json_write_object(struct json_write *w)
{
	open_level(w, "{");
}

void json_write_array(struct json_write *w)
{
	open_level(w, "[");
}

void json_write_close(struct json_write *w, char bracket)
{
	bool empty = w->first;

	w->depth--;
	if (!empty)
		new_line(w);
	str_buf_add(&w->out, &bracket, 1);
	w->first = false;
}

void json_write_key(struct json_write *w, const char *key)
{
	begin(w);
	json_write_quoted(&w->out, key);
	str_buf_puts(&w->out, w->indent ? ": " : ":");
	w->after_key = true;
}

void json_write_string(struct json_write *w, const char *s)
{
	begin(w);
	if (s)
		json_write_quoted(&w->out, s);
	else
		str_buf_puts(&w->out, "null");
}

void json_write_u64(struct json_write *w, uint64_t v)
{
	begin(w);
	str_buf_printf(&w->out, "%llu", (unsigned long long)v);
}

void json_write_i64(struct json_write *w, int64_t v)
{
	begin(w);
	str_buf_printf(&w->out, "%lld", (long long)v);
}

void json_write_bool(struct json_write *w, bool v)
{
	begin(w);
	str_buf_puts(&w->out, v ? "true" : "false");
}

void json_write_raw(struct json_write *w, const char *text)
{
	begin(w);
	str_buf_puts(&w->out, text);
}

void json_write_member(struct json_write *w, const char *key, const char *value)
{
	json_write_key(w, key);
	json_write_string(w, value);
}

void json_write_member_u64(struct json_write *w, const char *key, uint64_t v)
{
	json_write_key(w, key);
	json_write_u64(w, v);
}

void json_write_strv(struct json_write *w, const char *const *v)
{
	json_write_array(w);
	for (; v && *v; v++)
		json_write_string(w, *v);
	json_write_close(w, ']');
}
