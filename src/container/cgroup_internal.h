/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What cgroup_*.c share: knobs, walking groups, device rules in a form that both versions can take.
 *
 * A knob is one write to one file of a group. Limits are first turned into a list of knobs, without
 * touching a file, and then written: so it is known beforehand which controllers are needed, and
 * files whose order of writing depends on the values they had before (a limit and the limit above
 * it) are simply tried again after the others.
 */
#ifndef PROA_CONTAINER_CGROUP_INTERNAL_H
#define PROA_CONTAINER_CGROUP_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct cgroup_stats;
struct err;
struct plan_resources;

#define CGROUP_UNIFIED	      "/sys/fs/cgroup/unified" /* where a hybrid host has its v2 hierarchy */
#define CGROUP_DIR_MAX	      1152		       /* bytes of a root and a path below it */
#define CGROUP_DEPTH	      32    /* of groups below a container's, no deeper */
#define CGROUP_WAIT_MS	      10000 /* for processes to freeze or to die */
#define CGROUP_REMOVE_WAIT_MS 100

struct cgroup_knob {
	const char *what; /* "memory limit" */
	char *file, *text;
	const char *instead; /* the file to write when the kernel has no @file, or NULL */
	char *instead_text;
	bool optional; /* neither file: no error */
};

struct cgroup_knobs {
	struct cgroup_knob *list;
	size_t count;
	bool failed; /* out of memory */
};

