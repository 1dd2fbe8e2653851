/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The entropy device (virtio 1.2, section 5.4): one queue of buffers that are filled from the
 * host's getrandom(2). A request gets at most RNG_REQUEST_BYTES, and a round of the loop serves a
 * bounded number of them, so that a guest in love with random numbers costs nobody else anything.
 */
#ifndef PROA_VMM_VIRTIO_RNG_H
#define PROA_VMM_VIRTIO_RNG_H

#include "vmm/virtio/device.h"

#define RNG_REQUEST_BYTES 4096

int virtio_rng_new(const struct vmm_memory *memory, struct loop *loop, struct virtio_device **ret,
		   struct err *err);

#endif
