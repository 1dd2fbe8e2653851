/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU's thread: KVM_RUN, look why it came back, answer, again.
 *
 * An exit for a device takes the machine's lock; that a kick of a queue needs none, for it does not
 * come here at all (ioeventfd), and neither do the registers that are read at each interrupt
 * (bus_ops.fast_read). Pauses and the end are asked for by `immediate_exit` and a signal: the first
 * makes the next KVM_RUN come back at once, the second interrupts the present one, so that no
 * moment between the two is a gap.
 */
#include "vmm/vcpu.h"

#include <errno.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include "util/err.h"
#include "util/mem.h"
#include "vmm/sandbox.h"
#include "vmm/vcpu_state.h"
#include "vmm/vmm.h"

#define KICK_SIGNAL SIGUSR1
#define STACK_BYTES (64u << 10)

static pthread_cond_t parked_changed = PTHREAD_COND_INITIALIZER;

/* ---- why it came back ----------------------------------------------------------------------- */

static void handle_port(struct vcpu *c)
{
	struct kvm_run *run = c->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	uint32_t size = run->io.size, count = run->io.count;

	for (uint32_t i = 0; i < count; i++)
		bus_access(&c->vmm->ports, &c->vmm->lock, run->io.port, data + (size_t)i * size,
			   size, run->io.direction == KVM_EXIT_IO_OUT);
}

static void end_by_system_event(struct vcpu *c)
{
	switch (c->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN: vmm_end(c->vmm, VMM_POWER_OFF, "power off"); break;
	case KVM_SYSTEM_EVENT_RESET: vmm_end(c->vmm, VMM_RESET, "reset"); break;
	default: vmm_end(c->vmm, VMM_PANIC, "the guest crashed"); break;
	}
}

static void end_by_failure(struct vcpu *c)
{
	const struct kvm_run *run = c->run;
	struct kvm_regs regs = { 0 };
	char why[160];

	(void)ioctl(c->fd, KVM_GET_REGS, &regs);
	if (run->exit_reason == KVM_EXIT_INTERNAL_ERROR)
		snprintf(why, sizeof(why),
			 "KVM cannot go on: internal error %u at instruction 0x%llx (CPU %u)",
			 run->internal.suberror, regs.rip, c->index);
	else if (run->exit_reason == KVM_EXIT_FAIL_ENTRY)
		snprintf(why, sizeof(why), "KVM cannot enter the guest: hardware reason 0x%llx",
			 run->fail_entry.hardware_entry_failure_reason);
	else
		snprintf(why, sizeof(why), "KVM came back with a reason that is not known: %u",
			 run->exit_reason);
	vmm_end(c->vmm, VMM_FAILED, why);
}

static void handle_exit(struct vcpu *c)
{
	struct kvm_run *run = c->run;

	switch (run->exit_reason) {
	case KVM_EXIT_IO: handle_port(c); break;
	case KVM_EXIT_MMIO:
		bus_access(&c->vmm->mmio, &c->vmm->lock, run->mmio.phys_addr, run->mmio.data,
			   MIN(run->mmio.len, 8u), run->mmio.is_write);
		break;
	case KVM_EXIT_SHUTDOWN: vmm_end(c->vmm, VMM_TRIPLE_FAULT, "triple fault"); break;
	case KVM_EXIT_SYSTEM_EVENT: end_by_system_event(c); break;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN: break;
	default: end_by_failure(c); break;
	}
}

/* ---- pause, halt, end ----------------------------------------------------------------------- */

/* Halted with interrupts off nothing but a reset wakes it. The lock is held. */
static void look_for_halt(struct vcpu *c)
{
	struct kvm_mp_state mp;
	struct kvm_regs regs;
	unsigned halted = 0;

	c->check_halt = false;
	c->halted = ioctl(c->fd, KVM_GET_MP_STATE, &mp) == 0 &&
		    ioctl(c->fd, KVM_GET_REGS, &regs) == 0 &&
		    (mp.mp_state == KVM_MP_STATE_UNINITIALIZED ||
		     mp.mp_state == KVM_MP_STATE_INIT_RECEIVED ||
		     (mp.mp_state == KVM_MP_STATE_HALTED && !(regs.rflags & 0x200)));
	for (unsigned i = 0; i < c->vmm->vcpu_count; i++)
		halted += c->vmm->vcpus[i].halted;
	if (halted == c->vmm->vcpu_count)
		vmm_end(c->vmm, VMM_HALT, "all processors are halted with interrupts off");
}

/* What was asked for since the last KVM_RUN. False: the machine has ended. */
static bool attend(struct vcpu *c)
{
	struct vmm *v = c->vmm;
	bool go_on;

	pthread_mutex_lock(&v->lock);
	__atomic_store_n(&c->run->immediate_exit, 0, __ATOMIC_RELAXED);
	if (c->check_halt)
		look_for_halt(c);
	if (v->paused && !vmm_has_ended(v)) {
		c->parked = true;
		pthread_cond_broadcast(&parked_changed);
		while (v->paused && !vmm_has_ended(v))
			pthread_cond_wait(&parked_changed, &v->lock);
		c->parked = false;
		/* the guest's watchdogs must not take the pause for a hang */
		(void)ioctl(c->fd, KVM_KVMCLOCK_CTRL, 0);
	}
	go_on = !vmm_has_ended(v);
	pthread_mutex_unlock(&v->lock);
	return go_on;
}

