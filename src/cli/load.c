/* SPDX-License-Identifier: Apache-2.0 */
/* proa load: reads the flags; proa-image does the work. */
#include "cli/cli.h"
#include "image/client.h"
#include "util/mem.h"
#include "util/str.h"

int cmd_load(struct cli *cli, int argc, char **argv)
{
	const char *input = NULL;
	bool quiet = false;
	const struct args_option options[] = {
		{ 'i', "input", ARGS_STRING, &input, "FILE",
		  "Archive or directory (standard input otherwise)", NULL, false },
		{ 'q', "quiet", ARGS_FLAG, &quiet, NULL, "No progress", NULL, false },
		{ 0 },
	};
	const struct args_usage usage = {
		.name = "load",
		.synopsis = "[OPTIONS] [FILE]",
		.summary = "Load images from an archive (docker save, oci-archive; also "
			   "compressed) or "
			   "an OCI directory",
		.examples = "  proa load -i debian.tar\n  docker save nginx | proa load\n",
		.options = options,
		.min_args = 0,
		.max_args = 1,
	};
	_cleanup_strv_ char **args = NULL;
	struct err err = ERR_INIT;
	int code = cli_parse(&usage, &argc, argv);

	if (code >= 0)
		return code;
	if (argc && input) {
		err_set(&err, EINVAL, "the archive is given twice: -i %s and %s", input, argv[0]);
		return cli_fail(&err);
	}
	if (argc)
		input = argv[0];
	if (input && !strcmp(input, "-"))
		input = NULL;
	if (strv_add(&args, "load") < 0 || (quiet && strv_add(&args, "--quiet") < 0) ||
	    (input && strv_take(&args, str_printf("--input=%s", input)) < 0))
		err_sys(&err, ENOMEM, "load");
	else
		image_tool_exec(cli->root, cli->run_root, args, &err);
	return cli_fail(&err);
}
