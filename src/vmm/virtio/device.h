/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all virtio devices have in common (virtio 1.2, section 2): status, features, queues and a
 * configuration space, as a state machine that the transports (mmio.c, pci.c) drive and the devices
 * (one file each, ending in a table of struct virtio_ops) fill with life.
 *
 * Threads: a vCPU's access to a register runs in that vCPU's thread, everything else in the main
 * thread's loop; both hold the machine's lock, so that a device never runs twice at a time.
 * A device may call loop_add(), loop_set() and loop_remove() in all of its functions.
 *
 * Fairness: a device works for a bounded time in notify() and in its watches; what is left then it
 * puts off with virtio_later(), so that no guest keeps the loop from its other work.
 */
#ifndef PROA_VMM_VIRTIO_DEVICE_H
#define PROA_VMM_VIRTIO_DEVICE_H

#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include "util/loop.h"
#include "vmm/virtio/queue.h"

struct err;
struct virtio_device;

struct virtio_ops {
	const char *name; /* "blk" */
	uint32_t id;	  /* section 5 */
	/* A write to the configuration space. NULL: it is read-only. */
	void (*write_config)(struct virtio_device *d, uint32_t at, const void *from,
			     uint32_t bytes);
	/* DRIVER_OK: features are agreed on, queues that the driver wants are ready. May be NULL.
	 * -errno: the device needs a reset. */
	int (*start)(struct virtio_device *d);
	/* After it returns, the device touches no memory of the guest until it is started again.
	 * Called only when it was started. */
	void (*stop)(struct virtio_device *d);
	/* The driver added chains to queue @n. Called only while it is started. */
	void (*notify)(struct virtio_device *d, unsigned n);
	/* The guest has ended: what its driver had handed over before is still sent, if that takes
	 * no long time. Called only while it is started; may be NULL. */
	void (*drain)(struct virtio_device *d);
	/* Frees it (stopped before). */
	void (*free)(struct virtio_device *d);
};

/* Embedded in each device's own struct; everything is set by the device's constructor or by
 * device.c. */
struct virtio_device {
	const struct virtio_ops *ops;
	const struct vmm_memory *memory;
	struct loop *loop;
	/* offered: VIRTIO_F_VERSION_1, INDIRECT_DESC and EVENT_IDX are added by device.c */
	uint64_t features;
	const void *config; /* the configuration space, little-endian */
	uint32_t config_bytes;
	struct virtq *queues; /* of the device's struct; size_max of each is set */
	unsigned queue_count;

	uint64_t driver_features; /* agreed on once FEATURES_OK is set */
	uint8_t status;
	bool started;
	uint8_t generation; /* of the configuration space */

	/* of device.c: queues whose notify() was put off to a later round of the loop */
	struct loop_watch later;
	uint64_t later_queues;

	/* of the transport: raises the interrupt of queue @n, or of the configuration (-1) */
	void (*interrupt)(struct virtio_device *d, int n);
	/* of the transport: asked by a device whose queues another process serves (vhost-user).
	 * Eventfds, the transport's own: what kicks queue @n, and what interrupts for it. */
	int (*kick_fd)(struct virtio_device *d, unsigned n);
	int (*call_fd)(struct virtio_device *d, unsigned n);
	void (*transport_free)(struct virtio_device *d); /* NULL: none */
	void *transport;
};

/* Common part of a constructor. @memory and @loop must outlive it. */
void virtio_device_init(struct virtio_device *d, const struct virtio_ops *ops,
			const struct vmm_memory *memory, struct loop *loop, struct virtq *queues,
			unsigned queue_count);

/* Makes virtio_later() possible: an eventfd in the loop, closed by virtio_device_free(). */
int virtio_later_init(struct virtio_device *d, struct err *err);

/* Has the driver accepted this feature (a bit number)? */
static inline bool virtio_has(const struct virtio_device *d, unsigned bit)
{
	return d->driver_features >> bit & 1;
}

/* ---- for devices ---- */

/* Tells the driver of what was pushed to queue @n, if it wants to know. */
void virtio_signal(struct virtio_device *d, unsigned n);
/* The configuration space changed: tells the driver. */
void virtio_config_changed(struct virtio_device *d);
/* The driver broke a rule: DEVICE_NEEDS_RESET is set and the driver told (section 2.1.2). */
void virtio_broken(struct virtio_device *d);
/* virtq_pop() on queue @n that calls virtio_broken() when it must: 1 or 0. */
int virtio_pop(struct virtio_device *d, unsigned n, struct virtq_chain *ret);

/* Calls notify() for queue @n (below 64) once more, in a later round of the loop. */
void virtio_later(struct virtio_device *d, unsigned n);

/* ---- for transports ---- */

void virtio_read_config(struct virtio_device *d, uint32_t at, void *to, uint32_t bytes);
void virtio_write_config(struct virtio_device *d, uint32_t at, const void *from, uint32_t bytes);
/* @word 0 or 1: bits 0…31 or 32…63 of what is offered. */
uint32_t virtio_offered_features(const struct virtio_device *d, uint32_t word);
void virtio_accept_features(struct virtio_device *d, uint32_t word, uint32_t value);
/* The driver writes the status; 0 is a reset. */
void virtio_set_status(struct virtio_device *d, uint8_t status);
/* The driver says that a queue is set up (@ready), or takes it back. */
void virtio_set_queue_ready(struct virtio_device *d, unsigned n, bool ready);
/* A kick; ignored while the device is not started. */
void virtio_notify(struct virtio_device *d, unsigned n);

/* No processor runs any more, the queues are as they were left. */
void virtio_drain(struct virtio_device *d);
/* Frees the device (may be NULL) and its transport. */
void virtio_device_free(struct virtio_device *d);

#endif
