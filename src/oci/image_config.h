/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration of an image (image-spec config.md, and what Docker adds to it): what to run by
 * default, and the identity of its layers. Pure: bytes to struct; the bytes may be hostile.
 *
 * All strings belong to the struct. Vectors are NULL-terminated and never NULL after a successful
 * parse, except entrypoint, cmd and shell, where absent (NULL) and empty differ.
 */
#ifndef PROA_OCI_IMAGE_CONFIG_H
#define PROA_OCI_IMAGE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

#define IMAGE_CONFIG_MAX (8u << 20)

struct image_healthcheck {
	/* {"NONE"}, {"CMD", args…} or {"CMD-SHELL", command}; NULL: none in the image */
	char **test;
	int64_t interval_ns, timeout_ns, start_period_ns; /* 0: the default */
	int64_t retries;
};

struct image_history {
	int64_t created_s;		     /* since the epoch, 0: unknown */
	char *created;			     /* as written, or NULL */
	char *created_by, *comment, *author; /* NULL: absent */
	bool empty_layer;
};

struct image_config {
	char *os, *architecture, *variant; /* variant may be NULL */
	char *author;			   /* may be NULL */
	char *created;			   /* RFC 3339, may be NULL */
	int64_t created_s;		   /* the same since the epoch, 0: unknown */

	char *user; /* "" when absent */
	char **env;
	char **entrypoint, **cmd, **shell; /* NULL: absent */
	char *working_dir;		   /* "" when absent */
	char **volumes;			   /* paths */
	char **exposed_ports;		   /* "80/tcp" */
	char **labels;			   /* "key=value" */
	char **on_build;
	char *stop_signal; /* "" when absent */
	struct image_healthcheck healthcheck;

	char **diff_ids; /* valid digests, lowest layer first */
	struct image_history *history;
	size_t history_count;
};

/* -EINVAL with the reason. The caller owns *ret: image_config_done(). */
int image_config_parse(const char *bytes, size_t n, struct image_config *ret, struct err *err);
void image_config_done(struct image_config *c);

/* The configuration as JSON; the caller frees it. NULL: out of memory. */
char *image_config_format(const struct image_config *c);

/* RFC 3339 to seconds since the epoch. 0 or -EINVAL. And back ("2024-01-31T12:00:00Z"). */
int image_time_parse(const char *text, int64_t *ret_s);
char *image_time_format(int64_t s, char buf[32]);

#endif
