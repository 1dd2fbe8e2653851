/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs commands by turns, round after round, and prints each one's median wall time.
 *
 * A shell forks itself before it executes a program, and takes half a millisecond for that: as much
 * as matters where a container starts in three. Here a program is started with posix_spawn, which
 * is a vfork.
 *
 *     pair ROUNDS COMMAND [ARG]… [:+ COMMAND [ARG]…]… [:: COMMAND…]…
 *
 * `::` stands between contenders; `:+` between the commands of one contender that are timed
 * together. Prints a line per contender: nanoseconds, or "failed" (and on stderr, what).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

enum { CONTENDERS = 16, COMMANDS = 8 };

struct contender {
	char **commands[COMMANDS];
	int n;
	uint64_t *times;
	bool failed;
};

extern char **environ;

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

/* Runs one command to its end with nothing to read and nobody to read it. Stderr stays: errors are
 * to be seen.
 */
static int run(char **argv)
{
	posix_spawn_file_actions_t actions;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	pid_t pid;
	int status = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (status != 0) {
		fprintf(stderr, "pair: %s: %s\n", argv[0], strerror(status));
		return 127;
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return 127;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* One turn of a contender. A first failure is its last turn. */
static uint64_t turn(struct contender *c)
{
	uint64_t start = now_ns();
	for (int i = 0; i < c->n && !c->failed; i++) {
		int status = run(c->commands[i]);
		if (status == 0)
			continue;
		fprintf(stderr, "pair: failed with %d:", status);
		for (char **a = c->commands[i]; *a != NULL; a++)
			fprintf(stderr, " %s", *a);
		fprintf(stderr, "\n");
		c->failed = true;
	}
	return now_ns() - start;
}

static int ascending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

/* Cuts argv at the separators, in place. Returns how many contenders there are, or -1. */
static int parse(char **argv, struct contender *all)
{
	int n = 0;
	char **start = argv;
	for (char **a = argv;; a++) {
		bool end = *a == NULL || strcmp(*a, "::") == 0;
		if (!end && strcmp(*a, ":+") != 0)
			continue;
		if (a == start || n == CONTENDERS || all[n].n == COMMANDS)
			return -1;
		all[n].commands[all[n].n++] = start;
		n += end;
		if (*a == NULL)
			return n;
		*a = NULL;
		start = a + 1;
	}
}

int main(int argc, char **argv)
{
	struct contender all[CONTENDERS] = { 0 };
	long rounds = argc > 2 ? strtol(argv[1], NULL, 10) : 0;
	int n = rounds > 0 && rounds <= 100000 ? parse(argv + 2, all) : -1;
	if (n < 1) {
		fprintf(stderr, "usage: pair ROUNDS COMMAND [ARG]... [:+ COMMAND...]... [:: "
				"COMMAND...]...\n");
		return 2;
	}
	for (int i = 0; i < n; i++) {
		all[i].times = calloc((size_t)rounds, sizeof *all[i].times);
		if (all[i].times == NULL)
			return 1;
		turn(&all[i]); /* to fill the caches, not counted */
	}
	for (long round = 0; round < rounds; round++)
		for (int i = 0; i < n; i++)
			all[i].times[round] = turn(&all[i]);
	for (int i = 0; i < n; i++) {
		qsort(all[i].times, (size_t)rounds, sizeof *all[i].times, ascending);
		if (all[i].failed)
			printf("failed\n");
		else
			printf("%llu\n", (unsigned long long)all[i].times[(rounds - 1) / 2]);
		free(all[i].times);
	}
	return 0;
}
