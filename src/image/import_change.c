/* SPDX-License-Identifier: Apache-2.0 */
#include "image/import_change.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <strings.h>
#include "oci/image_config.h"
#include "util/err.h"
#include "util/json.h"
#include "util/mem.h"
#include "util/str.h"

static const char *skip_space(const char *s)
{
	while (isspace((unsigned char)*s))
		s++;
	return s;
}

/*
 * Words as a shell would see them: parted by space, "…" and '…' keep it, a backslash takes the next
 * character as it is.
 */
static int split_words(const char *s, char ***ret, struct err *err)
{
	_cleanup_strv_ char **words = calloc(1, sizeof(char *));

	if (!words)
		return err_sys(err, ENOMEM, "split");
	for (s = skip_space(s); *s; s = skip_space(s)) {
		struct str_buf word = { 0 };
		char quote = 0;

		str_buf_puts(&word, "");
		for (; *s && (quote || !isspace((unsigned char)*s)); s++) {
			if (quote && *s == quote) {
				quote = 0;
			} else if (!quote && (*s == '"' || *s == '\'')) {
				quote = *s;
			} else {
				if (*s == '\\' && quote != '\'' && s[1])
					s++;
				str_buf_add(&word, s, 1);
			}
		}
		if (quote) {
			str_buf_done(&word);
			return err_set(err, EINVAL, "a quotation mark is not closed");
		}
		if (word.failed || strv_take(&words, word.data) < 0)
			return err_sys(err, ENOMEM, "split");
	}
	*ret = TAKE_PTR(words);
	return 0;
}

/* ["a", "b"] or a shell command */
static int apply_command(char ***target, const char *arg, struct err *err)
{
	_cleanup_strv_ char **words = NULL;

	if (*arg == '[') {
		_cleanup_json_ json_t *j = NULL;
		int r = json_parse(arg, strlen(arg), "the list", &j, err);

		if (r < 0)
			return r;
		if (json_to_strv(j, &words) < 0)
			return err_set(err, EINVAL, "the list holds more than strings");
	} else if (strv_add(&words, "/bin/sh") < 0 || strv_add(&words, "-c") < 0 ||
		   strv_add(&words, arg) < 0) {
		return err_sys(err, ENOMEM, "change");
	}
	strv_free(*target);
	*target = TAKE_PTR(words);
	return 0;
}

/* NAME=value …, or the old form NAME value */
static int apply_pairs(char ***target, const char *arg, struct err *err)
{
	_cleanup_strv_ char **words = NULL;
	size_t name = strcspn(arg, " \t=");
	int r;

	if (arg[name] != '=') {
		_cleanup_free_ char *pair =
			str_printf("%.*s=%s", (int)name, arg, skip_space(arg + name));

		if (!arg[name])
			return err_set(err, EINVAL, "NAME=VALUE is expected");
		return pair && strv_env_set(target, pair) == 0 ? 0 : err_sys(err, ENOMEM, "change");
	}
	r = split_words(arg, &words, err);
	for (char **w = words; r == 0 && *w; w++) {
		if (!strchr(*w, '=') || **w == '=')
			return err_set(err, EINVAL, "NAME=VALUE is expected, not %s", *w);
		if (strv_env_set(target, *w) < 0)
			return err_sys(err, ENOMEM, "change");
	}
	return r;
}

/* Adds a word unless it is there. */
static int add_to_set(char ***set, const char *word)
{
	for (char **p = *set; p && *p; p++)
		if (!strcmp(*p, word))
			return 0;
	return strv_add(set, word);
}

static int apply_volumes(char ***target, const char *arg, struct err *err)
{
	_cleanup_strv_ char **words = NULL;
	_cleanup_json_ json_t *j = NULL;
	int r = 0;

	if (*arg == '[') {
		r = json_parse(arg, strlen(arg), "the list", &j, err);
		if (r == 0 && json_to_strv(j, &words) < 0)
			r = err_set(err, EINVAL, "the list holds more than strings");
	} else {
		r = split_words(arg, &words, err);
	}
	for (char **w = words; r == 0 && w && *w; w++) {
		if (!**w)
			r = err_set(err, EINVAL, "a volume has an empty path");
		else if (add_to_set(target, *w) < 0)
			r = err_sys(err, ENOMEM, "change");
	}
	return r;
}

