/* SPDX-License-Identifier: Apache-2.0 */
/* The eventfds by which the driver kicks a device's queues, watched by the loop. */
#ifndef PROA_VMM_VIRTIO_KICK_H
#define PROA_VMM_VIRTIO_KICK_H

#include "util/loop.h"
#include "vmm/virtio/device.h"

#define KICK_QUEUES_MAX 32

struct virtio_kick {
	struct loop_watch watch;
	struct virtio_device *device;
	unsigned queue;
};

/* Makes and watches one for each queue of @d. 0 or -errno; kick_done() in any case. */
int kick_init(struct virtio_kick *kicks, struct virtio_device *d);
void kick_done(struct virtio_kick *kicks, struct virtio_device *d);
/* The driver's kick came as an access to the register, not by KVM: queue @n, which need not exist.
 */
void kick_by_hand(struct virtio_kick *kicks, struct virtio_device *d, uint32_t n);
/* Another process serves queue @n: no more watched here. */
void kick_unwatch(struct virtio_kick *k);

#endif
