/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a machine: KVM's objects, memory and kernel, devices, then the loop until something
 * ends it.
 *
 * KVM has the interrupt controllers (local APICs and the I/O APIC; the old pair comes with them and
 * nobody uses it). There is no timer chip and no real-time clock: the guest has the local APIC's
 * timer by deadline, and KVM's clock.
 */
#include "vmm/vmm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include "util/err.h"
#include "util/mem.h"
#include "vmm/boot/acpi.h"
#include "vmm/boot/boot.h"
#include "vmm/control.h"
#include "vmm/devices.h"
#include "vmm/halt.h"
#include "vmm/layout.h"
#include "vmm/sandbox.h"
#include "vmm/serial.h"
#include "vmm/signals.h"
#include "vmm/vcpu.h"
#include "vmm/virtio/device.h"

int vmm_irqfd(struct vmm *v, unsigned gsi)
{
	struct kvm_irqfd irq = { .gsi = gsi };
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (fd < 0)
		return -errno;
	irq.fd = (uint32_t)fd;
	if (ioctl(v->fd, KVM_IRQFD, &irq) < 0) {
		int e = errno;

		close(fd);
		return -e;
	}
	return fd;
}

int vmm_ioeventfd_set(struct vmm *v, int fd, uint64_t at, uint32_t bytes, uint32_t value, bool on)
{
	struct kvm_ioeventfd kick = { .fd = fd,
				      .addr = at,
				      .len = bytes,
				      .datamatch = value,
				      .flags = KVM_IOEVENTFD_FLAG_DATAMATCH |
					       (on ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN) };

	return ioctl(v->fd, KVM_IOEVENTFD, &kick) < 0 ? -errno : 0;
}

/* ---- making it ------------------------------------------------------------------------------ */

