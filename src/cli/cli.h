/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every command shares: the command table, option parsing with --help made from the same
 * table, lists as tables, templates or JSON, and how errors end a command. Only this room prints
 * and exits.
 */
#ifndef PROA_CLI_CLI_H
#define PROA_CLI_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "store/store.h"
#include "util/args.h"
#include "util/err.h"

struct cli {
	const char *root, *run_root; /* --root, --run-root or the environment; NULL: defaults */
	bool verbose;
	bool store_open;
	struct store store;
};

/* The store, opened at first use; closed by main(). */
int cli_store(struct cli *cli, struct store **ret, struct err *err);

/* ---- options -------------------------------------------------------------------------------- */

/*
 * args_parse() of util/args.h for a command of proa: errors are printed, with where help is.
 * Returns -1 to go on; otherwise the exit code to return at once (0 after --help, 125 after an
 * error).
 */
int cli_parse(const struct args_usage *usage, int *argc, char **argv);

/* Prints "proa: MESSAGE" to stderr and returns the exit code of the error. */
int cli_fail(const struct err *err);

/* ---- lists ---------------------------------------------------------------------------------- */

struct cli_column {
	const char *header; /* "IMAGE ID" */
	const char *key;    /* "ID": key of the row's object, as Docker's templates name it */
};

struct cli_list {
	const struct cli_column *columns; /* ends with .header == NULL */
	const char *format;		  /* --format: "table …", a template, "json", or NULL */
	bool json;			  /* --json: one array */
	bool quiet;			  /* -q: only the value of quiet_key */
	const char *quiet_key;
};

/* Prints an array of objects whose values are strings (others are printed as JSON). 0 or -errno. */
int cli_print_list(const struct cli_list *list, const json_t *rows, struct err *err);

/* One object through a template: {{.Key}}, {{.A.B}}, {{json .}}, {{json .Key}}, {{index .A "b"}},
 * {{len .A}}, \t, \n. Prints a newline after it. */
int cli_print_template(const char *format, const json_t *object, struct err *err);

/* Pretty JSON with four spaces, as `docker inspect` prints it, and a newline. */
void cli_print_json(const json_t *value);

/* True when standard error / output is a terminal: progress is for people only. */
bool cli_is_terminal(int fd);

/* ---- commands ------------------------------------------------------------------------------- */

/* argv[0] is the command's name; returns the exit code. One file each: src/cli/NAME.c. */
int cmd_compare(struct cli *cli, int argc, char **argv);
int cmd_doctor(struct cli *cli, int argc, char **argv);
int cmd_exec(struct cli *cli, int argc, char **argv);
int cmd_history(struct cli *cli, int argc, char **argv);
int cmd_images(struct cli *cli, int argc, char **argv);
int cmd_import(struct cli *cli, int argc, char **argv);
int cmd_info(struct cli *cli, int argc, char **argv);
int cmd_inspect(struct cli *cli, int argc, char **argv);
int cmd_kernel(struct cli *cli, int argc, char **argv);
int cmd_kill(struct cli *cli, int argc, char **argv);
int cmd_load(struct cli *cli, int argc, char **argv);
int cmd_logs(struct cli *cli, int argc, char **argv);
int cmd_ps(struct cli *cli, int argc, char **argv);
int cmd_rm(struct cli *cli, int argc, char **argv);
int cmd_rmi(struct cli *cli, int argc, char **argv);
int cmd_run(struct cli *cli, int argc, char **argv);
int cmd_save(struct cli *cli, int argc, char **argv);
int cmd_stop(struct cli *cli, int argc, char **argv);
int cmd_tag(struct cli *cli, int argc, char **argv);

#endif
