/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Measurements are taken from outside, on `proa run` as a process of its own: what a user waits
 * for, with everything in it. Only the work inside is timed inside, by the probe
 * (src/container/probe.h).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "cli/compare.h"
#include "util/io.h"
#include "util/mem.h"
#include "util/str.h"

const char *const compare_work_names[COMPARE_WORKS] = { "cpu", "memory", "disk", "syscalls",
							"processes" };

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int compare_u64(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

uint64_t compare_median(const struct compare_times *t)
{
	struct compare_times sorted = *t;

	if (!t->count)
		return 0;
	qsort(sorted.ns, sorted.count, sizeof(*sorted.ns), compare_u64);
	return sorted.ns[sorted.count / 2];
}

uint64_t compare_min(const struct compare_times *t)
{
	uint64_t m = t->count ? t->ns[0] : 0;

	for (unsigned i = 1; i < t->count; i++)
		m = MIN(m, t->ns[i]);
	return m;
}

uint64_t compare_max(const struct compare_times *t)
{
	uint64_t m = 0;

	for (unsigned i = 0; i < t->count; i++)
		m = MAX(m, t->ns[i]);
	return m;
}

static void add(struct compare_times *t, uint64_t ns)
{
	if (t->count < COMPARE_RUNS_MAX)
		t->ns[t->count++] = ns;
}

/* A `proa run` under way. */
struct child {
	pid_t pid;
	int in, out, complaints; /* pipes to its standard input, from its output and error */
	uint64_t began_ns;
};

static int start(const struct compare *c, const struct compare_side *side, const char *probe,
		 struct child *ret, struct err *err)
{
	char **argv = NULL;
	int in[2], out[2], complaints[2], r = 0;
	const char *const fixed[] = { "proa", "run", "--rm",
				      side->vm ? "--vm" : "--isolation=container" };

	for (size_t i = 0; i < ARRAY_SIZE(fixed) && r == 0; i++)
		r = strv_add(&argv, fixed[i]);
	if (r == 0 && probe)
		r = strv_take(&argv, str_printf("--probe=%s", probe));
	if (r == 0 && probe)
		r = strv_add(&argv, "-i");
	if (r == 0)
		r = strv_add(&argv, c->image);
	for (char **a = c->command; r == 0 && !probe && a && *a; a++)
		r = strv_add(&argv, *a);
	if (r < 0 || pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0 ||
	    pipe2(complaints, O_CLOEXEC) < 0) {
		strv_free(argv);
		return err_sys(err, r < 0 ? -r : errno, "start proa run");
	}
	ret->began_ns = now_ns();
	ret->pid = fork();
	if (ret->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		dup2(in[0], 0);
		dup2(out[1], 1);
		dup2(complaints[1], 2);
		execv("/proc/self/exe", argv);
		_exit(EXIT_NOT_FOUND);
	}
	strv_free(argv);
	close(in[0]);
	close(out[1]);
	close(complaints[1]);
	ret->in = in[1];
	ret->out = out[0];
	ret->complaints = complaints[0];
	return ret->pid < 0 ? err_sys(err, errno, "start proa run") : 0;
}

/* Ends it: end of input, the rest of its output thrown away. Returns its exit code. */
static int finish(struct child *k, char *complaint, size_t size)
{
	char rest[4096];
	ssize_t n;
	int status = 0;

	close(k->in);
	while ((n = read(k->out, rest, sizeof(rest))) > 0 || (n < 0 && errno == EINTR))
		;
	n = complaint ? io_read_full(k->complaints, complaint, size - 1) : 0;
	if (complaint) {
		complaint[n > 0 ? n : 0] = 0;
		complaint[strcspn(complaint, "\n")] = 0;
	}
	close(k->out);
	close(k->complaints);
	while (waitpid(k->pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* ---- memory --------------------------------------------------------------------------------- */

static uint64_t proportional_bytes(pid_t pid)
{
	_cleanup_free_ char *text = NULL;
	unsigned long long kib = 0;
	char path[48], *line;

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
	if (io_read_file(AT_FDCWD, path, 65536, &text, NULL) < 0)
		return 0;
	line = strstr(text, "\nPss:");
	if (line)
		sscanf(line, "\nPss: %llu", &kib);
	return kib * 1024;
}

static bool in_other_pid_namespace(pid_t pid)
{
	char path[48], theirs[64] = "", ours[64] = "";

	snprintf(path, sizeof(path), "/proc/%d/ns/pid", pid);
	return readlink(path, theirs, sizeof(theirs) - 1) > 0 &&
	       readlink("/proc/self/ns/pid", ours, sizeof(ours) - 1) > 0 &&
	       strcmp(theirs, ours) != 0;
}

/* The process and all below it, but for what runs inside a container: that is the application. */
static uint64_t tree_bytes(pid_t pid, unsigned depth)
{
	_cleanup_free_ char *children = NULL;
	uint64_t total;
	char path[64], *p;

	if (depth > 8 || in_other_pid_namespace(pid))
		return 0;
	total = proportional_bytes(pid);
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	if (io_read_file(AT_FDCWD, path, 65536, &children, NULL) < 0)
		return total;
	for (p = children; *p; p += strcspn(p, " ") + (p[strcspn(p, " ")] == ' '))
		total += tree_bytes((pid_t)strtol(p, NULL, 10), depth + 1);
	return total;
}

/* ---- measurements --------------------------------------------------------------------------- */

static int measure_start(struct compare *c, struct compare_side *side, struct err *err)
{
	struct child k;
	char byte, complaint[300];
	ssize_t n;
	uint64_t took;
	int code, r = start(c, side, "first", &k, err);

	if (r < 0)
		return r;
	do
		n = read(k.out, &byte, 1);
	while (n < 0 && errno == EINTR);
	took = now_ns() - k.began_ns;
	code = finish(&k, complaint, sizeof(complaint));
	if (n == 1 && code == 0)
		add(&side->start, took);
	else
		snprintf(side->skipped, sizeof(side->skipped), "%s",
			 complaint[0] ? complaint : "it did not start");
	return 0;
}

static int measure_memory(struct compare *c, struct compare_side *side, struct err *err)
{
	struct child k;
	char byte;
	int r = start(c, side, "idle", &k, err);

	if (r < 0)
		return r;
	if (read(k.out, &byte, 1) == 1)
		side->memory_bytes = tree_bytes(k.pid, 0);
	finish(&k, NULL, 0);
	return 0;
}

static void read_work_line(struct compare_side *side, const char *line)
{
	unsigned long long ns;
	char own[64] = "";

	if (str_starts(line, "kernel ")) {
		snprintf(side->kernel, sizeof(side->kernel), "%s", line + 7);
		return;
	}
	if (str_starts(line, "boot_id ")) {
		int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

		if (fd >= 0 && read(fd, own, sizeof(own) - 1) > 0)
			own[strcspn(own, "\n")] = 0;
		fd_close(fd);
		side->own_kernel = strcmp(own, line + 8) != 0;
		return;
	}
	for (size_t i = 0; i < COMPARE_WORKS; i++) {
		size_t n = strlen(compare_work_names[i]);

		if (!strncmp(line, compare_work_names[i], n) && sscanf(line + n, " %llu", &ns) == 1)
			add(&side->work[i], ns);
	}
}

static int measure_work(struct compare *c, struct compare_side *side, struct err *err)
{
	char text[4096], *save = NULL;
	struct child k;
	ssize_t n;
	int r = start(c, side, "work", &k, err);

	if (r < 0)
		return r;
	n = io_read_full(k.out, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = 0;
	finish(&k, NULL, 0);
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		read_work_line(side, line);
	return 0;
}

static int measure_command(struct compare *c, struct compare_side *side, struct err *err)
{
	char complaint[200];
	struct child k;
	int r;

	if (!c->command || !c->command[0]) {
		snprintf(side->command.why, sizeof(side->command.why), "no command was given");
		return 0;
	}
	r = start(c, side, NULL, &k, err);
	if (r < 0)
		return r;
	side->command_code = finish(&k, complaint, sizeof(complaint));
	if (side->command_code >= EXIT_PROA && side->command_code <= EXIT_NOT_FOUND)
		snprintf(side->command.why, sizeof(side->command.why), "%s", complaint);
	else
		add(&side->command, now_ns() - k.began_ns);
	return 0;
}

int compare_round(struct compare *c, struct compare_side *side, bool first, struct err *err)
{
	int r;

	if (side->skipped[0])
		return 0;
	r = measure_start(c, side, err);
	if (r < 0 || side->skipped[0])
		return r;
	r = measure_command(c, side, err);
	if (r == 0)
		r = measure_work(c, side, err);
	if (r == 0 && first)
		r = measure_memory(c, side, err);
	return r;
}
