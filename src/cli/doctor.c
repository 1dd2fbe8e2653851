/* SPDX-License-Identifier: Apache-2.0 */
/* proa doctor: the same facts as `info`, with a verdict and what to do; fails when something is
 * missing. */
#include <stdio.h>
#include "cli/cli.h"
#include "engine/host.h"

int cmd_doctor(struct cli *cli, int argc, char **argv)
{
	static const char *const marks[] = { "ok", "slow", "MISSING" };
	const struct args_option options[] = { { 0 } };
	const struct args_usage usage = {
		.name = "doctor",
		.synopsis = "",
		.summary = "Check this host and say what to install or change; "
			   "exits with 1 when something is missing",
		.examples = "  proa doctor\n",
		.options = options
	};
	struct host_fact facts[HOST_FACTS_MAX];
	unsigned missing = 0, slower = 0;
	struct err err = ERR_INIT;
	struct store *s;
	size_t n;
	int code = cli_parse(&usage, &argc, argv);

	if (code >= 0)
		return code;
	if (cli_store(cli, &s, &err) < 0)
		return cli_fail(&err);
	n = host_look(s, facts);
	for (size_t i = 0; i < n; i++) {
		missing += facts[i].level == HOST_MISSING;
		slower += facts[i].level == HOST_SLOWER;
		printf("%-8s %-16s %s\n", marks[facts[i].level], facts[i].name, facts[i].value);
		if (facts[i].advice[0])
			printf("%-8s %-16s -> %s\n", "", "", facts[i].advice);
	}
	if (missing)
		printf("\n%u missing, %u slower than it could be\n", missing, slower);
	else
		printf("\nContainers and machines can run%s\n",
		       slower ? "; some things are slower than they could be" : "");
	return missing ? 1 : 0;
}
