/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration space of bus 0 (PCI Local Bus 3.0, section 6; PCI Firmware 3.2 for the ECAM): an
 * array of bytes for each function, and a mask of those bits that the guest may change. What a
 * function is sits in its bytes; what happens when they change is the function's.
 */
#include "vmm/pci.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "util/err.h"
#include "util/mem.h"
#include "vmm/layout.h"
#include "vmm/vmm.h"

#define ECAM_FUNCTION_BYTES 4096
#define ADDRESS_ENABLE	    0x80000000u
#define HOST_VENDOR	    0x1b36 /* of the open PCI IDs: a generic host bridge */
#define HOST_DEVICE	    0x0008

struct vmm_pci {
	struct vmm *vmm;
	struct bus_range ecam, address_port, data_port;
	uint32_t address; /* what was last written to port 0xcf8 */
	struct pci_function host;
	struct pci_function *slots[PCI_SLOTS];
};

static void config_read(struct pci_function *f, uint32_t at, void *to, uint32_t bytes)
{
	if (!f) {
		memset(to, 0xff, bytes);
		return;
	}
	memset(to, 0, bytes);
	if (at >= PCI_CONFIG_BYTES || bytes > PCI_CONFIG_BYTES - at)
		return;
	if (f->read)
		f->read(f, at, bytes);
	memcpy(to, f->config + at, bytes);
}

static void config_write(struct pci_function *f, uint32_t at, const uint8_t *from, uint32_t bytes)
{
	if (!f || at >= PCI_CONFIG_BYTES || bytes > PCI_CONFIG_BYTES - at)
		return;
	for (uint32_t i = 0; i < bytes; i++) {
		uint8_t may = f->writable[at + i];

		f->config[at + i] = (uint8_t)((f->config[at + i] & ~may) | (from[i] & may));
	}
	if (f->written)
		f->written(f, at, bytes);
}

/* Function 0 of a slot of bus 0, or NULL. */
static struct pci_function *function_at(struct vmm_pci *p, uint32_t bus, uint32_t devfn)
{
	return bus || devfn % 8 ? NULL : p->slots[devfn / 8 % PCI_SLOTS];
}

static void ecam_read(struct bus_range *r, uint64_t at, void *to, uint32_t bytes)
{
	struct vmm_pci *p = container_of(r, struct vmm_pci, ecam);

	config_read(function_at(p, 0, (uint32_t)(at / ECAM_FUNCTION_BYTES)),
		    (uint32_t)(at % ECAM_FUNCTION_BYTES), to, bytes);
}

static void ecam_write(struct bus_range *r, uint64_t at, const void *from, uint32_t bytes)
{
	struct vmm_pci *p = container_of(r, struct vmm_pci, ecam);

	config_write(function_at(p, 0, (uint32_t)(at / ECAM_FUNCTION_BYTES)),
		     (uint32_t)(at % ECAM_FUNCTION_BYTES), from, bytes);
}

static void address_read(struct bus_range *r, uint64_t at, void *to, uint32_t bytes)
{
	struct vmm_pci *p = container_of(r, struct vmm_pci, address_port);

	memset(to, 0, bytes);
	if (at == 0)
		memcpy(to, &p->address, MIN(bytes, 4u));
}

static void address_write(struct bus_range *r, uint64_t at, const void *from, uint32_t bytes)
{
	struct vmm_pci *p = container_of(r, struct vmm_pci, address_port);

	if (at == 0 && bytes == 4)
		memcpy(&p->address, from, 4);
}

static struct pci_function *addressed(struct vmm_pci *p)
{
	if (!(p->address & ADDRESS_ENABLE))
		return NULL;
	return function_at(p, p->address >> 16 & 0xff, p->address >> 8 & 0xff);
}

static void data_read(struct bus_range *r, uint64_t at, void *to, uint32_t bytes)
{
	struct vmm_pci *p = container_of(r, struct vmm_pci, data_port);

	config_read(addressed(p), (p->address & 0xfc) + (uint32_t)at, to, bytes);
}

static void data_write(struct bus_range *r, uint64_t at, const void *from, uint32_t bytes)
{
	struct vmm_pci *p = container_of(r, struct vmm_pci, data_port);

	config_write(addressed(p), (p->address & 0xfc) + (uint32_t)at, from, bytes);
}

static const struct bus_ops ecam_ops = { .read = ecam_read, .write = ecam_write };
static const struct bus_ops address_ops = { .read = address_read, .write = address_write };
static const struct bus_ops data_ops = { .read = data_read, .write = data_write };

int pci_add(struct vmm_pci *p, unsigned slot, struct pci_function *f)
{
	if (slot >= PCI_SLOTS || p->slots[slot])
		return -ENOSPC;
	p->slots[slot] = f;
	return 0;
}

void pci_remove(struct vmm_pci *p, struct pci_function *f)
{
	for (unsigned i = 0; p && i < PCI_SLOTS; i++)
		if (p->slots[i] == f)
			p->slots[i] = NULL;
}

int pci_new(struct vmm *v, struct vmm_pci **ret, struct err *err)
{
	struct vmm_pci *p = calloc(1, sizeof(*p));
	uint16_t ids[2] = { HOST_VENDOR, HOST_DEVICE };

	if (!p)
		return err_set(err, ENOMEM, "out of memory");
	p->vmm = v;
	memcpy(p->host.config, ids, sizeof(ids));
	p->host.config[0x0b] = 6; /* class: bridge, subclass 0: host */
	p->slots[0] = &p->host;
	p->ecam = (struct bus_range){ LAYOUT_ECAM, LAYOUT_ECAM_SIZE, &ecam_ops };
	p->address_port = (struct bus_range){ LAYOUT_PCI_ADDRESS_PORT, 4, &address_ops };
	p->data_port = (struct bus_range){ LAYOUT_PCI_DATA_PORT, 4, &data_ops };
	if (bus_add(&v->mmio, &p->ecam) < 0 || bus_add(&v->ports, &p->address_port) < 0 ||
	    bus_add(&v->ports, &p->data_port) < 0) {
		free(p);
		return err_set(err, ENOSPC, "make the PCI bus: too many devices");
	}
	*ret = p;
	return 0;
}

void pci_free(struct vmm_pci *p)
{
	if (!p)
		return;
	bus_remove(&p->vmm->mmio, &p->ecam);
	bus_remove(&p->vmm->ports, &p->address_port);
	bus_remove(&p->vmm->ports, &p->data_port);
	free(p);
}
