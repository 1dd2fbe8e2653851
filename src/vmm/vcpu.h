/* SPDX-License-Identifier: Apache-2.0 */
/* A virtual processor: a thread that does nothing but KVM_RUN and what makes it return. */
#ifndef PROA_VMM_VCPU_H
#define PROA_VMM_VCPU_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include "vmm/memory.h"

struct err;
struct kvm_run;
struct vmm;

/* Where the first processor starts, and in which mode. */
struct vcpu_entry {
	bool long_mode; /* Linux's 64-bit protocol; else PVH: 32 bits, no paging */
	gpa_t ip;
	gpa_t info; /* RSI, or EBX */
};

struct vcpu {
	struct vmm *vmm;
	unsigned index;
	int fd;
	struct kvm_run *run;
	uint32_t run_bytes;
	pthread_t thread;
	bool has_thread;
	bool parked;	 /* waits for the end of a pause */
	bool halted;	 /* found halted with interrupts off */
	bool check_halt; /* is asked whether it is */
	uint64_t cpu_ns; /* the thread's own time when the watch last looked */
};

/* Makes all of @v->vcpus; the first starts at @entry, the others wait to be woken by it. */
int vcpu_make_all(struct vmm *v, const struct vcpu_entry *entry, struct err *err);
/* Starts the threads; in a sandbox each installs its system call filter first. */
int vcpu_start_all(struct vmm *v, struct err *err);
/* Makes KVM_RUN return in this vCPU. The lock is held. */
void vcpu_kick(struct vcpu *c);
/* Ends the threads and waits for them. The lock is not held. */
void vcpu_stop_all(struct vmm *v);
void vcpu_free_all(struct vmm *v);

#endif
