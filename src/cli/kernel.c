/* SPDX-License-Identifier: Apache-2.0 */
/* proa kernel pull | import | ls | rm | default; `proa kernel build` is in kernel_build.c */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "cli/cli.h"
#include "cli/kernel.h"
#include "util/json.h"
#include "util/mem.h"
#include "util/str.h"
#include "vm/kernel.h"

static const struct args_option no_options[] = { { 0 } };

void cli_kernel_progress(const char *line)
{
	fprintf(stderr, "proa: %s\n", line);
}

static int kernel_pull(struct cli *cli, int argc, char **argv)
{
	const struct args_usage usage = {
		.name = "kernel pull",
		.synopsis = "",
		.summary = "Download this Debian's cloud kernel with apt-get, for machines to boot",
		.examples = "  proa kernel pull\n",
		.options = no_options,
		.max_args = 0,
	};
	_cleanup_free_ char *name = NULL;
	struct err err = ERR_INIT;
	struct store *store;
	int code = cli_parse(&usage, &argc, argv);

	if (code >= 0)
		return code;
	if (cli_store(cli, &store, &err) < 0 ||
	    vm_kernel_pull(store->root, cli_kernel_progress, &name, &err) < 0)
		return cli_fail(&err);
	puts(name);
	return 0;
}

static int kernel_import(struct cli *cli, int argc, char **argv)
{
	struct vm_kernel_import what = { 0 };
	const struct args_option options[] = {
		{ 0, "modules", ARGS_STRING, &what.modules, "DIR",
		  "Its modules, as in /lib/modules/VERSION (a .deb has them)", NULL, false },
		{ 0, "name", ARGS_STRING, &what.name, "NAME", "Its name; its version if not given",
		  NULL, false },
		{ 0 },
	};
	const struct args_usage usage = {
		.name = "kernel import",
		.synopsis = "[OPTIONS] FILE",
		.summary =
			"Put a kernel into the store: a linux-image .deb, a vmlinuz or a vmlinux",
		.examples =
			"  proa kernel import "
			"linux-image-6.1.0-30-cloud-amd64_6.1.124-1_amd64.deb\n"
			"  proa kernel import --modules /lib/modules/$(uname -r) --name host \\\n"
			"      /boot/vmlinuz-$(uname -r)\n",
		.options = options,
		.min_args = 1,
		.max_args = 1,
	};
	_cleanup_free_ char *name = NULL;
	struct err err = ERR_INIT;
	struct store *store;
	int code = cli_parse(&usage, &argc, argv);

	if (code >= 0)
		return code;
	what.source = argv[0];
	if (cli_store(cli, &store, &err) < 0 ||
	    vm_kernel_import(store->root, &what, &name, &err) < 0)
		return cli_fail(&err);
	puts(name);
	return 0;
}

/* The store's rows with what people read: sizes and ages. */
static json_t *readable(const json_t *kernels)
{
	json_t *rows = json_array(), *k;
	size_t i;

	json_array_foreach ((json_t *)(uintptr_t)kernels, i, k) {
		char size[16], age[48];
		struct tm tm = { 0 };
		const char *created = json_get_str(k, "Created");

		if (!created || !strptime(created, "%Y-%m-%dT%H:%M:%SZ", &tm))
			age[0] = 0;
		else
			str_human_ago(timegm(&tm), time(NULL), age);
		json_array_append_new(
			rows,
			json_pack("{s:s, s:s, s:s, s:s, s:s}", "Name", json_get_str(k, "Name"),
				  "Version", json_get_str(k, "Version"), "Created", age, "Size",
				  str_human_bytes((uint64_t)json_get_int(k, "Size", 0), size),
				  "Default", json_get_bool(k, "Default", false) ? "*" : ""));
	}
	return rows;
}

