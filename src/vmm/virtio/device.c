/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/virtio/device.h"

#include <errno.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <sys/eventfd.h>
#include "util/err.h"
#include "util/mem.h"

#define BIT(n) (1ull << (n))

void virtio_device_init(struct virtio_device *d, const struct virtio_ops *ops,
			const struct vmm_memory *memory, struct loop *loop, struct virtq *queues,
			unsigned queue_count)
{
	d->ops = ops;
	d->memory = memory;
	d->loop = loop;
	d->queues = queues;
	d->queue_count = queue_count;
	d->later.fd = -EBADF;
	d->features |= BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_INDIRECT_DESC) |
		       BIT(VIRTIO_RING_F_EVENT_IDX);
	for (unsigned i = 0; i < queue_count; i++)
		virtq_reset(&queues[i]);
}

void virtio_read_config(struct virtio_device *d, uint32_t at, void *to, uint32_t bytes)
{
	memset(to, 0, bytes);
	if (at < d->config_bytes)
		memcpy(to, (const uint8_t *)d->config + at, MIN(bytes, d->config_bytes - at));
}

void virtio_write_config(struct virtio_device *d, uint32_t at, const void *from, uint32_t bytes)
{
	if (d->ops->write_config && at < d->config_bytes && bytes <= d->config_bytes - at)
		d->ops->write_config(d, at, from, bytes);
}

uint32_t virtio_offered_features(const struct virtio_device *d, uint32_t word)
{
	return word < 2 ? (uint32_t)(d->features >> (word * 32)) : 0;
}

void virtio_accept_features(struct virtio_device *d, uint32_t word, uint32_t value)
{
	/* section 2.2: once FEATURES_OK is set they are fixed */
	if (word > 1 || d->status & VIRTIO_CONFIG_S_FEATURES_OK)
		return;
	d->driver_features &= ~(0xffffffffull << (word * 32));
	d->driver_features |= (uint64_t)value << (word * 32);
}

static void reset(struct virtio_device *d)
{
	if (d->started && d->ops->stop)
		d->ops->stop(d);
	d->started = false;
	d->status = 0;
	d->driver_features = 0;
	d->later_queues = 0;
	for (unsigned i = 0; i < d->queue_count; i++)
		virtq_reset(&d->queues[i]);
}

/* Only what is offered, and no driver of a time before 1.0. */
static bool features_are_good(const struct virtio_device *d)
{
	return !(d->driver_features & ~d->features) && virtio_has(d, VIRTIO_F_VERSION_1);
}

static void start(struct virtio_device *d)
{
	if (d->started || d->status & VIRTIO_CONFIG_S_NEEDS_RESET)
		return;
	if (!(d->status & VIRTIO_CONFIG_S_FEATURES_OK) || (d->ops->start && d->ops->start(d) < 0)) {
		virtio_broken(d);
		return;
	}
	d->started = true;
	/* chains that were added before this moment came without a notification that counts */
	for (unsigned i = 0; i < d->queue_count; i++)
		if (virtq_has_more(&d->queues[i]))
			virtio_notify(d, i);
}

void virtio_set_status(struct virtio_device *d, uint8_t status)
{
	if (status == 0) {
		reset(d);
		return;
	}
	/* section 2.1.1: bits are only added; NEEDS_RESET is the device's */
	status = (uint8_t)((d->status | status) & ~VIRTIO_CONFIG_S_NEEDS_RESET) |
		 (d->status & VIRTIO_CONFIG_S_NEEDS_RESET);
	if (status & ~d->status & VIRTIO_CONFIG_S_FEATURES_OK && !features_are_good(d))
		status &= (uint8_t)~VIRTIO_CONFIG_S_FEATURES_OK;
	d->status = status;
	if (status & VIRTIO_CONFIG_S_DRIVER_OK)
		start(d);
}

void virtio_set_queue_ready(struct virtio_device *d, unsigned n, bool ready)
{
	struct virtq *q;

	if (n >= d->queue_count)
		return;
	q = &d->queues[n];
	if (!ready) {
		/* not while the device works on it: a reset is the way */
		if (!d->started)
			q->ready = false;
		return;
	}
	/* after DRIVER_OK it is too late: the device has been told which queues there are, and one
	 * that needs a reset must not come to life again by a queue that is set up anew */
	if (q->ready || d->started || d->status & VIRTIO_CONFIG_S_NEEDS_RESET)
		return;
	if (virtq_enable(q, d->memory, virtio_has(d, VIRTIO_RING_F_EVENT_IDX)) < 0)
		virtio_broken(d);
}

void virtio_notify(struct virtio_device *d, unsigned n)
{
	if (d->started && n < d->queue_count && d->queues[n].ready && !d->queues[n].broken &&
	    d->ops->notify)
		d->ops->notify(d, n);
}

void virtio_signal(struct virtio_device *d, unsigned n)
{
	if (virtq_must_interrupt(&d->queues[n]))
		d->interrupt(d, (int)n);
}

void virtio_config_changed(struct virtio_device *d)
{
	d->generation++;
	if (d->status & VIRTIO_CONFIG_S_DRIVER_OK)
		d->interrupt(d, -1);
}

void virtio_broken(struct virtio_device *d)
{
	if (d->status & VIRTIO_CONFIG_S_NEEDS_RESET)
		return;
	d->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	for (unsigned i = 0; i < d->queue_count; i++)
		d->queues[i].broken = true;
	if (d->status & VIRTIO_CONFIG_S_DRIVER_OK)
		d->interrupt(d, -1);
}

int virtio_pop(struct virtio_device *d, unsigned n, struct virtq_chain *ret)
{
	int r = virtq_pop(&d->queues[n], d->memory, ret);

	if (r < 0)
		virtio_broken(d);
	return r == 1;
}

/* ---- work put off ---------------------------------------------------------------------------- */

static void on_later(struct loop_watch *w, uint32_t events _unused_)
{
	struct virtio_device *d = container_of(w, struct virtio_device, later);
	uint64_t queues = d->later_queues, count;

	if (read(w->fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return;
	d->later_queues = 0;
	for (unsigned n = 0; queues; n++, queues >>= 1)
		if (queues & 1)
			virtio_notify(d, n);
}

int virtio_later_init(struct virtio_device *d, struct err *err)
{
	int r;

	d->later = (struct loop_watch){ .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
					.events = EPOLLIN,
					.call = on_later };
	r = d->later.fd < 0 ? -errno : loop_add(d->loop, &d->later);
	return r < 0 ? err_sys(err, -r, "wait for events of a device") : 0;
}

void virtio_later(struct virtio_device *d, unsigned n)
{
	static const uint64_t one = 1;

	/* the only way to fail is a counter near 2^64 */
	if (!d->later_queues && write(d->later.fd, &one, sizeof(one)) < 0)
		return;
	d->later_queues |= BIT(n);
}

void virtio_drain(struct virtio_device *d)
{
	if (d->started && d->ops->drain)
		d->ops->drain(d);
}

void virtio_device_free(struct virtio_device *d)
{
	if (!d)
		return;
	reset(d);
	if (d->transport_free)
		d->transport_free(d);
	loop_remove(d->loop, &d->later);
	d->later.fd = fd_close(d->later.fd);
	d->ops->free(d);
}