/* A thread that ends parks no more: who waits in vmm_pause() must look again. */
static void leave(struct vmm *v)
{
	pthread_mutex_lock(&v->lock);
	pthread_cond_broadcast(&parked_changed);
	pthread_mutex_unlock(&v->lock);
}

static void ignore_signal(int signo _unused_) {}

static void *vcpu_main(void *data)
{
	struct vcpu *c = data;
	struct vmm *v = c->vmm;

	if (v->config->sandbox && sandbox_filter_vcpu() < 0) {
		vmm_end(v, VMM_FAILED, "the vCPU's system call filter cannot be installed");
		leave(v);
		return NULL;
	}
	while (attend(c)) {
		int r;

		/* runs until somebody asks for attention */
		do {
			r = ioctl(c->fd, KVM_RUN, 0);
			if (r == 0)
				handle_exit(c);
		} while (r == 0 && !__atomic_load_n(&c->run->immediate_exit, __ATOMIC_RELAXED) &&
			 !vmm_has_ended(v));
		if (r < 0 && errno != EINTR && errno != EAGAIN) {
			vmm_end(v, VMM_FAILED, "KVM_RUN failed");
			break;
		}
	}
	leave(v);
	return NULL;
}

void vcpu_kick(struct vcpu *c)
{
	__atomic_store_n(&c->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	if (c->has_thread)
		(void)pthread_kill(c->thread, KICK_SIGNAL);
}

void vmm_pause(struct vmm *v)
{
	v->paused = true;
	for (unsigned i = 0; i < v->vcpu_count; i++)
		vcpu_kick(&v->vcpus[i]);
	for (unsigned i = 0; i < v->vcpu_count; i++)
		while (!v->vcpus[i].parked && !vmm_has_ended(v))
			pthread_cond_wait(&parked_changed, &v->lock);
}

void vmm_resume(struct vmm *v)
{
	v->paused = false;
	pthread_cond_broadcast(&parked_changed);
}

/* ---- making and unmaking -------------------------------------------------------------------- */

static int make_one(struct vmm *v, unsigned index, int run_bytes, struct err *err)
{
	struct vcpu *c = &v->vcpus[index];
	void *run;

	c->vmm = v;
	c->index = index;
	c->fd = ioctl(v->fd, KVM_CREATE_VCPU, (unsigned long)index);
	if (c->fd < 0)
		return err_sys(err, errno, "make virtual processor %u", index);
	run = mmap(NULL, (size_t)run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd, 0);
	if (run == MAP_FAILED)
		return err_sys(err, errno, "map virtual processor %u", index);
	c->run = run;
	c->run_bytes = (uint32_t)run_bytes;
	return 0;
}

int vcpu_make_all(struct vmm *v, const struct vcpu_entry *entry, struct err *err)
{
	int most = ioctl(v->kvm, KVM_CHECK_EXTENSION, (unsigned long)KVM_CAP_MAX_VCPUS);
	int run_bytes = ioctl(v->kvm, KVM_GET_VCPU_MMAP_SIZE, 0), r = 0;
	unsigned n = v->config->cpus;

	if (most > 0 && n > (unsigned)most)
		return err_set(err, EINVAL, "%u CPUs are too many: KVM on this host has %d", n,
			       most);
	if (run_bytes < (int)sizeof(struct kvm_run))
		return err_set(err, EIO, "KVM's vCPU area has a size that is not known");
	v->vcpus = calloc(n, sizeof(*v->vcpus));
	if (!v->vcpus)
		return err_set(err, ENOMEM, "out of memory");
	for (unsigned i = 0; i < n; i++)
		v->vcpus[i].fd = -EBADF;
	v->vcpu_count = n;
	for (unsigned i = 0; r == 0 && i < n; i++)
		r = make_one(v, i, run_bytes, err);
	return r == 0 ? vcpu_state_set_all(v, entry, err) : r;
}

int vcpu_start_all(struct vmm *v, struct err *err)
{
	struct sigaction sa = { .sa_handler = ignore_signal };
	pthread_attr_t attr;
	int r = 0;

	sigaction(KICK_SIGNAL, &sa, NULL);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	for (unsigned i = 0; r == 0 && i < v->vcpu_count; i++) {
		r = pthread_create(&v->vcpus[i].thread, &attr, vcpu_main, &v->vcpus[i]);
		v->vcpus[i].has_thread = r == 0;
	}
	pthread_attr_destroy(&attr);
	return r ? err_sys(err, r, "start the virtual processors' threads") : 0;
}

void vcpu_stop_all(struct vmm *v)
{
	pthread_mutex_lock(&v->lock);
	for (unsigned i = 0; i < v->vcpu_count; i++)
		vcpu_kick(&v->vcpus[i]);
	pthread_cond_broadcast(&parked_changed);
	pthread_mutex_unlock(&v->lock);
	for (unsigned i = 0; i < v->vcpu_count; i++)
		if (v->vcpus[i].has_thread) {
			pthread_join(v->vcpus[i].thread, NULL);
			v->vcpus[i].has_thread = false;
		}
}

void vcpu_free_all(struct vmm *v)
{
	for (unsigned i = 0; i < v->vcpu_count; i++) {
		if (v->vcpus[i].run)
			munmap(v->vcpus[i].run, v->vcpus[i].run_bytes);
		fd_close(v->vcpus[i].fd);
	}
	free(v->vcpus);
	v->vcpus = NULL;
	v->vcpu_count = 0;
}
