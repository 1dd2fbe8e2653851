/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control groups: one group per container, "/proa/ID", in every hierarchy that matters.
 *
 * Two kernels' worth of interface (Documentation/admin-guide/cgroup-v1, cgroup-v2.rst) behind one
 * table of functions; which one is in use is found out by looking at /sys/fs/cgroup, not by
 * version.
 */
#ifndef PROA_CONTAINER_CGROUP_H
#define PROA_CONTAINER_CGROUP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct err;
struct plan_resources;

#define CGROUP_ROOT   "/sys/fs/cgroup"
#define CGROUP_PARENT "proa"

/* The v1 controllers that a container gets a group in, NULL-terminated. */
extern const char *const cgroup_v1_controllers[];

struct cgroup_ops {
	const char *name; /* "v1", "v2" */
	int (*create)(const char *id, const struct plan_resources *limits, struct err *err);
	/* Moves the calling, single-threaded process into the group. System calls only. 0 or
	 * -errno. */
	int (*join)(const char *id);
	int (*remove)(const char *id, struct err *err);
	/* How often the kernel's out-of-memory killer struck in the group; 0 when unknown. */
	uint64_t (*oom_kills)(const char *id);
	/* A descriptor for CLONE_INTO_CGROUP, or -EBADF where clone cannot do it. */
	int (*open)(const char *id);
};

extern const struct cgroup_ops cgroup_v1, cgroup_v2;

/* The interface this kernel offers, or NULL when no cgroup file system is mounted. */
const struct cgroup_ops *cgroup_detect(void);

/* The number behind "oom_kill " in a file of either version; 0 when it cannot be read. */
uint64_t cgroup_read_oom_kills(const char *path);

/* Attaches the device rules to a v2 group as an eBPF program (BPF_CGROUP_DEVICE). 0 or -errno. */
int cgroup_v2_devices(int group_fd, const struct plan_resources *limits, struct err *err);

#endif