static int open_kvm(struct vmm *v, struct err *err)
{
	v->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (v->kvm < 0 && errno == EACCES)
		return err_set(err, EACCES,
			       "/dev/kvm: permission denied; add yourself to the group kvm "
			       "(usermod -aG kvm USER) and log in again");
	if (v->kvm < 0)
		return err_sys(err, errno, "open /dev/kvm");
	if (ioctl(v->kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		return err_set(err, ENODEV, "/dev/kvm is not a KVM of version %d", KVM_API_VERSION);
	do
		v->fd = ioctl(v->kvm, KVM_CREATE_VM, 0);
	while (v->fd < 0 && errno == EINTR);
	return v->fd < 0 ? err_sys(err, errno, "make a machine with /dev/kvm") : 0;
}

static int make_controllers(struct vmm *v, struct err *err)
{
	uint64_t identity = LAYOUT_IDENTITY_MAP;

	/* processors of Intel need both, others take no notice */
	if (ioctl(v->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0 ||
	    ioctl(v->fd, KVM_SET_TSS_ADDR, (unsigned long)LAYOUT_TSS) < 0 ||
	    ioctl(v->fd, KVM_CREATE_IRQCHIP, 0) < 0)
		return err_sys(err, errno, "make the machine's interrupt controllers");
	return 0;
}

static int map_memory(struct vmm *v, struct err *err)
{
	for (unsigned i = 0; i < v->memory.count; i++) {
		const struct vmm_region *r = &v->memory.regions[i];
		struct kvm_userspace_memory_region region = {
			.slot = i,
			.guest_phys_addr = r->start,
			.memory_size = r->bytes,
			.userspace_addr = (uint64_t)(uintptr_t)r->host,
		};

		if (ioctl(v->fd, KVM_SET_USER_MEMORY_REGION, &region) < 0)
			return err_sys(err, errno, "give the machine its memory");
	}
	return 0;
}

static int load(struct vmm *v, struct vcpu_entry *ret, struct err *err)
{
	struct acpi_machine a = { .cpus = v->config->cpus,
				  .mmio_devices = v->pci ? 0 : v->device_count,
				  .pci = v->pci,
				  .serial = v->serial };
	int r = boot_load(v->config, &v->memory, ret, err);

	return r == 0 ? acpi_write(&a, &v->memory, err) : r;
}

static void end_ready(struct loop_watch *w, uint32_t events _unused_)
{
	loop_stop(&container_of(w, struct vmm, end_watch)->loop);
}

static void signal_ready(struct loop_watch *w, uint32_t events _unused_)
{
	struct vmm *v = container_of(w, struct vmm, signal_watch);
	struct signalfd_siginfo info;

	if (read(w->fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGUSR2)
		vmm_press_power(v);
	else
		vmm_end(v, VMM_KILLED, "ended by a signal");
}

static int watch_signals(struct vmm *v)
{
	int fd = signals_open(SFD_NONBLOCK);

	signal(SIGPIPE, SIG_IGN);
	if (fd < 0)
		return -errno;
	v->signal_watch = (struct loop_watch){ .fd = fd, .events = EPOLLIN, .call = signal_ready };
	return loop_add(&v->loop, &v->signal_watch);
}

static int make_loop(struct vmm *v, struct err *err)
{
	int r = loop_init(&v->loop, err);

	if (r < 0)
		return r;
	v->loop.lock = &v->lock;
	v->end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (v->end_fd < 0)
		return err_sys(err, errno, "make an eventfd");
	v->end_watch = (struct loop_watch){ .fd = v->end_fd, .events = EPOLLIN, .call = end_ready };
	r = loop_add(&v->loop, &v->end_watch);
	if (r == 0)
		r = watch_signals(v);
	return r < 0 ? err_sys(err, -r, "watch for the machine's end") : 0;
}

int vmm_init(struct vmm *v, const struct vmm_config *config, struct err *err)
{
	struct vcpu_entry entry;
	int r;

	*v = (struct vmm){ .config = config,
			   .kvm = -EBADF,
			   .fd = -EBADF,
			   .end = VMM_RUNNING,
			   .end_fd = -EBADF,
			   .power_fd = -EBADF,
			   .signal_watch.fd = -EBADF,
			   .memory.fd = -EBADF,
			   .loop = LOOP_INIT };
	pthread_mutex_init(&v->lock, NULL);
	r = open_kvm(v, err);
	if (r == 0)
		r = memory_init(&v->memory, config->memory_bytes, config->fs_count > 0, err);
	if (r == 0)
		r = make_loop(v, err);
	if (r == 0)
		r = make_controllers(v, err);
	if (r == 0)
		r = devices_make(v, err);
	if (r == 0)
		r = load(v, &entry, err);
	if (r == 0)
		r = map_memory(v, err);
	return r == 0 ? vcpu_make_all(v, &entry, err) : r;
}

/* ---- running it ----------------------------------------------------------------------------- */

void vmm_end(struct vmm *v, enum vmm_end end, const char *reason)
{
	enum vmm_end running = VMM_RUNNING;
	uint64_t one = 1;

	/* the first reason is the reason */
	if (!__atomic_compare_exchange_n(&v->end, &running, end, false, __ATOMIC_SEQ_CST,
					 __ATOMIC_SEQ_CST))
		return;
	snprintf(v->end_reason, sizeof(v->end_reason), "%s", reason);
	(void)!write(v->end_fd, &one, sizeof(one));
}

void vmm_press_power(struct vmm *v)
{
	uint64_t one = 1;

	(void)!write(v->power_fd, &one, sizeof(one));
}

enum vmm_end vmm_run(struct vmm *v, struct err *err)
{
	int r;

	/* the threads first ask for the lock: none is in the guest before all filters are in place
	 */
	pthread_mutex_lock(&v->lock);
	r = vcpu_start_all(v, err);
	if (r == 0 && v->config->sandbox && sandbox_filter_main() < 0)
		r = err_set(err, EIO, "the filter of system calls cannot be installed");
	if (r == 0) {
		control_event(v->control, "running");
		r = loop_run(&v->loop, err);
	}
	pthread_mutex_unlock(&v->lock);
	if (r < 0)
		vmm_end(v, VMM_FAILED, err->msg);
	vcpu_stop_all(v);
	serial_drain(v->serial);
	for (unsigned i = 0; v->end != VMM_KILLED && i < v->device_count; i++)
		virtio_drain(v->devices[i]);
	if (v->end == VMM_FAILED && r == 0)
		err_set(err, EIO, "%s", v->end_reason);
	return v->end;
}

void vmm_done(struct vmm *v)
{
	vcpu_free_all(v);
	devices_free(v);
	loop_remove(&v->loop, &v->end_watch);
	loop_remove(&v->loop, &v->signal_watch);
	fd_close(v->end_fd);
	fd_close(v->signal_watch.fd);
	loop_done(&v->loop);
	memory_done(&v->memory);
	fd_close(v->fd);
	fd_close(v->kvm);
	pthread_mutex_destroy(&v->lock);
}
