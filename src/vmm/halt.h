/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine whose processors are all halted with interrupts off will never run again, and KVM does
 * not tell. So every few seconds those that used no time at all are asked.
 */
#ifndef PROA_VMM_HALT_H
#define PROA_VMM_HALT_H

struct err;
struct vmm;

int halt_watch(struct vmm *v, struct err *err);
void halt_unwatch(struct vmm *v);

#endif
