/* SPDX-License-Identifier: Apache-2.0 */
/* Making a container of a bundle: what create, run and restore have in common. */
#ifndef PROA_RUNTIME_CREATE_H
#define PROA_RUNTIME_CREATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "container/cgroup_systemd.h"
#include "container/launch.h"
#include "runtime/config.h"
#include "runtime/state.h"

struct cgroup_ops;
struct err;
struct runtime;

struct create_options {
	const char *bundle; /* NULL: the working directory */
	const char *pid_file, *console_socket;
	uint32_t preserve_fds;
	bool no_pivot, no_new_keyring, no_subreaper;
	bool start;  /* go on to the command at once (run) */
	bool detach; /* of run: do not stay for its end */
	bool keep;   /* of run: do not delete it afterwards */
};

struct created {
	struct config config;
	struct state state;
	int pidfd;
	int terminal; /* master side, if nobody else got it; else -1 */
};

/*
 * Makes the container @id. On success its process waits for start, or with @o->start runs the
 * command. On failure nothing is left of it. The caller frees *@ret (created_done()), which ends
 * nothing.
 */
int create_container(const struct runtime *rt, const char *id, const struct create_options *o,
		     struct created *ret, struct err *err);
/* As far as the cgroup, without a process; for restore. destroy() undoes it. */
int create_reserve(const struct runtime *rt, const char *id, const struct create_options *o,
		   struct created *ret, struct err *err);
void created_done(struct created *c);

/* The options that create and run share; @o must outlive the table. */
#define CREATE_OPTIONS(o)                                                                              \
	{ 'b', "bundle", ARGS_STRING, &(o).bundle, "DIR", "Directory of config.json" },                \
		{ 0, "pid-file", ARGS_STRING, &(o).pid_file, "FILE", "Write the process ID to FILE" }, \
		{ 0,	       "console-socket",                                                       \
		  ARGS_STRING, &(o).console_socket,                                                    \
		  "PATH",      "Unix socket that gets the terminal" },                                 \
		{ 0,	    "preserve-fds",                                                            \
		  ARGS_U32, &(o).preserve_fds,                                                         \
		  "N",	    "Pass descriptors 3 to 3+N-1 on" },                                        \
		{ 0, "no-pivot", ARGS_FLAG, &(o).no_pivot, NULL, "Use chroot instead of pivot_root" }, \
	{                                                                                              \
		0, "no-new-keyring", ARGS_FLAG, &(o).no_new_keyring, NULL,                             \
			"Keep the session keyring of the caller"                                       \
	}

/* cgroups.c: where its cgroup is and who makes it. Its path is noted in @s before it is there. */
struct cgroup_choice {
	const struct cgroup_ops *ops; /* NULL: none */
	char *path, *scope;
	struct cgroup_systemd systemd; /* the helper that holds the scope */
};
int cgroups_make(const struct runtime *rt, const struct state *s, struct config *c,
		 struct cgroup_choice *ret, struct err *err);
/*
 * The limits that are this host's to keep, borrowed from the plan: those of a machine are its
 * guest's, and the group here only holds it.
 */
void cgroups_limits(const struct plan *p, struct plan_resources *ret);
/* scope.c: the same by way of systemd. */
int cgroups_make_scope(struct config *c, const struct cgroup_ops *ops, struct cgroup_choice *ret,
		       struct err *err);
int cgroups_update_scope(const char *scope, const struct plan_resources *limits, struct err *err);
void cgroups_stop_scope(const char *scope);
/* After the clone: the helper is not needed any more. */
void cgroups_release(struct cgroup_choice *g);
/* Removes the group; absent is success. */
int cgroups_remove(const struct state *s, struct err *err);

/* seccomp.c: compiles the profile into the plan, by way of a cache. */
int seccomp_prepare(struct config *c, struct err *err);
/* Hands a notification descriptor to the listener (config-linux.md, "Container Process State"). */
int seccomp_notify(const struct plan_process *p, const struct state *s, pid_t pid,
		   enum state_status status, int fd, struct err *err);

/* hooks.c: the hooks that run outside. */
int hooks_run(const struct plan *plan, enum plan_hook_point point, const struct state *s,
	      enum state_status status, struct err *err);
/* poststop: their failure is a warning. */
void hooks_run_poststop(const struct runtime *rt, const struct plan *plan, const struct state *s);

/* console.c: connects to the Unix socket at @path. A descriptor, or -errno; @what names it. */
int runtime_connect(const char *path, const char *what, struct err *err);
/* Sends the terminal's master to who listens on @path. */
int console_send(const char *path, int master, struct err *err);
/*
 * Stays with a process in the foreground: passes its terminal (-1: none) and signals through, until
 * it ends. Its exit code as a shell tells it, or -errno.
 */
int console_stay(int pidfd, int terminal, struct err *err);
/*
 * Call before the process is there: blocks the signals that console_stay() passes on, and makes
 * what the container leaves behind (@subreaper), or what criu restores, ours to wait for.
 */
void console_prepare(bool subreaper);

/* netdev.c: moves the plan's interfaces into the network namespace of @pid. */
int netdev_move(const struct plan *plan, pid_t pid, struct err *err);

/* rdt.c: puts @pid into the plan's resctrl class below @mount ("/sys/fs/resctrl"). */
int rdt_join(const struct plan *plan, const char *mount, pid_t pid, struct err *err);
void rdt_remove(const struct plan *plan, const char *mount);

/* destroy.c: ends what is left of a container and removes all of it; poststop hooks run. @plan is
 * NULL when its creation broke off before there was one. */
int destroy(const struct runtime *rt, const struct state *s, const struct plan *plan,
	    struct err *err);

/* --pid-file; @path NULL: none was asked for. */
int runtime_write_pid_file(const char *path, pid_t pid, struct err *err);
/* follow.c: what a stage reports, until the command runs (or with .waits, until it is ready). */
struct follow {
	const struct runtime *rt;
	const struct plan_process *process;
	const struct state *state;
	pid_t pid;
	enum state_status status; /* what a seccomp listener is told */
	bool waits;
	const char *console_socket;		   /* who gets the terminal; NULL: *ret_terminal */
	int *ret_terminal;			   /* NULL: there is none to come */
	int (*hooks)(void *data, struct err *err); /* NULL: nor these */
	void *data;
};
int runtime_follow(const struct follow *f, int sync_fd, struct err *err);

#endif
