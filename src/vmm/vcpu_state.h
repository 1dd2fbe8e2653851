/* SPDX-License-Identifier: Apache-2.0 */
/* The state in which the processors start. */
#ifndef PROA_VMM_VCPU_STATE_H
#define PROA_VMM_VCPU_STATE_H

#include "vmm/vcpu.h"

/* CPUID, model-specific registers, and, for the first, segments and registers. 0 or -errno. */
int vcpu_state_set_all(struct vmm *v, const struct vcpu_entry *entry, struct err *err);

#endif
