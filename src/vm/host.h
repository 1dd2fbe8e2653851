/* SPDX-License-Identifier: Apache-2.0 */
/* What this host can do for machines; found out once per boot and kept in the run root. */
#ifndef PROA_VM_HOST_H
#define PROA_VM_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vm_kvm_verdict {
	bool usable;
	char reason[200]; /* one line: "usable", or exactly what fails */
};

/*
 * Does KVM on this host run a real guest? Executes a tiny 64-bit guest with what Linux needs, and
 * gives up after KVM_PROBE_MS, whatever the KVM does. The verdict is kept in @run_root (NULL: not
 * kept) until the next boot. 0, or -errno when not even the question could be put; no KVM at all is
 * a verdict.
 */
int vm_kvm_probe(const char *run_root, struct vm_kvm_verdict *ret);
#define KVM_PROBE_MS 250

/*
 * Rate of the time stamp counter in kHz, to some parts per million; 0: this processor has none.
 * Measuring takes 10 ms; the result is kept in @run_root as above.
 */
uint64_t vm_tsc_khz(const char *run_root);

/* A fact that holds until the next boot, as text in RUN_ROOT/@name. False: not known. */
bool vm_fact_get(const char *run_root, const char *name, char *ret, size_t size);
void vm_fact_set(const char *run_root, const char *name, const char *text);

#endif
