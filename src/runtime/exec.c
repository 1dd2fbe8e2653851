/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exec: a further process in a container. It is either described whole (--process FILE, as engines
 * do), or it is the container's own process with the changes of the command line.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include "container/cgroup.h"
#include "container/launch.h"
#include "plan/options.h"
#include "runtime/create.h"
#include "runtime/machine.h"
#include "runtime/runtime.h"
#include "util/err.h"
#include "util/io.h"
#include "util/linux.h"
#include "util/mem.h"
#include "util/self.h"
#include "util/str.h"

#define EXIT_EXEC_FAILED 255 /* runc's, so that it is not taken for the command's */

struct exec_options {
	const char *process, *console_socket, *pid_file, *cwd, *user, *apparmor, *label, *cgroup;
	char **env, **caps, **groups;
	uint32_t preserve_fds;
	bool detach, tty, no_new_privs, ignore_paused;
};

static void options_done(struct exec_options *o)
{
	strv_free(o->env);
	strv_free(o->caps);
	strv_free(o->groups);
}

static int no_memory(struct err *err)
{
	return err_set(err, ENOMEM, "out of memory");
}

static int replace(char **field, const char *value, struct err *err)
{
	char *copy = value ? strdup(value) : NULL;

	if (!value)
		return 0;
	if (!copy)
		return no_memory(err);
	free(*field);
	*field = copy;
	return 0;
}

/* --user UID[:GID]; runc's takes numbers only. */
static int set_user(struct plan_process *p, const char *user, struct err *err)
{
	uint32_t uid, gid = 0;
	_cleanup_free_ char *first = user ? strndup(user, strcspn(user, ":")) : NULL;
	const char *second = user ? strchr(user, ':') : NULL;

	if (!user)
		return 0;
	if (!first || str_to_u32(first, &uid) < 0 || (second && str_to_u32(second + 1, &gid) < 0))
		return err_set(err, EINVAL, "--user takes UID[:GID], not \"%s\"", user);
	free(p->user);
	p->user = str_printf("%u:%u", uid, gid);
	return p->user ? 0 : no_memory(err);
}

static int add_caps(struct plan_process *p, char *const *caps, struct err *err)
{
	for (; caps && *caps; caps++) {
		unsigned cap;
		int r = plan_parse_cap(*caps, &cap, err);

		if (r < 0)
			return err_wrap(err, "--cap");
		p->caps.bounding |= 1ull << cap;
		p->caps.effective |= 1ull << cap;
		p->caps.permitted |= 1ull << cap;
	}
	return 0;
}

/* The container's own process with the changes of the command line. */
static int from_arguments(const struct exec_options *o, char **args, struct plan_process *p,
			  struct err *err)
{
	int r;

	if (!args[0])
		return err_set(err, EINVAL, "exec needs a command, or --process FILE");
	strv_free(p->args);
	p->args = strv_copy(args);
	if (!p->args)
		return no_memory(err);
	r = replace(&p->cwd, o->cwd, err);
	if (r == 0 && p->cwd[0] != '/')
		r = err_set(err, EINVAL, "--cwd %s: must be an absolute path", p->cwd);
	if (r == 0)
		r = set_user(p, o->user, err);
	if (r == 0)
		r = add_caps(p, o->caps, err);
	for (char **e = o->env; r == 0 && e && *e; e++)
		if (strv_env_set(&p->env, *e) < 0)
			r = no_memory(err);
	for (char **g = o->groups; r == 0 && g && *g; g++)
		if (strv_add(&p->groups, *g) < 0)
			r = no_memory(err);
	p->terminal = o->tty;
	p->rows = p->cols = 0;
	return r;
}

/* What a process.json leaves out is the container's. */
static int from_file(const struct exec_options *o, struct plan_process *p, struct err *err)
{
	_cleanup_free_ char *text = NULL;
	struct plan_process own = *p;
	size_t n;
	int r = io_read_file(AT_FDCWD, o->process, CONFIG_MAX, &text, &n);

	if (r < 0)
		return err_sys(err, -r, "read %s", o->process);
	r = config_parse_process(text, n, p, err);
	if (r < 0) {
		*p = own;
		return r;
	}
	if (!p->has_caps)
		p->caps = own.caps;
	if (!p->rlimits) {
		p->rlimits = TAKE_PTR(own.rlimits);
		p->rlimit_count = own.rlimit_count;
	}
	if (!p->apparmor)
		p->apparmor = TAKE_PTR(own.apparmor);
	if (!p->selinux)
		p->selinux = TAKE_PTR(own.selinux);
	p->personality = own.personality;
	p->has_personality = own.has_personality;
	p->memory_policy = own.memory_policy;
	own.memory_policy.nodes = NULL;
	/* the filter is the container's, for every process in it */
	p->seccomp = TAKE_PTR(own.seccomp);
	p->seccomp_len = own.seccomp_len;
	p->seccomp_flags = own.seccomp_flags;
	p->notify.listener = TAKE_PTR(own.notify.listener);
	p->notify.metadata = TAKE_PTR(own.notify.metadata);
	plan_process_done(&own);
	if (o->tty)
		p->terminal = true;
	return 0;
}

