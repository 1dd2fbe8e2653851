/* SPDX-License-Identifier: Apache-2.0 */
/* A PCI bus without bridges: configuration space by ports and by memory (ECAM). */
#ifndef PROA_VMM_PCI_H
#define PROA_VMM_PCI_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct vmm;
struct vmm_pci;

#define PCI_CONFIG_BYTES 256
#define PCI_SLOTS	 32

/* A function: its configuration space, which of its bits the guest may write, and one BAR. */
struct pci_function {
	uint8_t config[PCI_CONFIG_BYTES];
	uint8_t writable[PCI_CONFIG_BYTES];
	/* After a write to bytes @at…: the function may look at what changed. May be NULL. */
	void (*written)(struct pci_function *f, uint32_t at, uint32_t bytes);
	void (*read)(struct pci_function *f, uint32_t at, uint32_t bytes); /* before a read; NULL */
};

int pci_new(struct vmm *v, struct vmm_pci **ret, struct err *err);
/* Puts the function into slot @slot (1…31; 0 is the host bridge). It must stay where it is. */
int pci_add(struct vmm_pci *p, unsigned slot, struct pci_function *f);
void pci_remove(struct vmm_pci *p, struct pci_function *f);
void pci_free(struct vmm_pci *p);

#endif
