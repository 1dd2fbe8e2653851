/* SPDX-License-Identifier: Apache-2.0 */
/*
 * struct plan: everything there is to know to run a process from an image, and nothing else.
 *
 * It is made once, without I/O, from the image's configuration and the user's options
 * (plan/make.c), and is then only read. The container backend carries it out on this kernel; the
 * virtual machine backend sends it to the guest, where the same code (src/container/stage*.c)
 * carries it out on that kernel. That both understand it alike is what makes `--user`, `-v` or
 * `--cap-drop` mean the same in both.
 *
 * All strings and arrays belong to the plan. Arrays are pointer + count; a vector is
 * NULL-terminated.
 */
#ifndef PROA_PLAN_PLAN_H
#define PROA_PLAN_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

enum plan_isolation {
	PLAN_CONTAINER = 0,
	PLAN_VM = 1,
};

struct plan_rlimit {
	int32_t resource; /* RLIMIT_* */
	uint64_t soft, hard;
	bool required; /* the user asked for it: failing to set it is an error, not a warning */
};

struct plan_caps {
	/* bit N is capability N */
	uint64_t bounding, permitted, effective, inheritable, ambient;
};

/* One process: a container's first, or an exec's. */
struct plan_process {
	char **args;
	char **env;
	char *cwd;  /* absolute, inside the root; made if it is absent */
	char *user; /* "", "uid", "name", "uid:gid", "name:group": looked up in the root's files */
	char **groups; /* further groups (--group-add), names or numbers */
	struct plan_caps caps;
	bool no_new_privs;
	bool terminal;
	uint16_t rows, cols; /* of the terminal, 0: unknown */
	bool init;	     /* run under a reaper that is process 1 (--init) */
	char *probe; /* not NULL: the stage itself measures this instead of executing args */
	int32_t oom_score_adj;
	bool has_oom_score_adj;
	struct plan_rlimit *rlimits;
	size_t rlimit_count;
	uint8_t *seccomp;   /* a BPF program: struct sock_filter[], NULL: unconfined */
	size_t seccomp_len; /* in bytes, a multiple of 8 */
};

enum plan_mount_kind {
	PLAN_MOUNT_BIND = 0, /* source: a path of the host (in a guest: below a share, see vm) */
	PLAN_MOUNT_TMPFS,
	PLAN_MOUNT_PROC,
	PLAN_MOUNT_SYSFS,
	PLAN_MOUNT_DEVPTS,
	PLAN_MOUNT_MQUEUE,
	PLAN_MOUNT_CGROUP, /* the container's own view of the cgroup hierarchies, v1 or v2 */
	PLAN_MOUNT_KIND_LAST = PLAN_MOUNT_CGROUP,
};

enum plan_mount_flags {
	PLAN_MOUNT_RECURSIVE = 1 << 0, /* rbind */
	PLAN_MOUNT_SLAVE = 1 << 1,     /* propagation; private is the default */
	PLAN_MOUNT_SHARED = 1 << 2,
	PLAN_MOUNT_FILE = 1 << 3, /* bind of something that is not a directory: target is a file */
	PLAN_MOUNT_KEEP_MODE = 1 << 4, /* tmpfs gets owner and mode of the directory it covers */
	PLAN_MOUNT_READ_ONLY_RECURSIVE = 1 << 5, /* read-only for the mounts below it as well */
	PLAN_MOUNT_FLAGS_ALL = (1 << 6) - 1,
};

struct plan_mount {
	uint8_t kind; /* enum plan_mount_kind */
	uint32_t flags;
	char *source;	/* PLAN_MOUNT_BIND only, else NULL */
	char *target;	/* absolute path inside the root */
	uint64_t attrs; /* MOUNT_ATTR_RDONLY, NOSUID, NODEV, NOEXEC, … (linux/mount.h) */
	char **options; /* file-system options, "size=65536k" */
};

