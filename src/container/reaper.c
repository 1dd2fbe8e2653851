/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --init: process 1 that reaps orphans, passes signals on to the command, and ends as it ends.
 * It runs from the stage's sealed memfd, with the rights the stage had: it opens nothing, reads
 * nothing, and only calls kill and wait.
 */
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "container/stage_internal.h"

_Noreturn void reaper_run(pid_t child)
{
	sigset_t all;

	prctl(PR_SET_NAME, "proa-init");
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	for (;;) {
		siginfo_t si;
		int sig = sigwaitinfo(&all, &si), status;
		pid_t pid;

		if (sig < 0)
			continue;
		if (sig != SIGCHLD) {
			kill(child, sig);
			continue;
		}
		while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
			if (pid != child)
				continue;
			/* as a shell: what the others write while they are killed is not waited for
			 */
			_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
		}
	}
}
