/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Containers and machines on disk.
 *
 * Durable, below ROOT/containers/ID: `config.json` (what it is; written once, first), `image` (the
 * image's ID as text), `plan` (src/plan/wire.c, for exec), `upper/` and `work/` or a disk, `log`,
 * and `exit.json` once it has ended. ROOT/containers/names/NAME is a symbolic link whose target is
 * the ID: making it reserves the name.
 *
 * Volatile, below RUN/ID while it runs: `lock`, held with flock(2) by its owner process, so that it
 * is free the instant the owner dies however it dies; `state.json` (pids), sockets.
 *
 * Nothing here is fsynced: what a power cut takes is at most a container that died with it. A
 * directory without a readable config.json is a start that was cut short, and is removed.
 */
#ifndef PROA_STORE_CONTAINERS_H
#define PROA_STORE_CONTAINERS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "store/store.h"

enum container_status {
	CONTAINER_CREATED, /* its owner is starting it */
	CONTAINER_RUNNING,
	CONTAINER_EXITED,
	CONTAINER_DEAD, /* its owner died without a word; engine_recover() turns it into EXITED */
};

struct container {
	char *id, *name;
	char *image_id, *image_name;
	char *isolation; /* "container" or "vm" */
	char **command;	 /* as it runs: entrypoint and arguments */
	json_t *config;	 /* all of config.json */
	int64_t created_s;
	bool auto_remove;
	int32_t stop_signal;
	/* volatile */
	enum container_status status;
	pid_t pid, owner_pid; /* of the process that stands for it, and of its owner; 0: unknown */
	uint64_t pid_start, owner_start;
	int64_t started_s, finished_s;
	int exit_code;
	char *dir, *run_dir; /* absolute */
};

void container_done(struct container *c);

/* 64 random hex digits and their NUL. */
void container_new_id(char ret[65]);

/*
 * Claims a new container for this process: its run directory with the lock held (*@ret_lock_fd;
 * close it to give it up), its directory and its name. @config must have "id" and "name". -EEXIST
 * with the holder named when the name is taken. Nothing is left behind on failure.
 */
int store_container_create(struct store *s, const json_t *config, int *ret_lock_fd,
			   struct err *err);

/* Records that it runs / has ended. Called by the owner. */
int store_container_set_running(struct store *s, const char *id, pid_t pid, int64_t now_s,
				struct err *err);
int store_container_set_exited(struct store *s, const char *id, int code, int64_t now_s,
			       struct err *err);

/* Finds one by name, ID or unique prefix of the ID. -ENOENT. The caller owns @ret. */
int store_container_find(struct store *s, const char *name, struct container *ret, struct err *err);

/* All of them, newest first; the caller frees each and the array. */
int store_container_list(struct store *s, struct container **ret, size_t *ret_count,
			 struct err *err);

/* Removes the run directory (the last step of an owner); the lock goes with it. */
void store_container_release(struct store *s, const char *id);

/* Removes everything on disk about it, name first. It must not be running. */
int store_container_remove(struct store *s, const struct container *c, struct err *err);

/*
 * Calls @each for every run directory whose owner is dead; @each tidies up (it may remove the
 * container) and the run directory is removed after it.
 */
int store_container_each_dead(struct store *s, void (*each)(struct store *s, struct container *c),
			      struct err *err);

/* The name of a container that uses the image, or NULL; the caller frees it. */
char *store_container_using_image(struct store *s, const char *image_id);

#endif
