/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How to execute proa's stage so that a container cannot write to its file on the host
 * (CVE-2019-5736): a sealed copy in memory, or the file itself through a read-only overlay, as runc
 * has it. Times both, with the execution of the program each time. bench/bench_self_copy.sh runs
 * it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *directory, *name;
static char empty[] = "/tmp/proa-bench-XXXXXX";

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int by_memfd(void)
{
	int file = openat(AT_FDCWD, name, O_RDONLY | O_CLOEXEC);
	int fd = (int)syscall(SYS_memfd_create, "stage", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct stat st;

	if (file < 0 || fd < 0 || fstat(file, &st) < 0 ||
	    sendfile(fd, file, NULL, (size_t)st.st_size) != st.st_size ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		die("memfd");
	close(file);
	return fd;
}

static int by_overlay(void)
{
	int fs = (int)syscall(SYS_fsopen, "overlay", FSOPEN_CLOEXEC), mount, fd;
	const char *slash = strrchr(name, '/');

	/* two lower layers: an overlay without an upper one must have them, and is read-only */
	if (fs < 0 ||
	    syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "lowerdir+", directory, 0) < 0 ||
	    syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "lowerdir+", empty, 0) < 0 ||
	    syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		die("overlay");
	mount = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, 0);
	fd = mount < 0 ? -1 : openat(mount, slash + 1, O_PATH | O_CLOEXEC);
	if (fd < 0)
		die("overlay");
	close(mount);
	close(fs);
	return fd;
}

static int directly(void)
{
	return open(name, O_PATH | O_CLOEXEC);
}

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double once(int (*make)(void))
{
	static char *const argv[] = { "x", NULL }, *const envp[] = { NULL };
	double start = now_us();
	int fd = make(), status;
	pid_t pid = fork();

	if (pid == 0) {
		close(STDERR_FILENO);
		syscall(SYS_execveat, fd, "", argv, envp, AT_EMPTY_PATH);
		_exit(1);
	}
	close(fd);
	waitpid(pid, &status, 0);
	return now_us() - start;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *what;
		int (*make)(void);
	} ways[] = { { "the file itself", directly },
		     { "sealed memfd", by_memfd },
		     { "read-only overlay", by_overlay } };
	enum { WAYS = 3, ROUNDS = 300 };
	static double times[WAYS][ROUNDS];
	char *copy;

	if (argc != 2)
		return 2;
	name = argv[1];
	copy = strdup(name);
	*strrchr(copy, '/') = 0;
	directory = copy;
	if (!mkdtemp(empty))
		die(empty);
	for (int i = 0; i < ROUNDS; i++)
		for (int w = 0; w < WAYS; w++)
			times[w][i] = once(ways[w].make);
	for (int w = 0; w < WAYS; w++) {
		qsort(times[w], ROUNDS, sizeof(double), compare);
		printf("  %-20s %6.0f us, median of %d\n", ways[w].what, times[w][ROUNDS / 2],
		       ROUNDS);
	}
	rmdir(empty);
	free(copy);
	return 0;
}
