/* SPDX-License-Identifier: Apache-2.0 */
/* What the readers of config.json share; one file for each of its larger objects. */
#ifndef PROA_RUNTIME_CONFIG_INTERNAL_H
#define PROA_RUNTIME_CONFIG_INTERNAL_H

#include "runtime/config.h"
#include "util/json_read.h"

/* A member of an object and who reads its value. */
struct config_member {
	const char *key;
	void (*read)(struct json_read *r, void *to);
};

/* Reads an object: members of the table (ends with .key == NULL), and passes over others. */
void config_members(struct json_read *r, const struct config_member *table, void *to);

/* A word of a table as its number; a mistake if it is not in it. */
struct config_word {
	const char *word;
	uint64_t value;
};
uint64_t config_word(struct json_read *r, const struct config_word *table, const char *what);

/* Makes room for one more element in *array, zeroed; its address, or NULL after telling. */
void *config_grow(struct json_read *r, void *array, size_t *count, size_t size);
/* A path that must be absolute and has no ".." that could leave what it is relative to. */
void config_absolute(struct json_read *r, char **field);
void config_id_maps(struct json_read *r, struct plan_idmap **map, size_t *count);
void config_warn(struct config *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* config_process.c: `process`, to a struct config. */
void config_process(struct json_read *r, void *config);
/* config_mounts.c: `mounts`. */
void config_mounts(struct json_read *r, void *config);
/* config_linux.c: `linux`. */
void config_linux(struct json_read *r, void *config);
/* config_resources.c: `linux.resources`, to a struct plan_resources. */
void config_resources(struct json_read *r, void *resources);
/* config_seccomp.c: `linux.seccomp`. */
void config_seccomp(struct json_read *r, void *config);
/* config_vm.c: `vm`, to a struct config. */
void config_vm(struct json_read *r, void *config);

/* config_check.c: what no single member shows: contradictions, and what is missing. */
int config_check(struct config *c, struct err *err);

#endif
