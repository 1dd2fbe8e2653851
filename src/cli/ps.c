/* SPDX-License-Identifier: Apache-2.0 */
/* proa ps */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "cli/cli.h"
#include "engine/engine.h"
#include "util/json.h"
#include "util/mem.h"
#include "util/str.h"

#define COMMAND_WIDTH 20

static const char *status_name(enum container_status status)
{
	switch (status) {
	case CONTAINER_CREATED: return "created";
	case CONTAINER_RUNNING: return "running";
	case CONTAINER_EXITED: return "exited";
	case CONTAINER_DEAD: return "dead";
	}
	return "unknown";
}

/* "Up 3 minutes", "Exited (0) 2 hours ago" */
static char *status_text(const struct container *c, int64_t now)
{
	char ago[48];
	size_t n;

	switch (c->status) {
	case CONTAINER_RUNNING:
		str_human_ago(c->started_s, now, ago);
		n = strlen(ago);
		if (n > 4)
			ago[n - 4] = 0; /* without " ago" */
		return str_printf("Up %s", ago);
	case CONTAINER_EXITED:
		return str_printf("Exited (%d) %s", c->exit_code,
				  str_human_ago(c->finished_s, now, ago));
	case CONTAINER_CREATED: return strdup("Created");
	default: return strdup("Dead");
	}
}

static char *command_text(const struct container *c, bool whole)
{
	struct str_buf b = { 0 };

	for (char **v = c->command; v && *v; v++)
		str_buf_printf(&b, "%s%s", v == c->command ? "" : " ", *v);
	if (!whole && b.len > COMMAND_WIDTH) {
		/* cut between characters, not within one */
		size_t n = COMMAND_WIDTH - 1;

		while (n && ((unsigned char)b.data[n] & 0xc0) == 0x80)
			n--;
		b.len = n;
		str_buf_puts(&b, "…");
	}
	for (char *p = b.data; p && *p; p++)
		if (*p == '\n' || *p == '\t' || *p == '\r' || *p == 27)
			*p = ' ';
	return b.data ? b.data : strdup("");
}

static json_t *labels_text(const struct container *c)
{
	struct str_buf b = { 0 };
	const char *key;
	json_t *value, *text;

	json_object_foreach (json_object_get(c->config, "labels"), key, value)
		str_buf_printf(&b, "%s%s=%s", b.len ? "," : "", key, json_string_value(value));
	text = json_string(b.data ? b.data : "");
	str_buf_done(&b);
	return text;
}

static json_t *row(const struct container *c, bool whole, int64_t now)
{
	_cleanup_free_ char *command = command_text(c, whole), *status = status_text(c, now);
	_cleanup_free_ char *quoted = command ? str_printf("\"%s\"", command) : NULL;
	char ago[48];

	return json_pack("{s:s#, s:s, s:s?, s:s, s:s?, s:s, s:s, s:s, s:o}", "ID", c->id,
			 whole ? 64 : 12, "Image", c->image_name, "Command", quoted, "RunningFor",
			 str_human_ago(c->created_s, now, ago), "Status", status, "State",
			 status_name(c->status), "Isolation", c->isolation, "Names", c->name,
			 "Labels", labels_text(c));
}

/* --filter KEY=VALUE: name (part of it), id (prefix), status, label, isolation. */
static int check_filters(char *const *filters, struct err *err)
{
	static const char *const known[] = { "name=", "id=", "status=", "label=", "isolation=" };

	for (; filters && *filters; filters++) {
		bool ok = false;

		for (size_t i = 0; i < ARRAY_SIZE(known); i++)
			ok |= str_starts(*filters, known[i]);
		if (!ok)
			return err_set(err, EINVAL,
				       "--filter %s: known are name=, id=, status=, label= "
				       "and isolation=",
				       *filters);
	}
	return 0;
}

static bool matches(const struct container *c, char *const *filters)
{
	for (; filters && *filters; filters++) {
		const char *value = strchr(*filters, '=') + 1;
		bool ok = true;

		if (str_starts(*filters, "name="))
			ok = strstr(c->name, value);
		else if (str_starts(*filters, "id="))
			ok = str_starts(c->id, value);
		else if (str_starts(*filters, "status="))
			ok = !strcmp(status_name(c->status), value);
		else if (str_starts(*filters, "isolation="))
			ok = !strcmp(c->isolation, value);
		else {
			_cleanup_free_ char *key = strndup(value, strcspn(value, "="));
			const char *want = strchr(value, '=');
			const char *have =
				key ? json_get_str(json_object_get(c->config, "labels"), key)
				    : NULL;

			ok = have && (!want || !strcmp(have, want + 1));
		}
		if (!ok)
			return false;
	}
	return true;
}

int cmd_ps(struct cli *cli, int argc, char **argv)
{
	static const struct cli_column columns[] = {
		{ "CONTAINER ID", "ID" },    { "IMAGE", "Image" },   { "COMMAND", "Command" },
		{ "CREATED", "RunningFor" }, { "STATUS", "Status" }, { "ISOLATION", "Isolation" },
		{ "NAMES", "Names" },	     { NULL, NULL },
	};
	struct cli_list list = { .columns = columns, .quiet_key = "ID" };
	bool all = false, whole = false;
	char **filters = NULL;
	const struct args_option options[] = {
		{ 'a', "all", ARGS_FLAG, &all, NULL, "Also those that have ended", NULL, false },
		{ 'f', "filter", ARGS_LIST, &filters, "KEY=VALUE",
		  "Only those with this name, id, status, label or isolation", NULL, false },
		{ 0, "format", ARGS_STRING, &list.format, "TEMPLATE",
		  "Print with a template, or \"json\"", NULL, false },
		{ 0, "json", ARGS_FLAG, &list.json, NULL, "Print a JSON array", NULL, false },
		{ 0, "no-trunc", ARGS_FLAG, &whole, NULL, "Do not shorten", NULL, false },
		{ 'q', "quiet", ARGS_FLAG, &list.quiet, NULL, "Print IDs only", NULL, false },
		{ 0 },
	};
	const struct args_usage usage = {
		.name = "ps",
		.synopsis = "[OPTIONS]",
		.summary = "List containers and machines",
		.examples = "  proa ps -a\n  proa ps --format '{{.Names}} {{.Status}}'\n",
		.options = options
	};
	_cleanup_json_ json_t *rows = json_array();
	struct container *found = NULL;
	struct err err = ERR_INIT;
	struct store *s;
	size_t n = 0;
	int code = cli_parse(&usage, &argc, argv), r;

	if (code >= 0)
		return code;
	r = check_filters(filters, &err);
	if (r == 0)
		r = cli_store(cli, &s, &err);
	if (r == 0) {
		engine_recover(s);
		r = store_container_list(s, &found, &n, &err);
	}
	for (size_t i = 0; i < n; i++) {
		bool live = found[i].status == CONTAINER_RUNNING || all || filters;

		if (live && matches(&found[i], filters))
			json_array_append_new(rows, row(&found[i], whole, time(NULL)));
		container_done(&found[i]);
	}
	free(found);
	if (r == 0)
		r = cli_print_list(&list, rows, &err);
	strv_free(filters);
	return r < 0 ? cli_fail(&err) : 0;
}
