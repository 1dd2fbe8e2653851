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

/* sched_setattr(2); times in nanoseconds. */
struct plan_scheduler {
	bool set;
	uint32_t policy; /* SCHED_* */
	int32_t nice;
	uint32_t priority;
	uint64_t flags; /* SCHED_FLAG_* */
	uint64_t runtime_ns, deadline_ns, period_ns;
};

/* A seccomp filter that hands system calls to another process (SCMP_ACT_NOTIFY). */
struct plan_seccomp_notify {
	char *listener; /* path of the Unix socket that gets the descriptor, on the host */
	char *metadata; /* passed on with it; NULL: none */
};

struct plan_caps {
	/* bit N is capability N */
	uint64_t bounding, permitted, effective, inheritable, ambient;
};

/* set_mempolicy(2) */
struct plan_memory_policy {
	bool set;
	uint32_t mode, flags; /* MPOL_*, MPOL_F_* */
	char *nodes;	      /* "0-3,7" */
};

/* One process: a container's first, or an exec's. */
struct plan_process {
	char **args;
	char **env;
	char *cwd;  /* absolute, inside the root; made if it is absent */
	char *user; /* "", "uid", "name", "uid:gid", "name:group": looked up in the root's files */
	char **groups; /* further groups (--group-add), names or numbers */
	struct plan_caps caps;
	bool has_caps; /* a process.json named them; not kept */
	bool no_new_privs;
	bool terminal;
	uint16_t rows, cols; /* of the terminal, 0: unknown */
	bool init;	     /* run under a reaper that is process 1 (--init) */
	char *probe; /* not NULL: the stage itself measures this instead of executing args */
	int32_t oom_score_adj;
	bool has_oom_score_adj;
	struct plan_rlimit *rlimits;
	size_t rlimit_count;
	uint8_t *seccomp;	/* a BPF program: struct sock_filter[], NULL: unconfined */
	size_t seccomp_len;	/* in bytes, a multiple of 8 */
	uint32_t seccomp_flags; /* SECCOMP_FILTER_FLAG_* */
	struct plan_seccomp_notify notify;
	uint32_t umask;
	bool has_umask; /* else 0022 */
	bool exact_ids; /* user is "UID:GID" and groups are numbers: the image's files add none */
	char *apparmor, *selinux; /* profile and label of the command, NULL: none */
	struct plan_scheduler scheduler;
	uint32_t io_priority; /* ioprio_set(2): class << 13 | level; 0: unset */
	uint32_t personality; /* personality(2) */
	bool has_personality;
	struct plan_memory_policy memory_policy;
	char *cpus_initial, *cpus_final; /* CPU lists: before and after the cgroup is joined */
};

enum plan_mount_kind {
	PLAN_MOUNT_BIND = 0, /* source: a path of the host (in a guest: below a share, see vm) */
	PLAN_MOUNT_TMPFS,
	PLAN_MOUNT_PROC,
	PLAN_MOUNT_SYSFS,
	PLAN_MOUNT_DEVPTS,
	PLAN_MOUNT_MQUEUE,
	PLAN_MOUNT_CGROUP, /* the container's own view of the cgroup hierarchies, v1 or v2 */
	PLAN_MOUNT_FS,	   /* any other file system: its type in fs, its device in source */
	PLAN_MOUNT_KIND_LAST = PLAN_MOUNT_FS,
};

enum plan_mount_flags {
	PLAN_MOUNT_RECURSIVE = 1 << 0, /* rbind */
	PLAN_MOUNT_SLAVE = 1 << 1,     /* propagation; private is the default */
	PLAN_MOUNT_SHARED = 1 << 2,
	PLAN_MOUNT_FILE = 1 << 3, /* bind of something that is not a directory: target is a file */
	PLAN_MOUNT_KEEP_MODE = 1 << 4, /* tmpfs gets owner and mode of the directory it covers */
	PLAN_MOUNT_READ_ONLY_RECURSIVE = 1 << 5, /* read-only for the mounts below it as well */
	PLAN_MOUNT_UNBINDABLE = 1 << 6,
	PLAN_MOUNT_PROPAGATION_RECURSIVE = 1
					   << 7, /* the propagation is that of mounts below, too */
	PLAN_MOUNT_COPY_UP = 1 << 8, /* tmpfs gets a copy of what it covers (tmpcopyup) */
	PLAN_MOUNT_IDMAP_RECURSIVE = 1
				     << 9, /* the id map is that of mounts below as well (ridmap) */
	PLAN_MOUNT_IDMAP_CONTAINER = 1 << 10, /* id map of the container's user namespace */
	PLAN_MOUNT_SOURCE_NOFOLLOW = 1
				     << 11, /* source and target may be symbolic links themselves */
	PLAN_MOUNT_TARGET_NOFOLLOW = 1 << 12,
	PLAN_MOUNT_PRIVATE = 1 << 13,  /* asked for by name; without any of them: private as well */
	PLAN_MOUNT_OPTIONAL = 1 << 14, /* a mount that fails is left out, with a warning */
	PLAN_MOUNT_FLAGS_ALL = (1 << 15) - 1,
};

