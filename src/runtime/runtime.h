/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proa-oci: an OCI runtime with runc's command line, for engines (Podman, Docker, containerd,
 * CRI-O).
 *
 * It is a thin door to the container backend: config.json becomes a struct plan (config.h),
 * launch.h makes a stage of it, and the verbs below only keep the state between one invocation and
 * the next (state.h). One file per verb. The executable is static, for it is started for every step
 * of every container; what needs large libraries is in helpers that it executes when they are
 * needed: proa-seccomp, proa-systemd, proa-oci-machine.
 */
#ifndef PROA_RUNTIME_RUNTIME_H
#define PROA_RUNTIME_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include "util/args.h"

struct err;

enum cgroup_manager {
	CGROUP_MANAGER_CGROUPFS = 0,
	CGROUP_MANAGER_SYSTEMD,
	CGROUP_MANAGER_DISABLED,
};

struct runtime {
	const char *root; /* directory of all state */
	char *root_text;  /* what it is made of, if it is a default */
	const char *log_path, *log_format, *rootless_option, *manager_option, *criu;
	bool debug, systemd_cgroup;
	enum cgroup_manager manager;
	bool rootless; /* not root of the host, or told so */
	bool vm;       /* called as proa-oci-vm: every bundle is a machine */
};

/* ---- telling (log.c) ------------------------------------------------------------------------ */

/* Can the log file be written? */
int runtime_log_open(const struct runtime *rt, struct err *err);
/* One line for the log file (--log), and for errors and warnings to standard error as well. */
void runtime_error(const struct runtime *rt, const char *message);
void runtime_warning(const struct runtime *rt, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void runtime_debug(const struct runtime *rt, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* "2026-11-24T20:34:58.123456789Z" (RFC 3339); @buf holds 40 bytes. */
char *runtime_time_text(int64_t seconds, long nanoseconds, char buf[40]);

/* ---- the command line (main.c) -------------------------------------------------------------- */

/* Parses the verb's options. Returns -1 to go on; else the exit code to return at once. */
int runtime_args(const struct runtime *rt, struct args_usage *usage, int *argc, char **argv);
/* Tells the error; its exit code is 1, as runc's (125 for what an engine takes for Docker's). */
int runtime_fail(const struct runtime *rt, const struct err *err);

/* ---- verbs: argv[0] is the verb, the result is the exit code -------------------------------- */

int verb_checkpoint(struct runtime *rt, int argc, char **argv);
int verb_create(struct runtime *rt, int argc, char **argv);
int verb_delete(struct runtime *rt, int argc, char **argv);
int verb_events(struct runtime *rt, int argc, char **argv);
int verb_exec(struct runtime *rt, int argc, char **argv);
int verb_features(struct runtime *rt, int argc, char **argv);
int verb_kill(struct runtime *rt, int argc, char **argv);
int verb_list(struct runtime *rt, int argc, char **argv);
int verb_pause(struct runtime *rt, int argc, char **argv);
int verb_ps(struct runtime *rt, int argc, char **argv);
int verb_restore(struct runtime *rt, int argc, char **argv);
int verb_resume(struct runtime *rt, int argc, char **argv);
int verb_run(struct runtime *rt, int argc, char **argv);
int verb_spec(struct runtime *rt, int argc, char **argv);
int verb_start(struct runtime *rt, int argc, char **argv);
int verb_state(struct runtime *rt, int argc, char **argv);
int verb_update(struct runtime *rt, int argc, char **argv);

#endif
