/* SPDX-License-Identifier: Apache-2.0 */
/*
 * first_byte ROUNDS TEXT FILE…: starts each contender (a file with its argument vector, one word a
 * line) by turns and takes the time from posix_spawn until TEXT is on its standard output; then it
 * is killed. Prints a line for each: median in microseconds, file.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS_MAX 1000
#define WORDS_MAX  128
#define LIMIT_MS   60000

extern char **environ;

struct contender {
	const char *file;
	char *argv[WORDS_MAX];
	double us[ROUNDS_MAX];
	int rounds;
};

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void read_argv(struct contender *c)
{
	FILE *f = fopen(c->file, "r");
	char line[4096];
	int n = 0;

	while (f && fgets(line, sizeof(line), f) && n < WORDS_MAX - 1) {
		line[strcspn(line, "\n")] = 0;
		c->argv[n++] = strdup(line);
	}
	if (!f || !n) {
		fprintf(stderr, "first_byte: no words in %s\n", c->file);
		exit(1);
	}
	fclose(f);
}

/* Reads until @text came; false at the end of the output or of the patience. */
static int wait_for(int fd, const char *text)
{
	char seen[65536];
	size_t have = 0;

	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t n;

		if (poll(&p, 1, LIMIT_MS) <= 0)
			return 0;
		n = read(fd, seen + have, sizeof(seen) - 1 - have);
		if (n <= 0)
			return 0;
		have += (size_t)n;
		seen[have] = 0;
		if (memmem(seen, have, text, strlen(text)))
			return 1;
		if (have > sizeof(seen) / 2) {
			memmove(seen, seen + have - 256, 256);
			have = 256;
		}
	}
}

static void one_round(struct contender *c, const char *text)
{
	posix_spawn_file_actions_t a;
	double start;
	int out[2];
	pid_t pid;

	if (pipe2(out, O_CLOEXEC) < 0)
		exit(1);
	posix_spawn_file_actions_init(&a);
	posix_spawn_file_actions_addopen(&a, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&a, out[1], 1);
	posix_spawn_file_actions_addopen(&a, 2, "/dev/null", O_WRONLY, 0);
	start = now_us();
	if (posix_spawn(&pid, c->argv[0], &a, NULL, c->argv, environ)) {
		perror(c->argv[0]);
		exit(1);
	}
	close(out[1]);
	if (wait_for(out[0], text))
		c->us[c->rounds++] = now_us() - start;
	else
		fprintf(stderr, "first_byte: %s did not say it\n", c->file);
	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
	close(out[0]);
	posix_spawn_file_actions_destroy(&a);
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	static struct contender c[8];
	int n = argc - 3, rounds = argc > 3 ? atoi(argv[1]) : 0;

	if (n < 1 || n > 8 || rounds < 1 || rounds > ROUNDS_MAX)
		return 2;
	for (int i = 0; i < n; i++) {
		c[i].file = argv[3 + i];
		read_argv(&c[i]);
	}
	for (int r = 0; r < rounds; r++)
		for (int i = 0; i < n; i++)
			one_round(&c[i], argv[2]);
	for (int i = 0; i < n; i++) {
		qsort(c[i].us, (size_t)c[i].rounds, sizeof(double), by_size);
		printf("%.0f %s\n", c[i].rounds ? c[i].us[c[i].rounds / 2] : 0, c[i].file);
	}
	return 0;
}
