/* SPDX-License-Identifier: Apache-2.0 */
/*
 * KVM's table of interrupt routes, which can only be set as a whole: the pins of the I/O APIC, and
 * for each PCI device its MSI-X vectors. A vector's number in it (gsi) never changes.
 */
#ifndef PROA_VMM_VIRTIO_ROUTES_H
#define PROA_VMM_VIRTIO_ROUTES_H

#include <stdbool.h>
#include <stdint.h>

struct vmm;

#define ROUTES_DEVICES	  32
#define ROUTES_PER_DEVICE 24

struct route {
	uint32_t address_low, address_high, data;
	bool on;
};

unsigned routes_gsi(unsigned device, unsigned vector);
/* Sets the vectors of one device. 0 or -errno. The lock is held. */
int routes_set(struct vmm *v, unsigned device, const struct route *routes, unsigned count);

#endif
