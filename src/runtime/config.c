/* SPDX-License-Identifier: Apache-2.0 */
/* The top level of config.json, hooks, and what all readers use. */
#include "runtime/config_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "util/err.h"
#include "util/io.h"
#include "util/mem.h"
#include "util/str.h"

void config_members(struct json_read *r, const struct config_member *table, void *to)
{
	char *key;

	for (json_read_object(r); json_read_key(r, &key);) {
		const struct config_member *m = table;

		while (m->key && strcmp(m->key, key) != 0)
			m++;
		if (m->key)
			m->read(r, to);
		else
			json_read_skip(r);
	}
}

uint64_t config_word(struct json_read *r, const struct config_word *table, const char *what)
{
	const char *word = json_read_string(r);

	for (const struct config_word *w = table; word && w->word; w++)
		if (!strcmp(w->word, word))
			return w->value;
	if (word)
		json_read_fail(r, EINVAL, "\"%s\" is not %s", word, what);
	return 0;
}

void *config_grow(struct json_read *r, void *array, size_t *count, size_t size)
{
	char *base;

	if (r->failed)
		return NULL;
	if (mem_grow(array, *count, size) < 0) {
		json_read_fail(r, ENOMEM, "out of memory");
		return NULL;
	}
	memcpy(&base, array, sizeof(base));
	return memset(base + (*count)++ * size, 0, size);
}

void config_absolute(struct json_read *r, char **field)
{
	json_read_dup(r, field);
	if (*field && (*field)[0] != '/')
		json_read_fail(r, EINVAL, "\"%s\" is not an absolute path", *field);
}

static void id_inside(struct json_read *r, void *to)
{
	((struct plan_idmap *)to)->inside = (uint32_t)json_read_uint(r, UINT32_MAX);
}

static void id_outside(struct json_read *r, void *to)
{
	((struct plan_idmap *)to)->outside = (uint32_t)json_read_uint(r, UINT32_MAX);
}

static void id_count(struct json_read *r, void *to)
{
	((struct plan_idmap *)to)->count = (uint32_t)json_read_uint(r, UINT32_MAX);
}

void config_id_maps(struct json_read *r, struct plan_idmap **map, size_t *count)
{
	static const struct config_member members[] = { { "containerID", id_inside },
							{ "hostID", id_outside },
							{ "size", id_count },
							{ NULL, NULL } };

	for (json_read_array(r); json_read_item(r);) {
		struct plan_idmap *m = config_grow(r, map, count, sizeof(*m));

		if (m)
			config_members(r, members, m);
		if (m && !m->count)
			json_read_fail(r, EINVAL, "size is missing or 0");
	}
}

void config_warn(struct config *c, const char *fmt, ...)
{
	char *line = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&line, fmt, ap) < 0)
		line = NULL;
	va_end(ap);
	if (line)
		(void)strv_take(&c->warnings, line);
}

/* ---- hooks ---------------------------------------------------------------------------------- */

static void hook_path(struct json_read *r, void *to)
{
	config_absolute(r, &((struct plan_hook *)to)->path);
}

static void hook_args(struct json_read *r, void *to)
{
	json_read_strv(r, &((struct plan_hook *)to)->args);
}

static void hook_env(struct json_read *r, void *to)
{
	json_read_strv(r, &((struct plan_hook *)to)->env);
}

static void hook_timeout(struct json_read *r, void *to)
{
	uint32_t timeout = (uint32_t)json_read_uint(r, 1000000);

	if (!r->failed && timeout == 0)
		json_read_fail(r, EINVAL, "must be greater than zero");
	((struct plan_hook *)to)->timeout_s = timeout;
}

static void read_hooks(struct json_read *r, struct plan_hooks *h)
{
	static const struct config_member members[] = { { "path", hook_path },
							{ "args", hook_args },
							{ "env", hook_env },
							{ "timeout", hook_timeout },
							{ NULL, NULL } };

	for (json_read_array(r); json_read_item(r);) {
		struct plan_hook *hook = config_grow(r, &h->list, &h->count, sizeof(*hook));

		if (hook)
			config_members(r, members, hook);
		if (hook && !hook->path)
			json_read_fail(r, EINVAL, "path is missing");
	}
}

