/* SPDX-License-Identifier: Apache-2.0 */
/* proa stop */
#include "cli/each.h"
#include "engine/engine.h"

static int stop_one(struct store *s, const struct container *c, void *data, struct err *err)
{
	return engine_stop(s, c, *(uint32_t *)data, err);
}

int cmd_stop(struct cli *cli, int argc, char **argv)
{
	uint32_t timeout_s = 10;
	const struct args_option options[] = {
		{ 't', "time", ARGS_U32, &timeout_s, "SECONDS",
		  "Kill it after this long (default 10)", NULL, false },
		{ 0 },
	};
	const struct args_usage usage = {
		.name = "stop",
		.synopsis = "[OPTIONS] CONTAINER [CONTAINER...]",
		.summary = "Stop containers and machines: their stop signal, then a kill",
		.examples = "  proa stop web\n  proa stop -t 2 $(proa ps -q)\n",
		.options = options,
		.min_args = 1,
		.max_args = -1
	};
	int code = cli_parse(&usage, &argc, argv);

	return code >= 0 ? code : cli_each_container(cli, argc, argv, stop_one, &timeout_s);
}
