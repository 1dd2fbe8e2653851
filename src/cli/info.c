/* SPDX-License-Identifier: Apache-2.0 */
/* proa info: what this host can do, as facts. */
#include <stdio.h>
#include <string.h>
#include "cli/cli.h"
#include "engine/host.h"
#include "util/json.h"
#include "util/mem.h"

static json_t *facts_json(const struct host_fact *facts, size_t n)
{
	static const char *const levels[] = { "fine", "slower", "missing" };
	json_t *all = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(all, json_pack("{s:s, s:s, s:s, s:s, s:s}", "Topic",
						     facts[i].topic, "Name", facts[i].name, "State",
						     levels[facts[i].level], "Value",
						     facts[i].value, "Advice", facts[i].advice));
	return all;
}

int cmd_info(struct cli *cli, int argc, char **argv)
{
	const char *format = NULL;
	bool json = false;
	const struct args_option options[] = {
		{ 'f', "format", ARGS_STRING, &format, "TEMPLATE",
		  "Print each fact with a template (Topic, Name, State, Value, Advice)", NULL,
		  false },
		{ 0, "json", ARGS_FLAG, &json, NULL, "Print a JSON array", NULL, false },
		{ 0 },
	};
	const struct args_usage usage = {
		.name = "info",
		.synopsis = "[OPTIONS]",
		.summary = "Show what this host can do",
		.examples = "  proa info\n  proa info --format '{{.Name}}: {{.Value}}'\n",
		.options = options
	};
	struct host_fact facts[HOST_FACTS_MAX];
	struct err err = ERR_INIT;
	struct store *s;
	size_t n;
	int code = cli_parse(&usage, &argc, argv);

	if (code >= 0)
		return code;
	if (cli_store(cli, &s, &err) < 0)
		return cli_fail(&err);
	n = host_look(s, facts);
	if (json || format) {
		const struct cli_list list = { .format = format, .json = json };
		_cleanup_json_ json_t *all = facts_json(facts, n);

		return cli_print_list(&list, all, &err) < 0 ? cli_fail(&err) : 0;
	}
	printf("proa %s\n", PROA_VERSION);
	for (size_t i = 0; i < n; i++) {
		if (i == 0 || strcmp(facts[i].topic, facts[i - 1].topic) != 0)
			printf("%s:\n", facts[i].topic);
		printf("  %-16s %s\n", facts[i].name, facts[i].value);
	}
	return 0;
}
