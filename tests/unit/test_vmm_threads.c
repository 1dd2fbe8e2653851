/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine's threads against each other, for ThreadSanitizer (`make tsan`) above all: drivers of
 * four devices, each in a thread as if it were a vCPU, one more that reads and writes whatever it
 * comes across, hosts at the other ends, and the main thread's loop. Then real vCPU threads, with
 * an ioctl() of our own in the place of KVM's, that are paused, resumed and ended at every moment.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_mmio.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include "tap.h"
#include "virtio_driver.h"
#include "vmm/halt.h"
#include "vmm/layout.h"
#include "vmm/pci.h"
#include "vmm/vcpu.h"
#include "vmm/virtio/blk.h"
#include "vmm/virtio/console.h"
#include "vmm/virtio/net.h"
#include "vmm/virtio/rng.h"
#include "vmm/virtio/transport.h"
#include "vmm_fake.h"

#define ROUNDS	 60 /* of each driver, from reset to reset */
#define REQUESTS 12 /* in each */

enum { BLK, CONSOLE, RNG, NET, DEVICES };

/* A driver's thread, and its device. Only this thread touches the rings. */
struct guest {
	struct driver v;
	unsigned slot, served;
	uint32_t seed;
	bool failed;
	pthread_t thread;
};

static struct guest guests[DEVICES];
static struct virtio_device *pci_device;
static int console_host, net_host;
static int stopping; /* atomic */

static uint32_t roll(uint32_t *seed, uint32_t n)
{
	*seed = *seed * 1103515245 + 12345;
	return (*seed >> 8) % n;
}

static void set(const struct guest *g, uint32_t at, uint32_t value)
{
	fake_write(&fake.vmm.mmio, LAYOUT_VIRTIO + g->slot * LAYOUT_VIRTIO_SIZE + at, value, 4);
}

static uint32_t get(const struct guest *g, uint32_t at)
{
	return (uint32_t)fake_read(&fake.vmm.mmio,
				   LAYOUT_VIRTIO + g->slot * LAYOUT_VIRTIO_SIZE + at, 4);
}

static void place(struct guest *g, unsigned n)
{
	struct virtq scratch = { 0 };

	driver_place(&g->v, n, &scratch, 64);
	set(g, VIRTIO_MMIO_QUEUE_SEL, n);
	set(g, VIRTIO_MMIO_QUEUE_NUM, 64);
	set(g, VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)scratch.desc_at);
	set(g, VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)scratch.avail_at);
	set(g, VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)scratch.used_at);
	set(g, VIRTIO_MMIO_QUEUE_READY, 1);
}

