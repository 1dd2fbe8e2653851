/* SPDX-License-Identifier: Apache-2.0 */
/* proa history: an image's steps, the latest first. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "cli/cli.h"
#include "oci/digest.h"
#include "store/image.h"
#include "util/io.h"
#include "util/mem.h"
#include "util/str.h"

#define SHORT_ID   12
#define SHORT_TEXT 45

struct history_options {
	bool human, no_trunc;
};

/* Bytes of the unpacked layer; 0 when it has none or says nothing. */
static uint64_t layer_bytes(struct store *s, const char *diff_id)
{
	_cleanup_free_ char *path = str_printf(STORE_LAYERS "/%s/size", digest_hex(diff_id));
	_cleanup_free_ char *text = NULL;
	uint64_t bytes = 0;

	if (path && io_read_file(s->root_fd, path, 32, &text, NULL) == 0)
		str_to_u64(text, &bytes);
	return bytes;
}

static json_t *id_json(const struct history_options *o, const char *id)
{
	if (!id)
		return json_string("<missing>");
	return o->no_trunc ? json_string(id) : json_stringn(digest_hex(id), SHORT_ID);
}

static json_t *text_json(const struct history_options *o, const char *text)
{
	text = text ? text : "";
	if (o->no_trunc || strlen(text) <= SHORT_TEXT)
		return json_string(text);
	for (int n = SHORT_TEXT - 1; n > 0; n--) /* not in the middle of a character */
		if ((text[n] & 0xc0) != 0x80)
			return json_sprintf("%.*s…", n, text);
	return json_string("…");
}

static json_t *row(const struct history_options *o, const struct image_history *h, const char *id,
		   uint64_t bytes)
{
	char ago[48], size[16], at[32];
	json_t *size_json = o->human ? json_string(str_human_bytes(bytes, size))
				     : json_sprintf("%llu", (unsigned long long)bytes);

	str_human_ago(h->created_s, (int64_t)time(NULL), ago);
	image_time_format(h->created_s, at);
	return json_pack("{s:o, s:s, s:s, s:o, s:o, s:s}", "ID", id_json(o, id), "CreatedSince",
			 !h->created_s ? "N/A"
			 : o->human    ? ago
				       : at,
			 "CreatedAt", at, "CreatedBy", text_json(o, h->created_by), "Size",
			 size_json, "Comment", h->comment ? h->comment : "");
}

static json_t *rows(struct store *s, const struct store_image *image,
		    const struct history_options *o)
{
	const struct image_config *c = &image->config;
	size_t layer = strv_len(c->diff_ids);
	json_t *list = json_array();

	for (size_t i = c->history_count; i-- > 0;) {
		const struct image_history *h = &c->history[i];
		uint64_t bytes = 0;

		if (!h->empty_layer && layer)
			bytes = layer_bytes(s, c->diff_ids[--layer]);
		json_array_append_new(list,
				      row(o, h, json_array_size(list) ? NULL : image->id, bytes));
	}
	/* layers that the history does not tell of */
	while (layer) {
		const struct image_history unknown = { 0 };

		layer--;
		json_array_append_new(list,
				      row(o, &unknown, json_array_size(list) ? NULL : image->id,
					  layer_bytes(s, c->diff_ids[layer])));
	}
	return list;
}

int cmd_history(struct cli *cli, int argc, char **argv)
{
	static const struct cli_column columns[] = {
		{ "IMAGE", "ID" },  { "CREATED", "CreatedSince" }, { "CREATED BY", "CreatedBy" },
		{ "SIZE", "Size" }, { "COMMENT", "Comment" },	   { 0 }
	};
	struct history_options o = { .human = true };
	struct cli_list list = { .columns = columns, .quiet_key = "ID" };
	const struct args_option options[] = {
		{ 'H', "human", ARGS_FLAG, &o.human, NULL,
		  "Sizes and times for people (--human=false)", NULL, false },
		{ 'q', "quiet", ARGS_FLAG, &list.quiet, NULL, "IDs only", NULL, false },
		{ 0, "no-trunc", ARGS_FLAG, &o.no_trunc, NULL, "Whole IDs and commands", NULL,
		  false },
		{ 0, "format", ARGS_STRING, &list.format, "TEMPLATE", "Go template, table or json",
		  NULL, false },
		{ 0, "json", ARGS_FLAG, &list.json, NULL, "One JSON array", NULL, false },
		{ 0 },
	};
	const struct args_usage usage = { .name = "history",
					  .synopsis = "[OPTIONS] IMAGE",
					  .summary = "Show how an image was made",
					  .examples = "  proa history --no-trunc debian:12\n",
					  .options = options,
					  .min_args = 1,
					  .max_args = 1 };
	_cleanup_(store_image_done) struct store_image image = { 0 };
	struct err err = ERR_INIT;
	struct store *s;
	int code = cli_parse(&usage, &argc, argv), r;

	if (code >= 0)
		return code;
	r = cli_store(cli, &s, &err);
	if (r == 0)
		r = store_image_find(s, argv[0], &image, &err);
	if (r == 0) {
		json_t *list_rows = rows(s, &image, &o);

		r = cli_print_list(&list, list_rows, &err);
		json_decref(list_rows);
	}
	return r < 0 ? cli_fail(&err) : 0;
}
