/* SPDX-License-Identifier: Apache-2.0 */
#include "util/args.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "util/err.h"
#include "util/mem.h"
#include "util/str.h"

static const char *program(const struct args_usage *u)
{
	return u->program ? u->program : "proa";
}

void args_help(const struct args_usage *u, FILE *to)
{
	const struct args_option *o;
	size_t width = 0;

	fprintf(to, "Usage:  %s %s %s\n\n%s\n", program(u), u->name, u->synopsis, u->summary);
	for (o = u->options; o->name; o++) {
		size_t n = strlen(o->name) + (o->meta ? strlen(o->meta) + 1 : 0);

		if (!o->hidden && n > width)
			width = n;
	}
	if (width)
		fprintf(to, "\nOptions:\n");
	for (o = u->options; o->name; o++) {
		int pad;

		if (o->hidden)
			continue;
		if (o->letter)
			fprintf(to, "  -%c, ", o->letter);
		else
			fprintf(to, "      ");
		pad = fprintf(to, "--%s%s%s", o->name, o->meta ? " " : "", o->meta ? o->meta : "");
		fprintf(to, "%*s%s\n", (int)width + 5 - pad, "", o->help);
	}
	if (u->examples)
		fprintf(to, "\nExamples:\n%s", u->examples);
}

static const struct args_option *find_long(const struct args_usage *u, const char *name, size_t n)
{
	for (const struct args_option *o = u->options; o->name; o++)
		if (strlen(o->name) == n && !strncmp(o->name, name, n))
			return o;
	return NULL;
}

static const struct args_option *find_letter(const struct args_usage *u, char letter)
{
	for (const struct args_option *o = u->options; o->name; o++)
		if (o->letter == letter)
			return o;
	return NULL;
}

static int unknown(const struct args_usage *u, const char *arg, struct err *err)
{
	const char *names[128];
	size_t n = 0;
	_cleanup_free_ char *word = strndup(arg + 2, strcspn(arg + 2, "="));
	const char *near;

	for (const struct args_option *o = u->options; o->name && n + 1 < ARRAY_SIZE(names); o++)
		names[n++] = o->name;
	names[n] = NULL;
	near = word ? str_nearest(word, names) : NULL;
	if (near)
		return err_set(err, EINVAL, "%s: unknown option --%s; did you mean --%s?", u->name,
			       word, near);
	return err_set(err, EINVAL, "%s: unknown option --%s", u->name, word ? word : "");
}

static int set_flag(const struct args_option *o, const char *value, struct err *err)
{
	if (!value || !strcmp(value, "true") || !strcmp(value, "1"))
		*(bool *)o->value = true;
	else if (!strcmp(value, "false") || !strcmp(value, "0"))
		*(bool *)o->value = false;
	else
		return err_set(err, EINVAL, "--%s takes true or false, not \"%s\"", o->name, value);
	return 0;
}

static int bad_value(const struct args_option *o, const char *value, const char *want,
		     struct err *err)
{
	return err_set(err, EINVAL, "--%s takes %s, not \"%s\"", o->name, want, value);
}

static int set_value(const struct args_option *o, const char *value, struct err *err)
{
	switch (o->kind) {
	case ARGS_FLAG: return set_flag(o, value, err);
	case ARGS_STRING: *(const char **)o->value = value; return 0;
	case ARGS_LIST:
		if (strv_add((char ***)o->value, value) < 0)
			return err_set(err, ENOMEM, "out of memory");
		return 0;
	case ARGS_U32:
		if (str_to_u32(value, (uint32_t *)o->value) < 0)
			return bad_value(o, value, "a number from 0", err);
		return 0;
	case ARGS_I64:
		if (str_to_i64(value, (int64_t *)o->value) < 0)
			return bad_value(o, value, "a whole number", err);
		return 0;
	case ARGS_BYTES:
		if (str_to_bytes(value, (uint64_t *)o->value) < 0)
			return bad_value(o, value, "a size such as 512m or 2g", err);
		return 0;
	case ARGS_CALL: return o->call(o->value, value, err);
	}
	return err_set(err, EINVAL, "--%s", o->name);
}

