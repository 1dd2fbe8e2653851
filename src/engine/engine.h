/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine: what `run`, `exec`, `stop` … mean, for both backends. Prints nothing but what the
 * process inside prints, and warnings.
 */
#ifndef PROA_ENGINE_ENGINE_H
#define PROA_ENGINE_ENGINE_H

#include <stdbool.h>
#include <stdint.h>
#include "plan/backend.h"
#include "plan/options.h"
#include "store/containers.h"

struct err;
struct store;

/* What `run` was asked for. Options that only the plan needs are in .plan. */
struct engine_run {
	struct plan_options
		plan; /* id, image, layers, disk, devices … are filled in by the engine */
	const char *image;
	char **labels;		  /* KEY=VALUE */
	char **devices;		  /* --device */
	const char *seccomp;	  /* NULL: the default profile; "unconfined"; or a file */
	int stdout_fd, stderr_fd; /* where its output goes: 1 and 2 */
};

/*
 * Runs it in the foreground until it ends. Returns 0 and its exit code in *@ret_code; or -errno
 * with err->exit_code (125…127) when it could not be run.
 */
int engine_run(struct store *s, struct engine_run *r, int *ret_code, struct err *err);

struct engine_exec {
	const char *container;
	char **args, **env;
	const char *user, *workdir;
	bool interactive, terminal, privileged;
};

/* Runs a further command in a running container or machine; as engine_run(). */
int engine_exec(struct store *s, const struct engine_exec *e, int *ret_code, struct err *err);

/* The backend that runs this container. */
const struct backend_ops *engine_backend(const char *isolation);

/* Sends a signal to a running one. -ESRCH when it does not run. */
int engine_kill(struct store *s, const struct container *c, int signo, struct err *err);

/* The stop signal, then after @timeout_s SIGKILL; returns when the owner has tidied up. */
int engine_stop(struct store *s, const struct container *c, uint32_t timeout_s, struct err *err);

/* Removes one that has ended; with @force a running one is killed first. */
int engine_remove(struct store *s, const struct container *c, bool force, struct err *err);

/* Tidies up after owners that died. Cheap when there are none; failures are warnings. */
void engine_recover(struct store *s);

/* "sha256…" cache of compiled filters: the BPF program for @profile and capability set @caps. */
int engine_seccomp(struct store *s, const char *profile, uint64_t caps, uint8_t **ret,
		   size_t *ret_len, struct err *err);

#endif