void cgroup_knobs_done(struct cgroup_knobs *k);
/* Adds a knob; the new one, or NULL when out of memory (which is noted in @k). */
struct cgroup_knob *cgroup_knob(struct cgroup_knobs *k, const char *what, const char *file,
				const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* As a number; PLAN_UNLIMITED is written as @unlimited. */
struct cgroup_knob *cgroup_knob_u64(struct cgroup_knobs *k, const char *what, const char *file,
				    uint64_t value, const char *unlimited);
/* Puts a name into a file's name, "hugetlb.%s.max", unless there is a slash in it. */
int cgroup_knob_file(char *buf, size_t size, const char *fmt, const char *name, struct err *err);
/* Writes them all to the group @dir. -ENOENT when a file is missing. */
int cgroup_knobs_write(const struct cgroup_knobs *k, int dir, struct err *err);

/* "ROOT/PATH" and, with @file, "/FILE". False when it does not fit. */
bool cgroup_join_path(char buf[CGROUP_DIR_MAX], const char *root, const char *path,
		      const char *file);

/* Reads a small file into a stack buffer: 0 or -errno. */
int cgroup_read(int dir, const char *file, char *buf, size_t size);
/* The number in a file ("max" is PLAN_UNLIMITED), or -errno. */
int cgroup_read_u64(int dir, const char *file, uint64_t *ret);
/* The number behind "KEY " at the start of a line; @fallback when there is none. */
uint64_t cgroup_value_of(const char *text, const char *key, uint64_t fallback);
uint64_t cgroup_read_value(const char *path, const char *key);

/* Has the group @dir processes of its own? */
bool cgroup_has_processes(const char *dir);
/* Removes the group @dir ("/sys/fs/cgroup/…") with those below it; absent is success. Waits for
 * dying processes, at most *@wait_ms, from which it takes what it used. */
int cgroup_remove_dir(const char *dir, int *wait_ms);
/* Calls @f for @dir and for each group below it, those below first; stops at the first failure. */
int cgroup_walk(const char *dir, int depth, int (*f)(const char *dir, void *data), void *data);

struct cgroup_pids {
	pid_t *list;
	size_t count;
};
/* Collects the processes of @dir and below. */
int cgroup_collect_pids(const char *dir, struct cgroup_pids *ret);
/* Signals all of @dir but the caller. Returns how many there were, or -errno. */
int cgroup_signal_all(const char *dir, int signo);
void cgroup_sleep_ms(int ms);
int64_t cgroup_now_ms(void);

/*
 * Device rules made regular: one mask of accesses (1 read, 2 write, 4 mknod) per pattern, where the
 * most specific pattern that matches a device decides, and nothing else matters.
 */
struct cgroup_device {
	char type;	      /* 'b' or 'c' */
	int64_t major, minor; /* -1: any */
	uint8_t access;
};
struct cgroup_devices {
	struct cgroup_device *list; /* the most specific first; the last two are all 'b', all 'c' */
	size_t count;
};
int cgroup_devices_make(const struct plan_resources *limits, struct cgroup_devices *ret,
			struct err *err);
/* Leaves out what the first match from the left on does not need. */
void cgroup_devices_reduce(struct cgroup_devices *d);
bool cgroup_device_is_below(const struct cgroup_device *narrow, const struct cgroup_device *wide);
void cgroup_devices_done(struct cgroup_devices *d);

/* As v1 can have them: what is allowed per pattern, each to be written as an exception to
 * @ret_allow_all. -EOPNOTSUPP when it cannot. */
int cgroup_v1_device_form(const struct plan_resources *limits, struct cgroup_devices *ret,
			  bool *ret_allow_all, struct err *err);
/* Sets them in a v1 group (@fresh: made just now), where they are one default and exceptions to it.
 */
int cgroup_v1_devices(int dir, const struct plan_resources *limits, bool fresh, struct err *err);

/* Attaches the device rules to a v2 group as an eBPF program (BPF_CGROUP_DEVICE), in the place of
 * those that are attached already. @fresh: there are none. */
int cgroup_v2_devices(int dir, const struct plan_resources *limits, bool fresh, struct err *err);
/* The program alone, for tests: the instructions are the caller's to free. */
struct bpf_insn;
int cgroup_v2_device_program(const struct plan_resources *limits, struct bpf_insn **ret,
			     size_t *ret_n, struct err *err);

/* The limits as knobs; one function per v1 controller, and all that v2 has. */
int cgroup_v1_knobs(const char *controller, const struct plan_resources *l, struct cgroup_knobs *k,
		    struct err *err);
/* @dir: the group, where what is not asked for but written along with it is read. */
int cgroup_v2_knobs(const struct plan_resources *l, int dir, struct cgroup_knobs *k,
		    struct err *err);
/* Limits of huge pages, which a hybrid host has in its v2 hierarchy. */
int cgroup_hugetlb_knobs(const struct plan_resources *l, bool v2, struct cgroup_knobs *k,
			 struct err *err);
void cgroup_rdma_knobs(const struct plan_resources *l, struct cgroup_knobs *k);

/* Makes the group @path in the v2 hierarchy mounted on @root, with the controllers in @wanted
 * ("cpu memory") as far as they can be had. @adopt: one that is there may have a process. */
int cgroup_v2_make(const char *root, const char *path, const char *wanted, bool adopt,
		   bool *ret_fresh, struct err *err);

/* v1: the group's directory in the first hierarchy that has it. */
int cgroup_v1_dir(const char *path, char buf[CGROUP_DIR_MAX]);

/* Members of cgroup_v1 and cgroup_v2 that are in files of their own. */
int cgroup_v1_freeze(const char *path, bool on, struct err *err);
int cgroup_v1_is_frozen(const char *path);
int cgroup_v1_kill(const char *path, int signo, struct err *err);
int cgroup_v1_pids(const char *path, pid_t **ret, size_t *ret_n, struct err *err);
int cgroup_v1_stats(const char *path, struct cgroup_stats *ret, struct err *err);
int cgroup_v1_delegate(const char *path, uid_t uid, gid_t gid, struct err *err);
int cgroup_v2_freeze(const char *path, bool on, struct err *err);
int cgroup_v2_is_frozen(const char *path);
int cgroup_v2_kill(const char *path, int signo, struct err *err);
int cgroup_v2_pids(const char *path, pid_t **ret, size_t *ret_n, struct err *err);
int cgroup_v2_stats(const char *path, struct cgroup_stats *ret, struct err *err);
int cgroup_v2_delegate(const char *path, uid_t uid, gid_t gid, struct err *err);

uint64_t cgroup_shares_to_weight(uint64_t shares);
uint64_t cgroup_block_to_io_weight(uint64_t weight);

#endif