/* One "--…" argument, or "-…" (@dashes 1). Returns how many elements of argv it took, or -errno. */
static int parse_long(const struct args_usage *u, char **argv, size_t dashes, struct err *err)
{
	const char *eq = strchr(argv[0], '=');
	size_t n = eq ? (size_t)(eq - argv[0]) - dashes : strlen(argv[0] + dashes);
	const struct args_option *o = find_long(u, argv[0] + dashes, n);
	int r;

	if (!o)
		return unknown(u, argv[0], err);
	if (eq || o->kind == ARGS_FLAG) {
		r = set_value(o, eq ? eq + 1 : NULL, err);
		return r < 0 ? r : 1;
	}
	if (!argv[1])
		return err_set(err, EINVAL, "--%s needs a value: --%s %s", o->name, o->name,
			       o->meta);
	r = set_value(o, argv[1], err);
	return r < 0 ? r : 2;
}

/* One "-abc" argument: letters of flags, of which the last may take a value. */
static int parse_short(const struct args_usage *u, char **argv, struct err *err)
{
	for (const char *p = argv[0] + 1; *p; p++) {
		const struct args_option *o = find_letter(u, *p);
		const char *value = p[1] == '=' ? p + 2 : p + 1;
		int r;

		if (!o)
			return err_set(err, EINVAL, "%s: unknown option -%c", u->name, *p);
		if (o->kind == ARGS_FLAG && p[1] != '=') {
			r = set_value(o, NULL, err);
			if (r < 0)
				return r;
			continue;
		}
		if (!*value && !argv[1])
			return err_set(err, EINVAL, "-%c needs a value: -%c %s", *p, *p, o->meta);
		r = set_value(o, *value ? value : argv[1], err);
		return r < 0 ? r : *value ? 1 : 2;
	}
	return 1;
}

static int check_count(const struct args_usage *u, int n, struct err *err)
{
	/* a program without commands has a name of its own only */
	const char *name = *u->name ? u->name : program(u), *space = *u->name ? " " : "";

	if (n < u->min_args)
		return err_set(err, EINVAL, "%s needs %s%d argument%s: %s%s%s %s", name,
			       u->max_args == u->min_args ? "" : "at least ", u->min_args,
			       u->min_args == 1 ? "" : "s", program(u), space, u->name,
			       u->synopsis);
	if (u->max_args >= 0 && n > u->max_args)
		return err_set(err, EINVAL, "%s takes %s%d argument%s: %s%s%s %s", name,
			       u->max_args == u->min_args ? "" : "at most ", u->max_args,
			       u->max_args == 1 ? "" : "s", program(u), space, u->name,
			       u->synopsis);
	return 0;
}

/* "-name" of programs in Go: is it an option's whole name? */
static bool is_single_dash(const struct args_usage *u, const char *a)
{
	return u->single_dash && a[1] != '-' && a[2] && a[2] != '=' &&
	       find_long(u, a + 1, strcspn(a + 1, "="));
}

int args_parse(const struct args_usage *u, int *argc, char **argv, struct err *err)
{
	bool ours = true; /* options are still looked for */
	int n = 0, i = 1, r;

	while (i < *argc) {
		char *a = argv[i];

		if (!ours || a[0] != '-' || !a[1]) {
			argv[n++] = a;
			i++;
			if (u->stop_at_first)
				ours = false;
			continue;
		}
		if (!strcmp(a, "--")) {
			ours = false;
			i++;
			continue;
		}
		if (!strcmp(a, "--help") || (!strcmp(a, "-h") && !find_letter(u, 'h')))
			return 0;
		if (a[1] == '-' || is_single_dash(u, a))
			r = parse_long(u, argv + i, a[1] == '-' ? 2 : 1, err);
		else
			r = parse_short(u, argv + i, err);
		if (r < 0)
			return r;
		i += r;
	}
	argv[n] = NULL;
	*argc = n;
	r = check_count(u, n, err);
	return r < 0 ? r : 1;
}
