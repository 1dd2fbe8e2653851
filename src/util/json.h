/* SPDX-License-Identifier: Apache-2.0 */
/* jansson with our manners: limits on hostile input, NULL-safe getters, errors as struct err. */
#ifndef PROA_UTIL_JSON_H
#define PROA_UTIL_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "util/mem.h"

struct err;

#define _cleanup_json_ _cleanup_(json_decrefp) /* jansson's own json_decrefp() */

/* Parses @n bytes (which may be hostile). NUL bytes in strings and repeated keys are refused.
 * @what names the document in the error. The caller owns *@ret. */
int json_parse(const char *bytes, size_t n, const char *what, json_t **ret, struct err *err);
/* Reads and parses a file of at most 16 MiB relative to @dir_fd. */
int json_read_file(int dir_fd, const char *path, json_t **ret, struct err *err);

/* Borrowed values; NULL / @fallback when absent or of another type. */
const char *json_get_str(const json_t *object, const char *key);
int64_t json_get_int(const json_t *object, const char *key, int64_t fallback);
bool json_get_bool(const json_t *object, const char *key, bool fallback);

/* A vector of the strings in an array (absent or null: an empty one). -EINVAL if one is no string.
 */
int json_to_strv(const json_t *array, char ***ret);
/* A new array of the vector's strings. */
json_t *json_from_strv(char *const *v);

#endif
