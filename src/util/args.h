/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Option parsing as Docker's users know it: --name value, --name=value, -n value, -nvalue, -it,
 * --flag=false; options may stand after arguments unless the command says otherwise. The same table
 * makes --help, so that the two cannot disagree.
 */
#ifndef PROA_UTIL_ARGS_H
#define PROA_UTIL_ARGS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct err;

enum args_kind {
	ARGS_FLAG,   /* bool *: --flag, --flag=false */
	ARGS_STRING, /* const char **: the last one counts; points into argv */
	ARGS_LIST,   /* char ***: repeatable; strings are copies, free with strv_free() */
	ARGS_U32,    /* uint32_t * */
	ARGS_I64,    /* int64_t * */
	ARGS_BYTES,  /* uint64_t *: 512m, 1.5g */
	ARGS_CALL,   /* a function: int (*)(void *data, const char *value, struct err *) in .call */
};

struct args_option {
	char letter; /* 0: none */
	const char *name;
	enum args_kind kind;
	void *value;
	const char *meta; /* name of the value in --help; NULL for flags */
	const char *help;
	int (*call)(void *data, const char *value, struct err *err);
	bool hidden;
};

struct args_usage {
	const char *program;		   /* "proa"; NULL means that */
	const char *name;		   /* "run" */
	const char *synopsis;		   /* "[OPTIONS] IMAGE [COMMAND] [ARG...]" */
	const char *summary;		   /* one line */
	const char *examples;		   /* lines shown under "Examples:", NULL: none */
	const struct args_option *options; /* ends with .name == NULL */
	int min_args, max_args;		   /* -1: any number */
	bool stop_at_first; /* what follows the first argument is not ours (run, exec) */
	bool single_dash;   /* "-name" is "--name", as programs in Go have it */
};

/*
 * Parses argv[1…]; the arguments that are no options end up in argv[0…*argc-1], argv[*argc] is
 * NULL. 1: go on; 0: --help was asked for; -errno: a mistake, with the nearest option's name.
 */
int args_parse(const struct args_usage *usage, int *argc, char **argv, struct err *err);

/* The text of --help, made from the table. */
void args_help(const struct args_usage *usage, FILE *to);

#endif
