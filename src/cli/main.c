/* SPDX-License-Identifier: Apache-2.0 */
/* proa: the command table and the options that stand before a command. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli/cli.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/str.h"

struct command {
	const char *name;
	int (*run)(struct cli *cli, int argc, char **argv);
	const char *summary;
	const char *group; /* heading in --help, on the first command under it */
};

static const struct command commands[] = {
	{ "run", cmd_run, "Run a command from an image, as a container or (--vm) a machine",
	  "Run" },
	{ "exec", cmd_exec, "Run a further command in a running container or machine", NULL },
	{ "compare", cmd_compare, "Run an image both ways and show what the difference costs",
	  NULL },
	{ "ps", cmd_ps, "List containers and machines", "Look and end" },
	{ "logs", cmd_logs, "Show the output of a container or machine", NULL },
	{ "stop", cmd_stop, "Stop containers and machines", NULL },
	{ "kill", cmd_kill, "Send a signal", NULL },
	{ "rm", cmd_rm, "Remove containers and machines", NULL },
	{ "images", cmd_images, "List images", "Images" },
	{ "load", cmd_load, "Load images from an archive or a directory", NULL },
	{ "save", cmd_save, "Save images to an archive", NULL },
	{ "import", cmd_import, "Make an image from a tar of a root file system", NULL },
	{ "tag", cmd_tag, "Give an image a further name", NULL },
	{ "rmi", cmd_rmi, "Remove images", NULL },
	{ "inspect", cmd_inspect, "Show everything about an image, container or machine", NULL },
	{ "history", cmd_history, "Show how an image was made", NULL },
	{ "kernel", cmd_kernel, "Get and choose the kernel that machines boot", "System" },
	{ "info", cmd_info, "Show what this host can do", NULL },
	{ "doctor", cmd_doctor, "Check this host and say what to install or change", NULL },
};

int cli_store(struct cli *cli, struct store **ret, struct err *err)
{
	int r;

	if (!cli->store_open) {
		r = store_open(cli->root, cli->run_root, &cli->store, err);
		if (r < 0)
			return r;
		cli->store_open = true;
	}
	*ret = &cli->store;
	return 0;
}

static void print_help(void)
{
	printf("Usage:  proa [--root DIR] [--run-root DIR] [--verbose] COMMAND\n\n"
	       "Runs the same image as a container or as a virtual machine.\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (commands[i].group)
			printf("\n%s:\n", commands[i].group);
		printf("  %-10s %s\n", commands[i].name, commands[i].summary);
	}
	printf("\nOptions:\n"
	       "      --root DIR       Where images, kernels and containers are kept\n"
	       "      --run-root DIR   Where the state of what runs is kept\n"
	       "      --verbose        Say what is decided and why\n"
	       "  -v, --version        Print the version\n\n"
	       "'proa COMMAND --help' tells more about a command.\n");
}

static const struct command *find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

static int unknown_command(const char *name)
{
	const char *names[ARRAY_SIZE(commands) + 1] = { NULL };
	const char *near;

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		names[i] = commands[i].name;
	near = str_nearest(name, names);
	fprintf(stderr, "proa: \"%s\" is not a command of proa%s%s%s\nSee 'proa --help'.\n", name,
		near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
	return EXIT_PROA;
}

/* "--root DIR" and "--root=DIR". Returns how many words it took; 0: it is another option. */
static int global_value(char **argv, const char *name, const char **ret)
{
	size_t n = strlen(name);

	if (strncmp(argv[0], name, n) != 0)
		return 0;
	if (argv[0][n] == '=') {
		*ret = argv[0] + n + 1;
		return 1;
	}
	if (argv[0][n] || !argv[1])
		return 0;
	*ret = argv[1];
	return 2;
}

/* Options before the command. Returns the index of the command, or -1 after an error. */
static int parse_globals(struct cli *cli, int argc, char **argv)
{
	int i = 1;

	while (i < argc && argv[i][0] == '-') {
		int n = global_value(argv + i, "--root", &cli->root);

		if (!n)
			n = global_value(argv + i, "--run-root", &cli->run_root);
		if (!n && !strcmp(argv[i], "--verbose")) {
			cli->verbose = true;
			n = 1;
		}
		if (!n && (!strcmp(argv[i], "--version") || !strcmp(argv[i], "-v") ||
			   !strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")))
			return i;
		if (!n) {
			fprintf(stderr,
				"proa: unknown option %s before the command\n"
				"See 'proa --help'.\n",
				argv[i]);
			return -1;
		}
		i += n;
	}
	return i;
}

int main(int argc, char **argv)
{
	struct cli cli = { .root = getenv("PROA_ROOT"), .run_root = getenv("PROA_RUN_ROOT") };
	const struct command *c;
	int i = parse_globals(&cli, argc, argv), code;

	if (i < 0)
		return EXIT_PROA;
	log_set_verbose(cli.verbose);
	if (i < argc && (!strcmp(argv[i], "--version") || !strcmp(argv[i], "-v") ||
			 !strcmp(argv[i], "version"))) {
		puts("proa version " PROA_VERSION);
		return 0;
	}
	if (i == argc || !strcmp(argv[i], "--help") || !strcmp(argv[i], "-h") ||
	    !strcmp(argv[i], "help")) {
		print_help();
		return 0;
	}
	c = find(argv[i]);
	if (!c)
		return unknown_command(argv[i]);
	code = c->run(&cli, argc - i, argv + i);
	if (cli.store_open)
		store_done(&cli.store);
	if (fflush(stdout) != 0 || ferror(stdout))
		return code ? code : EXIT_PROA;
	return code;
}
