/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stage: the small static program that becomes the container's process.
 *
 * launch.c clones a child in new namespaces, and the child executes the stage from a sealed memfd:
 * proa-stage for proa-oci, and proa-init, which is the same and the guest's process 1 besides, for
 * proa. The stage reads the plan from its parent, builds the root, gives up what the
 * plan says it must, and executes the user's command. Why a program of its own and not just a
 * forked child: /proc/self/exe of what the image's code can reach is then the sealed memfd, never
 * proa on the host's disk (CVE-2019-5736); nothing of the parent's memory comes along; and a memory
 * limit counts a process of some hundred kilobytes.
 *
 * The same stage runs in the guest of a virtual machine. It never runs twice in one process and may
 * use malloc freely.
 *
 * Wire: the parent writes struct stage_start, the bytes of the plan, and with a user namespace the
 * descriptors of its root and binds. The stage writes struct stage_report, one of them perhaps with
 * a terminal's descriptor. After STAGE_REPORT_HOOKS it waits for a byte: the parent runs the hooks
 * that belong before the root is entered. The end of the stream means that the command was
 * executed.
 *
 * A start in two halves (STAGE_WAIT): when all but the command is there, the stage reports
 * STAGE_REPORT_READY, closes the stream, and accepts one connection on a listening Unix socket; its
 * reports then go to whoever connected, with the same meaning (proa-oci create and start).
 *
 * argv[1], when there is one, is the number of descriptors from 3 on that belong to the command;
 * the stream is the one after them, and the listening socket the next.
 */
#ifndef PROA_CONTAINER_STAGE_H
#define PROA_CONTAINER_STAGE_H

#include <stdint.h>
#include "util/err.h"

#define STAGE_NAME     "proa-stage"
#define STAGE_FIRST_FD 3 /* the stream, if no descriptors are passed on */

enum stage_mode {
	STAGE_RUN = 1,	/* payload: a plan; first process, builds the root */
	STAGE_EXEC = 2, /* payload: a plan process; joins what is there */
};

enum stage_flags {
	STAGE_WAIT = 1 << 0,	 /* wait on the listening socket before the command */
	STAGE_DETACHED = 1 << 1, /* the command outlives the parent */
	STAGE_KEYRING = 1 << 2,	 /* a new session keyring */
	STAGE_ROOTLESS = 1 << 3, /* no right over ids and devices but those of the user namespace */
};

struct stage_start {
	uint32_t mode;
	uint32_t flags;
	uint32_t payload_bytes;
	uint32_t cgroup_version; /* 0: none, 1, 2 */
	uint32_t source_count; /* struct root_sources, a descriptor with each of so many messages */
};

enum stage_report_type {
	STAGE_REPORT_TERMINAL = 1, /* carries the terminal's master descriptor */
	STAGE_REPORT_WARNING = 2,  /* err.msg is for the user; the start goes on */
	STAGE_REPORT_FAILED = 3,   /* err says why the command does not run; the stage exits */
	STAGE_REPORT_HOOKS = 4,	   /* the root is built and not entered; waits for a byte */
	STAGE_REPORT_READY = 5,	   /* waits on the listening socket; the stream ends */
	STAGE_REPORT_SECCOMP = 6,  /* carries the filter's notification descriptor */
};

struct stage_report {
	uint32_t type;
	struct err err;
};

struct plan;

/*
 * Reads struct stage_start and its payload from the stream: *@ret, and the plan, or for STAGE_EXEC
 * the plan with nothing but a process. @who names the reader in errors. 0, or -EPROTO, -ENOMEM.
 */
int stage_read_start(int fd, const char *who, struct stage_start *ret, struct plan *plan,
		     struct err *err);

/* main() of the stage: never returns success, for it then is another program. */
int stage_main(int argc, char **argv);

#endif
