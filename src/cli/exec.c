/* SPDX-License-Identifier: Apache-2.0 */
/* proa exec */
#include <errno.h>
#include <unistd.h>
#include "cli/cli.h"
#include "cli/env.h"
#include "engine/engine.h"
#include "util/mem.h"

int cmd_exec(struct cli *cli, int argc, char **argv)
{
	struct engine_exec e = { 0 };
	char **env = NULL, **files = NULL;
	const struct args_option options[] = {
		{ 'e', "env", ARGS_LIST, &env, "NAME[=VALUE]", "Set an environment variable", NULL,
		  false },
		{ 0, "env-file", ARGS_LIST, &files, "FILE",
		  "Read environment variables from a file", NULL, false },
		{ 'i', "interactive", ARGS_FLAG, &e.interactive, NULL, "Pass standard input on",
		  NULL, false },
		{ 0, "privileged", ARGS_FLAG, &e.privileged, NULL, "All capabilities", NULL,
		  false },
		{ 't', "tty", ARGS_FLAG, &e.terminal, NULL, "Give it a terminal", NULL, false },
		{ 'u', "user", ARGS_STRING, &e.user, "USER[:GROUP]",
		  "User and group, by name or number", NULL, false },
		{ 'w', "workdir", ARGS_STRING, &e.workdir, "PATH", "Working directory inside", NULL,
		  false },
		{ 0 },
	};
	const struct args_usage usage = {
		.name = "exec",
		.synopsis = "[OPTIONS] CONTAINER COMMAND [ARG...]",
		.summary = "Run a further command in a running container or machine",
		.examples = "  proa exec web cat /etc/hostname\n  proa exec -it web sh\n",
		.options = options,
		.min_args = 2,
		.max_args = -1,
		.stop_at_first = true,
	};
	struct err err = ERR_INIT;
	struct store *s;
	int code = cli_parse(&usage, &argc, argv), r = 0;

	if (code < 0) {
		e.container = argv[0];
		e.args = argv + 1;
		if (e.terminal && e.interactive && !isatty(STDIN_FILENO))
			r = err_set(&err, ENOTTY,
				    "-t: standard input is not a terminal; leave -t out to "
				    "use pipes or files");
		if (r == 0)
			r = cli_env(files, env, &e.env, &err);
		if (r == 0)
			r = cli_store(cli, &s, &err);
		if (r == 0)
			r = engine_exec(s, &e, &code, &err);
		if (r < 0)
			code = cli_fail(&err);
	}
	strv_free(env);
	strv_free(files);
	strv_free(e.env);
	return code;
}
