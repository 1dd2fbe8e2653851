/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a bundle to a process that waits for its start, and back if anything fails.
 *
 * Order: the ID's directory is the reservation; the cgroup's path is noted there and the cgroup
 * made; the stage is cloned; and before it gets its plan, its pid is on disk. So at any instant
 * after a kill -9 the state names a process that is dead (it is tied to us until it is ready), or
 * one that waits, and `delete` removes what is left.
 */
#include "runtime/create.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include "container/cgroup.h"
#include "container/launch.h"
#include "runtime/machine.h"
#include "runtime/runtime.h"
#include "util/err.h"
#include "util/io.h"
#include "util/linux.h"
#include "util/mem.h"
#include "util/proc.h"
#include "util/self.h"
#include "util/str.h"

#define RESCTRL		 "/sys/fs/resctrl"
#define PRESERVE_FDS_MAX 1000u

struct making {
	const struct runtime *rt;
	const struct create_options *o;
	struct created *c;
	struct cgroup_choice cgroup;
	struct launch launch;
	char *stage;
	struct launch_helpers helpers;
	int start_fd;
	bool reserved;
};

void created_done(struct created *c)
{
	config_done(&c->config);
	state_done(&c->state);
	c->pidfd = fd_close(c->pidfd);
	c->terminal = fd_close(c->terminal);
}

/* ---- before the process --------------------------------------------------------------------- */

static int find_bundle(const struct create_options *o, char **ret, struct err *err)
{
	*ret = realpath(o->bundle ? o->bundle : ".", NULL);
	return *ret ? 0 : err_sys(err, errno, "bundle \"%s\"", o->bundle ? o->bundle : ".");
}

static int check_options(const struct making *m, struct err *err)
{
	const struct create_options *o = m->o;
	bool terminal = m->c->config.plan.process.terminal, stays = o->start && !o->detach;

	if (terminal && !stays && !o->console_socket)
		return err_set(err, EINVAL,
			       "the process has a terminal, and nobody stays to hold it: give "
			       "--console-socket");
	if (o->console_socket && !terminal)
		return err_set(err, EINVAL,
			       "--console-socket: the process has no terminal (process.terminal)");
	if (o->preserve_fds > PRESERVE_FDS_MAX)
		return err_set(err, EINVAL, "--preserve-fds: at most %u", PRESERVE_FDS_MAX);
	for (uint32_t i = 0; i < o->preserve_fds; i++)
		if (fcntl(3 + (int)i, F_GETFD) < 0)
			return err_set(err, EBADF, "--preserve-fds %u: descriptor %u is not open",
				       o->preserve_fds, 3 + i);
	return 0;
}

/* Socket activation (sd_listen_fds(3)): its descriptors are passed on without being asked for. */
static uint32_t preserved_fds(struct plan_process *p, uint32_t asked)
{
	const char *listen = getenv("LISTEN_FDS");
	uint32_t n;

	if (asked || str_empty(listen) || str_to_u32(listen, &n) < 0 || n > PRESERVE_FDS_MAX)
		return asked;
	(void)strv_take(&p->env, str_printf("LISTEN_FDS=%u", n));
	(void)strv_add(&p->env, "LISTEN_PID=1");
	return n;
}

static int fill_state(struct making *m, const char *id, struct err *err)
{
	const struct config *c = &m->c->config;
	struct state *s = &m->c->state;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	s->created_s = now.tv_sec;
	s->created_ns = now.tv_nsec;
	s->id = strdup(id);
	s->bundle = strdup(c->plan.bundle);
	s->rootfs = strdup(c->plan.root.lowers ? c->plan.root.lowers[0] : "");
	s->oci_version = strdup(OCI_VERSION);
	s->annotations = strv_copy(c->plan.annotations);
	s->owner = geteuid();
	s->vm = c->plan.isolation == PLAN_VM;
	s->own_pids = s->vm || (c->plan.namespaces & ~c->plan.joined & PLAN_NS_PID);
	if (!s->id || !s->bundle || !s->rootfs || !s->oci_version || !s->annotations)
		return err_set(err, ENOMEM, "out of memory");
	return 0;
}

