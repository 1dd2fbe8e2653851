/* SPDX-License-Identifier: Apache-2.0 */
/* How a command of proa reads its options and tells its errors. */
#include <stdio.h>
#include <string.h>
#include "cli/cli.h"
#include "util/str.h"

int cli_fail(const struct err *err)
{
	char line[ERR_MSG_MAX * 4];
	const char *rest = strchr(err->msg, '\n');
	struct err first = *err;

	/* what an image or a guest said must not move the cursor; a dead machine's last lines
	 * follow */
	first.msg[strcspn(first.msg, "\n")] = 0;
	fflush(stdout);
	fprintf(stderr, "proa: %s\n", str_quote(first.msg, line, sizeof(line)));
	while (rest && *rest) {
		const char *start = rest + 1, *end = start + strcspn(start, "\n");

		snprintf(first.msg, sizeof(first.msg), "%.*s", (int)(end - start), start);
		fprintf(stderr, "%s\n", str_quote(first.msg, line, sizeof(line)));
		rest = end;
	}
	return err->exit_code ? err->exit_code : EXIT_PROA;
}

int cli_parse(const struct args_usage *u, int *argc, char **argv)
{
	struct err err = ERR_INIT;
	int r = args_parse(u, argc, argv, &err);

	if (r > 0)
		return -1;
	if (r == 0) {
		args_help(u, stdout);
		return 0;
	}
	cli_fail(&err);
	fprintf(stderr, "See 'proa %s --help'.\n", u->name);
	return EXIT_PROA;
}
