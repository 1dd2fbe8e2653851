/* SPDX-License-Identifier: Apache-2.0 */
/* The control group that the machine is counted and limited in. */
#ifndef PROA_VMM_CGROUP_H
#define PROA_VMM_CGROUP_H

struct err;

/* Moves this process into the group that is the directory @path (NULL: stays). 0 or -errno. */
int cgroup_join(const char *path, struct err *err);

#endif