struct plan_idmap {
	uint32_t inside, outside, count;
};

/* Values of struct mount_attr (linux/mount.h): MOUNT_ATTR_RDONLY, NOSUID, NODEV, NOEXEC, … */
struct plan_mount_attrs {
	uint64_t set, clear;
};

struct plan_mount {
	uint8_t kind; /* enum plan_mount_kind */
	uint32_t flags;
	char *source;	/* PLAN_MOUNT_BIND: a path; PLAN_MOUNT_FS: a device or name; else NULL */
	char *target;	/* absolute path inside the root */
	char *fs;	/* PLAN_MOUNT_FS: type of the file system */
	uint64_t attrs; /* what is set on the mount itself */
	uint64_t attrs_clear;	       /* and what is taken away ("rw", "exec", "dev", …) */
	struct plan_mount_attrs below; /* on it and on all mounts below it ("rro", "rnosuid", …) */
	char **options;		       /* file-system options, "size=65536k" */
	struct plan_idmap *uid_map, *gid_map; /* of this mount only */
	size_t uid_map_count, gid_map_count;
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

/* Bits per second and the like of one block device (Documentation: blkio-controller, io.max). */
enum plan_throttle_kind {
	PLAN_READ_BPS = 0,
	PLAN_WRITE_BPS,
	PLAN_READ_IOPS,
	PLAN_WRITE_IOPS,
	PLAN_THROTTLE_LAST = PLAN_WRITE_IOPS,
};

struct plan_throttle {
	uint8_t kind; /* enum plan_throttle_kind */
	uint32_t major, minor;
	uint64_t rate; /* bytes or operations per second */
};

struct plan_block_weight {
	uint32_t major, minor;
	uint16_t weight, leaf_weight; /* 0: unset */
};

struct plan_hugepage_limit {
	char *size; /* "2MB" */
	uint64_t limit_bytes;
};

struct plan_net_priority {
	char *interface;
	uint32_t priority;
};

struct plan_rdma_limit {
	char *device;
	uint32_t handles, objects;
	bool has_handles, has_objects;
};

#define PLAN_UNLIMITED UINT64_MAX

/*
 * Limits of a cgroup. 0 (or NULL, or false) means "left as it is" and PLAN_UNLIMITED, where a limit
 * has 64 bits, "no limit"; what can be set to 0 has a has_… beside it.
 */
struct plan_resources {
	uint64_t memory_bytes;
	uint64_t memory_reservation_bytes;
	uint64_t memory_swap_bytes; /* memory and swap together */
	bool memory_swap_default;   /* it was not asked for: left out where swap is not counted */
	uint64_t kernel_tcp_bytes;
	uint64_t swappiness; /* 0…100 */
	bool has_swappiness;
	bool disable_oom_killer;
	bool check_before_update; /* refuse a limit below what is in use */
	uint64_t cpu_quota_us, cpu_period_us;
	uint64_t cpu_burst_us;
	bool has_cpu_burst;
	uint64_t cpu_rt_runtime_us, cpu_rt_period_us;
	uint64_t cpu_shares;
	int64_t cpu_idle; /* 1: SCHED_IDLE */
	bool has_cpu_idle;
	char *cpuset_cpus, *cpuset_mems;
	int64_t pids_max;		       /* 0: left as it is, -1: no limit */
	struct plan_device_rule *device_rules; /* in order; the last one that matches decides */
	size_t device_rule_count;
	uint16_t block_weight, block_leaf_weight;
	struct plan_block_weight *block_weights;
	size_t block_weight_count;
	struct plan_throttle *throttles;
	size_t throttle_count;
	struct plan_hugepage_limit *hugepages;
	size_t hugepage_count;
	uint32_t net_class_id;
	bool has_net_class_id;
	struct plan_net_priority *net_priorities;
	size_t net_priority_count;
	struct plan_rdma_limit *rdma;
	size_t rdma_count;
	char **unified; /* "FILE=VALUE" of cgroup v2, the value as it is written */
};

/* How the root file system is put together: an overlay, or one directory as it is. */
struct plan_root {
	char **lowers; /* from the topmost layer to the lowest; host directories */
	char *upper,
		*work; /* NULL: no writable layer of its own; a lone lower is bound read-only */
	bool read_only;
	bool at_path; /* attached over its own path until it is entered, so that hooks find it there
		       */
	bool no_pivot; /* chroot instead of pivot_root, for a host whose root is an initramfs */
	uint32_t propagation; /* MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE; 0: private */
	char *label;	      /* SELinux context of the mounts made for it, NULL: none */
};

/* A command that is run at a point of the life of a container (runtime-spec, config.md, Hooks). */
struct plan_hook {
	char *path;
	char **args, **env;
	uint32_t timeout_s; /* 0: none */
};

enum plan_hook_point {
	PLAN_HOOK_PRESTART = 0,
	PLAN_HOOK_CREATE_RUNTIME,
	PLAN_HOOK_CREATE_CONTAINER,
	PLAN_HOOK_START_CONTAINER,
	PLAN_HOOK_POSTSTART,
	PLAN_HOOK_POSTSTOP,
	PLAN_HOOK_POINTS,
};

/* Their names in the runtime-spec, by point, and NULL at the end. */
extern const char *const plan_hook_names[PLAN_HOOK_POINTS + 1];

struct plan_hooks {
	struct plan_hook *list;
	size_t count;
};

/* An interface of the host that the container gets (runtime-spec, config-linux.md, netDevices). */
struct plan_net_device {
	char *host_name, *name;
};

/* resctrl (runtime-spec, config-linux.md, IntelRdt) */
struct plan_rdt {
	bool set, monitor;
	char *clos_id, *l3_schema, *mb_schema;
	char **schemata; /* lines */
};

enum plan_ns {
	PLAN_NS_PID = 1 << 0,
	PLAN_NS_NET = 1 << 1,
	PLAN_NS_IPC = 1 << 2,
	PLAN_NS_UTS = 1 << 3,
	PLAN_NS_CGROUP = 1 << 4,
	PLAN_NS_USER = 1 << 5,
	PLAN_NS_TIME = 1 << 6,
	PLAN_NS_MOUNT = 1 << 7, /* to join one by path; else it is always a new one */
	PLAN_NS_ALL = (1 << 8) - 1,
};
#define PLAN_NS_COUNT 8u

/* What a virtual machine needs beyond that. */
struct plan_vm {
	char *kernel;	       /* name in the kernel store or a path; NULL: the default */
	uint64_t memory_bytes; /* of the machine; 0: the backend's default */
	uint32_t cpus;	       /* 0: the backend's default */
	char *disk;	       /* EROFS image of the root, a path of the host */
	char *image;	    /* a disk with the root file system that the guest mounts (vm.image) */
	char *image_format; /* "raw", "qcow2"; NULL: raw */
	char *initrd;	    /* goes before proa's own, NULL: none */
	char *parameters;   /* further words of the kernel's command line, NULL: none */
	char *hypervisor;   /* "proa-vmm", "qemu", "emulation", or the path of one; NULL: what suits
			       the host */
	char **hypervisor_args;
};

struct plan {
	uint8_t isolation; /* enum plan_isolation */
	char *id;	   /* 64 hex digits */
	char *name;
	char *image; /* image ID ("sha256:…"), for the VM's disk */
	char *hostname, *domainname;
	uint32_t namespaces; /* PLAN_NS_*: made new or joined; absent ones are the host's */
	uint32_t joined;     /* those of them that are joined, by a path that the launcher opens */
	char *joined_paths[PLAN_NS_COUNT]; /* by bit number */
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
	bool map_sources; /* the id maps are those of the root and the binds as well */
	int64_t monotonic_offset_ns, boottime_offset_ns; /* of a new time namespace */
	char *cgroup; /* "docker/ID": below each hierarchy, with its parents; NULL: "proa/ID" */
	struct plan_resources resources;
	struct plan_hooks hooks[PLAN_HOOK_POINTS];
	char **annotations; /* "KEY=VALUE" */
	char *bundle;	    /* directory of the config.json that the plan was made of, or NULL */
	struct plan_net_device *net_devices;
	size_t net_device_count;
	struct plan_rdt rdt;
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
void plan_resources_done(struct plan_resources *r);
void plan_mount_done(struct plan_mount *m);

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
