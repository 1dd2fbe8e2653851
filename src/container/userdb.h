/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /etc/passwd and /etc/group of an image: found in its root, hostile, at most 4 MiB each.
 * glibc's getpwnam() would load the image's or the host's NSS modules; this only reads text.
 */
#ifndef PROA_CONTAINER_USERDB_H
#define PROA_CONTAINER_USERDB_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct err;

struct userdb_user {
	uid_t uid;
	gid_t gid;
	gid_t *groups; /* supplementary ones; free() */
	size_t group_count;
	char *home; /* free(); NULL: the user is not in passwd */
};

/*
 * Finds @spec ("", "name", "uid", "name:group", "uid:gid"; Docker's --user) in the texts of the two
 * files (either may be NULL) and adds the groups of @extra. Numbers need no entry. On failure: the
 * sentence for the user.
 */
int userdb_find(const char *passwd, const char *group, const char *spec, char *const *extra,
		struct userdb_user *ret, struct err *err);
void userdb_user_done(struct userdb_user *u);

#endif
