/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/image_json.h"

#include <errno.h>
#include <string.h>
#include "oci/reference.h"
#include "store/image.h"
#include "store/store.h"
#include "util/json.h"
#include "util/mem.h"
#include "util/str.h"

/* A list, or null where Docker shows null: absent. */
static json_t *list_or_null(char *const *v)
{
	return v ? json_from_strv(v) : json_null();
}

static json_t *set_or_null(char *const *v)
{
	json_t *set;

	if (!v || !*v)
		return json_null();
	set = json_object();
	for (; *v; v++)
		json_object_set_new(set, *v, json_object());
	return set;
}

static json_t *labels_or_null(char *const *v)
{
	json_t *labels;

	if (!v || !*v)
		return json_null();
	labels = json_object();
	for (; *v; v++) {
		size_t n = strcspn(*v, "=");
		_cleanup_free_ char *key = strndup(*v, n);

		if (key)
			json_object_set_new(labels, key, json_string((*v)[n] ? *v + n + 1 : ""));
	}
	return labels;
}

static json_t *healthcheck_json(const struct image_healthcheck *h)
{
	return json_pack("{s:o, s:I, s:I, s:I, s:I}", "Test", json_from_strv(h->test), "Interval",
			 (json_int_t)h->interval_ns, "Timeout", (json_int_t)h->timeout_ns,
			 "StartPeriod", (json_int_t)h->start_period_ns, "Retries",
			 (json_int_t)h->retries);
}

static json_t *config_json(const struct image_config *c)
{
	json_t *j =
		json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:s, s:o, s:o}", "User", c->user,
			  "ExposedPorts", set_or_null(c->exposed_ports), "Env",
			  list_or_null(c->env), "Entrypoint", list_or_null(c->entrypoint), "Cmd",
			  list_or_null(c->cmd), "Volumes", set_or_null(c->volumes), "WorkingDir",
			  c->working_dir, "Labels", labels_or_null(c->labels), "OnBuild",
			  c->on_build && *c->on_build ? list_or_null(c->on_build) : json_null());

	if (j && *c->stop_signal)
		json_object_set_new(j, "StopSignal", json_string(c->stop_signal));
	if (j && c->shell)
		json_object_set_new(j, "Shell", json_from_strv(c->shell));
	if (j && c->healthcheck.test)
		json_object_set_new(j, "Healthcheck", healthcheck_json(&c->healthcheck));
	return j;
}

/* "debian:12" and "debian@sha256:…" for each name */
static int add_names(const struct store_image *image, json_t *tags, json_t *digests)
{
	for (char **name = image->names; *name; name++) {
		_cleanup_(reference_done) struct reference ref = { 0 };
		_cleanup_free_ char *familiar = NULL, *repository = NULL;
		json_t *digest;
		size_t i;
		bool there = false;

		if (reference_parse(*name, &ref, NULL) < 0)
			continue;
		familiar = reference_familiar(&ref);
		repository = reference_familiar_name(&ref);
		if (!familiar || !repository)
			return -ENOMEM;
		json_array_append_new(tags, json_string(familiar));
		digest = json_sprintf("%s@%s", repository, image->manifest_digest);
		for (i = 0; i < json_array_size(digests); i++)
			there |= json_equal(json_array_get(digests, i), digest);
		if (there)
			json_decref(digest);
		else
			json_array_append_new(digests, digest);
	}
	return 0;
}

int cli_image_inspect_json(struct store *s, const struct store_image *image, json_t **ret)
{
	const struct image_config *c = &image->config;
	const struct image_history *last =
		c->history_count ? &c->history[c->history_count - 1] : NULL;
	json_t *tags = json_array(), *digests = json_array(), *j;

	if (add_names(image, tags, digests) < 0) {
		json_decref(tags);
		json_decref(digests);
		return -ENOMEM;
	}
	j = json_pack(
		"{s:s, s:o, s:o, s:s, s:s, s:s, s:o, s:s, s:s, s:I, s:{s:s, s:o}, s:{s:s, s:o}}",
		"Id", image->id, "RepoTags", tags, "RepoDigests", digests, "Comment",
		last && last->comment ? last->comment : "", "Created", c->created ? c->created : "",
		"Author", c->author ? c->author : "", "Config", config_json(c), "Architecture",
		c->architecture, "Os", c->os, "Size", (json_int_t)image->size_bytes, "RootFS",
		"Type", "layers", "Layers", json_from_strv(c->diff_ids), "GraphDriver", "Name",
		"overlay2", "Data",
		json_pack("{s:o, s:s}", "LowerDirs", json_from_strv(image->layer_dirs), "Store",
			  s->root));
	if (j && c->variant)
		json_object_set_new(j, "Variant", json_string(c->variant));
	*ret = j;
	return j ? 0 : -ENOMEM;
}
