/* SPDX-License-Identifier: Apache-2.0 */
/*
 * checkpoint and restore, by way of criu(8): it freezes the processes, writes what they are into a
 * directory of images, and makes them again from it.
 *
 * What lies outside of the container has to be named in both directions. Binds are external mounts
 * under the names of their targets; so are the covers of masked files, which come back as
 * /dev/null. Standard input and output are remembered in the images' descriptors.json, and those of
 * the restoring process take their places. The cgroup is ours to make; criu is told to leave it
 * alone, and is started inside it, so that what it makes is born there.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>
#include "container/cgroup.h"
#include "runtime/checkpoint.h"
#include "runtime/create.h"
#include "runtime/runtime.h"
#include "util/err.h"
#include "util/io.h"
#include "util/json_read.h"
#include "util/json_write.h"
#include "util/linux.h"
#include "util/mem.h"
#include "util/proc.h"
#include "util/str.h"

#define DESCRIPTORS "descriptors.json"
#define LOG_MAX	    (1u << 20)

static int no_memory(struct err *err)
{
	return err_set(err, ENOMEM, "out of memory");
}

/* Appends words up to a NULL. */
static int add_words(char ***argv, const char *const *words)
{
	int r = 0;

	for (; r == 0 && *words; words++)
		r = strv_add(argv, *words);
	return r;
}

/* An option and its value. */
static int add_pair(char ***argv, const char *option, char *value)
{
	int r = strv_add(argv, option);

	if (r == 0)
		return strv_take(argv, value);
	free(value);
	return r;
}

/* The options that dump and restore have in common. */
static int common_options(const struct criu_options *o, const char *verb, char ***argv)
{
	const struct {
		bool set;
		const char *option;
	} flags[] = { { o->tcp_established, "--tcp-established" },
		      { o->ext_unix, "--ext-unix-sk" },
		      { o->shell_job, "--shell-job" },
		      { o->file_locks, "--file-locks" } };
	int r = add_words(argv,
			  (const char *const[]){ o->program, verb, "--images-dir", o->image_path,
						 "--log-file", o->log_name, "--work-dir",
						 o->work_path ? o->work_path : o->image_path,
						 "--manage-cgroups=ignore",
						 /* connections stand still meanwhile; by way of the
						  * kernel, not of the program iptables */
						 "--network-lock", "nftables", NULL });

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(flags); i++)
		if (flags[i].set)
			r = strv_add(argv, flags[i].option);
	return r;
}

/* External mounts: "mnt[WHERE]:NAME" for a dump, "mnt[NAME]:SOURCE" for a restore. */
static int external_mounts(const struct plan *p, bool restore, char ***argv)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < p->mount_count; i++) {
		const struct plan_mount *m = &p->mounts[i];

		if (m->kind != PLAN_MOUNT_BIND)
			continue;
		r = add_pair(argv, "--external",
			     str_printf("mnt[%s]:%s", m->target, restore ? m->source : m->target));
	}
	for (char **m = p->masked_paths; r == 0 && m && *m; m++)
		r = add_pair(argv, "--external",
			     str_printf("mnt[%s]:%s", *m, restore ? "/dev/null" : *m));
	return r;
}

/* What criu complained of in its log last, but for its own summary. */
static void log_reason(const struct criu_options *o, char *buf, size_t size)
{
	_cleanup_free_ char *path =
		str_printf("%s/%s", o->work_path ? o->work_path : o->image_path, o->log_name);
	_cleanup_free_ char *text = NULL;
	const char *last = NULL;

	snprintf(buf, size, "see its log");
	if (!path || io_read_file(AT_FDCWD, path, LOG_MAX, &text, NULL) < 0)
		return;
	for (const char *at = text; (at = strstr(at, "Error (")); at++)
		if (!strstr(at, "FAILED") || strstr(at, "FAILED") > at + strcspn(at, "\n"))
			last = at;
	if (last)
		snprintf(buf, size, "%.*s (%s)", (int)strcspn(last, "\n"), last, path);
}

static _Noreturn void criu_main(const struct criu_options *o, char *const *argv,
				const struct cgroup_ops *ops, const char *cgroup)
{
	int null = open("/dev/null", O_RDWR);

	if (ops && ops->join(cgroup) < 0)
		_exit(EXIT_PROA);
	if (!o->keep_stdio) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
	}
	execvp(argv[0], argv);
	_exit(EXIT_NOT_FOUND);
}

/* Runs criu to its end, in the group @cgroup (NULL: where we are). */
static int run_criu(const struct criu_options *o, char *const *argv, const char *cgroup,
		    struct err *err)
{
	const struct cgroup_ops *ops = cgroup ? cgroup_detect() : NULL;
	_cleanup_close_ int group = ops ? ops->open(cgroup) : -EBADF;
	struct clone_args args = { .exit_signal = SIGCHLD };
	char reason[400];
	int status = -1;
	pid_t pid;

