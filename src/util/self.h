/* SPDX-License-Identifier: Apache-2.0 */
/* Where this program's helpers and files are. */
#ifndef PROA_UTIL_SELF_H
#define PROA_UTIL_SELF_H

struct err;

/*
 * The absolute path of a helper executable ("proa-image"): beside the running executable (a build
 * tree), or in ../libexec/proa relative to it (an installation). The caller frees *@ret. -ENOENT
 * with both places named when it is in neither.
 */
int self_find_helper(const char *name, char **ret, struct err *err);

/* The same for a file that is only read: beside the running executable, or in ../share/proa. */
int self_find_file(const char *name, char **ret, struct err *err);

#endif