/* "80", "80/tcp", "8000-8010/udp" */
static int apply_ports(char ***target, const char *arg, struct err *err)
{
	_cleanup_strv_ char **words = NULL;
	int r = split_words(arg, &words, err);

	for (char **w = words; r == 0 && *w; w++) {
		_cleanup_free_ char *range = strdup(*w);
		char *protocol = range ? strchr(range, '/') : NULL;
		char *dash = range ? strchr(range, '-') : NULL;
		uint32_t first, last;

		if (!range)
			return err_sys(err, ENOMEM, "change");
		if (protocol)
			*protocol++ = 0;
		if (dash)
			*dash++ = 0;
		if (str_to_u32(range, &first) < 0 || str_to_u32(dash ? dash : range, &last) < 0 ||
		    !first || last > 65535 || last < first ||
		    (protocol && strcmp(protocol, "tcp") && strcmp(protocol, "udp") &&
		     strcmp(protocol, "sctp")))
			return err_set(err, EINVAL, "%s is no port", *w);
		for (uint32_t port = first; r == 0 && port <= last; port++) {
			_cleanup_free_ char *entry =
				str_printf("%u/%s", port, protocol ? protocol : "tcp");

			if (!entry || add_to_set(target, entry) < 0)
				r = err_sys(err, ENOMEM, "change");
		}
	}
	return r;
}

static int set_text(char **target, const char *arg, struct err *err)
{
	char *copy = strdup(arg);

	if (!copy)
		return err_sys(err, ENOMEM, "change");
	free(*target);
	*target = copy;
	return 0;
}

/* A relative one continues the one before, as in a Dockerfile. */
static int apply_working_dir(char **target, const char *arg, struct err *err)
{
	_cleanup_free_ char *joined = NULL;

	if (*arg == '/')
		return set_text(target, arg, err);
	joined = str_printf("%s/%s", *target && strcmp(*target, "/") ? *target : "", arg);
	return joined ? set_text(target, joined, err) : err_sys(err, ENOMEM, "change");
}

static int apply(const char *verb, const char *arg, struct image_config *c, struct err *err)
{
	if (!strcasecmp(verb, "CMD"))
		return apply_command(&c->cmd, arg, err);
	if (!strcasecmp(verb, "ENTRYPOINT"))
		return apply_command(&c->entrypoint, arg, err);
	if (!strcasecmp(verb, "ENV"))
		return apply_pairs(&c->env, arg, err);
	if (!strcasecmp(verb, "LABEL"))
		return apply_pairs(&c->labels, arg, err);
	if (!strcasecmp(verb, "EXPOSE"))
		return apply_ports(&c->exposed_ports, arg, err);
	if (!strcasecmp(verb, "VOLUME"))
		return apply_volumes(&c->volumes, arg, err);
	if (!strcasecmp(verb, "USER"))
		return set_text(&c->user, arg, err);
	if (!strcasecmp(verb, "WORKDIR"))
		return apply_working_dir(&c->working_dir, arg, err);
	if (!strcasecmp(verb, "STOPSIGNAL"))
		return set_text(&c->stop_signal, arg, err);
	if (!strcasecmp(verb, "ONBUILD"))
		return strv_add(&c->on_build, arg) < 0 ? err_sys(err, ENOMEM, "change") : 0;
	return err_set(err, EINVAL,
		       "it is not one of CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, STOPSIGNAL, "
		       "USER, VOLUME, WORKDIR");
}

int import_change_apply(const char *instruction, struct image_config *c, struct err *err)
{
	const char *start = skip_space(instruction);
	size_t n = strcspn(start, " \t");
	_cleanup_free_ char *verb = strndup(start, n), *arg = strdup(skip_space(start + n));
	char quoted[120];
	int r;

	if (!verb || !arg)
		return err_sys(err, ENOMEM, "change");
	for (size_t len = strlen(arg); len && isspace((unsigned char)arg[len - 1]);)
		arg[--len] = 0;
	r = *arg ? apply(verb, arg, c, err) : err_set(err, EINVAL, "it says nothing");
	if (r < 0)
		return err_wrap(err, "--change \"%s\"",
				str_quote(instruction, quoted, sizeof(quoted)));
	return 0;
}