static void start(struct guest *g, unsigned queues)
{
	set(g, VIRTIO_MMIO_STATUS, 0);
	set(g, VIRTIO_MMIO_STATUS, 3);
	set(g, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	set(g, VIRTIO_MMIO_DRIVER_FEATURES, 1);
	set(g, VIRTIO_MMIO_STATUS, 0xb);
	for (unsigned n = 0; n < queues; n++)
		place(g, n);
	set(g, VIRTIO_MMIO_STATUS, 0xf);
	g->failed |= get(g, VIRTIO_MMIO_STATUS) != 0xf;
}

static bool wait_used(struct guest *g, unsigned n)
{
	int64_t end = driver_now_ms() + 10000;

	while (!driver_used(&g->v, n, NULL, NULL)) {
		if (driver_now_ms() > end) {
			g->failed = true;
			return false;
		}
		if (get(g, VIRTIO_MMIO_INTERRUPT_STATUS))
			set(g, VIRTIO_MMIO_INTERRUPT_ACK, 3);
		sched_yield();
	}
	g->served++;
	return true;
}

/* Adds a chain and kicks. */
static void offer(struct guest *g, unsigned n, const struct driver_buffer *b, unsigned count)
{
	driver_add(&g->v, n, b, count);
	set(g, VIRTIO_MMIO_QUEUE_NOTIFY, n);
}

static void blk_request(struct guest *g, uint32_t i)
{
	struct virtio_blk_outhdr head = { .type = i & 1 ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN,
					  .sector = i % 16 };
	gpa_t at = 0x200000 + i % 16 * 8192ull;

	memcpy(driver_ptr(&g->v, at), &head, sizeof(head));
	offer(g, 0,
	      (struct driver_buffer[]){
		      { at, 16, false }, { at + 512, 512, !(i & 1) }, { at + 4096, 1, true } },
	      3);
}

static void rng_request(struct guest *g, uint32_t i)
{
	offer(g, 0, &(struct driver_buffer){ 0x200000 + i % 16 * 4096, 64, true }, 1);
}

static void console_request(struct guest *g, uint32_t i)
{
	offer(g, 0, &(struct driver_buffer){ 0x200000 + i % 16 * 4096, 64, true }, 1);
	offer(g, 1, &(struct driver_buffer){ 0x300000, 32, false }, 1);
}

static void net_request(struct guest *g, uint32_t i)
{
	offer(g, 0, &(struct driver_buffer){ 0x200000 + i % 16 * 4096, 2048, true }, 1);
	offer(g, 1, &(struct driver_buffer){ 0x300000, 12 + 60, false }, 1);
}

static void *drive(void *data)
{
	static const struct {
		unsigned queues, served;
		void (*request)(struct guest *g, uint32_t i);
	} kinds[DEVICES] = { { 1, 0, blk_request },
			     { 2, 1, console_request },
			     { 1, 0, rng_request },
			     { 2, 1, net_request } };
	struct guest *g = data;
	unsigned kind = (unsigned)(g - guests);

	for (unsigned round = 0; round < ROUNDS && !g->failed; round++) {
		uint32_t leave = roll(&g->seed, 4), n = 1 + roll(&g->seed, REQUESTS);

		start(g, kinds[kind].queues);
		for (uint32_t i = 0; i < n; i++)
			kinds[kind].request(g, i);
		/* some of them a reset overtakes */
		for (uint32_t i = leave; i < n && wait_used(g, kinds[kind].served); i++)
			;
	}
	set(g, VIRTIO_MMIO_STATUS, 0);
	return NULL;
}

/* Whatever is harmless to others: reads of all, kicks of all, the BAR of the device on PCI. */
static void *disturb(void *data _unused_)
{
	const uint64_t config = LAYOUT_ECAM + (8ull << 12);
	uint32_t seed = 99;

	while (!__atomic_load_n(&stopping, __ATOMIC_SEQ_CST)) {
		uint32_t what = roll(&seed, 6), bar = 0xc0000000 + roll(&seed, 3) * 0x8000;
		struct guest *g = &guests[roll(&seed, DEVICES)];

		if (what == 0) {
			(void)get(g, roll(&seed, 0x200));
		} else if (what == 1) {
			set(g, VIRTIO_MMIO_QUEUE_NOTIFY, roll(&seed, 4));
		} else if (what == 2) {
			set(g, VIRTIO_MMIO_INTERRUPT_ACK, 2);
			(void)get(g, VIRTIO_MMIO_INTERRUPT_STATUS);
		} else if (what == 3) {
			fake_write(&fake.vmm.mmio, config + 0x10, bar, 4);
			fake_write(&fake.vmm.mmio, config + 4, roll(&seed, 2) * 2, 2);
		} else if (what == 4) {
			fake_write(&fake.vmm.mmio, bar + roll(&seed, 0x8000), roll(&seed, 16), 4);
		} else {
			(void)fake_read(&fake.vmm.mmio, bar + roll(&seed, 0x8000), 4);
		}
	}
	return NULL;
}

/* The other ends: who reads all and sends something back. */
static void *host(void *data _unused_)
{
	static uint8_t bytes[8192];
	uint8_t frame[64] = { 0 };
	uint32_t length = htonl(sizeof(frame) - 4);

	memcpy(frame, &length, 4);
	while (!__atomic_load_n(&stopping, __ATOMIC_SEQ_CST)) {
		struct pollfd p[] = { { .fd = console_host, .events = POLLIN },
				      { .fd = net_host, .events = POLLIN } };

		if (poll(p, 2, 20) <= 0)
			continue;
		for (int i = 0; i < 2; i++)
			if (p[i].revents & POLLIN &&
			    recv(p[i].fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
				(void)!send(p[i].fd, frame, i ? sizeof(frame) : 10, MSG_DONTWAIT);
	}
	return NULL;
}

static void make_devices(void)
{
	struct console_port_options port = { .terminal = true };
	struct blk_options blk = { .fd = memfd_create("disk", MFD_CLOEXEC) };
	struct net_options net = { 0 };
	struct virtio_device *d[DEVICES];
	int console[2], stream[2];

	for (unsigned i = 0; i < DEVICES; i++) {
		driver_init(&guests[i].v, MEMORY_MIN_BYTES);
		guests[i].slot = i;
		guests[i].seed = i + 1;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, console) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, stream) < 0 || blk.fd < 0 ||
	    ftruncate(blk.fd, 1 << 20) < 0)
		abort();
	port.in_fd = port.out_fd = console[0];
	console_host = console[1];
	net_host = stream[1];
	if (virtio_blk_new(&blk, &guests[BLK].v.memory, &fake.vmm.loop, &d[BLK], NULL) < 0 ||
	    virtio_console_new(&port, 1, &guests[CONSOLE].v.memory, &fake.vmm.loop, &d[CONSOLE],
			       NULL) < 0 ||
	    virtio_rng_new(&guests[RNG].v.memory, &fake.vmm.loop, &d[RNG], NULL) < 0 ||
	    net_stream_new(stream[0], &net.backend, NULL) < 0 ||
	    virtio_net_new(&net, &guests[NET].v.memory, &fake.vmm.loop, &d[NET], NULL) < 0 ||
	    virtio_rng_new(&guests[RNG].v.memory, &fake.vmm.loop, &pci_device, NULL) < 0 ||
	    pci_new(&fake.vmm, &fake.vmm.pci, NULL) < 0 ||
	    virtio_pci_attach(&fake.vmm, pci_device, 0, NULL) < 0)
		abort();
	for (unsigned i = 0; i < DEVICES; i++) {
		guests[i].v.device = d[i];
		if (virtio_mmio_attach(&fake.vmm, d[i], i, NULL) < 0)
			abort();
	}
}

static void test_devices(void)
{
	static const char *const names[DEVICES] = { "blk", "console", "rng", "net" };
	pthread_t others[2];
	unsigned waiting = DEVICES;

	fake_init();
	fake.vmm.loop.lock = &fake.vmm.lock;
	make_devices();
	pthread_create(&others[0], NULL, disturb, NULL);
	pthread_create(&others[1], NULL, host, NULL);
	for (unsigned i = 0; i < DEVICES; i++)
		pthread_create(&guests[i].thread, NULL, drive, &guests[i]);
	pthread_mutex_lock(&fake.vmm.lock);
	while (waiting) {
		loop_once(&fake.vmm.loop, 5);
		while (waiting && pthread_tryjoin_np(guests[waiting - 1].thread, NULL) == 0)
			waiting--;
	}
	pthread_mutex_unlock(&fake.vmm.lock);
	__atomic_store_n(&stopping, 1, __ATOMIC_SEQ_CST);
	pthread_join(others[0], NULL);
	pthread_join(others[1], NULL);
	virtio_device_free(pci_device);
	for (unsigned i = 0; i < DEVICES; i++) {
		ok(!guests[i].failed && guests[i].served, "%s served %u requests", names[i],
		   guests[i].served);
		virtio_device_free(guests[i].v.device);
		loop_done(&guests[i].v.loop);
		memory_done(&guests[i].v.memory);
	}
	pci_free(fake.vmm.pci);
	close(console_host);
	close(net_host);
	fake_done();
}

/* ---- vCPUs ---------------------------------------------------------------------------------- */

#define CPUS	 3
#define FAKE_CPU 10000 /* descriptors of processors that are not there, from here on */

static struct {
	struct vcpu vcpus[CPUS];
	union {
		struct kvm_run run;
		uint8_t room[8192];
	} run[CPUS];
	unsigned runs[CPUS]; /* atomic */
	int end_by, halted;  /* atomic: who switches off; all are halted with interrupts off */
} machine;

/* KVM_RUN: some time in the guest, which immediate_exit ends, as the signal does in earnest. */
static int run_cpu(unsigned i)
{
	struct kvm_run *run = &machine.run[i].run;
	unsigned n = __atomic_add_fetch(&machine.runs[i], 1, __ATOMIC_SEQ_CST);

	for (unsigned turn = 0;; turn++) {
		/* after all others have parked, sometimes */
		if (__atomic_load_n(&machine.end_by, __ATOMIC_SEQ_CST) == (int)i) {
			usleep(n % 2 * 2000);
			run->exit_reason = KVM_EXIT_SHUTDOWN;
			return 0;
		}
		if (__atomic_load_n(&run->immediate_exit, __ATOMIC_SEQ_CST)) {
			errno = EINTR;
			return -1;
		}
		if (turn == 3 + i && !__atomic_load_n(&machine.halted, __ATOMIC_SEQ_CST))
			break;
		usleep(20);
	}
	run->exit_reason = KVM_EXIT_MMIO;
	run->mmio.phys_addr = LAYOUT_VIRTIO + n % 64 * 4;
	run->mmio.len = 4;
	run->mmio.is_write = 0;
	return 0;
}

int ioctl(int fd, unsigned long request, ...)
{
	void *data;
	va_list ap;

	va_start(ap, request);
	data = va_arg(ap, void *);
	va_end(ap);
	if (fd < FAKE_CPU)
		return (int)syscall(SYS_ioctl, fd, request, data);
	if (request == KVM_RUN)
		return run_cpu((unsigned)(fd - FAKE_CPU));
	if (request == KVM_GET_REGS)
		((struct kvm_regs *)data)->rflags = 2;
	if (request == KVM_GET_MP_STATE)
		((struct kvm_mp_state *)data)->mp_state =
			__atomic_load_n(&machine.halted, __ATOMIC_SEQ_CST) ? KVM_MP_STATE_HALTED
									   : KVM_MP_STATE_RUNNABLE;
	return 0;
}

static void make_cpus(void)
{
	struct virtio_device *d;

	fake_init();
	fake.vmm.loop.lock = &fake.vmm.lock;
	memset(&machine, 0, sizeof(machine));
	machine.end_by = -1;
	driver_init(&guests[0].v, MEMORY_MIN_BYTES);
	if (virtio_rng_new(&guests[0].v.memory, &fake.vmm.loop, &d, NULL) < 0 ||
	    virtio_mmio_attach(&fake.vmm, d, 0, NULL) < 0)
		abort();
	guests[0].v.device = d;
	for (unsigned i = 0; i < CPUS; i++)
		machine.vcpus[i] = (struct vcpu){ .vmm = &fake.vmm,
						  .index = i,
						  .fd = FAKE_CPU + (int)i,
						  .run = &machine.run[i].run };
	fake.vmm.vcpus = machine.vcpus;
	fake.vmm.vcpu_count = CPUS;
	if (vcpu_start_all(&fake.vmm, NULL) < 0)
		abort();
}

static void end_cpus(void)
{
	vcpu_stop_all(&fake.vmm);
	driver_done(&guests[0].v);
	fake_done();
}

static unsigned all_runs(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < CPUS; i++)
		n += __atomic_load_n(&machine.runs[i], __ATOMIC_SEQ_CST);
	return n;
}

