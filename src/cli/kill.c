/* SPDX-License-Identifier: Apache-2.0 */
/* proa kill */
#include <errno.h>
#include <signal.h>
#include "cli/each.h"
#include "engine/engine.h"
#include "util/signal.h"

static int kill_one(struct store *s, const struct container *c, void *data, struct err *err)
{
	return engine_kill(s, c, *(int *)data, err);
}

static int set_signal(void *data, const char *value, struct err *err)
{
	int n = signal_parse(value);

	if (n < 0)
		return err_set(err, EINVAL, "--signal: \"%s\" is not a signal", value);
	*(int *)data = n;
	return 0;
}

int cmd_kill(struct cli *cli, int argc, char **argv)
{
	int signo = SIGKILL;
	const struct args_option options[] = {
		{ 's', "signal", ARGS_CALL, &signo, "SIGNAL", "Which signal (default KILL)",
		  set_signal, false },
		{ 0 },
	};
	const struct args_usage usage = {
		.name = "kill",
		.synopsis = "[OPTIONS] CONTAINER [CONTAINER...]",
		.summary = "Send a signal to the first process of containers and machines",
		.examples = "  proa kill web\n  proa kill -s HUP web\n",
		.options = options,
		.min_args = 1,
		.max_args = -1
	};
	int code = cli_parse(&usage, &argc, argv);

	return code >= 0 ? code : cli_each_container(cli, argc, argv, kill_one, &signo);
}
