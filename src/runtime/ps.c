/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ps: the processes of a container's cgroup. The table is ps(1)'s own, of which the lines with
 * other processes are left out, as runc does it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "container/cgroup.h"
#include "runtime/runtime.h"
#include "runtime/state.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/str.h"

static int find_pids(const struct runtime *rt, const char *id, pid_t **ret, size_t *ret_n,
		     struct err *err)
{
	_cleanup_(state_done) struct state s = STATE_INIT;
	const struct cgroup_ops *cgroups;
	int r = state_open(rt, id, false, &s, err);

	if (r < 0)
		return r;
	cgroups = state_cgroups(&s);
	if (cgroups)
		return cgroups->pids(s.cgroup, ret, ret_n, err);
	/* without a cgroup only the first process is known */
	*ret = calloc(1, sizeof(pid_t));
	if (!*ret)
		return err_set(err, ENOMEM, "out of memory");
	**ret = s.pid;
	*ret_n = state_status_of(&s) != STATE_STOPPED;
	return 0;
}

static bool is_among(long pid, const pid_t *pids, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (pids[i] == pid)
			return true;
	return false;
}

/* The number of the column PID in ps's first line, or -1. */
static int pid_column(const char *header)
{
	int column = 0;

	for (const char *p = header + strspn(header, " "); *p && *p != '\n'; column++) {
		size_t n = strcspn(p, " \n");

		if (n == 3 && !strncmp(p, "PID", 3))
			return column;
		p += n;
		p += strspn(p, " ");
	}
	return -1;
}

static long pid_of_line(const char *line, int column)
{
	const char *p = line + strspn(line, " ");

	for (; column > 0; column--) {
		p += strcspn(p, " ");
		p += strspn(p, " ");
	}
	return strtol(p, NULL, 10);
}

static int filter(FILE *f, const pid_t *pids, size_t n, struct err *err)
{
	_cleanup_free_ char *line = NULL;
	size_t size = 0;
	int column = -1;

	while (getline(&line, &size, f) > 0) {
		if (column < 0) {
			column = pid_column(line);
			if (column < 0)
				return err_set(err, EINVAL, "ps: its table has no column PID");
			fputs(line, stdout);
		} else if (is_among(pid_of_line(line, column), pids, n)) {
			fputs(line, stdout);
		}
	}
	return column < 0 ? err_set(err, EIO, "ps printed nothing; is it installed?") : 0;
}

static int print_table(char *const *args, const pid_t *pids, size_t n, struct err *err)
{
	_cleanup_strv_ char **argv = NULL;
	_cleanup_file_ FILE *f = NULL;
	int ends[2], r = strv_add(&argv, "ps");
	pid_t pid;

	for (; r == 0 && *args; args++)
		r = strv_add(&argv, *args);
	if (r == 0 && !argv[1])
		r = strv_add(&argv, "-ef");
	if (r < 0)
		return err_set(err, ENOMEM, "out of memory");
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(err, errno, "make a pipe");
	pid = fork();
	if (pid == 0) {
		dup2(ends[1], STDOUT_FILENO);
		execvp("ps", argv);
		_exit(EXIT_NOT_FOUND);
	}
	close(ends[1]);
	f = fdopen(ends[0], "r");
	r = f && pid > 0 ? filter(f, pids, n, err) : err_sys(err, errno, "start ps");
	if (pid > 0)
		(void)waitpid(pid, NULL, 0);
	return r;
}

static void print_json(const pid_t *pids, size_t n)
{
	printf("[");
	for (size_t i = 0; i < n; i++)
		printf("%s%d", i ? "," : "", pids[i]);
	printf("]\n");
}

int verb_ps(struct runtime *rt, int argc, char **argv)
{
	const char *format = "table";
	const struct args_option options[] = {
		{ 'f', "format", ARGS_STRING, &format, "FORMAT", "table or json" },
		{ .name = NULL },
	};
	struct args_usage usage = {
		.name = "ps",
		.synopsis = "[OPTIONS] CONTAINER [PS-OPTION...]",
		.summary = "List the processes of a container",
		.examples = "  proa-oci ps web\n  proa-oci ps web -o pid,rss,args\n",
		.options = options,
		.min_args = 1,
		.max_args = -1,
		.stop_at_first = true,
	};
	_cleanup_free_ pid_t *pids = NULL;
	struct err err = ERR_INIT;
	size_t n = 0;
	int code = runtime_args(rt, &usage, &argc, argv), r;

	if (code >= 0)
		return code;
	r = find_pids(rt, argv[0], &pids, &n, &err);
	if (r == 0 && !strcmp(format, "json"))
		print_json(pids, n);
	else if (r == 0 && !strcmp(format, "table"))
		r = print_table(argv + 1, pids, n, &err);
	else if (r == 0)
		r = err_set(&err, EINVAL, "--format takes table or json, not \"%s\"", format);
	return r < 0 ? runtime_fail(rt, &err) : 0;
}
