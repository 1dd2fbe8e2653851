/* SPDX-License-Identifier: Apache-2.0 */
/* A helper process (QEMU, virtiofsd) that never outlives us. */
#ifndef PROA_VM_SPAWN_H
#define PROA_VM_SPAWN_H

#include <stdbool.h>
#include <sys/types.h>

struct err;
struct instance;

#define SPAWN_FIRST_FD 3

struct vm_spawn {
	char *const *argv;	  /* argv[0] is the path */
	int stdout_fd, stderr_fd; /* -1: /dev/null */
	/* Descriptors to hand over: they become SPAWN_FIRST_FD, +1, … in the helper. -1 is skipped
	 * but keeps its number. */
	const int *fds;
	size_t fd_count;
	/* Called in the child before the program, after the descriptors are in place; only system
	 * calls, no allocation. Non-zero: an errno, told on its standard error. May be NULL. */
	int (*prepare)(void *data);
	void *data;
	/* Whose helper it is: its enter() is called first, if it has one. May be NULL. */
	const struct instance *inst;
	/* As process 1 of a process namespace; for root only, others go without. */
	bool own_pids;
};

struct vm_helper {
	pid_t pid; /* 0: none */
	int pidfd;
};
#define VM_HELPER_INIT                                                                             \
	{                                                                                          \
		.pidfd = -EBADF                                                                    \
	}

/* Starts it, tied to this thread by PR_SET_PDEATHSIG. 0 or -errno. */
int vm_spawn(const struct vm_spawn *s, struct vm_helper *ret, struct err *err);

/* Starts it, waits for its end, and returns its exit code (128 + N by signal N), or -errno. */
int vm_spawn_wait(const struct vm_spawn *s, struct err *err);

/*
 * The absolute path of a program in PATH (or where a system keeps its own); -ENOENT says what needs
 * it ("machines") and which @package has it. The caller frees *@ret.
 */
int vm_find_program(const char *name, const char *needed_by, const char *package, char **ret,
		    struct err *err);

/* Kills and reaps it, if there is one. */
void vm_helper_end(struct vm_helper *h);

/* Reaps it if it ended: 1 and its wait status as waitpid() has it; 0: it runs. */
int vm_helper_reap(struct vm_helper *h, int *ret_status);

#endif
