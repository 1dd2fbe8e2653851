/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The user's options of `run`, as text and numbers, and the pure parsers of their values. What
 * needs a look at the host (does the source exist, which device is that) is done by the engine and
 * put in here as facts.
 */
#ifndef PROA_PLAN_OPTIONS_H
#define PROA_PLAN_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "plan/plan.h"

struct err;
struct image_config;

struct plan_options {
	uint8_t isolation; /* enum plan_isolation */
	const char *id;	   /* 64 hex digits */
	const char *name, *image_id;
	const char
		*hostname; /* NULL: the first 12 digits of the ID, or the host's with its network */
	const char *host_hostname;    /* the host's own */
	const char *host_resolv_conf; /* text of the host's /etc/resolv.conf, NULL: none */
	const char *user, *workdir;
	const char *probe;	/* plan_process.probe */
	const char *entrypoint; /* NULL: the image's; "": none */
	char **args;		/* after IMAGE */
	char **env;		/* NAME=value, in order */
	const char *network;	/* "none", "host" */
	const char *userns; /* NULL or "host": the host's users; "auto": mapped to the two ranges */
	uint32_t subuid, subgid; /* first of PLAN_ID_COUNT ids of the host for "auto" */
	bool interactive, terminal, read_only, init, privileged, auto_remove;
	uint16_t rows, cols;
	char **tmpfs;	/* --tmpfs PATH[:OPTIONS] */
	char **volumes; /* -v SRC:DST[:OPTIONS] */
	char **mounts;	/* --mount type=…,… */
	char **cap_add, **cap_drop;
	char **ulimits; /* NAME=SOFT[:HARD] */
	char **groups;	/* --group-add */
	bool no_new_privs;
	const uint8_t *seccomp; /* a BPF program, NULL: unconfined */
	size_t seccomp_len;
	uint64_t memory_bytes;
	uint64_t cpus_nano; /* --cpus 1.5 is 1500000000 */
	const char *cpuset_cpus;
	int64_t pids_limit;
	const struct plan_device *devices; /* --device, looked up on the host */
	const uint8_t *device_access;	   /* for each: 1 read, 2 write, 4 mknod */
	size_t device_count;
	const char *kernel, *hypervisor;
	char **layer_dirs; /* topmost first */
	const char *upper, *work, *disk;
};

#define PLAN_ID_COUNT 65536u

/* Makes the plan. The caller owns *@ret (plan_done()). Errors name the option and the reason. */
int plan_make(const struct plan_options *o, const struct image_config *image, struct plan *ret,
	      struct err *err);

/* -v and --mount and --tmpfs as a mount; the caller owns its strings (plan_mount_done()). */
int plan_parse_volume(const char *text, struct plan_mount *ret, struct err *err);
int plan_parse_mount(const char *text, struct plan_mount *ret, struct err *err);
int plan_parse_tmpfs(const char *text, struct plan_mount *ret, struct err *err);

/* --ulimit nofile=1024:4096 */
int plan_parse_ulimit(const char *text, struct plan_rlimit *ret, struct err *err);
/* --cpus 1.5, in billionths */
int plan_parse_cpus(const char *text, uint64_t *ret_nano, struct err *err);
/* --device HOST[:IN_CONTAINER[:rwm]]: the two paths (caller frees) and the access bits. */
int plan_parse_device(const char *text, char **ret_host, char **ret_inside, uint8_t *ret_access,
		      struct err *err);
/* A Docker-style name of a container: [a-zA-Z0-9][a-zA-Z0-9_.-]*. */
int plan_check_name(const char *name, struct err *err);

/* Capability names ("NET_ADMIN", "cap_net_admin"); plan/caps.c. */
int plan_parse_cap(const char *name, unsigned *ret, struct err *err);
/* "CHOWN" for 0, …; NULL past the last one. */
const char *plan_cap_name(unsigned cap);
/* The set that --cap-add, --cap-drop and --privileged leave of Docker's default set. */
int plan_caps_resolve(char *const *add, char *const *drop, bool privileged, uint64_t *ret,
		      struct err *err);
#define PLAN_CAPS_ALL ((1ull << 41) - 1) /* CAP_CHOWN … CAP_CHECKPOINT_RESTORE */

#endif