static int find_helpers(struct making *m, struct err *err)
{
	m->helpers = (struct launch_helpers){ "/usr/bin/newuidmap", "/usr/bin/newgidmap" };
	return self_find_helper("proa-stage", &m->stage, err);
}

/* ---- the process ---------------------------------------------------------------------------- */

/* The child is there and waits for its plan: what concerns it from outside, then its state. */
static int on_child(void *data, pid_t pid, struct err *err)
{
	struct making *m = data;
	struct created *c = m->c;
	int r = netdev_move(&c->config.plan, pid, err);

	if (r == 0 && c->config.plan.rdt.set)
		r = rdt_join(&c->config.plan, RESCTRL, pid, err);
	if (r < 0)
		return r;
	c->state.pid = pid;
	r = proc_start_time(pid, &c->state.pid_start);
	if (r < 0)
		return err_sys(err, -r, "look at the container's process");
	return state_save(&c->state, &c->config.plan, err);
}

static int run_hooks(void *data, struct err *err)
{
	struct making *m = data;
	const struct plan *p = &m->c->config.plan;
	int r = hooks_run(p, PLAN_HOOK_PRESTART, &m->c->state, STATE_CREATING, err);

	if (r == 0)
		r = hooks_run(p, PLAN_HOOK_CREATE_RUNTIME, &m->c->state, STATE_CREATING, err);
	return r < 0 ? r : launch_go_on(m->launch.sync_fd, err);
}

/* Until it waits for its start or runs. */
static int follow_start(struct making *m, struct err *err)
{
	const struct follow f = { .rt = m->rt,
				  .process = &m->c->config.plan.process,
				  .state = &m->c->state,
				  .pid = m->launch.pid,
				  .status = STATE_CREATING,
				  .waits = !m->o->start,
				  .console_socket = m->o->console_socket,
				  .ret_terminal = &m->c->terminal,
				  .hooks = run_hooks,
				  .data = m };

	return runtime_follow(&f, m->launch.sync_fd, err);
}

static int launch(struct making *m, struct err *err)
{
	struct config *c = &m->c->config;
	struct launch_spec spec = {
		.plan = &c->plan,
		.stage = m->stage,
		.cgroup = m->cgroup.path,
		.cgroups = m->cgroup.ops,
		.target_pidfd = -EBADF,
		.stdio = { 0, 1, 2 },
		.preserve_fds = preserved_fds(&c->plan.process, m->o->preserve_fds),
		.wait_for_start = !m->o->start,
		.start_fd = m->start_fd,
		.detached = !m->o->start || m->o->detach,
		.keyring = !m->o->no_new_keyring,
		.rootless = geteuid() != 0,
		.helpers = access(m->helpers.newuidmap, X_OK) == 0 ? &m->helpers : NULL,
		.prepare = on_child,
		.data = m,
	};
	int r;

	if (c->plan.process.terminal)
		spec.stdio[0] = spec.stdio[1] = spec.stdio[2] = -EBADF;
	r = m->c->state.vm ? machine_launch(&spec, &m->c->state, &m->launch, err)
			   : launch_start(&spec, &m->launch, err);
	return r < 0 ? r : follow_start(m, err);
}

int runtime_write_pid_file(const char *path, pid_t pid, struct err *err)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%d", pid), r;

	if (!path)
		return 0;
	r = io_write_file(AT_FDCWD, path, text, (size_t)n, 0644, 0);
	return r < 0 ? err_sys(err, -r, "write the pid file %s", path) : 0;
}

/* ---- the whole ------------------------------------------------------------------------------ */