static void test_pause(void)
{
	bool still = true, went_on = true;

	make_cpus();
	for (int i = 0; i < 100; i++) {
		unsigned before;

		pthread_mutex_lock(&fake.vmm.lock);
		vmm_pause(&fake.vmm);
		before = all_runs();
		usleep(200);
		still &= all_runs() == before;
		vmm_resume(&fake.vmm);
		if (i % 3 == 0) { /* at once again, before they have noticed */
			vmm_pause(&fake.vmm);
			vmm_resume(&fake.vmm);
		}
		pthread_mutex_unlock(&fake.vmm.lock);
		for (int n = 0; n < 2000 && all_runs() == before; n++)
			usleep(100);
		went_on &= all_runs() != before;
	}
	ok(still, "paused processors do not run");
	ok(went_on, "resumed ones do");
	pthread_mutex_lock(&fake.vmm.lock);
	vmm_pause(&fake.vmm);
	pthread_mutex_unlock(&fake.vmm.lock);
	vmm_end(&fake.vmm, VMM_KILLED, "killed");
	end_cpus();
	ok(true, "a paused machine can be ended");
}

/* A guest that switches off just when the machine is to be paused: nobody may wait for ever. */
static void test_end_while_pausing(void)
{
	for (int i = 0; i < 60; i++) {
		make_cpus();
		usleep((useconds_t)(i * 20));
		pthread_mutex_lock(&fake.vmm.lock);
		__atomic_store_n(&machine.end_by, i % CPUS, __ATOMIC_SEQ_CST);
		vmm_pause(&fake.vmm);
		pthread_mutex_unlock(&fake.vmm.lock);
		vmm_end(&fake.vmm, VMM_KILLED, "killed");
		end_cpus();
	}
	ok(true, "a machine that ends while it is paused");
}

