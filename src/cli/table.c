/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists for people and for scripts, from the same rows: an aligned table, a template, JSON.
 *
 * The template language is the part of Go's text/template that scripts use with docker ps and
 * docker images: field paths, `json`, `index`, `len`, `println`-less text, and the "table " prefix.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cli/cli.h"
#include "util/json.h"
#include "util/mem.h"
#include "util/str.h"

bool cli_is_terminal(int fd)
{
	return isatty(fd) == 1;
}

void cli_print_json(const json_t *value)
{
	json_dumpf(value, stdout, JSON_INDENT(4) | JSON_ENCODE_ANY);
	putchar('\n');
}

/* A value as a template prints it: text as it is, anything else as JSON. */
static void add_value(struct str_buf *out, const json_t *v, bool as_json)
{
	char *text;

	if (json_is_string(v) && !as_json) {
		str_buf_puts(out, json_string_value(v));
		return;
	}
	if (!v && !as_json) {
		str_buf_puts(out, "<no value>");
		return;
	}
	text = v ? json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY) : strdup("null");
	str_buf_puts(out, text ? text : "");
	free(text);
}

/* ".A.B" from @object; "." is the object itself. NULL when it is not there. */
static const json_t *lookup(const json_t *object, const char *path)
{
	char key[128];

	if (!strcmp(path, "."))
		return object;
	while (*path == '.') {
		size_t n = strcspn(++path, ".");

		if (n >= sizeof(key))
			return NULL;
		memcpy(key, path, n);
		key[n] = 0;
		object = json_object_get(object, key);
		path += n;
	}
	return *path ? NULL : object;
}

/* Splits an action into at most @max words; "quoted" words lose their quotes. Returns the count. */
static int split_words(char *s, char **words, int max)
{
	int n = 0;

	while (*s && n < max) {
		s += strspn(s, " ");
		if (!*s)
			break;
		if (*s == '"') {
			words[n++] = ++s;
			s += strcspn(s, "\"");
		} else {
			words[n++] = s;
			s += strcspn(s, " ");
		}
		if (*s)
			*s++ = 0;
	}
	return n;
}

static int action(struct str_buf *out, char *text, const json_t *object, struct err *err)
{
	char *words[6];
	int n = split_words(text, words, 6);
	const json_t *v;

	if (n == 1 && words[0][0] == '.') {
		add_value(out, lookup(object, words[0]), false);
		return 0;
	}
	if (n >= 2 && !strcmp(words[0], "json")) {
		add_value(out, lookup(object, words[1]), true);
		return 0;
	}
	if (n == 2 && !strcmp(words[0], "len")) {
		v = lookup(object, words[1]);
		str_buf_printf(out, "%zu",
			       json_is_array(v)	   ? json_array_size(v)
			       : json_is_object(v) ? json_object_size(v)
						   : json_string_length(v));
		return 0;
	}
	if (n >= 3 && !strcmp(words[0], "index")) {
		v = lookup(object, words[1]);
		for (int i = 2; i < n; i++)
			v = json_is_array(v) ? json_array_get(v, strtoul(words[i], NULL, 10))
					     : json_object_get(v, words[i]);
		add_value(out, v, false);
		return 0;
	}
	return err_set(
		err, EINVAL,
		"--format: \"{{%s …}}\" is not understood; known are {{.Field}}, {{json .}}, "
		"{{len .Field}} and {{index .Field \"key\"}}",
		n ? words[0] : "");
}

static int expand(struct str_buf *out, const char *format, const json_t *object, struct err *err)
{
	for (const char *p = format; *p; p++) {
		if (p[0] == '{' && p[1] == '{') {
			const char *end = strstr(p, "}}");
			_cleanup_free_ char *text = NULL;
			int r;

			if (!end)
				return err_set(err, EINVAL, "--format: \"{{\" without \"}}\"");
			text = strndup(p + 2, (size_t)(end - p) - 2);
			if (!text)
				return err_set(err, ENOMEM, "out of memory");
			r = action(out, text, object, err);
			if (r < 0)
				return r;
			p = end + 1;
		} else if (p[0] == '\\' && (p[1] == 't' || p[1] == 'n')) {
			str_buf_puts(out, *++p == 't' ? "\t" : "\n");
		} else {
			str_buf_add(out, p, 1);
		}
	}
	return 0;
}

