/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-mmio, version 2 (virtio 1.2, section 4.2): a page of registers and one edge-triggered
 * interrupt. What the driver reads and writes at each interrupt, status and acknowledgement, is
 * answered without the machine's lock.
 *
 * A device whose queues another process serves interrupts by that process writing to our irqfd; no
 * bit is set then, so for such a device "a queue has news" always reads as set. Drivers look into
 * their queues on it and find nothing, at worst.
 */
#include <errno.h>
#include <linux/virtio_mmio.h>
#include <stdlib.h>
#include <string.h>
#include "util/err.h"
#include "util/mem.h"
#include "vmm/layout.h"
#include "vmm/virtio/device.h"
#include "vmm/virtio/kick.h"
#include "vmm/virtio/transport.h"
#include "vmm/vmm.h"

#define MAGIC	 0x74726976 /* "virt" */
#define VERSION	 2
#define VENDOR	 0x414f5250 /* "PROA" */
#define NO_QUEUE 0xffff

struct virtio_mmio {
	struct bus_range range;
	struct vmm *vmm;
	struct virtio_device *device;
	int irq_fd;
	uint32_t pending;  /* interrupt status; changed without the lock */
	uint32_t external; /* bits that always read as set; likewise */
	uint32_t device_word, driver_word, queue;
	struct virtio_kick kicks[KICK_QUEUES_MAX];
};

static void raise(struct virtio_device *d, int n)
{
	struct virtio_mmio *t = d->transport;
	uint64_t one = 1;

	__atomic_fetch_or(&t->pending, n < 0 ? VIRTIO_MMIO_INT_CONFIG : VIRTIO_MMIO_INT_VRING,
			  __ATOMIC_SEQ_CST);
	(void)!write(t->irq_fd, &one, sizeof(one));
}

static struct virtq *selected(struct virtio_mmio *t)
{
	return t->queue < t->device->queue_count ? &t->device->queues[t->queue] : NULL;
}

static bool mmio_fast_read(struct bus_range *r, uint64_t at, void *to, uint32_t bytes)
{
	struct virtio_mmio *t = container_of(r, struct virtio_mmio, range);
	uint32_t value;

	if (at != VIRTIO_MMIO_INTERRUPT_STATUS || bytes != 4)
		return false;
	value = __atomic_load_n(&t->pending, __ATOMIC_SEQ_CST) |
		__atomic_load_n(&t->external, __ATOMIC_SEQ_CST);
	memcpy(to, &value, 4);
	return true;
}

static bool mmio_fast_write(struct bus_range *r, uint64_t at, const void *from, uint32_t bytes)
{
	struct virtio_mmio *t = container_of(r, struct virtio_mmio, range);
	uint32_t value;

	if (at != VIRTIO_MMIO_INTERRUPT_ACK || bytes != 4)
		return false;
	memcpy(&value, from, 4);
	__atomic_fetch_and(&t->pending, ~value, __ATOMIC_SEQ_CST);
	return true;
}

static uint32_t read_register(struct virtio_mmio *t, uint64_t at)
{
	struct virtio_device *d = t->device;
	struct virtq *q = selected(t);

	switch (at) {
	case VIRTIO_MMIO_MAGIC_VALUE: return MAGIC;
	case VIRTIO_MMIO_VERSION: return VERSION;
	case VIRTIO_MMIO_DEVICE_ID: return d->ops->id;
	case VIRTIO_MMIO_VENDOR_ID: return VENDOR;
	case VIRTIO_MMIO_DEVICE_FEATURES: return virtio_offered_features(d, t->device_word);
	case VIRTIO_MMIO_QUEUE_NUM_MAX: return q ? q->size_max : 0;
	case VIRTIO_MMIO_QUEUE_READY: return q && q->ready;
	case VIRTIO_MMIO_STATUS: return d->status;
	case VIRTIO_MMIO_CONFIG_GENERATION: return d->generation;
	/* no shared memory: a length of all ones (section 4.2.2.1) */
	case VIRTIO_MMIO_SHM_LEN_LOW:
	case VIRTIO_MMIO_SHM_LEN_HIGH:
	case VIRTIO_MMIO_SHM_BASE_LOW:
	case VIRTIO_MMIO_SHM_BASE_HIGH: return UINT32_MAX;
	default: return 0;
	}
}

static void mmio_read(struct bus_range *r, uint64_t at, void *to, uint32_t bytes)
{
	struct virtio_mmio *t = container_of(r, struct virtio_mmio, range);
	uint32_t value;

	memset(to, 0, bytes);
	if (at >= VIRTIO_MMIO_CONFIG) {
		virtio_read_config(t->device, (uint32_t)(at - VIRTIO_MMIO_CONFIG), to, bytes);
	} else if (bytes == 4 && at % 4 == 0) {
		value = read_register(t, at);
		memcpy(to, &value, 4);
	}
}

