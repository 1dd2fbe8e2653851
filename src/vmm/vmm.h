/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine in this process: KVM's objects, memory, vCPU threads, devices, and one event loop.
 *
 * The machine's lock is held by a vCPU's thread while it handles an access to a device, and by the
 * main thread while it calls what its loop found ready; never while either waits. docs/vmm.md has
 * the threads.
 */
#ifndef PROA_VMM_VMM_H
#define PROA_VMM_VMM_H

#include <pthread.h>
#include "util/err.h"
#include "util/loop.h"
#include "vmm/bus.h"
#include "vmm/config.h"
#include "vmm/memory.h"

struct err;
struct vcpu;
struct virtio_device;
struct vmm_serial;
struct vmm_pci;
struct vmm_control;

/* How a machine ended, and the exit code that says so. */
enum vmm_end {
	VMM_RUNNING = -1,
	VMM_POWER_OFF = 0,     /* ACPI's S5 */
	VMM_KILLED = 2,	       /* by SIGTERM, SIGINT or the control socket */
	VMM_RESET = 10,	       /* keyboard controller or ACPI's reset register */
	VMM_PANIC = 11,	       /* the guest said so (pvpanic) */
	VMM_TRIPLE_FAULT = 12, /* no handler for a fault in a fault's handler */
	VMM_HALT = 13,	       /* all processors halted with interrupts off */
	VMM_FAILED = 125,      /* KVM or proa-vmm itself */
};

#define VMM_DEVICES_MAX 18 /* virtio devices: pins of the I/O APIC are what there is fewest of */

struct vmm {
	const struct vmm_config *config;
	int kvm, fd; /* /dev/kvm, and the machine */
	struct vmm_memory memory;
	pthread_mutex_t lock;
	struct loop loop;
	struct bus ports, mmio;
	struct vcpu *vcpus;
	unsigned vcpu_count;
	bool paused;
	enum vmm_end end;
	char end_reason[ERR_MSG_MAX];
	int end_fd; /* an eventfd that ends the loop */
	struct loop_watch end_watch, signal_watch, halt_timer;
	struct vmm_serial *serial;
	struct vmm_pci *pci; /* NULL: the transport is virtio-mmio */
	struct vmm_control *control;
	struct virtio_device *devices[VMM_DEVICES_MAX];
	struct virtio_device *balloon; /* one of them, or NULL */
	unsigned device_count;
	int power_fd; /* irqfd of the power button */
};

/* Makes the machine with all its devices, ready to run. 0 or -errno. vmm_done() in any case. */
int vmm_init(struct vmm *v, const struct vmm_config *config, struct err *err);
/* Runs it until it ends. Called in the sandbox. */
enum vmm_end vmm_run(struct vmm *v, struct err *err);
void vmm_done(struct vmm *v);

/* Ends it, once; later calls change nothing. From any thread. */
void vmm_end(struct vmm *v, enum vmm_end end, const char *reason);

static inline bool vmm_has_ended(const struct vmm *v)
{
	return __atomic_load_n(&v->end, __ATOMIC_SEQ_CST) != VMM_RUNNING;
}

/* Stops all vCPUs between two instructions, and lets them go on; the lock is held. */
void vmm_pause(struct vmm *v);
void vmm_resume(struct vmm *v);
/* Presses the power button. */
void vmm_press_power(struct vmm *v);

/* An eventfd that raises pin @gsi of the I/O APIC (irqfd). The caller closes it; or -errno. */
int vmm_irqfd(struct vmm *v, unsigned gsi);
/* Lets a write of @value (@bytes long) to @at make eventfd @fd ready, or no more (ioeventfd). */
int vmm_ioeventfd_set(struct vmm *v, int fd, uint64_t at, uint32_t bytes, uint32_t value, bool on);

#endif
