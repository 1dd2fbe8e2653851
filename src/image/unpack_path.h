/* SPDX-License-Identifier: Apache-2.0 */
/* From an entry's name to a descriptor of its parent directory and its last component. */
#ifndef PROA_IMAGE_UNPACK_PATH_H
#define PROA_IMAGE_UNPACK_PATH_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

struct err;

#define PATHS_CACHED 16

/*
 * Descriptors of recently used parents. Archives list a directory's files one after the other, so
 * that most lookups need no system call at all.
 */
struct paths {
	int root_fd;
	struct {
		char *path; /* NULL: free */
		int fd;	    /* O_PATH */
	} cache[PATHS_CACHED];
	unsigned next;
	bool stale; /* something was replaced: call paths_forget() before the next lookup */
};

void paths_init(struct paths *p, int root_fd);
void paths_done(struct paths *p);
/* Forgets all: a directory or symbolic link was replaced. */
void paths_forget(struct paths *p);

/*
 * Brings a name from the archive into the form "a/b/c": no leading or double slashes, no ".". The
 * root itself is "". -EINVAL for "..", -ENAMETOOLONG. @out has PATH_MAX bytes.
 */
int path_clean(const char *name, char out[PATH_MAX], struct err *err);

/*
 * The parent directory of clean, non-empty @path, made (0755) where it is missing, and the last
 * component, a pointer into @path. The descriptor is borrowed, until the next call.
 */
int paths_parent(struct paths *p, const char *path, int *ret_fd, const char **ret_name,
		 struct err *err);

#endif
