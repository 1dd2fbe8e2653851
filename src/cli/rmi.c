/* SPDX-License-Identifier: Apache-2.0 */
/* proa rmi */
#include <stdio.h>
#include "cli/cli.h"
#include "oci/reference.h"
#include "store/image.h"
#include "util/mem.h"

static void print_removal(const struct store_removal *r)
{
	for (char **name = r->untagged; name && *name; name++) {
		_cleanup_(reference_done) struct reference ref = { 0 };
		_cleanup_free_ char *familiar = NULL;

		if (reference_parse(*name, &ref, NULL) == 0)
			familiar = reference_familiar(&ref);
		printf("Untagged: %s\n", familiar ? familiar : *name);
	}
	for (char **digest = r->deleted; digest && *digest; digest++)
		printf("Deleted: %s\n", *digest);
}

int cmd_rmi(struct cli *cli, int argc, char **argv)
{
	bool force = false;
	const struct args_option options[] = {
		{ 'f', "force", ARGS_FLAG, &force, NULL,
		  "Also with several names; and the names of an image that a container uses", NULL,
		  false },
		{ 0 },
	};
	const struct args_usage usage = { .name = "rmi",
					  .synopsis = "[OPTIONS] IMAGE [IMAGE...]",
					  .summary = "Remove images, or one of an image's names",
					  .examples = "  proa rmi debian:12\n",
					  .options = options,
					  .min_args = 1,
					  .max_args = -1 };
	struct err err = ERR_INIT;
	struct store *s;
	int code = cli_parse(&usage, &argc, argv);

	if (code >= 0)
		return code;
	if (cli_store(cli, &s, &err) < 0)
		return cli_fail(&err);
	code = 0;
	for (int i = 0; i < argc; i++) {
		struct store_removal removal;

		err_clear(&err);
		if (store_image_remove(s, argv[i], force, &removal, &err) < 0) {
			code = cli_fail(&err);
			continue;
		}
		print_removal(&removal);
		store_removal_done(&removal);
	}
	return code;
}