int cli_print_template(const char *format, const json_t *object, struct err *err)
{
	struct str_buf out = { 0 };
	int r;

	if (!strcmp(format, "json"))
		format = "{{json .}}";
	r = expand(&out, format, object, err);
	if (r == 0)
		printf("%s\n", out.data ? out.data : "");
	str_buf_done(&out);
	return r;
}

/* How many columns of a terminal a UTF-8 text takes (one each character: enough for what we print).
 */
static size_t text_width(const char *s, size_t n)
{
	size_t w = 0;

	for (size_t i = 0; i < n; i++)
		w += ((unsigned char)s[i] & 0xc0) != 0x80;
	return w;
}

#define TABLE_COLUMNS 32

/* Prints lines of tab-separated cells with every column as wide as its widest cell, 3 blanks apart.
 */
static void print_aligned(const char *text)
{
	size_t width[TABLE_COLUMNS] = { 0 };

	for (int pass = 0; pass < 2; pass++) {
		for (const char *line = text; *line; line += strcspn(line, "\n") + 1) {
			size_t left = strcspn(line, "\n"), c = 0;

			for (const char *cell = line;; c++) {
				size_t n = strcspn(cell, "\t\n"), w = text_width(cell, n);
				bool last = (size_t)(cell - line) + n >= left;

				if (pass == 0 && c < TABLE_COLUMNS && w > width[c])
					width[c] = w;
				if (pass == 1)
					printf("%.*s%*s", (int)n, cell,
					       last || c >= TABLE_COLUMNS ? 0
									  : (int)(width[c] - w + 3),
					       "");
				if (last)
					break;
				cell += n + 1;
			}
			if (pass == 1)
				putchar('\n');
		}
	}
}

static int print_table(const struct cli_list *list, const char *row_format, const json_t *rows,
		       struct err *err)
{
	struct str_buf text = { 0 }, format = { 0 };
	_cleanup_json_ json_t *headers = json_object();
	const json_t *row;
	size_t i;
	int r = 0;

	for (const struct cli_column *c = list->columns; c->header; c++) {
		str_buf_printf(&format, "%s{{.%s}}", c == list->columns ? "" : "\t", c->key);
		json_object_set_new(headers, c->key, json_string(c->header));
	}
	if (!row_format)
		row_format = format.data;
	r = expand(&text, row_format, headers, err);
	str_buf_puts(&text, "\n");
	for (i = 0; r == 0 && i < json_array_size(rows); i++) {
		row = json_array_get(rows, i);
		r = expand(&text, row_format, row, err);
		str_buf_puts(&text, "\n");
	}
	if (r == 0 && text.data)
		print_aligned(text.data);
	str_buf_done(&text);
	str_buf_done(&format);
	return r;
}

int cli_print_list(const struct cli_list *list, const json_t *rows, struct err *err)
{
	size_t i;

	if (list->json) {
		cli_print_json(rows);
		return 0;
	}
	if (list->quiet) {
		for (i = 0; i < json_array_size(rows); i++) {
			const char *s = json_string_value(
				json_object_get(json_array_get(rows, i), list->quiet_key));

			printf("%s\n", s ? s : "");
		}
		return 0;
	}
	if (!list->format || str_starts(list->format, "table"))
		return print_table(list,
				   list->format && list->format[5] == ' ' ? list->format + 6 : NULL,
				   rows, err);
	for (i = 0; i < json_array_size(rows); i++) {
		int r = cli_print_template(list->format, json_array_get(rows, i), err);

		if (r < 0)
			return r;
	}
	return 0;
}
