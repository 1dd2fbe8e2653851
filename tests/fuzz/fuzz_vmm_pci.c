/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration space by ports and by memory, the BAR wherever it is, and MSI-X. */
#include "vmm/layout.h"
#include "vmm/pci.h"
#include "vmm/virtio/transport.h"
#include "vmm_fuzz_bus.h"

#define CONFIG (LAYOUT_ECAM + (8ull << 12))

static struct virtio_device *second;

/* Two devices, so that BARs can lie over each other. */
static void attach(struct virtio_device *d)
{
	if (pci_new(&fake.vmm, &fake.vmm.pci, NULL) < 0 ||
	    virtio_pci_attach(&fake.vmm, d, 0, NULL) < 0 ||
	    virtio_rng_new(d->memory, d->loop, &second, NULL) < 0 ||
	    virtio_pci_attach(&fake.vmm, second, 1, NULL) < 0)
		abort();
}

static void done(void)
{
	virtio_device_free(second);
	pci_free(fake.vmm.pci);
}

static void access_pci(struct fuzz_input *in)
{
	uint8_t what = fuzz_u8(in);
	uint16_t at = fuzz_u16(in);
	uint64_t base;

	switch (what % 8) {
	case 0: fuzz_access(&fake.vmm.ports, LAYOUT_PCI_ADDRESS_PORT + at % 8, in); break;
	case 1: fuzz_access(&fake.vmm.mmio, CONFIG + (at & 0xff), in); break;
	case 2: fuzz_access(&fake.vmm.mmio, CONFIG + (8ull << 12) + (at & 0xff), in); break;
	case 3: fuzz_access(&fake.vmm.mmio, LAYOUT_ECAM + at * 16ull, in); break;
	case 4: /* a BAR to one of a few places, and decoding switched on or off */
		base = CONFIG + (what & 8 ? 8ull << 12 : 0);
		fake_write(&fake.vmm.mmio, base + 0x10, LAYOUT_PCI_WINDOW + (at & 3) * 0x8000u, 4);
		fake_write(&fake.vmm.mmio, base + 4, at & 4 ? 2 : 0, 2);
		break;
	default:
		base = LAYOUT_PCI_WINDOW + (what >> 6) * 0x8000u;
		fuzz_access(&fake.vmm.mmio, base + (at & 0x7fff), in);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct fuzz_bus pci = { .attach = attach, .access = access_pci, .done = done };

	return fuzz_bus(&pci, data, size);
}
