/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/image_config.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include "oci/digest.h"
#include "oci/manifest.h"
#include "util/err.h"
#include "util/json.h"
#include "util/mem.h"
#include "util/str.h"

void image_config_done(struct image_config *c)
{
	if (!c)
		return;
	free(c->os);
	free(c->architecture);
	free(c->variant);
	free(c->author);
	free(c->created);
	free(c->user);
	strv_free(c->env);
	strv_free(c->entrypoint);
	strv_free(c->cmd);
	strv_free(c->shell);
	free(c->working_dir);
	strv_free(c->volumes);
	strv_free(c->exposed_ports);
	strv_free(c->labels);
	strv_free(c->on_build);
	free(c->stop_signal);
	strv_free(c->healthcheck.test);
	strv_free(c->diff_ids);
	for (size_t i = 0; i < c->history_count; i++) {
		free(c->history[i].created);
		free(c->history[i].created_by);
		free(c->history[i].comment);
		free(c->history[i].author);
	}
	free(c->history);
	*c = (struct image_config){ 0 };
}

static bool two_digits(const char *s, int max, int *ret)
{
	if (s[0] < '0' || s[0] > '9' || s[1] < '0' || s[1] > '9')
		return false;
	*ret = (s[0] - '0') * 10 + s[1] - '0';
	return *ret <= max;
}

int image_time_parse(const char *text, int64_t *ret_s)
{
	struct tm tm = { 0 };
	int century, year, zone_h, zone_m;
	int64_t offset = 0;
	const char *p = text;

	/* "2006-01-02T15:04:05" */
	if (strlen(text) < 20 || !two_digits(p, 99, &century) || !two_digits(p + 2, 99, &year) ||
	    p[4] != '-' || !two_digits(p + 5, 12, &tm.tm_mon) || p[7] != '-' ||
	    !two_digits(p + 8, 31, &tm.tm_mday) || (p[10] != 'T' && p[10] != 't') ||
	    !two_digits(p + 11, 23, &tm.tm_hour) || p[13] != ':' ||
	    !two_digits(p + 14, 59, &tm.tm_min) || p[16] != ':' ||
	    !two_digits(p + 17, 60, &tm.tm_sec) || !tm.tm_mon || !tm.tm_mday)
		return -EINVAL;
	p += 19;
	if (*p == '.')
		p += 1 + strspn(p + 1, "0123456789");
	if (*p == '+' || *p == '-') {
		if (strlen(p) != 6 || !two_digits(p + 1, 23, &zone_h) || p[3] != ':' ||
		    !two_digits(p + 4, 59, &zone_m))
			return -EINVAL;
		offset = (*p == '-' ? -1 : 1) * (zone_h * 3600 + zone_m * 60);
	} else if ((*p != 'Z' && *p != 'z') || p[1]) {
		return -EINVAL;
	}
	tm.tm_year = century * 100 + year - 1900;
	tm.tm_mon--;
	*ret_s = (int64_t)timegm(&tm) - offset;
	return 0;
}

char *image_time_format(int64_t s, char buf[32])
{
	time_t t = (time_t)s;
	struct tm tm;

	if (!gmtime_r(&t, &tm) || !strftime(buf, 32, "%Y-%m-%dT%H:%M:%SZ", &tm))
		strcpy(buf, "1970-01-01T00:00:00Z");
	return buf;
}

/* A string that may be absent (or null); another type is an error. */
static int take_str(const json_t *object, const char *key, const char *fallback, char **ret,
		    struct err *err)
{
	const json_t *v = json_object_get(object, key);

	if (v && !json_is_null(v) && !json_is_string(v))
		return err_set(err, EINVAL, "%s is not a string", key);
	if (json_is_string(v))
		fallback = json_string_value(v);
	if (!fallback)
		return 0;
	*ret = strdup(fallback);
	return *ret ? 0 : err_sys(err, ENOMEM, "parse %s", key);
}

static int take_strv(const json_t *object, const char *key, bool keep_absent, char ***ret,
		     struct err *err)
{
	const json_t *v = json_object_get(object, key);

	if (keep_absent && (!v || json_is_null(v)))
		return 0;
	/* Dockerfile's shell form was once written as a string; nobody writes it today */
	if (json_to_strv(v, ret) < 0)
		return err_set(err, EINVAL, "%s is not a list of strings", key);
	return 0;
}

/* Volumes and ExposedPorts: objects whose keys are the set; labels have values as well. */
static int take_keys(const json_t *object, const char *key, bool with_values, char ***ret,
		     struct err *err)
{
	json_t *v = json_object_get(object, key), *item;
	const char *name;

	*ret = calloc(1, sizeof(char *));
	if (!*ret)
		return err_sys(err, ENOMEM, "parse %s", key);
	if (v && !json_is_null(v) && !json_is_object(v))
		return err_set(err, EINVAL, "%s is not an object", key);
	json_object_foreach (v, name, item) {
		char *entry;

		if (with_values && !json_is_string(item))
			return err_set(err, EINVAL, "%s: a value is not a string", key);
		entry = with_values ? str_printf("%s=%s", name, json_string_value(item))
				    : strdup(name);
		if (strv_take(ret, entry) < 0)
			return err_sys(err, ENOMEM, "parse %s", key);
	}
	return 0;
}