/* What describes a queue; fixed once it is ready. */
static void write_queue_register(struct virtq *q, uint64_t at, uint32_t value)
{
	if (!q || q->ready)
		return;
	switch (at) {
	case VIRTIO_MMIO_QUEUE_NUM: q->size = (uint16_t)MIN(value, (uint32_t)NO_QUEUE); break;
	case VIRTIO_MMIO_QUEUE_DESC_LOW: virtq_set_half(&q->desc_at, value, false); break;
	case VIRTIO_MMIO_QUEUE_DESC_HIGH: virtq_set_half(&q->desc_at, value, true); break;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW: virtq_set_half(&q->avail_at, value, false); break;
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH: virtq_set_half(&q->avail_at, value, true); break;
	case VIRTIO_MMIO_QUEUE_USED_LOW: virtq_set_half(&q->used_at, value, false); break;
	case VIRTIO_MMIO_QUEUE_USED_HIGH: virtq_set_half(&q->used_at, value, true); break;
	default: break;
	}
}

static void write_register(struct virtio_mmio *t, uint64_t at, uint32_t value)
{
	struct virtio_device *d = t->device;

	switch (at) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL: t->device_word = value; break;
	case VIRTIO_MMIO_DRIVER_FEATURES: virtio_accept_features(d, t->driver_word, value); break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL: t->driver_word = value; break;
	case VIRTIO_MMIO_QUEUE_SEL: t->queue = value; break;
	case VIRTIO_MMIO_QUEUE_READY:
		if (value <= 1)
			virtio_set_queue_ready(d, t->queue, value);
		break;
	/* comes here only if KVM could not tell the queue by the value */
	case VIRTIO_MMIO_QUEUE_NOTIFY: kick_by_hand(t->kicks, d, value); break;
	case VIRTIO_MMIO_STATUS:
		virtio_set_status(d, (uint8_t)value);
		if (!(uint8_t)value)
			__atomic_store_n(&t->pending, 0, __ATOMIC_SEQ_CST);
		break;
	default: write_queue_register(selected(t), at, value); break;
	}
}

static void mmio_write(struct bus_range *r, uint64_t at, const void *from, uint32_t bytes)
{
	struct virtio_mmio *t = container_of(r, struct virtio_mmio, range);
	uint32_t value;

	if (at >= VIRTIO_MMIO_CONFIG) {
		virtio_write_config(t->device, (uint32_t)(at - VIRTIO_MMIO_CONFIG), from, bytes);
	} else if (bytes == 4 && at % 4 == 0) {
		memcpy(&value, from, 4);
		write_register(t, at, value);
	}
}

static int mmio_kick_fd(struct virtio_device *d, unsigned n)
{
	struct virtio_mmio *t = d->transport;

	kick_unwatch(&t->kicks[n]);
	return t->kicks[n].watch.fd;
}

static int mmio_call_fd(struct virtio_device *d, unsigned n _unused_)
{
	struct virtio_mmio *t = d->transport;

	__atomic_store_n(&t->external, VIRTIO_MMIO_INT_VRING, __ATOMIC_SEQ_CST);
	return t->irq_fd;
}

static const struct bus_ops mmio_ops = { .read = mmio_read,
					 .write = mmio_write,
					 .fast_read = mmio_fast_read,
					 .fast_write = mmio_fast_write };

static void mmio_free(struct virtio_device *d)
{
	struct virtio_mmio *t = d->transport;

	kick_done(t->kicks, d);
	bus_remove(&t->vmm->mmio, &t->range);
	fd_close(t->irq_fd);
	free(t);
}

static int register_kicks(struct virtio_mmio *t)
{
	int r = kick_init(t->kicks, t->device);

	for (unsigned i = 0; r == 0 && i < t->device->queue_count; i++)
		r = vmm_ioeventfd_set(t->vmm, t->kicks[i].watch.fd,
				      t->range.start + VIRTIO_MMIO_QUEUE_NOTIFY, 4, i, true);
	return r;
}

int virtio_mmio_attach(struct vmm *v, struct virtio_device *d, unsigned slot, struct err *err)
{
	struct virtio_mmio *t;
	int r;

	if (slot >= LAYOUT_VIRTIO_MAX || d->queue_count > KICK_QUEUES_MAX)
		return err_set(err, ENOSPC, "a machine has room for %d virtio-mmio devices",
			       LAYOUT_VIRTIO_MAX);
	t = calloc(1, sizeof(*t));
	if (!t)
		return err_set(err, ENOMEM, "out of memory");
	t->vmm = v;
	t->device = d;
	t->range = (struct bus_range){ .start = LAYOUT_VIRTIO + (uint64_t)slot * LAYOUT_VIRTIO_SIZE,
				       .bytes = LAYOUT_VIRTIO_SIZE,
				       .ops = &mmio_ops };
	d->transport = t;
	d->interrupt = raise;
	d->kick_fd = mmio_kick_fd;
	d->call_fd = mmio_call_fd;
	d->transport_free = mmio_free;
	t->irq_fd = vmm_irqfd(v, LAYOUT_VIRTIO_GSI + slot);
	r = t->irq_fd < 0 ? t->irq_fd : register_kicks(t);
	if (r == 0)
		r = bus_add(&v->mmio, &t->range);
	return r < 0 ? err_sys(err, -r, "make the device \"%s\" reachable", d->ops->name) : 0;
}