static int make_process(const struct exec_options *o, char **args, struct plan_process *p,
			struct err *err)
{
	int r = o->process ? from_file(o, p, err) : from_arguments(o, args, p, err);

	if (r == 0)
		r = replace(&p->apparmor, o->apparmor, err);
	if (r == 0)
		r = replace(&p->selinux, o->label, err);
	p->no_new_privs |= o->no_new_privs;
	p->init = false;
	if (r == 0 && p->terminal && o->detach && !o->console_socket)
		r = err_set(err, EINVAL,
			    "the process has a terminal, and nobody stays to hold it: give "
			    "--console-socket");
	if (r == 0 && o->console_socket && !p->terminal)
		r = err_set(err, EINVAL, "--console-socket: the process has no terminal (--tty)");
	return r;
}

/*
 * The group to join. On v2 a group with groups below it takes no processes: where the container's
 * first process has moved to is where others can be as well.
 */
static int find_cgroup(const struct exec_options *o, const struct state *s, char **ret,
		       struct err *err)
{
	_cleanup_free_ char *own = NULL;

	if (!s->cgroup)
		return o->cgroup ? err_set(err, EINVAL, "--cgroup: the container has no cgroup")
				 : 0;
	if (o->cgroup) {
		*ret = str_printf("%s/%s", s->cgroup, o->cgroup + strspn(o->cgroup, "/"));
		if (!*ret)
			return no_memory(err);
		return cgroup_check_path(*ret, err) < 0 ? err_wrap(err, "--cgroup") : 0;
	}
	if (cgroup_detect() == &cgroup_v2 && cgroup_path_of(s->pid, NULL, &own, NULL) == 0 &&
	    str_starts(own, s->cgroup))
		*ret = TAKE_PTR(own);
	else
		*ret = strdup(s->cgroup);
	return *ret ? 0 : no_memory(err);
}

struct execution {
	const struct runtime *rt;
	const struct exec_options *o;
	const struct state *s;
	const struct plan_process *what;
	struct launch launch;
	int terminal;
};

static int follow(struct execution *x, struct err *err)
{
	const struct follow f = { .rt = x->rt,
				  .process = x->what,
				  .state = x->s,
				  .pid = x->launch.pid,
				  .status = STATE_RUNNING,
				  .console_socket = x->o->console_socket,
				  .ret_terminal = &x->terminal };

	return runtime_follow(&f, x->launch.sync_fd, err);
}

static int launch(struct execution *x, const struct plan *plan, struct err *err)
{
	_cleanup_free_ char *stage = NULL, *cgroup = NULL;
	_cleanup_close_ int target = state_process(x->s);
	struct launch_spec spec = {
		.plan = plan,
		.exec = x->what,
		.cgroups = state_cgroups(x->s),
		.target_pidfd = target,
		.stdio = { 0, 1, 2 },
		.preserve_fds = x->o->preserve_fds,
		.start_fd = -EBADF,
		.detached = true,
		.rootless = geteuid() != 0,
	};
	int r = self_find_helper("proa-stage", &stage, err);

	if (r == 0)
		r = find_cgroup(x->o, x->s, &cgroup, err);
	if (r < 0)
		return r;
	if (target < 0)
		return err_set(err, ESRCH, "cannot exec in a stopped container: %s", x->s->id);
	spec.stage = stage;
	spec.cgroup = cgroup;
	if (x->what->terminal)
		spec.stdio[0] = spec.stdio[1] = spec.stdio[2] = -EBADF;
	r = x->s->vm ? machine_launch(&spec, x->s, &x->launch, err)
		     : launch_start(&spec, &x->launch, err);
	if (r == 0)
		r = follow(x, err);
	return r < 0 ? r : runtime_write_pid_file(x->o->pid_file, x->launch.pid, err);
}

