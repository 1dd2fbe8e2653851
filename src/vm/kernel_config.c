/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A kernel's configuration as text. Kconfig says nothing when an option that was asked for does not
 * exist, or depends on one that is off: it leaves it out. So each line of the fragment is looked
 * for in the configuration that came of it.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "util/err.h"
#include "util/mem.h"
#include "util/str.h"
#include "vm/kernel_internal.h"

#define NOT_SET	   " is not set"
#define NAMED_MAX  8
#define QUOTED_MAX 400

/* One line: an option's name and value ("n" for one that is not set). */
struct option {
	const char *name, *value;
	size_t name_len, value_len;
};

static size_t name_length(const char *text, size_t len)
{
	size_t k = strlen("CONFIG_");

	if (len <= k || strncmp(text, "CONFIG_", k) != 0)
		return 0;
	while (k < len && (isalnum((unsigned char)text[k]) || text[k] == '_'))
		k++;
	return k > strlen("CONFIG_") ? k : 0;
}

/* 1: an option; 0: a comment or nothing; -EINVAL. */
static int read_line(const char *line, size_t len, struct option *ret)
{
	while (len && isspace((unsigned char)line[len - 1]))
		len--;
	if (len > 2 && !strncmp(line, "# CONFIG_", 9)) {
		size_t n = name_length(line + 2, len - 2);

		if (n + 2 + strlen(NOT_SET) != len ||
		    strncmp(line + 2 + n, NOT_SET, strlen(NOT_SET)) != 0)
			return 0;
		*ret = (struct option){
			.name = line + 2, .name_len = n, .value = "n", .value_len = 1
		};
		return 1;
	}
	if (len == 0 || line[0] == '#')
		return 0;
	ret->name = line;
	ret->name_len = name_length(line, len);
	if (!ret->name_len || ret->name_len + 1 >= len || line[ret->name_len] != '=')
		return -EINVAL;
	ret->value = line + ret->name_len + 1;
	ret->value_len = len - ret->name_len - 1;
	return 1;
}

/* The value of an option in a configuration; an absent one is "n". */
static void find_value(const char *config, const struct option *o, const char **ret,
		       size_t *ret_len)
{
	for (const char *line = config; *line;) {
		size_t len = strcspn(line, "\n");
		struct option have;

		if (read_line(line, len, &have) == 1 && have.name_len == o->name_len &&
		    !memcmp(have.name, o->name, o->name_len)) {
			*ret = have.value;
			*ret_len = have.value_len;
			return;
		}
		line += len + (line[len] == '\n');
	}
	*ret = "n";
	*ret_len = 1;
}

int kernel_config_read(const char *fragment, const char *path, struct err *err)
{
	unsigned number = 1, options = 0;
	struct option o;

	for (const char *line = fragment; *line; number++) {
		size_t len = strcspn(line, "\n");
		int r = read_line(line, len, &o);

		if (r < 0)
			return err_set(err, EINVAL,
				       "%s, line %u: \"%.*s\" is neither CONFIG_NAME=value nor a "
				       "comment",
				       path, number, (int)(len < 80 ? len : 80), line);
		options += (unsigned)r;
		line += len + (line[len] == '\n');
	}
	return options ? 0 : err_set(err, EINVAL, "%s has no option (CONFIG_NAME=value)", path);
}

int kernel_config_check(const char *fragment, const char *config, struct err *err)
{
	struct str_buf b = { 0 };
	unsigned lost = 0;
	int r = 0;

	for (const char *line = fragment; *line;) {
		size_t len = strcspn(line, "\n"), have_len;
		const char *have;
		struct option o;

		if (read_line(line, len, &o) == 1) {
			find_value(config, &o, &have, &have_len);
			if ((have_len != o.value_len || memcmp(have, o.value, have_len) != 0) &&
			    ++lost <= NAMED_MAX)
				str_buf_printf(&b, "%s%.*s=%.*s (it is %.*s)", lost > 1 ? ", " : "",
					       (int)o.name_len, o.name, (int)o.value_len, o.value,
					       (int)have_len, have);
		}
		line += len + (line[len] == '\n');
	}
	if (b.failed)
		r = err_set(err, ENOMEM, "out of memory");
	else if (lost > NAMED_MAX)
		r = err_set(err, EINVAL, "%u options did not take effect: %s, …", lost, b.data);
	else if (lost)
		r = err_set(err, EINVAL,
			    "%s not take effect: %s (no such option in this kernel, or "
			    "another one that it depends on is missing)",
			    lost > 1 ? "these options did" : "this option did", b.data);
	str_buf_done(&b);
	return r;
}

void kernel_log_quote(const char *log, struct str_buf *ret)
{
	const char *error = strstr(log, "rror:"), *end = log + strlen(log), *tail;
	size_t lines = 0;

	while (end > log && isspace((unsigned char)end[-1]))
		end--;
	for (tail = end; tail > log && end - tail < QUOTED_MAX; tail--)
		if (tail[-1] == '\n' && ++lines == 3)
			break;
	/* what a compiler complains of is far above: other jobs went on, and each make says its own
	 */
	if (error && error < tail) {
		const char *line = error;

		while (line > log && line[-1] != '\n' && error - line < QUOTED_MAX)
			line--;
		str_buf_printf(ret, "%.*s …", (int)strnlen(line, strcspn(line, "\n")), line);
		str_buf_puts(ret, "\n");
	}
	str_buf_add(ret, tail, (size_t)(end - tail));
}