	if (group >= 0) {
		args.flags = CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)group;
	}
	pid = sys_clone3(&args);
	if (pid == 0)
		criu_main(o, argv, ops, cgroup);
	if (pid < 0)
		return err_sys(err, errno, "start criu");
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (status == 0)
		return 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_NOT_FOUND)
		return err_set(err, ENOENT, "%s is not installed (Debian's package criu)",
			       o->program);
	log_reason(o, reason, sizeof(reason));
	return err_set(err, EIO, "criu failed: %s", reason);
}

/* ---- checkpoint ----------------------------------------------------------------------------- */

static int save_descriptors(const struct criu_options *o, pid_t pid, struct err *err)
{
	_cleanup_free_ char *path = str_printf("%s/" DESCRIPTORS, o->image_path);
	struct json_write w = { 0 };
	int r;

	json_write_array(&w);
	for (int fd = 0; fd < 3; fd++) {
		char link[48], target[4096] = "";
		ssize_t n;

		snprintf(link, sizeof(link), "/proc/%d/fd/%d", pid, fd);
		n = readlink(link, target, sizeof(target) - 1);
		json_write_string(&w, n < 0 ? "" : target);
	}
	json_write_close(&w, ']');
	r = !path || w.out.failed ? -ENOMEM
				  : io_write_file(AT_FDCWD, path, w.out.data, w.out.len, 0644, 0);
	str_buf_done(&w.out);
	return r < 0 ? err_sys(err, -r, "write %s", path ? path : DESCRIPTORS) : 0;
}

static int dump(const struct criu_options *o, const struct state *s, const struct plan *p,
		struct err *err)
{
	_cleanup_strv_ char **argv = NULL;
	int r = common_options(o, "dump", &argv);

	if (r == 0)
		r = add_pair(&argv, "--tree", str_printf("%d", s->pid));
	if (r == 0)
		r = external_mounts(p, false, &argv);
	if (r == 0 && o->leave_running)
		r = strv_add(&argv, "--leave-running");
	return r < 0 ? no_memory(err) : run_criu(o, argv, NULL, err);
}

static int checkpoint(const struct runtime *rt, const char *id, const struct criu_options *o,
		      struct err *err)
{
	_cleanup_(state_done) struct state s = STATE_INIT;
	struct plan plan = { 0 };
	enum state_status status;
	int r = state_open(rt, id, true, &s, err);

	if (r < 0)
		return r;
	status = state_status_of(&s);
	if (s.vm)
		return err_set(err, EOPNOTSUPP,
			       "checkpoint: criu sees the processes of this host, not a machine's");
	if (status != STATE_RUNNING && status != STATE_PAUSED)
		return err_set(err, ESRCH, "checkpoint: container not running: %s", id);
	r = state_read_plan(&s, &plan, err);
	if (r == 0 && io_mkdir_all(AT_FDCWD, o->image_path, 0700) < 0)
		r = err_sys(err, errno, "make %s", o->image_path);
	if (r == 0)
		r = save_descriptors(o, s.pid, err);
	/* criu freezes by itself, and what is frozen already it cannot stop */
	if (r == 0 && status == STATE_PAUSED)
		r = cgroup_detect()->freeze(s.cgroup, false, err);
	if (r == 0)
		r = dump(o, &s, &plan, err);
	if (r == 0 && !o->leave_running)
		r = destroy(rt, &s, &plan, err);
	else if (status == STATE_PAUSED)
		(void)cgroup_detect()->freeze(s.cgroup, true, NULL);
	plan_done(&plan);
	return r;
}

int verb_checkpoint(struct runtime *rt, int argc, char **argv)
{
	struct criu_options o = { .image_path = "checkpoint", .log_name = "dump.log" };
	const struct args_option options[] = {
		CRIU_OPTIONS(o),
		{ 0, "leave-running", ARGS_FLAG, &o.leave_running, NULL,
		  "Let it go on afterwards" },
		{ .name = NULL },
	};
	struct args_usage usage = {
		.name = "checkpoint",
		.synopsis = "[OPTIONS] CONTAINER",
		.summary = "Save the state of a running container with criu(8)",
		.examples = "  proa-oci checkpoint --image-path /var/tmp/web web\n"
			    "  proa-oci restore --image-path /var/tmp/web --bundle /containers/web "
			    "web\n",
		.options = options,
		.min_args = 1,
		.max_args = 1,
	};
	struct err err = ERR_INIT;
	int code = runtime_args(rt, &usage, &argc, argv);

	if (code >= 0)
		return code;
	o.program = rt->criu ? rt->criu : "criu";
	return checkpoint(rt, argv[0], &o, &err) < 0 ? runtime_fail(rt, &err) : 0;
}

/* ---- restore -------------------------------------------------------------------------------- */

/* What was the process's standard input and output becomes ours: "--inherit-fd fd[0]:pipe:[123]".
 */
