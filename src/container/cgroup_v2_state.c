/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cgroup v2: stopping, signalling and handing over a group.
 *
 * The kernel does all of it for a group with those below it: cgroup.freeze, cgroup.kill (Linux
 * 5.14), and cgroup.events, which wakes a poll() when "frozen" or "populated" changes.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "container/cgroup.h"
#include "container/cgroup_internal.h"
#include "util/err.h"
#include "util/io.h"
#include "util/mem.h"

static int open_dir(const char *path, struct err *err)
{
	char dir[CGROUP_DIR_MAX];
	int fd, r = cgroup_check_path(path, err);

	if (r < 0)
		return r;
	if (!cgroup_join_path(dir, CGROUP_ROOT, path, NULL))
		return err_set(err, ENAMETOOLONG, "the cgroup path is too long");
	fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? err_sys(err, errno, "open the cgroup /%s", path) : fd;
}

/* Waits until "KEY VALUE" is in cgroup.events. */
static int wait_event(int dir, const char *key, uint64_t value)
{
	_cleanup_close_ int fd = openat(dir, "cgroup.events", O_RDONLY | O_CLOEXEC);
	int64_t end = cgroup_now_ms() + CGROUP_WAIT_MS;

	if (fd < 0)
		return -errno;
	for (;;) {
		struct pollfd wait_for = { .fd = fd, .events = POLLPRI };
		char text[128];
		/* reading also says to poll() what has been seen */
		ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
		int64_t left = end - cgroup_now_ms();

		if (n < 0)
			return -errno;
		text[n] = 0;
		if (cgroup_value_of(text, key, !value) == value)
			return 0;
		if (left <= 0)
			return -ETIMEDOUT;
		if (poll(&wait_for, 1, (int)left) < 0 && errno != EINTR)
			return -errno;
	}
}

static bool is_own_group(const char *path)
{
	_cleanup_free_ char *own = NULL;
	size_t n = strlen(path);

	return cgroup_path_of(0, NULL, &own, NULL) == 0 && !strncmp(own, path, n) &&
	       (!own[n] || own[n] == '/');
}

int cgroup_v2_freeze(const char *path, bool on, struct err *err)
{
	_cleanup_close_ int dir = open_dir(path, err);
	int r;

	if (dir < 0)
		return dir;
	if (on && is_own_group(path))
		return err_set(err, EDEADLK, "freeze the cgroup %s: proa itself is in it", path);
	r = io_write_knob(dir, "cgroup.freeze", on ? "1" : "0");
	if (r == 0)
		r = wait_event(dir, "frozen", on);
	if (r < 0 && on)
		(void)io_write_knob(dir, "cgroup.freeze", "0");
	if (r == -ETIMEDOUT)
		return err_set(err, ETIMEDOUT, "%s the cgroup %s: it did not happen within %d s%s",
			       on ? "freeze" : "thaw", path, CGROUP_WAIT_MS / 1000,
			       on ? "; it runs on" : "");
	return r < 0 ? err_sys(err, -r, "%s the cgroup /%s", on ? "freeze" : "thaw", path) : 0;
}

int cgroup_v2_is_frozen(const char *path)
{
	_cleanup_close_ int dir = open_dir(path, NULL);
	char text[128];
	int r;

	if (dir < 0)
		return dir;
	r = cgroup_read(dir, "cgroup.events", text, sizeof(text));
	return r < 0 ? r : cgroup_value_of(text, "frozen", 0) == 1;
}

/* Before Linux 5.14: one by one, until there are none. */
static int kill_one_by_one(const char *path, int dir)
{
	char name[CGROUP_DIR_MAX];
	int64_t end = cgroup_now_ms() + CGROUP_WAIT_MS;
	int n;

	if (!cgroup_join_path(name, CGROUP_ROOT, path, NULL))
		return -ENAMETOOLONG;
	(void)io_write_knob(dir, "cgroup.freeze", "0");
	while ((n = cgroup_signal_all(name, SIGKILL)) > 0) {
		if (cgroup_now_ms() > end)
			return -ETIMEDOUT;
		cgroup_sleep_ms(5);
	}
	return n;
}

static int kill_all(const char *path, int dir)
{
	int r = is_own_group(path) ? -ENOENT : io_write_knob(dir, "cgroup.kill", "1");

	if (r == -ENOENT)
		return kill_one_by_one(path, dir);
	/* a frozen process dies without being thawed, but a new one would start frozen */
	if (r == 0)
		(void)io_write_knob(dir, "cgroup.freeze", "0");
	return r < 0 ? r : wait_event(dir, "populated", 0);
}

static int signal_once(const char *path, int signo)
{
	char name[CGROUP_DIR_MAX];
	int was_frozen, n;
	bool frozen;

	if (!cgroup_join_path(name, CGROUP_ROOT, path, NULL))
		return -ENAMETOOLONG;
	/* so that none is missed for being made meanwhile */
	was_frozen = cgroup_v2_is_frozen(path);
	frozen = was_frozen == 0 && cgroup_v2_freeze(path, true, NULL) == 0;
	n = cgroup_signal_all(name, signo);
	if (frozen)
		(void)cgroup_v2_freeze(path, false, NULL);
	return n < 0 ? n : 0;
}

int cgroup_v2_kill(const char *path, int signo, struct err *err)
{
	_cleanup_close_ int dir = open_dir(path, err);
	int r;

	if (dir < 0)
		return dir;
	r = signo == SIGKILL ? kill_all(path, dir) : signo ? signal_once(path, signo) : 0;
	if (r == -ETIMEDOUT)
		return err_set(err, ETIMEDOUT, "kill the cgroup %s: some process did not end",
			       path);
	return r < 0 ? err_sys(err, -r, "send signal %d to the cgroup %s", signo, path) : 0;
}

int cgroup_v2_pids(const char *path, pid_t **ret, size_t *ret_n, struct err *err)
{
	_cleanup_close_ int dir = open_dir(path, err);
	struct cgroup_pids pids = { 0 };
	char name[CGROUP_DIR_MAX];
	int r;

	if (dir < 0)
		return dir;
	r = cgroup_join_path(name, CGROUP_ROOT, path, NULL) ? cgroup_collect_pids(name, &pids)
							    : -ENAMETOOLONG;
	if (r < 0)
		return err_sys(err, -r, "list the processes of the cgroup %s", path);
	*ret = pids.list;
	*ret_n = pids.count;
	return 0;
}

/* The files that the kernel says are safe to hand over; these three from the beginning. */
int cgroup_v2_delegate(const char *path, uid_t uid, gid_t gid, struct err *err)
{
	_cleanup_close_ int dir = open_dir(path, err);
	char files[4096], *save = NULL;

	if (dir < 0)
		return dir;
	if (cgroup_read(AT_FDCWD, "/sys/kernel/cgroup/delegate", files, sizeof(files)) < 0)
		snprintf(files, sizeof(files),
			 "cgroup.procs\ncgroup.threads\ncgroup.subtree_control\n");
	if (fchownat(dir, "", uid, gid, AT_EMPTY_PATH) < 0)
		return err_sys(err, errno, "give the cgroup %s to user %u", path, uid);
	for (char *f = strtok_r(files, "\n", &save); f; f = strtok_r(NULL, "\n", &save)) {
		if (strchr(f, '/'))
			continue;
		/* a file of a controller that is not on here */
		if (fchownat(dir, f, uid, gid, AT_SYMLINK_NOFOLLOW) < 0 && errno != ENOENT)
			return err_sys(err, errno, "give %s of the cgroup %s to user %u", f, path,
				       uid);
	}
	return 0;
}
