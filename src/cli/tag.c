/* SPDX-License-Identifier: Apache-2.0 */
/* proa tag */
#include "cli/cli.h"
#include "store/image.h"

int cmd_tag(struct cli *cli, int argc, char **argv)
{
	const struct args_option options[] = { { 0 } };
	const struct args_usage usage = { .name = "tag",
					  .synopsis = "IMAGE NAME[:TAG]",
					  .summary = "Give an image a further name",
					  .examples = "  proa tag debian:12 localhost/base:1\n",
					  .options = options,
					  .min_args = 2,
					  .max_args = 2 };
	struct err err = ERR_INIT;
	struct store *s;
	int code = cli_parse(&usage, &argc, argv), r;

	if (code >= 0)
		return code;
	r = cli_store(cli, &s, &err);
	if (r == 0)
		r = store_image_tag(s, argv[0], argv[1], &err);
	return r < 0 ? cli_fail(&err) : 0;
}
