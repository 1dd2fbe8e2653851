/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the guest reaches a virtio device: by a page of registers (mmio.c, virtio 1.2 section 4.2) or
 * as a PCI function with MSI-X (pci.c, section 4.1). Both do the same: registers drive device.c, a
 * write to the notify register makes an eventfd ready (ioeventfd), and interrupts are raised
 * through eventfds (irqfd), so that neither a kick nor an interrupt passes through the other's
 * thread.
 */
#ifndef PROA_VMM_VIRTIO_TRANSPORT_H
#define PROA_VMM_VIRTIO_TRANSPORT_H

struct err;
struct vmm;
struct virtio_device;

/* Makes the device reachable as number @slot. */
int virtio_mmio_attach(struct vmm *v, struct virtio_device *d, unsigned slot, struct err *err);
int virtio_pci_attach(struct vmm *v, struct virtio_device *d, unsigned slot, struct err *err);

#endif
