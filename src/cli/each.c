/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/each.h"

#include <stdio.h>
#include "engine/engine.h"

int cli_each_container(struct cli *cli, int argc, char **argv,
		       int (*act)(struct store *s, const struct container *c, void *data,
				  struct err *err),
		       void *data)
{
	struct err err = ERR_INIT;
	struct store *s;
	int failed = 0;

	if (cli_store(cli, &s, &err) < 0)
		return cli_fail(&err);
	engine_recover(s);
	for (int i = 0; i < argc; i++) {
		struct container c;
		int r;

		err_clear(&err);
		r = store_container_find(s, argv[i], &c, &err);
		if (r == 0) {
			r = act(s, &c, data, &err);
			container_done(&c);
		}
		if (r < 0) {
			cli_fail(&err);
			failed = 1;
		} else {
			puts(argv[i]);
		}
	}
	return failed;
}
