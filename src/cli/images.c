/* SPDX-License-Identifier: Apache-2.0 */
/* proa images: one row for each name, as docker shows them. */
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "cli/cli.h"
#include "oci/digest.h"
#include "oci/reference.h"
#include "store/image.h"
#include "util/mem.h"
#include "util/str.h"

#define SHORT_ID 12
#define NONE	 "<none>"

struct images {
	bool no_trunc;
	char **filters;	   /* "reference=…", "dangling=…", "label=…" … */
	const char *match; /* the argument: a repository or a name */
	int64_t now_s;
	json_t *rows;
};

static json_t *row(const struct images *o, const struct store_image *image, const char *repository,
		   const char *tag)
{
	char ago[48], size[16], created[32];
	json_t *id = o->no_trunc ? json_string(image->id)
				 : json_stringn(digest_hex(image->id), SHORT_ID);

	str_human_ago(image->created_s, o->now_s, ago);
	str_human_bytes(image->size_bytes, size);
	return json_pack("{s:s, s:s, s:o, s:s, s:s, s:s, s:s}", "Repository", repository, "Tag",
			 tag, "ID", id, "Digest", image->manifest_digest, "CreatedSince",
			 image->created_s ? ago : "N/A", "CreatedAt",
			 image_time_format(image->created_s, created), "Size", size);
}

/* "debian*", "debian:12" against the familiar name with and without its tag */
static bool name_matches(const char *pattern, const char *repository, const char *tag)
{
	_cleanup_free_ char *full = str_printf("%s:%s", repository, tag);

	return full && (fnmatch(pattern, repository, FNM_PATHNAME) == 0 ||
			fnmatch(pattern, full, FNM_PATHNAME) == 0);
}

static bool label_matches(const struct image_config *c, const char *wanted)
{
	size_t n = strlen(wanted);

	for (char **l = c->labels; *l; l++)
		if (!strcmp(*l, wanted) ||
		    (!strchr(wanted, '=') && !strncmp(*l, wanted, n) && (*l)[n] == '='))
			return true;
	return false;
}

static bool passes(const struct images *o, const struct store_image *image, const char *repository,
		   const char *tag)
{
	for (char **f = o->filters; f && *f; f++) {
		const char *value = strchr(*f, '=') + 1;

		if (str_starts(*f, "reference=") && !name_matches(value, repository, tag))
			return false;
		if (str_starts(*f, "label=") && !label_matches(&image->config, value))
			return false;
		if (str_starts(*f, "dangling=") && !strcmp(value, "true") != !*image->names)
			return false;
	}
	return !o->match || name_matches(o->match, repository, tag);
}

static int check_filters(char *const *filters, struct err *err)
{
	for (; filters && *filters; filters++) {
		const char *f = *filters;

		if (str_starts(f, "reference=") || str_starts(f, "label=") ||
		    !strcmp(f, "dangling=true") || !strcmp(f, "dangling=false"))
			continue;
		return err_set(err, EINVAL,
			       "filter \"%s\" is none of reference=PATTERN, label=KEY[=VALUE], "
			       "dangling=true|false",
			       f);
	}
	return 0;
}

static int add_rows(struct images *o, const struct store_image *image)
{
	if (!*image->names && passes(o, image, NONE, NONE))
		return json_array_append_new(o->rows, row(o, image, NONE, NONE));
	for (char **name = image->names; *name; name++) {
		_cleanup_(reference_done) struct reference ref = { 0 };
		_cleanup_free_ char *repository = NULL;

		if (reference_parse(*name, &ref, NULL) < 0)
			continue; /* a name that another tool gave and we could not have */
		repository = reference_familiar_name(&ref);
		if (!repository)
			return -ENOMEM;
		if (passes(o, image, repository, ref.tag ? ref.tag : NONE) &&
		    json_array_append_new(o->rows,
					  row(o, image, repository, ref.tag ? ref.tag : NONE)) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* -q: each ID once */
static void drop_repeated_ids(json_t *rows)
{
	for (size_t i = json_array_size(rows); i-- > 1;)
		for (size_t j = 0; j < i; j++)
			if (json_equal(json_object_get(json_array_get(rows, i), "ID"),
				       json_object_get(json_array_get(rows, j), "ID"))) {
				json_array_remove(rows, i);
				break;
			}
}

static int print(struct cli *cli, struct images *o, const struct cli_list *list, struct err *err)
{
	struct store_image *images = NULL;
	size_t count = 0;
	struct store *s;
	int r = cli_store(cli, &s, err);

	if (r == 0)
		r = store_image_list(s, &images, &count, err);
	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < count; i++)
		if (add_rows(o, &images[i]) < 0)
			r = err_sys(err, ENOMEM, "list the images");
	store_images_free(images, count);
	if (list->quiet)
		drop_repeated_ids(o->rows);
	return r < 0 ? r : cli_print_list(list, o->rows, err);
}

int cmd_images(struct cli *cli, int argc, char **argv)
{
	static const struct cli_column plain[] = {
		{ "REPOSITORY", "Repository" }, { "TAG", "Tag" },   { "IMAGE ID", "ID" },
		{ "CREATED", "CreatedSince" },	{ "SIZE", "Size" }, { 0 }
	};
	static const struct cli_column with_digest[] = { { "REPOSITORY", "Repository" },
							 { "TAG", "Tag" },
							 { "DIGEST", "Digest" },
							 { "IMAGE ID", "ID" },
							 { "CREATED", "CreatedSince" },
							 { "SIZE", "Size" },
							 { 0 } };
	struct images o = { .now_s = (int64_t)time(NULL) };
	struct cli_list list = { .quiet_key = "ID" };
	bool digests = false;
	const struct args_option options[] = {
		{ 'q', "quiet", ARGS_FLAG, &list.quiet, NULL, "IDs only", NULL, false },
		{ 0, "no-trunc", ARGS_FLAG, &o.no_trunc, NULL, "Whole IDs", NULL, false },
		{ 0, "digests", ARGS_FLAG, &digests, NULL, "Show the manifests' digests", NULL,
		  false },
		{ 'f', "filter", ARGS_LIST, &o.filters, "FILTER",
		  "reference=PATTERN, label=KEY[=VALUE], dangling=true|false", NULL, false },
		{ 0, "format", ARGS_STRING, &list.format, "TEMPLATE", "Go template, table or json",
		  NULL, false },
		{ 0, "json", ARGS_FLAG, &list.json, NULL, "One JSON array", NULL, false },
		{ 0 },
	};
	const struct args_usage usage = { .name = "images",
					  .synopsis = "[OPTIONS] [NAME[:TAG]]",
					  .summary = "List images",
					  .examples =
						  "  proa images --format '{{.ID}} {{.Size}}'\n",
					  .options = options,
					  .min_args = 0,
					  .max_args = 1 };
	struct err err = ERR_INIT;
	int code = cli_parse(&usage, &argc, argv), r;

	if (code >= 0)
		return code;
	o.match = argc ? argv[0] : NULL;
	list.columns = digests ? with_digest : plain;
	r = check_filters(o.filters, &err);
	o.rows = json_array();
	if (r == 0)
		r = print(cli, &o, &list, &err);
	json_decref(o.rows);
	strv_free(o.filters);
	return r < 0 ? cli_fail(&err) : 0;
}
