/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why a machine ended, read from its last words: a kernel that panicked says so on the console, so
 * does proa-init; QEMU complains on its standard error; and who says nothing was killed.
 */
#include "vm/report.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include "util/err.h"
#include "vm/tail.h"

#define PANIC	    "Kernel panic - not syncing: "
#define LINES_BYTES 420 /* of the console, so that the message fits in a struct err */

static void tell(struct err *why, const struct vm_tail *tail, const char *whose, const char *what)
{
	char lines[LINES_BYTES];

	vm_tail_lines(tail, 6, lines, sizeof(lines));
	if (lines[0])
		err_set(why, EIO, "%s; the last lines of %s:%s", what, whose, lines);
	else
		err_set(why, EIO, "%s", what);
}

static void describe_status(int status, char *ret, size_t size)
{
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		snprintf(ret, size,
			 "the machine ended: QEMU was killed (did the host run out of memory?)");
	else if (WIFSIGNALED(status))
		snprintf(ret, size, "the machine ended: QEMU crashed (signal %d)",
			 WTERMSIG(status));
	else if (WEXITSTATUS(status))
		snprintf(ret, size, "the machine ended: QEMU failed with exit code %d",
			 WEXITSTATUS(status));
	else
		snprintf(ret, size, "the machine ended before its command did");
}

void vm_report_end(const struct vm_tail *console, const struct vm_tail *complaints, int status,
		   struct err *why)
{
	char what[256], detail[160];

	if (vm_tail_find(console, PANIC, detail, sizeof(detail))) {
		snprintf(what, sizeof(what), "the guest's kernel panicked: %s", detail);
		tell(why, console, "its console", what);
		return;
	}
	if (vm_tail_find(console, "proa-init: ", detail, sizeof(detail))) {
		err_set(why, EIO, "the guest could not be set up: %s", detail);
		return;
	}
	describe_status(status, what, sizeof(what));
	if (complaints->len)
		tell(why, complaints, "what it said", what);
	else
		tell(why, console, "its console", what);
}

void vm_report_silence(const struct vm_tail *console, bool greeted, int seconds, struct err *why)
{
	char what[160];

	if (greeted)
		snprintf(what, sizeof(what), "the machine was ended: its agent is gone");
	else
		snprintf(what, sizeof(what),
			 "the machine was ended: its kernel did not come up within %d seconds",
			 seconds);
	tell(why, console, "its console", what);
}