struct plan_device {
	char *path; /* in the root */
	char type;  /* 'c', 'b' or 'p' */
	uint32_t major, minor;
	uint32_t mode, uid, gid;
};

struct plan_device_rule {
	bool allow;
	char type;	      /* 'a', 'b', 'c' */
	int64_t major, minor; /* -1: any */
	uint8_t access;	      /* 1 read, 2 write, 4 mknod */
};

struct plan_idmap {
	uint32_t inside, outside, count;
};

/* Limits; 0 means "not limited" unless said otherwise. */
struct plan_resources {
	uint64_t memory_bytes;
	uint64_t cpu_quota_us, cpu_period_us;
	uint64_t cpu_shares;
	char *cpuset_cpus, *cpuset_mems;
	int64_t pids_max;		       /* 0 or -1: no limit */
	struct plan_device_rule *device_rules; /* in order; the last one that matches decides */
	size_t device_rule_count;
};

/* How the root file system is put together: an overlay, or one directory as it is. */
struct plan_root {
	char **lowers; /* from the topmost layer to the lowest; host directories */
	char *upper,
		*work; /* NULL: no writable layer of its own; a lone lower is bound read-only */
	bool read_only;
};

enum plan_ns {
	PLAN_NS_PID = 1 << 0,
	PLAN_NS_NET = 1 << 1,
	PLAN_NS_IPC = 1 << 2,
	PLAN_NS_UTS = 1 << 3,
	PLAN_NS_CGROUP = 1 << 4,
	PLAN_NS_USER = 1 << 5,
	PLAN_NS_TIME = 1 << 6,
	PLAN_NS_ALL = (1 << 7) - 1,
	/* the mount namespace is always its own */
};

/* What a virtual machine needs beyond that. */
struct plan_vm {
	char *kernel;	       /* name in the kernel store or a path; NULL: the default */
	uint64_t memory_bytes; /* of the machine; 0: the backend's default */
	uint32_t cpus;	       /* 0: the backend's default */
	char *disk;	       /* EROFS image of the root, a path of the host */
};

struct plan {
	uint8_t isolation; /* enum plan_isolation */
	char *id;	   /* 64 hex digits */
	char *name;
	char *image; /* image ID ("sha256:…"), for the VM's disk */
	char *hostname;
	uint32_t namespaces; /* PLAN_NS_*: made new; absent ones are the host's */
	struct plan_root root;
	struct plan_process process;
	struct plan_mount *mounts; /* in order */
	size_t mount_count;
	struct plan_device *devices;
	size_t device_count;
	char **masked_paths, **read_only_paths;
	char **sysctls; /* "net.ipv4.ip_forward=1" */
	struct plan_idmap *uid_map, *gid_map;
	size_t uid_map_count, gid_map_count;
	struct plan_resources resources;
	bool privileged;
	bool auto_remove;    /* nothing written has to outlive the process (--rm) */
	int32_t stop_signal; /* number, 0: SIGTERM */
	char *hosts; /* text of /etc/hosts, hostname and resolv.conf in the root; NULL: the image's
			own */
	char *resolv_conf;
	struct plan_vm vm;
};

/* Releases what a plan / process owns and zeroes it. */
void plan_done(struct plan *p);
void plan_process_done(struct plan_process *p);

/*
 * The plan as bytes (plan/wire.c): for the stage process, for the guest, and for a later exec.
 * Encoding cannot fail but for memory. Decoding treats the bytes as hostile: every length and enum
 * is checked, and @ret is only written on success.
 */
#define PLAN_WIRE_MAX (8u << 20)
int plan_encode(const struct plan *p, uint8_t **ret, size_t *ret_len);
int plan_decode(const uint8_t *bytes, size_t n, struct plan *ret, struct err *err);
int plan_process_encode(const struct plan_process *p, uint8_t **ret, size_t *ret_len);
int plan_process_decode(const uint8_t *bytes, size_t n, struct plan_process *ret, struct err *err);

#endif
