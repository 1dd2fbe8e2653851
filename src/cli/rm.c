/* SPDX-License-Identifier: Apache-2.0 */
/* proa rm */
#include "cli/each.h"
#include "engine/engine.h"

static int remove_one(struct store *s, const struct container *c, void *data, struct err *err)
{
	return engine_remove(s, c, *(bool *)data, err);
}

int cmd_rm(struct cli *cli, int argc, char **argv)
{
	bool force = false;
	const struct args_option options[] = {
		{ 'f', "force", ARGS_FLAG, &force, NULL, "Kill it first if it runs", NULL, false },
		{ 0 },
	};
	const struct args_usage usage = { .name = "rm",
					  .synopsis = "[OPTIONS] CONTAINER [CONTAINER...]",
					  .summary =
						  "Remove containers and machines that have ended",
					  .examples =
						  "  proa rm web\n  proa rm -f $(proa ps -aq)\n",
					  .options = options,
					  .min_args = 1,
					  .max_args = -1 };
	int code = cli_parse(&usage, &argc, argv);

	return code >= 0 ? code : cli_each_container(cli, argc, argv, remove_one, &force);
}
