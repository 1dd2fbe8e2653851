/* SPDX-License-Identifier: Apache-2.0 */
#include "container/probe.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CPU_ROUNDS     20000000u
#define MEMORY_BYTES   (32u << 20)
#define MEMORY_PASSES  4
#define DISK_BYTES     (16u << 20)
#define DISK_FILES     200
#define SYSCALL_ROUNDS 20000
#define PROCESS_ROUNDS 50

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Integer arithmetic that no compiler can shorten: each step needs the one before. */
static void work_cpu(void)
{
	volatile uint64_t result;
	uint64_t x = 88172645463325252u;

	for (uint32_t i = 0; i < CPU_ROUNDS; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
	}
	result = x;
	(void)result;
}

/* First touch of every page, then copying between two halves. */
static void work_memory(void)
{
	char *p = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		       0);

	if (p == MAP_FAILED)
		return;
	memset(p, 1, MEMORY_BYTES);
	for (int i = 0; i < MEMORY_PASSES; i++)
		memcpy(p + (i % 2 ? MEMORY_BYTES / 2 : 0), p + (i % 2 ? 0 : MEMORY_BYTES / 2),
		       MEMORY_BYTES / 2);
	munmap(p, MEMORY_BYTES);
}

/* One big file written, made durable and read, and many small ones made and removed. */
static int work_disk(void)
{
	static char block[1 << 16];
	char name[32];
	int fd = open("proa-probe", O_RDWR | O_CREAT | O_TRUNC, 0600);

	if (fd < 0)
		return -1;
	unlink("proa-probe");
	for (uint32_t done = 0; done < DISK_BYTES; done += sizeof(block))
		if (write(fd, block, sizeof(block)) != sizeof(block))
			return -1;
	if (fsync(fd) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return -1;
	while (read(fd, block, sizeof(block)) > 0)
		;
	close(fd);
	for (int i = 0; i < DISK_FILES; i++) {
		snprintf(name, sizeof(name), "proa-probe-%d", i);
		fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0600);
		if (fd < 0 || write(fd, block, 100) != 100)
			return -1;
		close(fd);
	}
	for (int i = 0; i < DISK_FILES; i++) {
		snprintf(name, sizeof(name), "proa-probe-%d", i);
		unlink(name);
	}
	return 0;
}

static void work_syscalls(void)
{
	for (int i = 0; i < SYSCALL_ROUNDS; i++)
		(void)syscall(SYS_getppid);
}

static void work_processes(void)
{
	for (int i = 0; i < PROCESS_ROUNDS; i++) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(0);
		if (pid > 0)
			waitpid(pid, NULL, 0);
	}
}

static void print_time(const char *name, uint64_t start)
{
	printf("%s %llu\n", name, (unsigned long long)(now_ns() - start));
}

static void print_boot_id(void)
{
	char id[64] = "";
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY);

	if (fd >= 0 && read(fd, id, sizeof(id) - 1) > 0)
		id[strcspn(id, "\n")] = 0;
	printf("boot_id %s\n", id);
}

static void work(void)
{
	struct utsname u;
	uint64_t t;

	if (uname(&u) == 0)
		printf("kernel %s\n", u.release);
	print_boot_id();
	t = now_ns();
	work_cpu();
	print_time("cpu", t);
	t = now_ns();
	work_memory();
	print_time("memory", t);
	t = now_ns();
	if (work_disk() == 0)
		print_time("disk", t);
	t = now_ns();
	work_syscalls();
	print_time("syscalls", t);
	t = now_ns();
	work_processes();
	print_time("processes", t);
}

_Noreturn void probe_run(const char *what)
{
	char c;

	if (!strcmp(what, "first")) {
		(void)!write(STDOUT_FILENO, "first\n", 6);
		_exit(0);
	}
	if (!strcmp(what, "idle")) {
		(void)!write(STDOUT_FILENO, "idle\n", 5);
		while (read(STDIN_FILENO, &c, 1) > 0)
			;
		_exit(0);
	}
	if (!strcmp(what, "work")) {
		work();
		fflush(stdout);
		_exit(0);
	}
	_exit(2);
}
