/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of real groups share, whichever version of cgroups this kernel has. They need
 * root.
 *
 * The tests run in a child; whatever becomes of it, its parent removes the group that everything
 * was made in, with the processes in it, without the code that is tested. The same programs are
 * linked statically and run in machines with other cgroups (tests/run/test_cgroup_v2.py,
 * tests/systemd).
 */
#ifndef PROA_TESTS_CGROUP_LIVE_H
#define PROA_TESTS_CGROUP_LIVE_H

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include "container/cgroup.h"
#include "container/cgroup_internal.h"
#include "container/cgroup_stats.h"
#include "plan/plan.h"
#include "tap.h"
#include "util/err.h"
#include "util/io.h"
#include "util/linux.h"
#include "util/mem.h"

#define MIB ((uint64_t)1 << 20)

static const struct cgroup_ops *ops;
static char top[40]; /* "proa-unit-PID" */
static bool v2;

/* What a child in a group tells its parent. */
static struct shared {
	volatile uint64_t count;
	volatile int signals;
	volatile int ready;
} * shared;

static inline const char *in(const char *name)
{
	static char buf[4][160];
	static unsigned next;
	char *path = buf[next++ % ARRAY_SIZE(buf)];

	snprintf(path, sizeof(buf[0]), "%s/%s", top, name);
	return path;
}

static inline void dir_of(const char *controller, const char *path, char buf[CGROUP_DIR_MAX])
{
	if (v2)
		snprintf(buf, CGROUP_DIR_MAX, CGROUP_ROOT "/%s", path);
	else
		snprintf(buf, CGROUP_DIR_MAX, CGROUP_ROOT "/%s/%s", controller, path);
}

static inline bool exists(const char *controller, const char *path)
{
	char dir[CGROUP_DIR_MAX];

	dir_of(controller, path, dir);
	return access(dir, F_OK) == 0;
}

/* The first line of a file of a group; v2 names the file of that version. */
static inline const char *line_of(const char *path, const char *v1_file, const char *v2_file)
{
	static char text[256];
	char dir[CGROUP_DIR_MAX], controller[32], file[CGROUP_DIR_MAX + 64];

	snprintf(controller, sizeof(controller), "%.*s", (int)strcspn(v1_file, "."), v1_file);
	dir_of(controller, path, dir);
	snprintf(file, sizeof(file), "%s/%s", dir, v2 ? v2_file : v1_file);
	if (cgroup_read(AT_FDCWD, file, text, sizeof(text)) < 0)
		return "(absent)";
	text[strcspn(text, "\n")] = 0;
	return text;
}

static inline void sleep_ms(int ms)
{
	cgroup_sleep_ms(ms);
}

static inline void on_signal(int signo _unused_)
{
	shared->signals++;
}

static inline void spin(void)
{
	signal(SIGUSR1, on_signal);
	for (;;) {
		shared->count++;
		if (shared->count % 1000 == 0)
			usleep(100);
	}
}

static inline void idle(void)
{
	for (;;)
		pause();
}

/* A child that joins the group as a container's first process does, and runs @f. */
static inline pid_t spawn(const char *path, void (*f)(void))
{
	_cleanup_close_ int fd = ops->open(path);
	struct clone_args args = { .exit_signal = SIGCHLD };
	pid_t pid;

	if (fd >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)fd;
	}
	shared->ready = 0;
	fflush(stdout);
	pid = sys_clone3(&args);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (ops->join(path) < 0)
			_exit(99);
		shared->ready = 1;
		f();
		_exit(0);
	}
	for (int i = 0; i < 5000 && !shared->ready && pid > 0; i++)
		sleep_ms(1);
	ok(pid > 0 && shared->ready, "a process in %s", path);
	return pid;
}

static inline int end_of(pid_t pid)
{
	int status = -1;

	return waitpid(pid, &status, 0) == pid ? status : -1;
}

static inline int create(const char *path, const struct plan_resources *l, struct err *err)
{
	int r;

	err_clear(err);
	r = ops->create(path, l, err);
	if (r < 0)
		printf("# create %s: %s\n", path, err->msg);
	return r;
}