/* All that is there before a process is: configuration, state directory, cgroup. */
static int reserve(struct making *m, const char *id, struct err *err)
{
	struct created *c = m->c;
	_cleanup_free_ char *bundle = NULL;
	int r = find_bundle(m->o, &bundle, err);

	if (r == 0)
		r = config_read(bundle, id, &c->config, err);
	if (r < 0)
		return r;
	for (char **w = c->config.warnings; w && *w; w++)
		runtime_warning(m->rt, "%s", *w);
	c->config.plan.root.no_pivot = m->o->no_pivot;
	if (m->rt->vm)
		c->config.plan.isolation = PLAN_VM;
	r = check_options(m, err);
	if (r == 0)
		r = find_helpers(m, err);
	if (r == 0)
		r = fill_state(m, id, err);
	if (r == 0)
		r = state_reserve(m->rt, id, &c->state.dir_fd, err);
	if (r < 0)
		return r;
	m->reserved = true;
	r = seccomp_prepare(&c->config, err);
	if (r == 0)
		r = cgroups_make(m->rt, &c->state, &c->config, &m->cgroup, err);
	c->state.cgroup = TAKE_PTR(m->cgroup.path);
	c->state.scope = TAKE_PTR(m->cgroup.scope);
	m->cgroup.path = c->state.cgroup;
	return r;
}

static int make(struct making *m, const char *id, struct err *err)
{
	int r = reserve(m, id, err);

	if (r == 0 && !m->o->start)
		r = launch_listen(m->c->state.dir_fd, STATE_START, &m->start_fd, err);
	if (r == 0)
		r = launch(m, err);
	return r < 0 ? r : runtime_write_pid_file(m->o->pid_file, m->launch.pid, err);
}

static void undo(struct making *m)
{
	struct created *c = m->c;

	if (m->launch.pid > 0) {
		kill(m->launch.pid, SIGKILL);
		while (waitpid(m->launch.pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	if (!m->reserved)
		return;
	(void)cgroups_remove(&c->state, NULL);
	if (c->config.plan.rdt.set)
		rdt_remove(&c->config.plan, RESCTRL);
	/* what the first hooks made, the last ones take away */
	if (c->state.pid)
		hooks_run_poststop(m->rt, &c->config.plan, &c->state);
	(void)state_remove(m->rt, c->state.id, NULL);
}

static int create(const struct runtime *rt, const char *id, const struct create_options *o,
		  int (*how)(struct making *m, const char *id, struct err *err),
		  struct created *ret, struct err *err)
{
	struct created c = { .state = STATE_INIT, .pidfd = -EBADF, .terminal = -EBADF };
	struct making m = { .rt = rt,
			    .o = o,
			    .c = &c,
			    .cgroup = { .systemd = CGROUP_SYSTEMD_INIT },
			    .launch = { .pidfd = -EBADF, .sync_fd = -EBADF },
			    .start_fd = -EBADF };
	int r = how(&m, id, err);

	cgroups_release(&m.cgroup);
	fd_close(m.start_fd);
	fd_close(m.launch.sync_fd);
	free(m.stage);
	c.pidfd = m.launch.pidfd;
	if (r < 0) {
		undo(&m);
		created_done(&c);
		return r;
	}
	*ret = c;
	return 0;
}

int create_container(const struct runtime *rt, const char *id, const struct create_options *o,
		     struct created *ret, struct err *err)
{
	return create(rt, id, o, make, ret, err);
}

int create_reserve(const struct runtime *rt, const char *id, const struct create_options *o,
		   struct created *ret, struct err *err)
{
	return create(rt, id, o, reserve, ret, err);
}

int verb_create(struct runtime *rt, int argc, char **argv)
{
	struct create_options o = { 0 };
	const struct args_option options[] = { CREATE_OPTIONS(o), { .name = NULL } };
	struct args_usage usage = {
		.name = "create",
		.synopsis = "[OPTIONS] CONTAINER",
		.summary = "Create a container of a bundle; its process waits for start",
		.examples = "  proa-oci create --bundle /containers/web web\n"
			    "  proa-oci start web\n",
		.options = options,
		.min_args = 1,
		.max_args = 1,
	};
	struct err err = ERR_INIT;
	struct created c;
	int code = runtime_args(rt, &usage, &argc, argv);

	if (code >= 0)
		return code;
	if (create_container(rt, argv[0], &o, &c, &err) < 0)
		return runtime_fail(rt, &err);
	created_done(&c);
	return 0;
}