static int take_healthcheck(const json_t *config, struct image_healthcheck *h, struct err *err)
{
	const json_t *j = json_object_get(config, "Healthcheck");

	if (!j || json_is_null(j))
		return 0;
	if (!json_is_object(j))
		return err_set(err, EINVAL, "Healthcheck is not an object");
	h->interval_ns = json_get_int(j, "Interval", 0);
	h->timeout_ns = json_get_int(j, "Timeout", 0);
	h->start_period_ns = json_get_int(j, "StartPeriod", 0);
	h->retries = json_get_int(j, "Retries", 0);
	if (h->interval_ns < 0 || h->timeout_ns < 0 || h->start_period_ns < 0 || h->retries < 0)
		return err_set(err, EINVAL, "Healthcheck has a negative number");
	return take_strv(j, "Test", true, &h->test, err);
}

static int take_process(const json_t *j, struct image_config *c, struct err *err)
{
	int r;

	if (j && !json_is_null(j) && !json_is_object(j))
		return err_set(err, EINVAL, "config is not an object");
	if ((r = take_str(j, "User", "", &c->user, err)) < 0 ||
	    (r = take_str(j, "WorkingDir", "", &c->working_dir, err)) < 0 ||
	    (r = take_str(j, "StopSignal", "", &c->stop_signal, err)) < 0 ||
	    (r = take_strv(j, "Env", false, &c->env, err)) < 0 ||
	    (r = take_strv(j, "Entrypoint", true, &c->entrypoint, err)) < 0 ||
	    (r = take_strv(j, "Cmd", true, &c->cmd, err)) < 0 ||
	    (r = take_strv(j, "Shell", true, &c->shell, err)) < 0 ||
	    (r = take_strv(j, "OnBuild", false, &c->on_build, err)) < 0 ||
	    (r = take_keys(j, "Volumes", false, &c->volumes, err)) < 0 ||
	    (r = take_keys(j, "ExposedPorts", false, &c->exposed_ports, err)) < 0 ||
	    (r = take_keys(j, "Labels", true, &c->labels, err)) < 0)
		return r;
	return take_healthcheck(j, &c->healthcheck, err);
}

static int take_layers(const json_t *rootfs, struct image_config *c, struct err *err)
{
	const char *type = json_get_str(rootfs, "type");

	if (!json_is_object(rootfs))
		return err_set(err, EINVAL, "it has no rootfs (is this an image configuration?)");
	if (type && strcmp(type, "layers"))
		return err_set(err, EINVAL, "its rootfs is not of type \"layers\"");
	if (json_to_strv(json_object_get(rootfs, "diff_ids"), &c->diff_ids) < 0)
		return err_set(err, EINVAL, "diff_ids is not a list of strings");
	if (strv_len(c->diff_ids) > OCI_LAYERS_MAX)
		return err_set(err, EINVAL, "it has %zu layers, at most %d are supported",
			       strv_len(c->diff_ids), OCI_LAYERS_MAX);
	for (size_t i = 0; c->diff_ids[i]; i++) {
		char noun[32];
		int r;

		snprintf(noun, sizeof(noun), "diff_id %zu", i + 1);
		r = digest_require(c->diff_ids[i], noun, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int take_history(const json_t *array, struct image_config *c, struct err *err)
{
	size_t n = json_array_size(array);
	int r = 0;

	if (array && !json_is_null(array) && !json_is_array(array))
		return err_set(err, EINVAL, "history is not a list");
	c->history = calloc(n ? n : 1, sizeof(*c->history));
	if (!c->history)
		return err_sys(err, ENOMEM, "parse history");
	for (size_t i = 0; r == 0 && i < n; i++) {
		const json_t *j = json_array_get(array, i);
		struct image_history *h = &c->history[i];

		c->history_count = i + 1;
		if (!json_is_object(j))
			return err_set(err, EINVAL, "history is not a list of objects");
		h->empty_layer = json_get_bool(j, "empty_layer", false);
		r = take_str(j, "created", NULL, &h->created, err);
		if (r == 0)
			r = take_str(j, "created_by", NULL, &h->created_by, err);
		if (r == 0)
			r = take_str(j, "comment", NULL, &h->comment, err);
		if (r == 0)
			r = take_str(j, "author", NULL, &h->author, err);
		if (h->created && image_time_parse(h->created, &h->created_s) < 0)
			h->created_s = 0;
	}
	return r;
}

static int parse(const json_t *j, struct image_config *c, struct err *err)
{
	int r;

	if (!json_is_object(j))
		return err_set(err, EINVAL, "it is not an object");
	if ((r = take_str(j, "os", "linux", &c->os, err)) < 0 ||
	    (r = take_str(j, "architecture", "", &c->architecture, err)) < 0 ||
	    (r = take_str(j, "variant", NULL, &c->variant, err)) < 0 ||
	    (r = take_str(j, "author", NULL, &c->author, err)) < 0 ||
	    (r = take_str(j, "created", NULL, &c->created, err)) < 0 ||
	    (r = take_layers(json_object_get(j, "rootfs"), c, err)) < 0 ||
	    (r = take_history(json_object_get(j, "history"), c, err)) < 0)
		return r;
	if (c->created && image_time_parse(c->created, &c->created_s) < 0)
		c->created_s = 0;
	return take_process(json_object_get(j, "config"), c, err);
}

int image_config_parse(const char *bytes, size_t n, struct image_config *ret, struct err *err)
{
	_cleanup_(image_config_done) struct image_config c = { 0 };
	_cleanup_json_ json_t *j = NULL;
	int r = json_parse(bytes, n, "it", &j, err);

	if (r == 0)
		r = parse(j, &c, err);
	if (r < 0)
		return err_wrap(err, "image configuration");
	*ret = c;
	c = (struct image_config){ 0 };
	return 0;
}
