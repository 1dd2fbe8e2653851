/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order of steps from a fresh process in new namespaces to the user's command. Each step is in
 * a file of its own; the reasons for the order are here.
 */
#include "container/stage.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include "container/stage_internal.h"
#include "util/io.h"
#include "util/linux.h"
#include "util/mem.h"

/* Enters the working directory, made if absent, and proves that it lies inside the root. */
static int enter_cwd(struct stage *s, struct err *err)
{
	const char *cwd = s->plan.process.cwd;
	char now[4096];

	if (s->mode == STAGE_RUN && chdir(cwd) < 0 && errno == ENOENT) {
		int r = io_mkdir_all(AT_FDCWD, cwd, 0755);

		if (r < 0)
			return err_sys(err, -r, "make the working directory \"%s\"", cwd);
	}
	if (chdir(cwd) < 0)
		return err_exit(err, errno, s->mode == STAGE_EXEC ? EXIT_CANNOT_RUN : EXIT_PROA,
				"enter the working directory \"%s\": %s", cwd, strerror(errno));
	/*
	 * CVE-2024-21626: a working directory reached through a leaked descriptor lies outside the
	 * root; the kernel then answers "(unreachable)…" or nothing at all.
	 */
	if (syscall(SYS_getcwd, now, sizeof(now)) < 0 || now[0] != '/')
		return err_set(err, EPERM,
			       "the working directory \"%s\" lies outside the container", cwd);
	return 0;
}

static bool has_hooks(const struct stage *s, enum plan_hook_point point)
{
	return s->plan.hooks[point].count > 0;
}

/* Everything that makes the root: only for the first process. */
static int build_root(struct stage *s, struct err *err)
{
	int r = stage_root_open(s, err);

	if (r == 0)
		r = stage_names(s, err);
	if (r == 0)
		r = stage_loopback(s, err);
	if (r == 0)
		r = stage_late_namespaces(s, err);
	if (r == 0)
		r = stage_mounts(s, err);
	if (r == 0)
		r = stage_devices(s, err);
	if (r == 0)
		r = stage_files(s, err);
	if (r == 0)
		r = stage_sysctls(s, err);
	if (r == 0 && s->plan.process.terminal)
		r = stage_terminal_open(s, err);
	if (r == 0 && (has_hooks(s, PLAN_HOOK_PRESTART) || has_hooks(s, PLAN_HOOK_CREATE_RUNTIME)))
		r = stage_wait_for_hooks(s, err);
	if (r == 0)
		r = stage_hooks(s, PLAN_HOOK_CREATE_CONTAINER, err);
	if (r == 0)
		r = stage_hide_paths(s, err);
	if (r == 0)
		r = stage_root_enter(s, err);
	return r;
}

static int join_root(struct stage *s, struct err *err)
{
	s->root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (s->root_fd < 0)
		return err_sys(err, errno, "open the container's root");
	return s->plan.process.terminal ? stage_terminal_open(s, err) : 0;
}

/*
 * Standard input and output that are the host's /dev/null become the container's: a descriptor of
 * the host's would be a way to its mounts, and criu could not find it again.
 */
