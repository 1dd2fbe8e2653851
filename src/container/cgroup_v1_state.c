/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cgroup v1: stopping, signalling and counting the processes of a group.
 *
 * The v1 freezer is a request: FREEZING stays until every task has come by a place where it can
 * stop, and one that waits in the kernel for a task that has stopped already never does. Letting
 * all of them run on for a moment and asking again dissolves that; after a time limit the group is
 * thawed and the caller told.
 *
 * v1 has no file that kills a group. A frozen group makes no new processes while they are signalled
 * one by one, so one round is enough then; without a freezer it takes several.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "container/cgroup.h"
#include "container/cgroup_internal.h"
#include "util/err.h"
#include "util/io.h"
#include "util/mem.h"

#define THAW_EVERY 50 /* rounds of 1 ms */

static int state_file(const char *path, char buf[CGROUP_DIR_MAX])
{
	return cgroup_join_path(buf, CGROUP_ROOT "/freezer", path, "freezer.state") ? 0
										    : -ENAMETOOLONG;
}

/* 1: @state; 0: another one. */
static int state_is(const char *file, const char *state)
{
	char text[16];
	int r = cgroup_read(AT_FDCWD, file, text, sizeof(text));

	return r < 0 ? r : !strncmp(text, state, strlen(state));
}

/* Whoever freezes its own group stops for ever. */
static bool is_own_group(const char *path)
{
	_cleanup_free_ char *own = NULL;
	size_t n = strlen(path);

	return cgroup_path_of(0, "freezer", &own, NULL) == 0 && !strncmp(own, path, n) &&
	       (!own[n] || own[n] == '/');
}

static int wait_frozen(const char *file)
{
	int64_t end = cgroup_now_ms() + CGROUP_WAIT_MS;

	for (int round = 1;; round++) {
		int r = state_is(file, "FROZEN");

		if (r != 0)
			return r < 0 ? r : 0;
		if (cgroup_now_ms() > end)
			return -ETIMEDOUT;
		if (round % THAW_EVERY == 0) {
			(void)io_write_knob(AT_FDCWD, file, "THAWED");
			cgroup_sleep_ms(2);
		} else {
			cgroup_sleep_ms(1);
		}
		r = io_write_knob(AT_FDCWD, file, "FROZEN");
		if (r < 0)
			return r;
	}
}

int cgroup_v1_freeze(const char *path, bool on, struct err *err)
{
	char file[CGROUP_DIR_MAX];
	int r = cgroup_check_path(path, err);

	if (r < 0)
		return r;
	if (on && is_own_group(path))
		return err_set(err, EDEADLK, "freeze the cgroup %s: proa itself is in it", path);
	r = state_file(path, file);
	if (r == 0)
		r = io_write_knob(AT_FDCWD, file, on ? "FROZEN" : "THAWED");
	if (r == 0 && on) {
		r = wait_frozen(file);
		if (r < 0)
			(void)io_write_knob(AT_FDCWD, file, "THAWED");
	}
	if (r == -ETIMEDOUT)
		return err_set(err, ETIMEDOUT,
			       "freeze the cgroup %s: some process did not stop within %d s; it "
			       "runs on",
			       path, CGROUP_WAIT_MS / 1000);
	return r < 0 ? err_sys(err, -r, "%s the cgroup freezer:/%s", on ? "freeze" : "thaw", path)
		     : 0;
}

int cgroup_v1_is_frozen(const char *path)
{
	char file[CGROUP_DIR_MAX];
	int r = state_file(path, file);

	return r < 0 ? r : state_is(file, "FROZEN");
}

static int thaw_one(const char *dir, void *data _unused_)
{
	char file[CGROUP_DIR_MAX];

	if (cgroup_join_path(file, dir, "freezer.state", NULL))
		(void)io_write_knob(AT_FDCWD, file, "THAWED");
	return 0;
}

/* Whoever stands still cannot die, be it that the container froze a group below its own. */
static int kill_all(const char *path, const char *dir)
{
	int64_t end = cgroup_now_ms() + CGROUP_WAIT_MS;

	for (int step = 1;; step = MIN(step * 2, 20)) {
		bool frozen = !is_own_group(path) && cgroup_v1_freeze(path, true, NULL) == 0;
		int n = cgroup_signal_all(dir, SIGKILL);

		if (frozen || n > 0)
			(void)cgroup_walk(dir, 0, thaw_one, NULL);
		if (n <= 0)
			return n;
		/* dying takes a moment, and only then can the group be removed */
		for (int i = 0; i < 8 && n > 0; i++) {
			cgroup_sleep_ms(step);
			n = cgroup_signal_all(dir, 0);
		}
		if (n <= 0)
			return n;
		if (cgroup_now_ms() > end)
			return -ETIMEDOUT;
	}
}

static int signal_once(const char *path, const char *dir, int signo)
{
	bool was_frozen = cgroup_v1_is_frozen(path) == 1;
	bool frozen =
		was_frozen || (!is_own_group(path) && cgroup_v1_freeze(path, true, NULL) == 0);
	int n = cgroup_signal_all(dir, signo);

	if (frozen && !was_frozen)
		(void)cgroup_v1_freeze(path, false, NULL);
	return n < 0 ? n : 0;
}

int cgroup_v1_kill(const char *path, int signo, struct err *err)
{
	char dir[CGROUP_DIR_MAX];
	int r = cgroup_check_path(path, err);

	if (r < 0)
		return r;
	r = cgroup_v1_dir(path, dir);
	if (r == 0)
		r = signo == SIGKILL ? kill_all(path, dir)
		    : signo	     ? signal_once(path, dir, signo)
				     : 0;
	if (r == -ETIMEDOUT)
		return err_set(err, ETIMEDOUT, "kill the cgroup %s: some process did not end",
			       path);
	return r < 0 ? err_sys(err, -r, "send signal %d to the cgroup %s", signo, path) : 0;
}

int cgroup_v1_pids(const char *path, pid_t **ret, size_t *ret_n, struct err *err)
{
	struct cgroup_pids pids = { 0 };
	char dir[CGROUP_DIR_MAX];
	int r = cgroup_check_path(path, err);

	if (r < 0)
		return r;
	r = cgroup_v1_dir(path, dir);
	if (r == 0)
		r = cgroup_collect_pids(dir, &pids);
	if (r < 0)
		return err_sys(err, -r, "list the processes of the cgroup %s", path);
	*ret = pids.list;
	*ret_n = pids.count;
	return 0;
}

int cgroup_v1_delegate(const char *path, uid_t uid _unused_, gid_t gid _unused_, struct err *err)
{
	/* a user who may write a v1 group's files can lift its limits */
	return cgroup_check_path(path, err);
}
