/* SPDX-License-Identifier: Apache-2.0 */
/* What the machine is made of, as the guest's kernel reads it: ACPI 6.4 tables, hardware-reduced.
 */
#ifndef PROA_VMM_BOOT_ACPI_H
#define PROA_VMM_BOOT_ACPI_H

#include "vmm/memory.h"

struct err;

struct acpi_machine {
	unsigned cpus;
	unsigned mmio_devices; /* virtio-mmio: device N at LAYOUT_VIRTIO + N pages,
				* LAYOUT_VIRTIO_GSI + N
				*/
	bool pci;	       /* there is a host bridge */
	bool serial;
};

/* Writes all tables to LAYOUT_ACPI, the RSDP first. 0 or -errno. */
int acpi_write(const struct acpi_machine *a, struct vmm_memory *m, struct err *err);

#endif