static int check_status(const struct exec_options *o, const struct state *s, struct err *err)
{
	switch (state_status_of(s)) {
	case STATE_PAUSED:
		if (o->ignore_paused)
			return 0;
		return err_set(err, EBUSY,
			       "cannot exec in a paused container (use --ignore-paused)");
	case STATE_CREATED:
	case STATE_RUNNING: return 0;
	default: return err_set(err, ESRCH, "cannot exec in a stopped container: %s", s->id);
	}
}

static int execute(const struct runtime *rt, const struct exec_options *o, const struct state *s,
		   char **args, struct err *err)
{
	struct plan plan = { 0 };
	struct execution x = { .rt = rt,
			       .o = o,
			       .s = s,
			       .what = &plan.process,
			       .launch = { .pidfd = -EBADF, .sync_fd = -EBADF },
			       .terminal = -EBADF };
	int r = check_status(o, s, err);

	if (r == 0)
		r = state_read_plan(s, &plan, err);
	if (r == 0)
		r = make_process(o, args, &plan.process, err);
	if (r == 0 && !o->detach)
		console_prepare(false);
	if (r == 0)
		r = launch(&x, &plan, err);
	if (r < 0 && x.launch.pid > 0) {
		kill(x.launch.pid, SIGKILL);
		(void)waitpid(x.launch.pid, NULL, 0);
	} else if (r == 0 && !o->detach) {
		r = console_stay(x.launch.pidfd, x.terminal, err);
	}
	fd_close(x.terminal);
	fd_close(x.launch.sync_fd);
	fd_close(x.launch.pidfd);
	plan_done(&plan);
	return r;
}

int verb_exec(struct runtime *rt, int argc, char **argv)
{
	_cleanup_(options_done) struct exec_options o = { 0 };
	const struct args_option options[] = {
		{ 'p', "process", ARGS_STRING, &o.process, "FILE", "The process as JSON" },
		{ 'd', "detach", ARGS_FLAG, &o.detach, NULL, "Do not stay for its end" },
		{ 't', "tty", ARGS_FLAG, &o.tty, NULL, "Give it a terminal" },
		{ 'u', "user", ARGS_STRING, &o.user, "UID[:GID]", "As whom" },
		{ 0, "cwd", ARGS_STRING, &o.cwd, "DIR", "Working directory in the container" },
		{ 'e', "env", ARGS_LIST, &o.env, "NAME=VALUE", "Set an environment variable" },
		{ 'c', "cap", ARGS_LIST, &o.caps, "CAP", "Add a capability" },
		{ 'g', "additional-gids", ARGS_LIST, &o.groups, "GID", "Add a group" },
		{ 0, "console-socket", ARGS_STRING, &o.console_socket, "PATH",
		  "Unix socket that gets the terminal" },
		{ 0, "pid-file", ARGS_STRING, &o.pid_file, "FILE", "Write the process ID to FILE" },
		{ 0, "preserve-fds", ARGS_U32, &o.preserve_fds, "N",
		  "Pass descriptors 3 to 3+N-1 on" },
		{ 0, "no-new-privs", ARGS_FLAG, &o.no_new_privs, NULL, "Set no_new_privs" },
		{ 0, "apparmor", ARGS_STRING, &o.apparmor, "PROFILE", "AppArmor profile" },
		{ 0, "process-label", ARGS_STRING, &o.label, "LABEL", "SELinux label" },
		{ 0, "cgroup", ARGS_STRING, &o.cgroup, "PATH", "A group below the container's" },
		{ 0, "ignore-paused", ARGS_FLAG, &o.ignore_paused, NULL,
		  "Also in a paused container; it begins when that is resumed" },
		{ .name = NULL },
	};
	struct args_usage usage = {
		.name = "exec",
		.synopsis = "[OPTIONS] CONTAINER [COMMAND [ARG...]]",
		.summary = "Run a further process in a container",
		.examples = "  proa-oci exec web ps\n  proa-oci exec -t --user 1000 web sh\n",
		.options = options,
		.min_args = 1,
		.max_args = -1,
		.stop_at_first = true,
	};
	struct state s = STATE_INIT;
	struct err err = ERR_INIT;
	int code = runtime_args(rt, &usage, &argc, argv), r;

	if (code >= 0)
		return code;
	r = state_open(rt, argv[0], false, &s, &err);
	if (r == 0)
		r = execute(rt, &o, &s, argv + 1, &err);
	state_done(&s);
	if (r >= 0)
		return r;
	runtime_fail(rt, &err);
	return EXIT_EXEC_FAILED;
}
