/* SPDX-License-Identifier: Apache-2.0 */
/*
 * struct image_config to JSON. Absent things stay absent, so that an image made by `proa import`
 * has no more in its configuration than the user said.
 */
#include "oci/image_config.h"

#include <string.h>
#include "util/json.h"
#include "util/mem.h"

static void put_str(json_t *o, const char *key, const char *value)
{
	if (value && *value)
		json_object_set_new(o, key, json_string(value));
}

static void put_strv(json_t *o, const char *key, char *const *v)
{
	if (v && *v)
		json_object_set_new(o, key, json_from_strv(v));
}

/* entrypoint and cmd: NULL is absent, an empty list is one */
static void put_command(json_t *o, const char *key, char *const *v)
{
	if (v)
		json_object_set_new(o, key, json_from_strv(v));
}

static void put_set(json_t *o, const char *key, char *const *v)
{
	json_t *set;

	if (!v || !*v)
		return;
	set = json_object();
	for (; *v; v++)
		json_object_set_new(set, *v, json_object());
	json_object_set_new(o, key, set);
}

static void put_labels(json_t *o, char *const *v)
{
	json_t *labels;

	if (!v || !*v)
		return;
	labels = json_object();
	for (; *v; v++) {
		size_t n = strcspn(*v, "=");
		_cleanup_free_ char *key = strndup(*v, n);

		if (key)
			json_object_set_new(labels, key, json_string((*v)[n] ? *v + n + 1 : ""));
	}
	json_object_set_new(o, "Labels", labels);
}

static void put_healthcheck(json_t *o, const struct image_healthcheck *h)
{
	json_t *j;

	if (!h->test)
		return;
	j = json_object();
	put_command(j, "Test", h->test);
	if (h->interval_ns)
		json_object_set_new(j, "Interval", json_integer(h->interval_ns));
	if (h->timeout_ns)
		json_object_set_new(j, "Timeout", json_integer(h->timeout_ns));
	if (h->start_period_ns)
		json_object_set_new(j, "StartPeriod", json_integer(h->start_period_ns));
	if (h->retries)
		json_object_set_new(j, "Retries", json_integer(h->retries));
	json_object_set_new(o, "Healthcheck", j);
}

static json_t *process_json(const struct image_config *c)
{
	json_t *o = json_object();

	put_str(o, "User", c->user);
	put_set(o, "ExposedPorts", c->exposed_ports);
	put_strv(o, "Env", c->env);
	put_command(o, "Entrypoint", c->entrypoint);
	put_command(o, "Cmd", c->cmd);
	put_command(o, "Shell", c->shell);
	put_healthcheck(o, &c->healthcheck);
	put_set(o, "Volumes", c->volumes);
	put_str(o, "WorkingDir", c->working_dir);
	put_strv(o, "OnBuild", c->on_build);
	put_labels(o, c->labels);
	put_str(o, "StopSignal", c->stop_signal);
	return o;
}

static json_t *history_json(const struct image_config *c)
{
	json_t *a = json_array();

	for (size_t i = 0; i < c->history_count; i++) {
		const struct image_history *h = &c->history[i];
		json_t *o = json_object();

		put_str(o, "created", h->created);
		put_str(o, "created_by", h->created_by);
		put_str(o, "comment", h->comment);
		put_str(o, "author", h->author);
		if (h->empty_layer)
			json_object_set_new(o, "empty_layer", json_true());
		json_array_append_new(a, o);
	}
	return a;
}

char *image_config_format(const struct image_config *c)
{
	_cleanup_json_ json_t *o = json_object();

	put_str(o, "created", c->created);
	put_str(o, "author", c->author);
	json_object_set_new(o, "architecture", json_string(c->architecture ? c->architecture : ""));
	put_str(o, "variant", c->variant);
	json_object_set_new(o, "os", json_string(c->os ? c->os : "linux"));
	json_object_set_new(o, "config", process_json(c));
	json_object_set_new(
		o, "rootfs",
		json_pack("{s:s, s:o}", "type", "layers", "diff_ids", json_from_strv(c->diff_ids)));
	json_object_set_new(o, "history", history_json(c));
	return json_dumps(o, JSON_COMPACT);
}