static inline int update(const char *path, const struct plan_resources *l, struct err *err)
{
	int r;

	err_clear(err);
	r = ops->update(path, l, err);
	if (r < 0)
		printf("# update %s: %s\n", path, err->msg);
	return r;
}

/* @why: one of several, with "|" between them. */
static inline void ok_names(const struct err *err, const char *limit, const char *file,
			    const char *why)
{
	_cleanup_free_ char *reasons = strdup(why);
	char *save = NULL;
	bool found = !*why;

	for (char *w = strtok_r(reasons, "|", &save); w; w = strtok_r(NULL, "|", &save))
		found |= strstr(err->msg, w) != NULL;
	if (!ok(strstr(err->msg, limit) && strstr(err->msg, file) && found,
		"the error names %s, %s and the reason", limit, file))
		printf("# it says «%s»\n", err->msg);
}

static inline bool has_swap_limit(void)
{
	char dir[CGROUP_DIR_MAX];

	dir_of("memory", top, dir);
	strcat(dir, v2 ? "/memory.swap.max" : "/memory.memsw.limit_in_bytes");
	return access(dir, F_OK) == 0;
}

/* ---- cleaning up, without the code that is tested ------------------------------------------- */

static inline int force_end(const char *dir, void *data _unused_)
{
	char file[CGROUP_DIR_MAX + 32], text[4096], *save = NULL;

	snprintf(file, sizeof(file), "%s/%s", dir, v2 ? "cgroup.freeze" : "freezer.state");
	(void)io_write_knob(AT_FDCWD, file, v2 ? "0" : "THAWED");
	snprintf(file, sizeof(file), "%s/cgroup.procs", dir);
	if (cgroup_read(AT_FDCWD, file, text, sizeof(text)) < 0)
		return 0;
	for (char *p = strtok_r(text, "\n", &save); p; p = strtok_r(NULL, "\n", &save))
		if (atoi(p) > 1)
			kill(atoi(p), SIGKILL);
	return 0;
}

static inline int force_remove(const char *dir, void *data _unused_)
{
	(void)rmdir(dir);
	return 0;
}

static inline void clean_up(void)
{
	char dir[CGROUP_DIR_MAX];

	for (int round = 0; round < 20; round++) {
		for (const char *const *c = cgroup_v1_controllers; *c; c++) {
			dir_of(*c, top, dir);
			(void)cgroup_walk(dir, 0, force_end, NULL);
			(void)cgroup_walk(dir, 0, force_remove, NULL);
		}
		snprintf(dir, sizeof(dir), CGROUP_UNIFIED "/%s", top);
		(void)cgroup_walk(dir, 0, force_remove, NULL);
		if (!exists("freezer", top) && !exists("memory", top) && !exists("cpu", top))
			return;
		sleep_ms(50);
	}
	printf("# could not remove the group %s\n", top);
}

/* ---- running them --------------------------------------------------------------------------- */

static inline int live_run(void (*const *tests)(void), size_t n)
{
	struct plan_resources none = { 0 };
	struct err err = ERR_INIT;

	if (!ok(ops->create(top, &none, &err) == 0, "cgroup %s: the group of this test", ops->name))
		printf("# %s\n", err.msg);
	for (size_t i = 0; i < n; i++) {
		memset((void *)shared, 0, sizeof(*shared));
		tests[i]();
	}
	return tap_done();
}

/* What main() returns. */
static inline int live_main(void (*const *tests)(void), size_t n)
{
	int status = 0;
	pid_t pid;

	ops = cgroup_detect();
	if (geteuid() != 0 || !ops) {
		printf("1..0 # SKIP %s\n", ops ? "needs root" : "no cgroups are mounted");
		return 0;
	}
	v2 = ops == &cgroup_v2;
	snprintf(top, sizeof(top), "proa-unit-%d", getpid());
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (shared == MAP_FAILED)
		return 1;
	setvbuf(stdout, NULL, _IOLBF, 0);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		alarm(60);
		exit(live_run(tests, n));
	}
	waitpid(pid, &status, 0);
	clean_up();
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

#endif
