/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Id maps (user_namespaces(7)).
 *
 * Root writes them itself. Anybody else may map one id, their own, and for that setgroups(2) has to
 * be denied first; ranges are mapped by newuidmap(1) and newgidmap(1), which have the right and
 * look into /etc/subuid and /etc/subgid.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include "container/launch_internal.h"
#include "plan/plan.h"
#include "util/io.h"
#include "util/linux.h"
#include "util/mem.h"
#include "util/str.h"

static int write_map(pid_t pid, const char *file, const struct plan_idmap *map, size_t n)
{
	struct str_buf b = { 0 };
	char path[48];
	int r;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	for (size_t i = 0; i < n; i++)
		str_buf_printf(&b, "%u %u %u\n", map[i].inside, map[i].outside, map[i].count);
	r = b.failed ? -ENOMEM : b.len ? io_write_knob(AT_FDCWD, path, b.data) : -EINVAL;
	str_buf_done(&b);
	return r;
}

/* Runs `newuidmap PID INSIDE OUTSIDE COUNT …`; what it complains of goes into the error. */
static int run_helper(const char *helper, pid_t pid, const struct plan_idmap *map, size_t n,
		      struct err *err)
{
	_cleanup_strv_ char **argv = NULL;
	char line[256] = "";
	int ends[2], status = -1, r = strv_add(&argv, helper);
	ssize_t got;
	pid_t child;

	if (r == 0)
		r = strv_take(&argv, str_printf("%d", pid));
	for (size_t i = 0; i < n && r == 0; i++) {
		const uint32_t numbers[] = { map[i].inside, map[i].outside, map[i].count };

		for (size_t k = 0; k < ARRAY_SIZE(numbers) && r == 0; k++)
			r = strv_take(&argv, str_printf("%u", numbers[k]));
	}
	if (r < 0)
		return err_set(err, ENOMEM, "out of memory");
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(err, errno, "make a pipe");
	child = fork();
	if (child == 0) {
		dup2(ends[1], STDERR_FILENO);
		execv(helper, argv);
		_exit(EXIT_NOT_FOUND);
	}
	close(ends[1]);
	got = child > 0 ? io_read_full(ends[0], line, sizeof(line) - 1) : -1;
	close(ends[0]);
	while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (child > 0 && status == 0)
		return 0;
	line[got > 0 ? strcspn(line, "\n") : 0] = 0;
	return err_set(err, EPERM, "map the ids of the user namespace: %s failed: %s", helper,
		       line[0] ? line : "is the package uidmap installed?");
}

static bool is_own_id(const struct plan_idmap *map, size_t n, uint32_t own)
{
	return n == 1 && map[0].count == 1 && map[0].outside == own;
}

static int map_rootless(const struct launch_spec *spec, pid_t pid, struct err *err)
{
	const struct plan *p = spec->plan;
	char path[48];
	int r = 0;

	if (is_own_id(p->uid_map, p->uid_map_count, geteuid()))
		r = write_map(pid, "uid_map", p->uid_map, 1);
	else if (spec->helpers)
		r = run_helper(spec->helpers->newuidmap, pid, p->uid_map, p->uid_map_count, err);
	else
		return err_set(err, EPERM,
			       "map the ids of the user namespace: an ordinary user may map only "
			       "uid %u and gid %u, one each, without newuidmap and newgidmap",
			       geteuid(), getegid());
	if (r < 0)
		return err && err->errnum ? r : err_sys(err, -r, "map the user ids");
	if (!is_own_id(p->gid_map, p->gid_map_count, getegid()) && spec->helpers)
		return run_helper(spec->helpers->newgidmap, pid, p->gid_map, p->gid_map_count, err);
	snprintf(path, sizeof(path), "/proc/%d/setgroups", pid);
	r = io_write_knob(AT_FDCWD, path, "deny");
	if (r == 0)
		r = write_map(pid, "gid_map", p->gid_map, p->gid_map_count);
	return r < 0 ? err_sys(err, -r, "map the group ids") : 0;
}

int launch_map_ids(const struct launch_spec *spec, pid_t pid, struct err *err)
{
	const struct plan *p = spec->plan;
	int r;

	if (spec->exec || !launch_is_new(p, PLAN_NS_USER))
		return 0;
	if (spec->rootless)
		return map_rootless(spec, pid, err);
	r = write_map(pid, "uid_map", p->uid_map, p->uid_map_count);
	if (r == 0)
		r = write_map(pid, "gid_map", p->gid_map, p->gid_map_count);
	if (r < 0)
		return err_sys(err, -r, "map the ids of the user namespace");
	/* the pipes must be its user's, so that /dev/stdout can be opened again by name */
	for (int i = 0; p->map_sources && i < 3; i++)
		if (spec->stdio[i] >= 0)
			(void)!fchown(spec->stdio[i], p->uid_map[0].outside, p->gid_map[0].outside);
	return 0;
}

int launch_map_namespace(const struct plan_mount *m, struct err *err)
{
	struct clone_args args = { .flags = CLONE_NEWUSER, .exit_signal = SIGCHLD };
	char path[48];
	int pid = sys_clone3(&args), fd = -EBADF, r;

	if (pid == 0)
		for (;;) /* ended by a signal, as soon as its namespace is held by a descriptor */
			pause();
	if (pid < 0)
		return err_sys(err, errno, "make a user namespace for the mount on %s", m->target);
	r = write_map(pid, "uid_map", m->uid_map, m->uid_map_count);
	if (r == 0)
		r = write_map(pid, "gid_map", m->gid_map, m->gid_map_count);
	if (r == 0) {
		snprintf(path, sizeof(path), "/proc/%d/ns/user", pid);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		r = fd < 0 ? -errno : 0;
	}
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return r < 0 ? err_sys(err, -r, "map the ids of the mount on %s", m->target) : fd;
}
