/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/reference.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include "oci/digest.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/str.h"

#define NAME_MAX_LEN   255
#define TAG_MAX_LEN    128
#define TEXT_MAX_LEN   1024
#define DEFAULT_DOMAIN "docker.io"
#define OFFICIAL       "library/"

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* alnum runs, parted by one '.', one or two '_', or any number of '-' */
static bool component_is_valid(const char *s, size_t n)
{
	size_t i = 0;

	while (i < n) {
		size_t start = i;

		while (i < n && is_alnum(s[i]))
			i++;
		if (i == start)
			return false;
		if (i == n)
			return true;
		start = i;
		if (s[i] == '-') {
			while (i < n && s[i] == '-')
				i++;
		} else if (s[i] == '_') {
			while (i < n && s[i] == '_' && i - start < 2)
				i++;
		} else if (s[i] == '.') {
			i++;
		}
		if (i == start)
			return false;
	}
	return false;
}

static bool path_is_valid(const char *path)
{
	for (;;) {
		size_t n = strcspn(path, "/");

		if (!component_is_valid(path, n))
			return false;
		if (!path[n])
			return true;
		path += n + 1;
	}
}

/* host names, IPv4 and [IPv6], with an optional port */
static bool domain_is_valid(const char *d)
{
	if (*d == '[') {
		size_t n = strspn(d + 1, "0123456789abcdefABCDEF:.");

		if (n == 0 || d[n + 1] != ']')
			return false;
		d += n + 2;
	} else {
		for (;;) {
			size_t n = 0;

			while (isalnum((unsigned char)d[n]) || d[n] == '-')
				n++;
			if (n == 0 || d[0] == '-' || d[n - 1] == '-')
				return false;
			d += n;
			if (*d != '.')
				break;
			d++;
		}
	}
	if (*d == ':')
		return d[1] && strspn(d + 1, "0123456789") == strlen(d + 1);
	return *d == 0;
}

static bool tag_is_valid(const char *tag)
{
	size_t n = strlen(tag);

	if (n == 0 || n > TAG_MAX_LEN || *tag == '.' || *tag == '-')
		return false;
	for (; *tag; tag++)
		if (!isalnum((unsigned char)*tag) && *tag != '_' && *tag != '.' && *tag != '-')
			return false;
	return true;
}

void reference_done(struct reference *r)
{
	if (!r)
		return;
	free(r->domain);
	free(r->path);
	free(r->tag);
	free(r->digest);
	*r = (struct reference){ 0 };
}

/* Does the text before the first slash name a registry? */
static bool is_domain(const char *s, size_t n)
{
	if (memchr(s, '.', n) || memchr(s, ':', n) || (n == 9 && !memcmp(s, "localhost", 9)))
		return true;
	for (size_t i = 0; i < n; i++)
		if (isupper((unsigned char)s[i]))
			return true;
	return false;
}

/* @name has neither tag nor digest any more */
static int split_name(const char *name, struct reference *r)
{
	size_t n = strcspn(name, "/");
	const char *rest = name;

	if (name[n] && is_domain(name, n)) {
		r->domain = strndup(name, n);
		rest = name + n + 1;
		if (r->domain && !strcmp(r->domain, "index.docker.io")) {
			free(r->domain);
			r->domain = strdup(DEFAULT_DOMAIN);
		}
	} else {
		r->domain = strdup(DEFAULT_DOMAIN);
	}
	if (!r->domain)
		return -ENOMEM;
	if (!strcmp(r->domain, DEFAULT_DOMAIN) && !strchr(rest, '/'))
		r->path = str_printf(OFFICIAL "%s", rest);
	else
		r->path = strdup(rest);
	return r->path ? 0 : -ENOMEM;
}

static int parse(char *name, struct reference *r, const char **ret_why)
{
	char *at = strchr(name, '@');
	char *slash, *colon;

	if (at) {
		*at = 0;
		if (!digest_is_valid(at + 1)) {
			*ret_why = "after @ comes sha256: and 64 hex digits";
			return -EINVAL;
		}
		r->digest = strdup(at + 1);
		if (!r->digest)
			return -ENOMEM;
	}
	slash = strrchr(name, '/');
	colon = strchr(slash ? slash : name, ':');
	if (colon) {
		*colon = 0;
		*ret_why = "a tag has letters, digits, _ . -, at most 128";
		if (!tag_is_valid(colon + 1))
			return -EINVAL;
	}
	if (colon || !at) {
		r->tag = strdup(colon ? colon + 1 : "latest");
		if (!r->tag)
			return -ENOMEM;
	}
	*ret_why = "64 hex digits are an image ID, not a name";
	if (strlen(name) == DIGEST_HEX_LEN && strspn(name, "0123456789abcdef") == DIGEST_HEX_LEN)
		return -EINVAL;
	if (split_name(name, r) < 0)
		return -ENOMEM;
	*ret_why = "the registry's name is malformed";
	if (!domain_is_valid(r->domain))
		return -EINVAL;
	*ret_why = "a repository name has lower-case letters, digits and single . _ - between them";
	if (!path_is_valid(r->path))
		return -EINVAL;
	*ret_why = "the name is longer than 255 characters";
	return strlen(r->domain) + 1 + strlen(r->path) > NAME_MAX_LEN ? -EINVAL : 0;
}

int reference_parse(const char *text, struct reference *ret, struct err *err)
{
	_cleanup_free_ char *copy = NULL;
	_cleanup_(reference_done) struct reference r = { 0 };
	const char *why = "";
	char quoted[160];
	int res = -EINVAL;

	if (strlen(text) > TEXT_MAX_LEN) {
		why = "the name is longer than 255 characters";
	} else if (!*text) {
		why = "it is empty";
	} else {
		copy = strdup(text);
		res = copy ? parse(copy, &r, &why) : -ENOMEM;
	}
	if (res == -ENOMEM)
		return err_sys(err, ENOMEM, "parse an image name");
	if (res < 0)
		return err_set(err, EINVAL, "image name %s is not valid: %s",
			       str_quote(text, quoted, sizeof(quoted)), why);
	*ret = r;
	r = (struct reference){ 0 };
	return 0;
}

static char *with_suffix(const struct reference *r, const char *domain, const char *path)
{
	return str_printf("%s%s%s%s%s%s%s", domain, *domain ? "/" : "", path, r->tag ? ":" : "",
			  r->tag ? r->tag : "", r->digest ? "@" : "", r->digest ? r->digest : "");
}

char *reference_full(const struct reference *r)
{
	return with_suffix(r, r->domain, r->path);
}

/* docker.io goes without saying, unless the path would then begin like another registry's name. */
static const char *familiar_domain(const struct reference *r)
{
	size_t n = strcspn(r->path, "/");

	if (strcmp(r->domain, DEFAULT_DOMAIN) != 0 || (r->path[n] && is_domain(r->path, n)))
		return r->domain;
	return "";
}

static const char *familiar_path(const struct reference *r)
{
	if (!*familiar_domain(r) && str_starts(r->path, OFFICIAL) &&
	    !strchr(r->path + strlen(OFFICIAL), '/'))
		return r->path + strlen(OFFICIAL);
	return r->path;
}

char *reference_familiar(const struct reference *r)
{
	return with_suffix(r, familiar_domain(r), familiar_path(r));
}

char *reference_familiar_name(const struct reference *r)
{
	const char *domain = familiar_domain(r);

	return str_printf("%s%s%s", domain, *domain ? "/" : "", familiar_path(r));
}
