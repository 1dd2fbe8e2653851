/* SPDX-License-Identifier: Apache-2.0 */
/* The state in which the processors start. */
#ifndef PROA_VMM_VCPU_STATE_H
#define PROA_VMM_VCPU_STATE_H

#include "vmm/vcpu.h"

struct kvm_cpuid_entry2;

/* CPUID, model-specific registers, and, for the first, segments and registers. 0 or -errno. */
int vcpu_state_set_all(struct vmm *v, const struct vcpu_entry *entry, struct err *err);
/* Writes into a leaf of CPUID what it says of how many processors there are and which this is. */
void vcpu_state_topology(struct kvm_cpuid_entry2 *e, unsigned index, unsigned cpus);

#endif
