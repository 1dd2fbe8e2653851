/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A group as a directory: the groups below it, its processes, and its removal.
 *
 * What a container makes below its own group is the container's business, so the walk is bounded in
 * depth and follows no link. A process number that the kernel shows as 0 is one outside of our pid
 * namespace: kill(0) would mean ourselves, so it is dropped at the source.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "container/cgroup_internal.h"
#include "util/io.h"
#include "util/mem.h"

static void closedir_p(DIR **d)
{
	if (*d)
		closedir(*d);
}

void cgroup_sleep_ms(int ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	nanosleep(&t, NULL);
}

int64_t cgroup_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int cgroup_walk(const char *dir, int depth, int (*f)(const char *dir, void *data), void *data)
{
	_cleanup_(closedir_p) DIR *d = NULL;
	char child[CGROUP_DIR_MAX];
	struct dirent *e;
	int r;

	if (depth > CGROUP_DEPTH)
		return -ELOOP;
	d = opendir(dir);
	if (!d)
		return errno == ENOENT ? 0 : -errno;
	while ((e = readdir(d))) {
		if (e->d_type != DT_DIR || !strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (!cgroup_join_path(child, dir, e->d_name, NULL))
			return -ENAMETOOLONG;
		r = cgroup_walk(child, depth + 1, f, data);
		if (r < 0)
			return r;
	}
	r = f(dir, data);
	return r;
}

bool cgroup_has_processes(const char *dir)
{
	char path[CGROUP_DIR_MAX], text[16];

	return cgroup_join_path(path, dir, "cgroup.procs", NULL) &&
	       cgroup_read(AT_FDCWD, path, text, sizeof(text)) == 0 && text[0];
}

static int remove_one(const char *dir, void *data _unused_)
{
	return rmdir(dir) < 0 && errno != ENOENT ? -errno : 0;
}

int cgroup_remove_dir(const char *dir, int *wait_ms)
{
	int r = remove_one(dir, NULL);

	/* a dead process keeps its group for as long as its memory is being freed */
	for (int step = 1; r == -EBUSY || r == -ENOTEMPTY; step = MIN(step * 2, 16)) {
		r = cgroup_walk(dir, 0, remove_one, NULL);
		if (r == 0 || *wait_ms <= 0)
			break;
		cgroup_sleep_ms(step);
		*wait_ms -= step;
	}
	return r;
}

static int collect(const char *dir, void *data)
{
	struct cgroup_pids *pids = data;
	_cleanup_free_ char *text = NULL;
	char path[CGROUP_DIR_MAX], *save = NULL;
	int r;

	if (!cgroup_join_path(path, dir, "cgroup.procs", NULL))
		return -ENAMETOOLONG;
	r = io_read_file(AT_FDCWD, path, 16u << 20, &text, NULL);
	/* a threaded group: its processes are listed above it */
	if (r == -ENOENT || r == -ENODEV || r == -EOPNOTSUPP)
		return 0;
	if (r < 0)
		return r;
	for (char *p = strtok_r(text, "\n", &save); p; p = strtok_r(NULL, "\n", &save)) {
		pid_t pid = (pid_t)strtol(p, NULL, 10);

		if (pid <= 0)
			continue;
		if (mem_grow(&pids->list, pids->count, sizeof(pid)) < 0)
			return -ENOMEM;
		pids->list[pids->count++] = pid;
	}
	return 0;
}

int cgroup_collect_pids(const char *dir, struct cgroup_pids *ret)
{
	int r = cgroup_walk(dir, 0, collect, ret);

	if (r < 0) {
		free(ret->list);
		*ret = (struct cgroup_pids){ 0 };
	}
	return r;
}

int cgroup_signal_all(const char *dir, int signo)
{
	struct cgroup_pids pids = { 0 };
	int r = cgroup_collect_pids(dir, &pids), n = 0;
	pid_t self = getpid();

	for (size_t i = 0; i < pids.count; i++) {
		if (pids.list[i] == self)
			continue;
		n++;
		if (kill(pids.list[i], signo) < 0 && errno != ESRCH)
			r = -errno;
	}
	free(pids.list);
	return r < 0 ? r : n;
}
