/* SPDX-License-Identifier: Apache-2.0 */
/* Where everything is in a machine's address space. docs/vmm.md shows it as a map. */
#ifndef PROA_VMM_LAYOUT_H
#define PROA_VMM_LAYOUT_H

/* ---- memory below 1 MiB, filled before the guest starts ---- */
#define LAYOUT_GDT	   0x500
#define LAYOUT_START_INFO  0x6000  /* PVH: struct hvm_start_info, its modules and memory map */
#define LAYOUT_ZERO_PAGE   0x7000  /* Linux: struct boot_params */
#define LAYOUT_PAGE_TABLES 0x9000  /* Linux: six pages */
#define LAYOUT_CMDLINE	   0x20000 /* up to LAYOUT_CMDLINE_MAX bytes with the NUL */
#define LAYOUT_CMDLINE_MAX 0x10000
#define LAYOUT_LOW_END	   0x9fc00 /* memory that a PC would have up to its EBDA */
#define LAYOUT_ACPI	   0xe0000 /* the RSDP, then all tables, up to 1 MiB */
#define LAYOUT_ACPI_END	   0x100000
#define LAYOUT_KERNEL_MIN  0x100000

/* ---- devices below 4 GiB ---- */
#define LAYOUT_PCI_WINDOW     0xc0000000u /* where PCI devices have their registers */
#define LAYOUT_PCI_WINDOW_END 0xcfffffffu
#define LAYOUT_VIRTIO	      0xd0000000u /* virtio-mmio: one page each */
#define LAYOUT_VIRTIO_SIZE    0x1000u
#define LAYOUT_ECAM	      0xe0000000u /* configuration space of PCI bus 0 */
#define LAYOUT_ECAM_SIZE      0x100000u
#define LAYOUT_IOAPIC	      0xfec00000u
#define LAYOUT_LAPIC	      0xfee00000u
#define LAYOUT_IDENTITY_MAP   0xfffbc000u /* KVM's own, for Intel's real mode */
#define LAYOUT_TSS	      0xfffbd000u

/* ---- ports ---- */
#define LAYOUT_SERIAL_PORT	0x3f8
#define LAYOUT_I8042_PORT	0x64
#define LAYOUT_PANIC_PORT	0x505 /* pvpanic */
#define LAYOUT_SLEEP_PORT	0x600 /* ACPI: sleep control and status */
#define LAYOUT_PCI_ADDRESS_PORT 0xcf8
#define LAYOUT_PCI_DATA_PORT	0xcfc

/* ---- interrupts: pins of the I/O APIC ---- */
#define LAYOUT_SERIAL_GSI 4
#define LAYOUT_POWER_GSI  5 /* the power button */
#define LAYOUT_VIRTIO_GSI 6 /* and up: virtio-mmio */
#define LAYOUT_GSI_END	  24
#define LAYOUT_VIRTIO_MAX (LAYOUT_GSI_END - LAYOUT_VIRTIO_GSI)

#endif
