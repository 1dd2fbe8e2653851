/* SPDX-License-Identifier: Apache-2.0 */
/* Commands that do one thing to each container named (stop, kill, rm). */
#ifndef PROA_CLI_EACH_H
#define PROA_CLI_EACH_H

#include "cli/cli.h"
#include "store/containers.h"

/*
 * Finds each name and calls @act; prints the name when it worked and the error when not, and goes
 * on. Returns 0, or 1 if one failed (as docker does).
 */
int cli_each_container(struct cli *cli, int argc, char **argv,
		       int (*act)(struct store *s, const struct container *c, void *data,
				  struct err *err),
		       void *data);

#endif
