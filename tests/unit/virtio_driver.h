/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small virtio driver for tests of devices: it sets up queues in a guest's memory, adds chains,
 * kicks, and runs the loop until they come back. It is as well-behaved as a test wants it to be.
 *
 * Memory: the queues from 64 KiB on, then what driver_alloc() gives. Nothing is ever freed.
 */
#ifndef PROA_TESTS_VIRTIO_DRIVER_H
#define PROA_TESTS_VIRTIO_DRIVER_H

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "util/err.h"
#include "util/loop.h"
#include "util/mem.h"
#include "vmm/memory.h"
#include "vmm/virtio/device.h"

#define DRIVER_QUEUES 20
#define DRIVER_BASE   0x10000
#define DRIVER_STRIDE 0x4000 /* of a queue: descriptors, then the rings */

struct driver_queue {
	uint16_t size, next_desc, avail, used_seen;
	gpa_t desc_at, avail_at, used_at;
	unsigned interrupts;
};

struct driver {
	struct vmm_memory memory;
	struct loop loop;
	struct virtio_device *device;
	struct driver_queue queues[DRIVER_QUEUES];
	unsigned config_interrupts;
	gpa_t heap;
};

struct driver_buffer {
	gpa_t at;
	uint32_t bytes;
	bool writable;
};

static inline void *driver_ptr(struct driver *v, gpa_t at)
{
	void *p = memory_at(&v->memory, at, 1);

	if (!p)
		abort();
	return p;
}

static inline void driver_interrupt(struct virtio_device *d, int n)
{
	struct driver *v = d->transport;

	if (n < 0)
		v->config_interrupts++;
	else
		v->queues[n].interrupts++;
}

/* Memory and loop; the device comes with driver_attach(). */
static inline void driver_init(struct driver *v, uint64_t bytes)
{
	memset(v, 0, sizeof(*v));
	if (memory_init(&v->memory, bytes, false, NULL) < 0 || loop_init(&v->loop, NULL) < 0)
		abort();
	v->heap = DRIVER_BASE + DRIVER_QUEUES * DRIVER_STRIDE;
}

static inline void driver_done(struct driver *v)
{
	virtio_device_free(v->device);
	v->device = NULL;
	loop_done(&v->loop);
	memory_done(&v->memory);
}

static inline void driver_attach(struct driver *v, struct virtio_device *d)
{
	v->device = d;
	d->transport = v;
	d->interrupt = driver_interrupt;
}

static inline gpa_t driver_alloc(struct driver *v, uint64_t bytes)
{
	gpa_t at = (v->heap + 15) & ~15ull;

	v->heap = at + bytes;
	if (!memory_at(&v->memory, at, bytes))
		abort();
	return at;
}

/* Places queue @n and says so to the device's side @q. */
static inline void driver_place(struct driver *v, unsigned n, struct virtq *q, uint16_t size)
{
	struct driver_queue *dq = &v->queues[n];
	gpa_t base = DRIVER_BASE + n * DRIVER_STRIDE;

	*dq = (struct driver_queue){
		.size = size,
		.desc_at = base,
		.avail_at = base + 16 * 256,
		.used_at = base + 16 * 256 + 1024,
	};
	memset(driver_ptr(v, base), 0, DRIVER_STRIDE);
	q->size = size;
	q->desc_at = dq->desc_at;
	q->avail_at = dq->avail_at;
	q->used_at = dq->used_at;
}

