/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container's way through a systemd scope, as container/cgroup_systemd.h describes it, with a
 * process that only waits. Runs in the machine of tests/systemd/machine.py.
 *
 *     test_scope HELPER [--user]
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include "../unit/tap.h"
#include "container/cgroup.h"
#include "container/cgroup_internal.h"
#include "container/cgroup_stats.h"
#include "container/cgroup_systemd.h"
#include "plan/plan.h"
#include "util/err.h"
#include "util/linux.h"
#include "util/mem.h"

#define MIB ((uint64_t)1 << 20)

static struct err err = ERR_INIT;

static bool good(int r, const char *what)
{
	bool pass = ok(r == 0, "%s", what);

	if (!pass)
		printf("# %s\n", err.msg);
	return pass;
}

static bool v2;

/* The first line of a file of the group, whose name depends on the version. */
static void ok_file(const char *path, const char *v1_file, const char *v2_file, const char *want)
{
	char root[64], name[CGROUP_DIR_MAX], text[128] = "(absent)";
	const char *file = v2 ? v2_file : v1_file;

	snprintf(root, sizeof(root), CGROUP_ROOT "%s%.*s", v2 ? "" : "/",
		 v2 ? 0 : (int)strcspn(file, "."), file);
	cgroup_join_path(name, root, path, file);
	(void)cgroup_read(AT_FDCWD, name, text, sizeof(text));
	text[strcspn(text, "\n")] = 0;
	ok_str(text, want, "%s", file);
}

static pid_t start_in(const struct cgroup_ops *ops, const char *path)
{
	_cleanup_close_ int fd = ops->open(path);
	struct clone_args args = { .exit_signal = SIGCHLD };
	pid_t pid;

	if (fd >= 0) {
		args.flags = CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)fd;
	}
	fflush(stdout);
	pid = sys_clone3(&args);
	if (pid == 0) {
		if (ops->join(path) < 0)
			_exit(99);
		for (;;)
			pause();
	}
	return pid;
}

/* In each hierarchy that there is, but those of no use to a container. */
static void ok_everywhere(pid_t pid, const char *path)
{
	static const char *const controllers[] = { "memory", "cpu",	"cpuacct",     "devices",
						   "pids",   "freezer", "name=systemd" };

	for (size_t i = 0; i < ARRAY_SIZE(controllers) && !v2; i++) {
		_cleanup_free_ char *of = NULL;

		for (int wait = 0; wait < 200 && (!of || strcmp(of, path) != 0); wait++) {
			free(of);
			of = NULL;
			cgroup_sleep_ms(5); /* it moves itself, now */
			(void)cgroup_path_of(pid, controllers[i], &of, &err);
		}
		ok_str(of, path, "its group of %s is that of the scope", controllers[i]);
	}
}

static void live(const struct cgroup_ops *ops, const char *helper, const struct cgroup_unit *u,
		 bool user)
{
	struct plan_resources l = { .memory_bytes = 64 * MIB, .pids_max = 20 },
			      more = { .memory_bytes = 96 * MIB, .pids_max = 30 };
	struct cgroup_systemd s = CGROUP_SYSTEMD_INIT;
	_cleanup_free_ char *path = NULL, *of = NULL;
	_cleanup_free_ pid_t *pids = NULL;
	size_t n = 0;
	pid_t pid;

	if (!good(cgroup_systemd_start(helper, u, &l, user, &s, &path, &err), "start"))
		return;
	printf("# path %s\n", path);
	ok(strstr(path, u->path) != NULL, "the path ends as expected");
	ok(cgroup_can_create(path), "we may use it");
	ok_file(path, "memory.limit_in_bytes", "memory.max", "67108864");
	ok_file(path, "pids.max", "pids.max", "20");
	l.cpu_quota_us = 20000;
	l.cpu_period_us = 100000;
	good(ops->adopt(path, &l, &err), "adopt");
	ok_file(path, "cpu.cfs_quota_us", "cpu.max", v2 ? "20000 100000" : "20000");
	pid = start_in(ops, path);
	ok(pid > 0, "a process is cloned into it");
	if (v2) {
		good(cgroup_path_of(pid, NULL, &of, &err), "and knows its group");
		ok_str(of, path, "which is that of the scope");
	}
	ok_everywhere(pid, path);
	cgroup_systemd_release(&s);
	good(ops->pids(path, &pids, &n, &err), "pids");
	ok(n == 1 && pids[0] == pid, "the helper has gone, the process has not");
	good(cgroup_systemd_set(helper, u, &more, user, &err), "set");
	good(ops->update(path, &more, &err), "update");
	ok_file(path, "memory.limit_in_bytes", "memory.max", "100663296");
	ok_file(path, "pids.max", "pids.max", "30");
	good(cgroup_systemd_stop(helper, u, user, &err), "stop");
	ok(waitpid(pid, NULL, 0) == pid, "the process ended with its scope");
	good(ops->remove(path, &err), "remove, of what systemd has removed");
	good(cgroup_systemd_stop(helper, u, user, &err), "stop what is stopped");
	ok(cgroup_systemd_set(helper, u, &more, user, &err) < 0, "no limits for what is stopped");
	printf("# %s\n", err.msg);
}

/* A caller that dies, or gives up, leaves nothing. */
static void give_up(const char *helper, const struct cgroup_unit *u, bool user)
{
	struct plan_resources none = { 0 };
	struct cgroup_systemd s = CGROUP_SYSTEMD_INIT, second = CGROUP_SYSTEMD_INIT;
	char dir[CGROUP_DIR_MAX], *path = NULL, *other = NULL;
	const char *root = v2 ? CGROUP_ROOT : CGROUP_ROOT "/systemd";

	if (!good(cgroup_systemd_start(helper, u, &none, user, &s, &path, &err), "start again"))
		return;
	ok(cgroup_systemd_start(helper, u, &none, user, &second, &other, &err) < 0,
	   "not twice with one name");
	printf("# %s\n", err.msg);
	cgroup_join_path(dir, root, path, NULL);
	ok_int(access(dir, F_OK), 0, "the group is there");
	cgroup_systemd_release(&s);
	for (int i = 0; i < 500 && access(dir, F_OK) == 0; i++)
		cgroup_sleep_ms(10);
	ok(access(dir, F_OK) < 0, "and goes with the helper");
	free(path);
}

int main(int argc, char **argv)
{
	const struct cgroup_ops *ops = cgroup_detect();
	bool user = argc > 2 && !strcmp(argv[2], "--user");
	struct cgroup_unit u = { 0 };

	if (argc < 2 || !ok(ops != NULL, "this machine has cgroup %s", ops ? ops->name : "?"))
		return 1;
	v2 = ops == &cgroup_v2;
	if (good(cgroup_unit_parse(user ? "app.slice:proa:t1" : "machine-tests.slice:proa:t1", "t1",
				   user, &u, &err),
		 "unit")) {
		live(ops, argv[1], &u, user);
		give_up(argv[1], &u, user);
	}
	cgroup_unit_done(&u);
	return tap_done();
}