static void top_hooks(struct json_read *r, void *to)
{
	struct config *c = to;
	char *key;

	for (json_read_object(r); json_read_key(r, &key);) {
		unsigned i = 0;

		while (i < PLAN_HOOK_POINTS && strcmp(plan_hook_names[i], key) != 0)
			i++;
		if (i < PLAN_HOOK_POINTS)
			read_hooks(r, &c->plan.hooks[i]);
		else
			json_read_skip(r);
	}
}

/* ---- the top level -------------------------------------------------------------------------- */

static void top_version(struct json_read *r, void *to)
{
	struct config *c = to;
	unsigned major = 0, minor = 0, patch = 0;
	int end = 0;

	json_read_dup(r, &c->oci_version);
	if (!c->oci_version)
		return;
	if (sscanf(c->oci_version, "%u.%u.%u%n", &major, &minor, &patch, &end) != 3 ||
	    !strchr("-+", c->oci_version[end]))
		json_read_fail(r, EINVAL, "\"%s\" is not a version such as " OCI_VERSION,
			       c->oci_version);
	else if (major != 1)
		json_read_fail(r, EINVAL, "version %s of the runtime-spec is not supported; 1.x is",
			       c->oci_version);
}

static void top_hostname(struct json_read *r, void *to)
{
	json_read_dup(r, &((struct config *)to)->plan.hostname);
}

static void top_domainname(struct json_read *r, void *to)
{
	json_read_dup(r, &((struct config *)to)->plan.domainname);
}

static void top_annotations(struct json_read *r, void *to)
{
	json_read_pairs(r, &((struct config *)to)->plan.annotations);
}

static void root_path(struct json_read *r, void *to)
{
	struct config *c = to;
	const char *path = json_read_string(r);
	char *whole;

	if (!path)
		return;
	if (!*path) {
		json_read_fail(r, EINVAL, "is empty");
		return;
	}
	whole = path[0] == '/' ? strdup(path) : str_printf("%s/%s", c->plan.bundle, path);
	strv_free(c->plan.root.lowers);
	c->plan.root.lowers = NULL;
	if (strv_take(&c->plan.root.lowers, whole) < 0)
		json_read_fail(r, ENOMEM, "out of memory");
}

static void root_readonly(struct json_read *r, void *to)
{
	((struct config *)to)->plan.root.read_only = json_read_bool(r);
}

static void top_root(struct json_read *r, void *to)
{
	static const struct config_member members[] = { { "path", root_path },
							{ "readonly", root_readonly },
							{ NULL, NULL } };

	config_members(r, members, to);
}

int config_parse(char *text, size_t n, const char *dir, const char *id, struct config *ret,
		 struct err *err)
{
	static const struct config_member members[] = {
		{ "ociVersion", top_version },
		{ "process", config_process },
		{ "root", top_root },
		{ "hostname", top_hostname },
		{ "domainname", top_domainname },
		{ "mounts", config_mounts },
		{ "hooks", top_hooks },
		{ "annotations", top_annotations },
		{ "linux", config_linux },
		{ "vm", config_vm },
		{ NULL, NULL },
	};
	struct config c = { 0 };
	struct json_read r;
	int e;

	c.plan.id = strdup(id);
	c.plan.bundle = strdup(dir);
	if (!c.plan.id || !c.plan.bundle) {
		config_done(&c);
		return err_set(err, ENOMEM, "out of memory");
	}
	json_read_init(&r, text, n, CONFIG_NAME, err);
	config_members(&r, members, &c);
	e = json_read_end(&r);
	if (e == 0)
		e = config_check(&c, err);
	if (e < 0) {
		config_done(&c);
		return e;
	}
	*ret = c;
	return 0;
}

int config_read(const char *dir, const char *id, struct config *ret, struct err *err)
{
	_cleanup_free_ char *path = str_printf("%s/" CONFIG_NAME, dir), *text = NULL;
	size_t n;
	int r = path ? io_read_file(AT_FDCWD, path, CONFIG_MAX, &text, &n) : -ENOMEM;

	if (r < 0)
		return err_sys(err, -r, "read %s", path ? path : CONFIG_NAME);
	return config_parse(text, n, dir, id, ret, err);
}

void config_done(struct config *c)
{
	plan_done(&c->plan);
	free(c->seccomp.profile);
	free(c->cgroups_path);
	free(c->oci_version);
	strv_free(c->warnings);
	*c = (struct config){ 0 };
}
