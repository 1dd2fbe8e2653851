/* SPDX-License-Identifier: Apache-2.0 */
/* What is told when a machine ends without its agent having said so. */
#ifndef PROA_VM_REPORT_H
#define PROA_VM_REPORT_H

#include <stdbool.h>

struct err;
struct vm_tail;

/* QEMU ended with @status (wait(2)). Fills @why. */
void vm_report_end(const char *who, const struct vm_tail *console, const struct vm_tail *complaints,
		   int status, struct err *why);

/* Nothing was heard of the agent for too long. */
void vm_report_silence(const struct vm_tail *console, bool greeted, int seconds, struct err *why);

#endif