static int inherit_descriptors(const struct criu_options *o, char ***argv)
{
	_cleanup_free_ char *path = str_printf("%s/" DESCRIPTORS, o->image_path), *text = NULL;
	struct json_read r;
	size_t n;
	int e = path ? io_read_file(AT_FDCWD, path, LOG_MAX, &text, &n) : -ENOMEM, fd = 0;

	if (e < 0)
		return e == -ENOENT ? 0 : e;
	json_read_init(&r, text, n, DESCRIPTORS, NULL);
	for (json_read_array(&r); json_read_item(&r); fd++) {
		const char *target = json_read_string(&r);

		if (fd > 2 || !target || !str_starts(target, "pipe:"))
			continue;
		e = add_pair(argv, "--inherit-fd", str_printf("fd[%d]:%s", fd, target));
		if (e < 0)
			return e;
	}
	return json_read_end(&r);
}

/* criu enters a root that is a mount point; a directory is made one in a namespace of our own. */
static int mount_root(const char *path, struct err *err)
{
	if (sys_unshare(CLONE_NEWNS) < 0 ||
	    sys_mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0 ||
	    sys_mount(path, path, NULL, MS_BIND | MS_REC, NULL) < 0)
		return err_sys(err, errno, "restore: make the root a mount point");
	return 0;
}

static int read_pid(const char *path, pid_t *ret, struct err *err)
{
	_cleanup_free_ char *text = NULL;
	uint32_t pid;
	int r = io_read_file(AT_FDCWD, path, 32, &text, NULL);

	if (r == 0) {
		text[strcspn(text, "\n")] = 0;
		r = str_to_u32(text, &pid);
	}
	if (r < 0)
		return err_sys(err, -r, "restore: criu told no process");
	*ret = (pid_t)pid;
	return 0;
}

static int restore_processes(const struct criu_options *o, struct created *c, const char *pid_file,
			     struct err *err)
{
	const struct plan *p = &c->config.plan;
	_cleanup_strv_ char **argv = NULL;
	int r = common_options(o, "restore", &argv);

	if (r == 0)
		r = add_words(&argv, (const char *const[]){ "--restore-detached", "--root",
							    p->root.lowers[0], "--pidfile",
							    pid_file, NULL });
	if (r == 0)
		r = external_mounts(p, true, &argv);
	if (r == 0)
		r = inherit_descriptors(o, &argv);
	if (r < 0)
		return no_memory(err);
	r = mount_root(p->root.lowers[0], err);
	if (r == 0)
		r = run_criu(o, argv, c->state.cgroup, err);
	return r < 0 ? r : read_pid(pid_file, &c->state.pid, err);
}

static int restore(const struct runtime *rt, const char *id, const struct create_options *co,
		   const struct criu_options *o, struct err *err)
{
	_cleanup_free_ char *pid_file = str_printf("%s/restored.pid", o->image_path);
	struct created c;
	int r = pid_file ? create_reserve(rt, id, co, &c, err) : no_memory(err), code = 0;

	if (r < 0)
		return r;
	(void)unlink(pid_file);
	r = restore_processes(o, &c, pid_file, err);
	if (r == 0 && proc_start_time(c.state.pid, &c.state.pid_start) < 0)
		r = err_set(err, ESRCH, "restore: the container ended at once");
	if (r == 0)
		r = state_save(&c.state, &c.config.plan, err);
	if (r == 0)
		r = runtime_write_pid_file(co->pid_file, c.state.pid, err);
	if (r < 0)
		(void)destroy(rt, &c.state, NULL, NULL);
	if (r == 0 && !co->detach) {
		int pidfd = state_process(&c.state);

		code = pidfd < 0 ? 0 : console_stay(pidfd, -1, err);
		fd_close(pidfd);
		r = destroy(rt, &c.state, &c.config.plan, err);
	}
	created_done(&c);
	return r < 0 ? r : code;
}

int verb_restore(struct runtime *rt, int argc, char **argv)
{
	struct create_options co = { .start = true };
	struct criu_options o = { .image_path = "checkpoint",
				  .log_name = "restore.log",
				  .keep_stdio = true };
	const struct args_option options[] = {
		CRIU_OPTIONS(o),
		{ 'b', "bundle", ARGS_STRING, &co.bundle, "DIR", "Directory of config.json" },
		{ 0, "pid-file", ARGS_STRING, &co.pid_file, "FILE",
		  "Write the process ID to FILE" },
		{ 'd', "detach", ARGS_FLAG, &co.detach, NULL, "Do not stay for its end" },
		{ 0, "no-subreaper", ARGS_FLAG, &co.no_subreaper, NULL,
		  "Do not take over the processes it leaves behind" },
		{ .name = NULL },
	};
	struct args_usage usage = {
		.name = "restore",
		.synopsis = "[OPTIONS] CONTAINER",
		.summary = "Make a container of a bundle and the images of a checkpoint",
		.options = options,
		.min_args = 1,
		.max_args = 1,
	};
	struct err err = ERR_INIT;
	int code = runtime_args(rt, &usage, &argc, argv), r;

	if (code >= 0)
		return code;
	o.program = rt->criu ? rt->criu : "criu";
	if (!co.detach)
		console_prepare(true);
	if (!co.detach && co.no_subreaper)
		r = err_set(&err, EINVAL,
			    "--no-subreaper: what criu restores can then not be waited for; use "
			    "--detach");
	else
		r = restore(rt, argv[0], &co, &o, &err);
	return r < 0 ? runtime_fail(rt, &err) : r;
}
