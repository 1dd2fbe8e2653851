/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the fuzzers of virtio devices share: input bytes are a program for a hostile driver. It can
 * write anywhere in memory (rings included), set any register, build chains that make sense and
 * chains that do not, and do what only one device knows (extra).
 *
 * Memory has guard pages on both sides, and is private to the run.
 */
#ifndef PROA_TESTS_VMM_FUZZ_H
#define PROA_TESTS_VMM_FUZZ_H

#include <stdint.h>
#include <sys/mman.h>
#include "../unit/virtio_driver.h"

#define FUZZ_MEMORY (16u << 20)
#define FUZZ_STEPS  400

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzz_input {
	const uint8_t *at;
	size_t left;
};

struct fuzz_hooks {
	/* Makes the device; @choice is the input's first byte. */
	struct virtio_device *(*make)(struct driver *v, uint8_t choice);
	void (*extra)(struct driver *v, struct fuzz_input *in);
	void (*done)(void); /* may be NULL */
};

static inline uint8_t fuzz_u8(struct fuzz_input *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->at++;
}

static inline uint16_t fuzz_u16(struct fuzz_input *in)
{
	uint16_t low = fuzz_u8(in);

	return (uint16_t)(low | fuzz_u8(in) << 8);
}

/* At most @n bytes of the input into @to; what is not there is zeros. */
static inline void fuzz_bytes(struct fuzz_input *in, void *to, size_t n)
{
	size_t have = MIN(n, in->left);

	memset(to, 0, n);
	memcpy(to, in->at, have);
	in->at += have;
	in->left -= have;
}

/* The same memory for all runs, all zeros again. */
static inline void fuzz_memory(struct vmm_memory *m)
{
	static uint8_t *host;

	if (!host) {
		host = mmap(NULL, FUZZ_MEMORY + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			    0);
		if (host == MAP_FAILED ||
		    mprotect(host + 4096, FUZZ_MEMORY, PROT_READ | PROT_WRITE) < 0)
			abort();
		(void)madvise(host + 4096, FUZZ_MEMORY, MADV_NOHUGEPAGE);
	}
	(void)madvise(host + 4096, FUZZ_MEMORY, MADV_DONTNEED);
	*m = (struct vmm_memory){ .fd = -EBADF, .count = 1 };
	m->regions[0] = (struct vmm_region){ .bytes = FUZZ_MEMORY, .host = host + 4096 };
}

static inline void fuzz_chain(struct driver *v, struct fuzz_input *in)
{
	struct driver_buffer b[8];
	uint8_t how = fuzz_u8(in);
	unsigned n = how % v->device->queue_count, count = 1 + (how >> 4 & 7);

	for (unsigned i = 0; i < count; i++) {
		uint8_t kind = fuzz_u8(in);

		b[i].at = 0x100000 + (gpa_t)fuzz_u16(in) * 64;
		b[i].bytes = kind & 2 ? (uint32_t)fuzz_u8(in) << (kind >> 4) : fuzz_u16(in);
		b[i].writable = kind & 1;
	}
	if (how & 0x80 && v->heap < FUZZ_MEMORY / 2)
		driver_add_indirect(v, n, b, count);
	else
		driver_add(v, n, b, count);
	virtio_notify(v->device, n);
}

static inline void fuzz_write(struct driver *v, struct fuzz_input *in)
{
	gpa_t at = DRIVER_BASE + (gpa_t)fuzz_u16(in) * 2;
	uint8_t n = fuzz_u8(in) % 64;

	fuzz_bytes(in, driver_ptr(v, at), n);
}

static inline void fuzz_descriptor(struct driver *v, struct fuzz_input *in)
{
	unsigned n = fuzz_u8(in) % v->device->queue_count;
	struct vring_desc d;
	uint16_t at = fuzz_u8(in) % v->queues[n].size;

	fuzz_bytes(in, &d, sizeof(d));
	driver_desc(v, v->queues[n].desc_at, at, d);
	driver_offer(v, n, at);
	virtio_notify(v->device, n);
}

static inline void fuzz_config(struct driver *v, struct fuzz_input *in)
{
	uint32_t at = fuzz_u8(in), n = 1u << fuzz_u8(in) % 4;
	uint8_t bytes[8];

	fuzz_bytes(in, bytes, sizeof(bytes));
	virtio_write_config(v->device, at, bytes, n);
	virtio_read_config(v->device, at, bytes, n);
}

static inline void fuzz_setup(struct driver *v, struct fuzz_input *in)
{
	unsigned n = fuzz_u8(in) % v->device->queue_count;
	struct virtq *q = &v->device->queues[n];

	q->size = fuzz_u16(in);
	fuzz_bytes(in, &q->desc_at, 4);
	fuzz_bytes(in, &q->avail_at, 4);
	fuzz_bytes(in, &q->used_at, 4);
	virtio_set_queue_ready(v->device, n, true);
}

static inline void fuzz_step(struct driver *v, const struct fuzz_hooks *h, struct fuzz_input *in)
{
	struct virtio_device *d = v->device;
	uint64_t features = 0;

	switch (fuzz_u8(in) % 12) {
	case 0: fuzz_write(v, in); break;
	case 1:
	case 2: fuzz_chain(v, in); break;
	case 3: virtio_notify(d, fuzz_u8(in) % 8); break;
	case 4: fuzz_descriptor(v, in); break;
	case 5:
		fuzz_bytes(in, &features, 4);
		/* all that is offered, most of the time */
		driver_start(v, features & 1 ? d->features : d->features & ~features);
		break;
	case 6:
		if (fuzz_u8(in) & 1)
			fuzz_config(v, in);
		else
			virtio_set_status(d, fuzz_u8(in));
		break;
	case 7:
		if (!d->started)
			fuzz_setup(v, in);
		break;
	case 8: loop_once(&v->loop, 0); break;
	default: h->extra(v, in); break;
	}
}

static inline int fuzz_device(const struct fuzz_hooks *h, const uint8_t *data, size_t size)
{
	static struct driver v;
	struct fuzz_input in = { data, size };

	memset(&v, 0, sizeof(v));
	fuzz_memory(&v.memory);
	if (loop_init(&v.loop, NULL) < 0)
		abort();
	v.heap = 0x800000 - 0x100000;
	driver_attach(&v, h->make(&v, fuzz_u8(&in)));
	driver_start(&v, v.device->features);
	for (unsigned i = 0; i < FUZZ_STEPS && in.left; i++)
		fuzz_step(&v, h, &in);
	for (unsigned i = 0; i < 4; i++)
		loop_once(&v.loop, 0);
	virtio_device_free(v.device);
	if (loop_once(&v.loop, 0) != 0)
		abort(); /* a watch was left behind */
	loop_done(&v.loop);
	if (h->done)
		h->done();
	return 0;
}

#endif
