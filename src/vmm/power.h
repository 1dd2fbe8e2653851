/* SPDX-License-Identifier: Apache-2.0 */
/* The ports by which a guest ends its machine: reset, power off, "I panicked". */
#ifndef PROA_VMM_POWER_H
#define PROA_VMM_POWER_H

struct err;
struct vmm;

int power_add(struct vmm *v, struct err *err);

#endif