static void look_for_halt(void)
{
	pthread_mutex_lock(&fake.vmm.lock);
	for (unsigned i = 0; i < CPUS; i++) {
		machine.vcpus[i].check_halt = true;
		vcpu_kick(&machine.vcpus[i]);
	}
	pthread_mutex_unlock(&fake.vmm.lock);
	for (int n = 0; n < 2000 && !vmm_has_ended(&fake.vmm); n++)
		usleep(n < 20 ? 500 : 1000);
}

static void test_halt(void)
{
	make_cpus();
	pthread_mutex_lock(&fake.vmm.lock);
	for (unsigned i = 0; i < CPUS; i++) {
		machine.vcpus[i].check_halt = true;
		vcpu_kick(&machine.vcpus[i]);
	}
	pthread_mutex_unlock(&fake.vmm.lock);
	usleep(50000);
	ok(!vmm_has_ended(&fake.vmm), "processors that run are not halted");
	__atomic_store_n(&machine.halted, 1, __ATOMIC_SEQ_CST);
	look_for_halt();
	ok(fake.vmm.end == VMM_HALT, "all of them with interrupts off: the machine ends");
	end_cpus();
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	alarm(240); /* what waits for ever is found */
	test_devices();
	test_pause();
	test_end_while_pausing();
	test_halt();
	return tap_done();
}
