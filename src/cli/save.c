/* SPDX-License-Identifier: Apache-2.0 */
/* proa save: reads the flags; proa-image does the work. */
#include "cli/cli.h"
#include "image/client.h"
#include "util/mem.h"
#include "util/str.h"

int cmd_save(struct cli *cli, int argc, char **argv)
{
	const char *output = NULL, *format = NULL;
	bool quiet = false;
	const struct args_option options[] = {
		{ 'o', "output", ARGS_STRING, &output, "FILE",
		  "Write there, not to standard output", NULL, false },
		{ 0, "format", ARGS_STRING, &format, "FORMAT",
		  "docker-archive (default: what docker save writes), oci-archive or oci-dir", NULL,
		  false },
		{ 'q', "quiet", ARGS_FLAG, &quiet, NULL, "No progress", NULL, false },
		{ 0 },
	};
	const struct args_usage usage = {
		.name = "save",
		.synopsis = "[OPTIONS] IMAGE [IMAGE...]",
		.summary =
			"Save images to an archive, by default one that docker, podman and skopeo "
			"load",
		.examples = "  proa save -o debian.tar debian:12\n"
			    "  proa save --format oci-dir -o ./layout debian:12\n",
		.options = options,
		.min_args = 1,
		.max_args = -1,
	};
	_cleanup_strv_ char **args = NULL;
	struct err err = ERR_INIT;
	int code = cli_parse(&usage, &argc, argv);
	int r;

	if (code >= 0)
		return code;
	if (output && !strcmp(output, "-"))
		output = NULL;
	r = strv_add(&args, "save");
	if (r == 0 && quiet)
		r = strv_add(&args, "--quiet");
	if (r == 0 && format)
		r = strv_take(&args, str_printf("--format=%s", format));
	if (r == 0 && output)
		r = strv_take(&args, str_printf("--output=%s", output));
	if (r == 0)
		r = strv_add(&args, "--");
	for (int i = 0; r == 0 && i < argc; i++)
		r = strv_add(&args, argv[i]);
	if (r < 0)
		err_sys(&err, -r, "save");
	else
		image_tool_exec(cli->root, cli->run_root, args, &err);
	return cli_fail(&err);
}
