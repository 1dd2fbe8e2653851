/* SPDX-License-Identifier: Apache-2.0 */
/* An image as `docker image inspect` shows it. */
#ifndef PROA_CLI_IMAGE_JSON_H
#define PROA_CLI_IMAGE_JSON_H

#include <jansson.h>

struct store;
struct store_image;

/* The caller owns *@ret. 0 or -errno. */
int cli_image_inspect_json(struct store *s, const struct store_image *image, json_t **ret);

#endif
