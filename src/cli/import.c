/* SPDX-License-Identifier: Apache-2.0 */
/* proa import: reads the flags; proa-image does the work. */
#include "cli/cli.h"
#include "image/client.h"
#include "util/mem.h"
#include "util/str.h"

static int arguments(char ***args, const char *message, const char *platform, bool quiet,
		     char *const *changes, int argc, char **argv)
{
	int r = strv_add(args, "import");

	if (r == 0 && quiet)
		r = strv_add(args, "--quiet");
	if (r == 0 && message)
		r = strv_take(args, str_printf("--message=%s", message));
	if (r == 0 && platform)
		r = strv_take(args, str_printf("--platform=%s", platform));
	for (; r == 0 && changes && *changes; changes++)
		r = strv_take(args, str_printf("--change=%s", *changes));
	if (r == 0 && strcmp(argv[0], "-") != 0)
		r = strv_take(args, str_printf("--input=%s", argv[0]));
	if (r == 0)
		r = strv_add(args, "--");
	return r == 0 && argc > 1 ? strv_add(args, argv[1]) : r;
}

int cmd_import(struct cli *cli, int argc, char **argv)
{
	_cleanup_strv_ char **changes = NULL, **args = NULL;
	const char *message = NULL, *platform = NULL;
	bool quiet = false;
	const struct args_option options[] = {
		{ 'c', "change", ARGS_LIST, &changes, "INSTRUCTION",
		  "Dockerfile instruction for the configuration: CMD, ENTRYPOINT, ENV, EXPOSE, "
		  "LABEL, "
		  "ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR",
		  NULL, false },
		{ 'm', "message", ARGS_STRING, &message, "TEXT", "Comment in the history", NULL,
		  false },
		{ 0, "platform", ARGS_STRING, &platform, "OS/ARCH",
		  "Platform of the files (this host's)", NULL, false },
		{ 'q', "quiet", ARGS_FLAG, &quiet, NULL, "No progress", NULL, false },
		{ 0 },
	};
	const struct args_usage usage = {
		.name = "import",
		.synopsis = "[OPTIONS] FILE|- [NAME]",
		.summary = "Make an image from a tar of a root file system",
		.examples = "  mmdebstrap --variant=minbase bookworm - | proa import - debian:12\n"
			    "  proa import -c 'CMD [\"/bin/sh\"]' root.tar.gz mine\n",
		.options = options,
		.min_args = 1,
		.max_args = 2,
	};
	struct err err = ERR_INIT;
	int code = cli_parse(&usage, &argc, argv);

	if (code >= 0)
		return code;
	if (arguments(&args, message, platform, quiet, changes, argc, argv) < 0)
		err_sys(&err, ENOMEM, "import");
	else
		image_tool_exec(cli->root, cli->run_root, args, &err);
	return cli_fail(&err);
}
