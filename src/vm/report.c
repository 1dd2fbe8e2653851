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
#include "vm/hypervisor.h"
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

/* What proa-vmm says by its exit code (docs/vmm.md); NULL: another program, or another code. */
static const char *vmm_end_word(const char *who, int code)
{
	if (strcmp(who, vm_proa_vmm.name) != 0)
		return NULL;
	switch (code) {
	case 2: return "it was told to";
	case 10: return "its kernel asked for a reset";
	case 11: return "its kernel panicked";
	case 12: return "its processor met a triple fault";
	case 13: return "its processors were halted for ever";
	default: return NULL;
	}
}

static void describe_status(const char *who, int status, char *ret, size_t size)
{
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		snprintf(ret, size,
			 "the machine ended: %s was killed (did the host run out of memory?)", who);
	else if (WIFSIGNALED(status))
		snprintf(ret, size, "the machine ended: %s crashed (signal %d)", who,
			 WTERMSIG(status));
	else if (WEXITSTATUS(status) && !vmm_end_word(who, WEXITSTATUS(status)))
		snprintf(ret, size, "the machine ended: %s failed with exit code %d", who,
			 WEXITSTATUS(status));
	else if (WEXITSTATUS(status))
		snprintf(ret, size, "the machine ended before its command did: %s",
			 vmm_end_word(who, WEXITSTATUS(status)));
	else
		snprintf(ret, size, "the machine ended before its command did");
}

void vm_report_end(const char *who, const struct vm_tail *console, const struct vm_tail *complaints,
		   int status, struct err *why)
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
	describe_status(who, status, what, sizeof(what));
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
