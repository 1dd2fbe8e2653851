/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands of proa-image. Arguments were checked by proa, which executes this tool, so that the
 * parsing here is plain; but they are arguments all the same and a wrong one is refused.
 */
#ifndef PROA_IMAGE_TOOL_H
#define PROA_IMAGE_TOOL_H

#include <stdbool.h>

struct err;
struct store;

/* Loads from @path (NULL: standard input). *@ret_report: "Loaded image: …" lines; the caller frees
 * it. */
int image_load(struct store *s, const char *path, bool quiet, char **ret_report, struct err *err);

struct image_save_options {
	const char *format; /* "docker-archive", "oci-archive", "oci-dir" */
	const char *output; /* NULL: standard output */
	bool quiet;
	char **images;
};
int image_save(struct store *s, const struct image_save_options *options, struct err *err);

struct image_import_options {
	const char *path;      /* NULL: standard input */
	const char *reference; /* NULL: no name */
	const char *message;   /* NULL: none */
	const char *platform;  /* "linux/arm64"; NULL: this machine's */
	char **changes;
	bool quiet;
};
/* *@ret_report: the new image's ID and a newline; the caller frees it. */
int image_import(struct store *s, const struct image_import_options *options, char **ret_report,
		 struct err *err);

/* Makes the EROFS file of an image if it is absent. *@ret_path is the caller's to free. */
int image_erofs(struct store *s, const char *image, char **ret_path, struct err *err);

#endif
