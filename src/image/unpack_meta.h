/* SPDX-License-Identifier: Apache-2.0 */
/* Owner, mode, times and extended attributes of unpacked entries. */
#ifndef PROA_IMAGE_UNPACK_META_H
#define PROA_IMAGE_UNPACK_META_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <time.h>

struct archive_entry;
struct err;

struct owner {
	uid_t uid;
	gid_t gid;
	bool can_chown;
};

/* A directory whose times, and maybe mode, are set at the end. */
struct late_dir {
	char *path; /* clean */
	mode_t mode;
	bool set_mode;
	size_t order; /* filled by meta_finish_dirs() */
	struct timespec times[2];
};

/* Refuses owners that are none. */
int meta_check(struct archive_entry *e, struct err *err);

/* Access and modification time, both the entry's modification time. */
void meta_times(struct archive_entry *e, struct timespec times[2]);

/* For a regular file: after its data, because writing takes file capabilities away. */
int meta_apply_file(struct archive_entry *e, int fd, const struct owner *self, struct err *err);
/* @mode is set at once unless it is -1. */
int meta_apply_dir(struct archive_entry *e, int dir, const char *name, const struct owner *self,
		   int mode, struct err *err);
int meta_apply_special(struct archive_entry *e, int dir, const char *name, const struct owner *self,
		       struct err *err);

/* Hides what lower layers have in directory @name of @dir, or in @dir itself (NULL). */
int meta_set_opaque(int dir, const char *name, bool privileged, struct err *err);

int meta_finish_dirs(int root_fd, struct late_dir *dirs, size_t count, struct err *err);

#endif
