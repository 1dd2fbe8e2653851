/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine without KVM, for tests and fuzzers: its buses, its lock, and what vmm.c and routes.c
 * ask of KVM, which is written down here instead. A program includes it once, and links no vmm.c.
 *
 * An access to a bus goes by fake_read() and fake_write(), which do what KVM does: first the
 * registered eventfds, then the device.
 */
#ifndef PROA_TESTS_VMM_FAKE_H
#define PROA_TESTS_VMM_FAKE_H

#include <errno.h>
#include <sys/eventfd.h>
#include "util/err.h"
#include "util/mem.h"
#include "vmm/virtio/routes.h"
#include "vmm/vmm.h"

#define FAKE_KICKS 256
#define FAKE_GSIS  (24 + ROUTES_DEVICES * ROUTES_PER_DEVICE)

struct fake_kick {
	int fd;
	uint64_t at;
	uint32_t bytes, value;
};

struct fake {
	struct vmm vmm;
	struct vmm_config config;
	int irq_fds[FAKE_GSIS]; /* second descriptors of what vmm_irqfd() gave; 0: none */
	struct fake_kick kicks[FAKE_KICKS];
	unsigned kick_count, presses, pauses;
	pthread_mutex_t kick_lock;
	struct route routes[ROUTES_DEVICES][ROUTES_PER_DEVICE];
};
static struct fake fake;

static inline void fake_init(void)
{
	fake = (struct fake){ .vmm = { .end = VMM_RUNNING, .fd = -EBADF, .power_fd = -EBADF } };
	fake.vmm.config = &fake.config;
	pthread_mutex_init(&fake.vmm.lock, NULL);
	pthread_mutex_init(&fake.kick_lock, NULL);
	if (loop_init(&fake.vmm.loop, NULL) < 0)
		abort();
}

static inline void fake_done(void)
{
	for (unsigned i = 0; i < FAKE_GSIS; i++)
		if (fake.irq_fds[i] > 0)
			close(fake.irq_fds[i]);
	loop_done(&fake.vmm.loop);
	pthread_mutex_destroy(&fake.vmm.lock);
	pthread_mutex_destroy(&fake.kick_lock);
}

/* How often interrupt @gsi was raised since it was asked last. */
static inline unsigned fake_interrupts(unsigned gsi)
{
	uint64_t n = 0;

	return fake.irq_fds[gsi] > 0 && read(fake.irq_fds[gsi], &n, sizeof(n)) == sizeof(n)
		       ? (unsigned)n
		       : 0;
}

static inline bool fake_kick(uint64_t at, uint64_t value, uint32_t bytes)
{
	static const uint64_t one = 1;
	bool found = false;

	pthread_mutex_lock(&fake.kick_lock);
	for (unsigned i = 0; !found && i < fake.kick_count; i++) {
		const struct fake_kick *k = &fake.kicks[i];

		found = k->at == at && k->bytes == bytes && k->value == value;
		if (found && write(k->fd, &one, sizeof(one)) < 0)
			abort();
	}
	pthread_mutex_unlock(&fake.kick_lock);
	return found;
}

static inline uint64_t fake_read(const struct bus *b, uint64_t at, uint32_t bytes)
{
	uint64_t value = 0;

	bus_access(b, &fake.vmm.lock, at, &value, bytes, false);
	return value;
}

static inline void fake_write(const struct bus *b, uint64_t at, uint64_t value, uint32_t bytes)
{
	if (bytes < 8)
		value &= (1ull << 8 * bytes) - 1;
	if (b != &fake.vmm.mmio || !fake_kick(at, value, bytes))
		bus_access(b, &fake.vmm.lock, at, &value, bytes, true);
}

/* ---- what is KVM's -------------------------------------------------------------------------- */

int vmm_irqfd(struct vmm *v _unused_, unsigned gsi)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (gsi >= FAKE_GSIS || fd < 0)
		abort();
	if (fake.irq_fds[gsi] > 0)
		close(fake.irq_fds[gsi]);
	fake.irq_fds[gsi] = dup(fd);
	return fd;
}

int vmm_ioeventfd_set(struct vmm *v _unused_, int fd, uint64_t at, uint32_t bytes, uint32_t value,
		      bool on)
{
	int r = on ? 0 : -ENOENT;

	pthread_mutex_lock(&fake.kick_lock);
	for (unsigned i = 0; i < fake.kick_count; i++) {
		const struct fake_kick *k = &fake.kicks[i];

		if (k->at != at || k->bytes != bytes || k->value != value)
			continue;
		if (on) {
			r = -EEXIST;
		} else if (k->fd == fd) {
			fake.kicks[i] = fake.kicks[--fake.kick_count];
			r = 0;
			break;
		}
	}
	if (on && r == 0) {
		if (fake.kick_count == FAKE_KICKS)
			abort();
		fake.kicks[fake.kick_count++] = (struct fake_kick){ fd, at, bytes, value };
	}
	pthread_mutex_unlock(&fake.kick_lock);
	return r;
}

unsigned routes_gsi(unsigned device, unsigned vector)
{
	return 24 + device * ROUTES_PER_DEVICE + vector;
}

int routes_set(struct vmm *v _unused_, unsigned device, const struct route *routes, unsigned count)
{
	if (device >= ROUTES_DEVICES || count > ROUTES_PER_DEVICE)
		abort();
	memcpy(fake.routes[device], routes, count * sizeof(*routes));
	return 0;
}

void vmm_end(struct vmm *v, enum vmm_end end, const char *reason)
{
	enum vmm_end running = VMM_RUNNING;

	if (__atomic_compare_exchange_n(&v->end, &running, end, false, __ATOMIC_SEQ_CST,
					__ATOMIC_SEQ_CST))
		snprintf(v->end_reason, sizeof(v->end_reason), "%s", reason);
}

void vmm_press_power(struct vmm *v _unused_)
{
	fake.presses++;
}

#endif
