/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proa-image: the half of image handling that needs libarchive, OpenSSL, ISA-L and zstd, apart from
 * proa so that a container's start does not pay for loading them. proa executes it; it is no
 * command for people, though it does no harm to call it.
 *
 *     proa-image [--root DIR] [--run-root DIR] [--verbose] load|save|import|erofs …
 */
#include <getopt.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "image/stream.h"
#include "image/tool.h"
#include "store/store.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/str.h"

enum {
	OPT_ROOT = 256,
	OPT_RUN_ROOT,
	OPT_VERBOSE,
	OPT_INPUT,
	OPT_OUTPUT,
	OPT_FORMAT,
	OPT_QUIET,
	OPT_CHANGE,
	OPT_MESSAGE,
	OPT_PLATFORM,
};

struct arguments {
	const char *root, *run_root, *input, *output, *format, *message, *platform;
	bool quiet, verbose;
	char **changes; /* --change, repeatable */
	char **rest;	/* borrowed from argv */
	int rest_count;
};

static void on_signal(int signo)
{
	(void)signo;
	stream_interrupted = 1;
}

/* No SA_RESTART: a read that waits must return so that we can tidy up. */
static void catch_signals(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction sa = { .sa_handler = on_signal };

	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		sigaction(signals[i], &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static int parse(int argc, char **argv, struct arguments *a)
{
	static const struct option options[] = {
		{ "root", required_argument, NULL, OPT_ROOT },
		{ "run-root", required_argument, NULL, OPT_RUN_ROOT },
		{ "verbose", no_argument, NULL, OPT_VERBOSE },
		{ "input", required_argument, NULL, OPT_INPUT },
		{ "output", required_argument, NULL, OPT_OUTPUT },
		{ "format", required_argument, NULL, OPT_FORMAT },
		{ "quiet", no_argument, NULL, OPT_QUIET },
		{ "change", required_argument, NULL, OPT_CHANGE },
		{ "message", required_argument, NULL, OPT_MESSAGE },
		{ "platform", required_argument, NULL, OPT_PLATFORM },
		{ 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (c) {
		case OPT_ROOT: a->root = optarg; break;
		case OPT_RUN_ROOT: a->run_root = optarg; break;
		case OPT_VERBOSE: a->verbose = true; break;
		case OPT_INPUT: a->input = optarg; break;
		case OPT_OUTPUT: a->output = optarg; break;
		case OPT_FORMAT: a->format = optarg; break;
		case OPT_QUIET: a->quiet = true; break;
		case OPT_CHANGE:
			if (strv_add(&a->changes, optarg) < 0)
				return -1;
			break;
		case OPT_MESSAGE: a->message = optarg; break;
		case OPT_PLATFORM: a->platform = optarg; break;
		default: return -1;
		}
	}
	a->rest = argv + optind;
	a->rest_count = argc - optind;
	return a->rest_count ? 0 : -1;
}

static int dispatch(struct store *s, struct arguments *a, char **ret_report, struct err *err)
{
	const char *verb = a->rest[0];
	int n = a->rest_count;

	if (!strcmp(verb, "load") && n == 1)
		return image_load(s, a->input, a->quiet, ret_report, err);
	if (!strcmp(verb, "save") && n > 1)
		return image_save(s,
				  &(struct image_save_options){ .format = a->format,
								.output = a->output,
								.quiet = a->quiet,
								.images = a->rest + 1 },
				  err);
	if (!strcmp(verb, "import") && n <= 2)
		return image_import(s,
				    &(struct image_import_options){ .path = a->input,
								    .reference = a->rest[1],
								    .message = a->message,
								    .platform = a->platform,
								    .changes = a->changes,
								    .quiet = a->quiet },
				    ret_report, err);
	if (!strcmp(verb, "erofs") && n == 2)
		return image_erofs(s, a->rest[1], ret_report, err);
	return err_set(err, EINVAL, "proa-image is a part of proa: use proa load, save or import");
}

int main(int argc, char **argv)
{
	struct arguments a = { .root = getenv("PROA_ROOT"), .run_root = getenv("PROA_RUN_ROOT") };
	_cleanup_free_ char *report = NULL;
	struct err err = ERR_INIT;
	struct store s = { .root_fd = -EBADF };
	int r;

	setlocale(LC_CTYPE, "C.UTF-8"); /* names in archives are UTF-8 whatever the user's locale */
	umask(0022);
	catch_signals();
	if (parse(argc, argv, &a) < 0)
		r = err_set(&err, EINVAL,
			    "proa-image is a part of proa: use proa load, save or import");
	else
		r = store_open(a.root, a.run_root, &s, &err);
	if (r == 0) {
		log_set_verbose(a.verbose);
		umask(0); /* modes are what the archive says */
		r = dispatch(&s, &a, &report, &err);
	}
	store_done(&s);
	strv_free(a.changes);
	if (r == 0 && report)
		fputs(report, stdout);
	if (r == 0 && (fflush(stdout) != 0 || ferror(stdout)))
		r = err_sys(&err, EIO, "write to standard output");
	if (r < 0) {
		fprintf(stderr, "proa: %s\n", err.msg);
		return err.exit_code;
	}
	return 0;
}