/* From reset to DRIVER_OK, with all queues at their greatest size. Returns the status then. */
static inline uint8_t driver_start(struct driver *v, uint64_t features)
{
	struct virtio_device *d = v->device;

	features |= 1ull << VIRTIO_F_VERSION_1;
	virtio_set_status(d, 0);
	virtio_set_status(d, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	virtio_set_status(d, VIRTIO_CONFIG_S_DRIVER);
	virtio_accept_features(d, 0, (uint32_t)features);
	virtio_accept_features(d, 1, (uint32_t)(features >> 32));
	virtio_set_status(d, VIRTIO_CONFIG_S_FEATURES_OK);
	for (unsigned i = 0; i < d->queue_count && i < DRIVER_QUEUES; i++) {
		driver_place(v, i, &d->queues[i], d->queues[i].size_max);
		virtio_set_queue_ready(d, i, true);
	}
	virtio_set_status(d, VIRTIO_CONFIG_S_DRIVER_OK);
	return d->status;
}

static inline void driver_desc(struct driver *v, gpa_t table, uint16_t at, struct vring_desc d)
{
	memcpy(driver_ptr(v, table + 16ull * at), &d, sizeof(d));
}

/* Makes @head available. */
static inline void driver_offer(struct driver *v, unsigned n, uint16_t head)
{
	struct driver_queue *q = &v->queues[n];
	uint16_t *avail = driver_ptr(v, q->avail_at);

	avail[2 + (q->avail & (q->size - 1))] = head;
	q->avail++;
	__atomic_store_n(&avail[1], q->avail, __ATOMIC_RELEASE);
}

/* Adds a chain of descriptors without a kick. Returns its head. */
static inline uint16_t driver_add(struct driver *v, unsigned n, const struct driver_buffer *b,
				  unsigned count)
{
	struct driver_queue *q = &v->queues[n];
	uint16_t head = q->next_desc;

	for (unsigned i = 0; i < count; i++) {
		uint16_t at = q->next_desc, next = (uint16_t)((at + 1) % q->size);
		uint16_t flags = (b[i].writable ? VRING_DESC_F_WRITE : 0) |
				 (i + 1 < count ? VRING_DESC_F_NEXT : 0);

		driver_desc(
			v, q->desc_at, at,
			(struct vring_desc){
				.addr = b[i].at, .len = b[i].bytes, .flags = flags, .next = next });
		q->next_desc = next;
	}
	driver_offer(v, n, head);
	return head;
}

/* The same by way of an indirect table. */
static inline uint16_t driver_add_indirect(struct driver *v, unsigned n,
					   const struct driver_buffer *b, unsigned count)
{
	struct driver_queue *q = &v->queues[n];
	gpa_t table = driver_alloc(v, 16ull * count);
	uint16_t head = q->next_desc;

	for (unsigned i = 0; i < count; i++)
		driver_desc(v, table, (uint16_t)i,
			    (struct vring_desc){
				    .addr = b[i].at,
				    .len = b[i].bytes,
				    .flags = (uint16_t)((b[i].writable ? VRING_DESC_F_WRITE : 0) |
							(i + 1 < count ? VRING_DESC_F_NEXT : 0)),
				    .next = (uint16_t)(i + 1) });
	driver_desc(v, q->desc_at, head,
		    (struct vring_desc){
			    .addr = table, .len = 16 * count, .flags = VRING_DESC_F_INDIRECT });
	q->next_desc = (uint16_t)((head + 1) % q->size);
	driver_offer(v, n, head);
	return head;
}

/* Takes the next used element; false when there is none. */
static inline bool driver_used(struct driver *v, unsigned n, uint32_t *ret_id, uint32_t *ret_bytes)
{
	struct driver_queue *q = &v->queues[n];
	uint16_t *used = driver_ptr(v, q->used_at);
	uint32_t e[2];

	if (__atomic_load_n(&used[1], __ATOMIC_ACQUIRE) == q->used_seen)
		return false;
	memcpy(e, (uint8_t *)used + 4 + 8 * (q->used_seen & (q->size - 1)), sizeof(e));
	q->used_seen++;
	if (ret_id)
		*ret_id = e[0];
	if (ret_bytes)
		*ret_bytes = e[1];
	return true;
}

static inline int64_t driver_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ll + t.tv_nsec / 1000000;
}

/* Runs the loop until queue @n has a used element (taken), at most two seconds. */
static inline bool driver_wait(struct driver *v, unsigned n, uint32_t *ret_id, uint32_t *ret_bytes)
{
	int64_t end = driver_now_ms() + 2000;

	while (!driver_used(v, n, ret_id, ret_bytes)) {
		if (driver_now_ms() > end)
			return false;
		loop_once(&v->loop, 10);
	}
	return true;
}

/* Lets the loop do what it has to do. */
static inline void driver_settle(struct driver *v)
{
	for (int i = 0; i < 50 && loop_once(&v->loop, 2) > 0; i++)
		;
}

static inline bool driver_is_broken(const struct driver *v)
{
	return v->device->status & VIRTIO_CONFIG_S_NEEDS_RESET;
}

#endif
