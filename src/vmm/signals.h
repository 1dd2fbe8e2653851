/* SPDX-License-Identifier: Apache-2.0 */
/* The signals that mean something to a machine (docs/vmm.md): its process waits for them, and who
 * waits for its process hands them on. */
#ifndef PROA_VMM_SIGNALS_H
#define PROA_VMM_SIGNALS_H

#include <signal.h>
#include <sys/signalfd.h>

/* Blocks them; a descriptor that tells of them, or -1 with errno. */
static inline int signals_open(int flags)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | flags);
}

#endif