static void reopen_null(void)
{
	int null = -EBADF;

	for (int fd = 0; fd <= 2; fd++) {
		struct stat st;

		if (fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
			continue;
		if (null < 0)
			null = open("/dev/null", O_RDWR | O_NOFOLLOW | O_CLOEXEC);
		if (null < 0 || fstat(null, &st) < 0 || !S_ISCHR(st.st_mode) ||
		    st.st_rdev != makedev(1, 3))
			break; /* the image has something else there, or nothing */
		(void)dup2(null, fd);
	}
	fd_close(null);
}

static int set_oom_score(struct stage *s, struct err *err)
{
	char text[16];
	int r;

	if (!s->plan.process.has_oom_score_adj)
		return 0;
	snprintf(text, sizeof(text), "%d", s->plan.process.oom_score_adj);
	r = io_write_knob(AT_FDCWD, "/proc/self/oom_score_adj", text);
	return r < 0 ? err_sys(err, -r, "set oom_score_adj to %s", text) : 0;
}

/*
 * The last steps in the process that becomes the command. In a start in two halves all that can go
 * wrong has been tried before it waits, but for the filter, which would hold us up as well.
 */
static int become_command(struct stage *s, struct err *err)
{
	/* after the user changed, which clears this, the parent's death must still end it */
	bool tied = s->mode == STAGE_RUN && !s->plan.process.init && !(s->flags & STAGE_DETACHED);
	int r = stage_user_become(s, err);

	if (r == 0)
		r = stage_exec_find(s, err);
	if (r == 0)
		r = stage_wait_for_start(s, err);
	if (r == 0 && s->mode == STAGE_RUN)
		r = stage_hooks(s, PLAN_HOOK_START_CONTAINER, err);
	if (r == 0)
		r = stage_user_confine(s, err);
	if (r < 0)
		return r;
	if (prctl(PR_SET_PDEATHSIG, tied ? SIGKILL : 0) < 0)
		return err_sys(err, errno, "tie the container to its owner");
	return stage_exec(s, err);
}

/* --init: this process stays as process 1, and a child becomes the command. */
static int run_under_reaper(struct stage *s, struct err *err)
{
	pid_t child = fork();

	if (child < 0)
		return err_sys(err, errno, "start the command under the init process");
	if (child == 0) {
		setsid();
		if (s->terminal_fd >= 0)
			(void)stage_terminal_attach(s, NULL);
		return become_command(s, err);
	}
	close(s->sync_fd);
	reaper_run(child);
}

static int stage_run(struct stage *s, struct err *err)
{
	struct plan_process *p = &s->plan.process;
	int r;

	umask(0);
	r = s->mode == STAGE_RUN ? build_root(s, err) : join_root(s, err);
	if (r == 0)
		r = stage_user_find(s, err);
	reopen_null();
	if (r == 0)
		r = enter_cwd(s, err);
	if (r == 0)
		r = set_oom_score(s, err);
	if (r == 0)
		r = stage_rlimits(s, err);
	/* nothing is left open that a path below /proc/self/fd could go through (CVE-2024-21626) */
	s->root_fd = fd_close(s->root_fd);
	if (r == 0)
		r = stage_scheduling(s, err);
	if (r == 0)
		r = stage_keyring(s, err);
	if (r == 0)
		r = stage_labels(s, err);
	if (r < 0)
		return r;
	umask(p->has_umask ? p->umask & 0777 : 0022);
	setsid();
	if (p->init && s->mode == STAGE_RUN)
		return run_under_reaper(s, err);
	if (s->terminal_fd >= 0) {
		r = stage_terminal_attach(s, err);
		if (r < 0)
			return r;
	}
	return become_command(s, err);
}

/* What proa's own loop blocks or ignores must not reach the command. */
static void reset_signals(void)
{
	sigset_t none;

	for (int sig = 1; sig < 32; sig++)
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

int stage_main(int argc, char **argv)
{
	static struct stage s = { .root_fd = -EBADF,
				  .terminal_fd = -EBADF,
				  .sync_fd = -EBADF,
				  .start_fd = -EBADF,
				  .sources = ROOT_SOURCES_INIT };
	struct err err = ERR_INIT;
	int r;

	/* no process of the container may look into this one before it is the container's own */
	prctl(PR_SET_DUMPABLE, 0);
	r = stage_link_open(&s, argc, argv, &err);
	if (s.sync_fd < 0) {
		fprintf(stderr, STAGE_NAME ": started by proa only\n");
		return EXIT_PROA;
	}
	prctl(PR_SET_NAME, STAGE_NAME);
	reset_signals();
	if (r == 0)
		r = stage_run(&s, &err);
	if (r < 0)
		(void)stage_report(&s, STAGE_REPORT_FAILED, &err, -1);
	_exit(err.exit_code);
}
