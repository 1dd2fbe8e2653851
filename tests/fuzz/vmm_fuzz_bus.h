/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the fuzzers of the transports share: input bytes are accesses of a hostile guest, of any
 * width at any place of the machine's buses, between writes to its memory, and now and then what a
 * well-behaved driver does, so that the rest meets devices in every state.
 */
#ifndef PROA_TESTS_VMM_FUZZ_BUS_H
#define PROA_TESTS_VMM_FUZZ_BUS_H

#include <fcntl.h>
#include <sys/socket.h>
#include "../unit/vmm_fake.h"
#include "vmm/virtio/balloon.h"
#include "vmm/virtio/console.h"
#include "vmm/virtio/rng.h"
#include "vmm_fuzz.h"

struct fuzz_bus {
	/* Makes the device reachable, and what it needs for that. */
	void (*attach)(struct virtio_device *d);
	void (*done)(void);
	/* An access: where, out of what the input says. */
	void (*access)(struct fuzz_input *in);
};

static int fuzz_peer = -1;

/* An access of any width to @bus at @at. */
static inline void fuzz_access(const struct bus *bus, uint64_t at, struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in);
	uint32_t bytes = 1u << (how & 3);
	uint64_t value = 0;

	if (how & 4) {
		fuzz_bytes(in, &value, how & 8 ? 1 : bytes);
		fake_write(bus, at, value, bytes);
	} else {
		(void)fake_read(bus, at, bytes);
	}
}

static inline struct virtio_device *fuzz_make(struct driver *v, uint8_t choice)
{
	const struct balloon_options balloon = { .target_pages = 7 };
	struct console_port_options ports[2] = { { .terminal = true }, { .name = "p" } };
	struct virtio_device *d;
	int fds[2];

	if (choice % 3 == 0) {
		if (virtio_rng_new(&v->memory, &v->loop, &d, NULL) < 0)
			abort();
		return d;
	}
	if (choice % 3 == 1) {
		if (virtio_balloon_new(&balloon, &v->memory, &v->loop, &d, NULL) < 0)
			abort();
		return d;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
		abort();
	ports[0].in_fd = ports[0].out_fd = -1;
	ports[1].in_fd = ports[1].out_fd = fds[0];
	fuzz_peer = fds[1];
	if (virtio_console_new(ports, 2, &v->memory, &v->loop, &d, NULL) < 0)
		abort();
	return d;
}

static inline void fuzz_bus_step(const struct fuzz_bus *f, struct driver *v, struct fuzz_input *in)
{
	switch (fuzz_u8(in) % 8) {
	case 0: fuzz_write(v, in); break;
	case 1: fuzz_chain(v, in); break;
	case 2: driver_start(v, v->device->features); break;
	case 3:
		loop_once(&v->loop, 0);
		if (fuzz_peer >= 0)
			(void)!send(fuzz_peer, "hello", fuzz_u8(in) % 6, MSG_NOSIGNAL);
		break;
	default: f->access(in); break;
	}
}

static inline int fuzz_bus(const struct fuzz_bus *f, const uint8_t *data, size_t size)
{
	static struct driver v;
	struct fuzz_input in = { data, size };

	memset(&v, 0, sizeof(v));
	fake_init();
	fuzz_memory(&v.memory);
	if (loop_init(&v.loop, NULL) < 0)
		abort();
	v.heap = 0x800000 - 0x100000;
	v.device = fuzz_make(&v, fuzz_u8(&in));
	f->attach(v.device);
	/* chains of a driver that never set a queue up go nowhere, but must have a place */
	for (unsigned i = 0; i < v.device->queue_count; i++) {
		struct virtq scratch = { 0 };

		driver_place(&v, i, &scratch, v.device->queues[i].size_max);
	}
	for (unsigned i = 0; i < FUZZ_STEPS && in.left; i++)
		fuzz_bus_step(f, &v, &in);
	for (unsigned i = 0; i < 4; i++)
		loop_once(&v.loop, 0);
	virtio_device_free(v.device);
	if (f->done)
		f->done();
	if (fake.vmm.mmio.count || fake.vmm.mmio.fast_count)
		abort(); /* something was left on the bus */
	fuzz_peer = fd_close(fuzz_peer);
	loop_done(&v.loop);
	fake_done();
	return 0;
}

#endif
