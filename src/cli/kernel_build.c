/* SPDX-License-Identifier: Apache-2.0 */
/* proa kernel build */
#include <stdio.h>
#include "cli/cli.h"
#include "cli/kernel.h"
#include "util/mem.h"
#include "vm/kernel.h"

int cli_kernel_build(struct cli *cli, int argc, char **argv)
{
	struct vm_kernel_build what = { 0 };
	uint32_t jobs = 0;
	const struct args_option options[] = {
		{ 0, "name", ARGS_STRING, &what.name, "NAME", "Its name; its version if not given",
		  NULL, false },
		{ 'j', "jobs", ARGS_U32, &jobs, "N",
		  "Compile N files at a time; one per CPU if not given", NULL, false },
		{ 0, "source", ARGS_STRING, &what.source, "PATH",
		  "A kernel's source: a directory, a tar archive or a linux-source .deb", NULL,
		  false },
		{ 0, "config", ARGS_STRING, &what.fragment, "FILE",
		  "The options that are on, instead of proa's", NULL, false },
		{ 0, "keep", ARGS_STRING, &what.keep, "DIR",
		  "Build in DIR, a new or empty directory, and leave all there", NULL, false },
		{ 0 },
	};
	const struct args_usage usage = {
		.name = "kernel build",
		.synopsis = "[OPTIONS]",
		.summary =
			"Compile this Debian's kernel as machines need it: small, without modules, "
			"fast to start",
		.examples = "  proa kernel build\n"
			    "  proa kernel build --jobs 4 --name fast && proa kernel default fast\n"
			    "  proa kernel build --source linux-6.1.tar.xz --config my.config "
			    "--keep /var/tmp/build\n",
		.options = options,
		.max_args = 0,
	};
	_cleanup_free_ char *name = NULL;
	struct err err = ERR_INIT;
	struct store *store;
	int code = cli_parse(&usage, &argc, argv);

	if (code >= 0)
		return code;
	what.jobs = jobs;
	if (cli_store(cli, &store, &err) < 0 ||
	    vm_kernel_build(store->root, &what, cli_kernel_progress, &name, &err) < 0)
		return cli_fail(&err);
	puts(name);
	return 0;
}