static int kernel_ls(struct cli *cli, int argc, char **argv)
{
	static const struct cli_column columns[] = {
		{ "NAME", "Name" }, { "VERSION", "Version" }, { "CREATED", "Created" },
		{ "SIZE", "Size" }, { "DEFAULT", "Default" }, { NULL, NULL },
	};
	struct cli_list list = { .columns = columns, .quiet_key = "Name" };
	const struct args_option options[] = {
		{ 'q', "quiet", ARGS_FLAG, &list.quiet, NULL, "Names only", NULL, false },
		{ 0, "format", ARGS_STRING, &list.format, "TEMPLATE",
		  "Go template, table …, or json", NULL, false },
		{ 0, "json", ARGS_FLAG, &list.json, NULL, "One JSON array, with sizes in bytes",
		  NULL, false },
		{ 0 },
	};
	const struct args_usage usage = { .name = "kernel ls",
					  .synopsis = "[OPTIONS]",
					  .summary = "List the kernels that machines can boot",
					  .examples = "  proa kernel ls --format '{{.Name}}'\n",
					  .options = options,
					  .max_args = 0 };
	_cleanup_json_ json_t *kernels = NULL, *rows = NULL;
	struct err err = ERR_INIT;
	struct store *store;
	int code = cli_parse(&usage, &argc, argv);

	if (code >= 0)
		return code;
	if (cli_store(cli, &store, &err) < 0 || vm_kernel_list(store->root, &kernels, &err) < 0)
		return cli_fail(&err);
	if (!list.json)
		rows = readable(kernels);
	return cli_print_list(&list, list.json ? kernels : rows, &err) < 0 ? cli_fail(&err) : 0;
}

static int kernel_rm(struct cli *cli, int argc, char **argv)
{
	const struct args_usage usage = { .name = "kernel rm",
					  .synopsis = "NAME [NAME...]",
					  .summary = "Remove kernels from the store",
					  .examples = "  proa kernel rm 6.1.0-56-cloud-amd64\n",
					  .options = no_options,
					  .min_args = 1,
					  .max_args = -1 };
	struct err err = ERR_INIT;
	struct store *store;
	int code = cli_parse(&usage, &argc, argv), failed = 0;

	if (code >= 0)
		return code;
	if (cli_store(cli, &store, &err) < 0)
		return cli_fail(&err);
	for (int i = 0; i < argc; i++) {
		err_clear(&err);
		if (vm_kernel_remove(store->root, argv[i], &err) < 0)
			failed = cli_fail(&err);
		else
			puts(argv[i]);
	}
	return failed;
}

static int kernel_default(struct cli *cli, int argc, char **argv)
{
	const struct args_usage usage = {
		.name = "kernel default",
		.synopsis = "NAME",
		.summary = "Choose the kernel that machines boot unless --kernel says otherwise",
		.examples = "  proa kernel default 6.1.0-56-cloud-amd64\n",
		.options = no_options,
		.min_args = 1,
		.max_args = 1
	};
	struct err err = ERR_INIT;
	struct store *store;
	int code = cli_parse(&usage, &argc, argv);

	if (code >= 0)
		return code;
	if (cli_store(cli, &store, &err) < 0 ||
	    vm_kernel_set_default(store->root, argv[0], &err) < 0)
		return cli_fail(&err);
	puts(argv[0]);
	return 0;
}

static const struct {
	const char *name;
	int (*run)(struct cli *cli, int argc, char **argv);
	const char *summary;
} verbs[] = {
	{ "pull", kernel_pull, "Download this Debian's cloud kernel" },
	{ "build", cli_kernel_build, "Compile a small kernel that starts fast" },
	{ "import", kernel_import, "Put a kernel of your own into the store" },
	{ "ls", kernel_ls, "List the kernels" },
	{ "default", kernel_default, "Choose the one that is used unless another is asked for" },
	{ "rm", kernel_rm, "Remove kernels" },
};

static void print_help(FILE *to)
{
	fprintf(to, "Usage:  proa kernel COMMAND\n\nThe kernels that machines boot.\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		fprintf(to, "  %-8s %s\n", verbs[i].name, verbs[i].summary);
	fprintf(to, "\n'proa kernel COMMAND --help' tells more about a command.\n");
}

int cmd_kernel(struct cli *cli, int argc, char **argv)
{
	const char *names[ARRAY_SIZE(verbs) + 1] = { NULL };
	const char *near;

	if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		print_help(argc < 2 ? stderr : stdout);
		return argc < 2 ? EXIT_PROA : 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		names[i] = verbs[i].name;
		if (!strcmp(argv[1], verbs[i].name))
			return verbs[i].run(cli, argc - 1, argv + 1);
	}
	near = str_nearest(argv[1], names);
	fprintf(stderr,
		"proa: \"kernel %s\" is not a command of proa%s%s%s\n"
		"See 'proa kernel --help'.\n",
		argv[1], near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
	return EXIT_PROA;
}
