/* SPDX-License-Identifier: Apache-2.0 */
/* The registers of virtio-mmio, and through them the status machine, against a hostile guest. */
#include "vmm/layout.h"
#include "vmm/virtio/transport.h"
#include "vmm_fuzz_bus.h"

static void attach(struct virtio_device *d)
{
	if (virtio_mmio_attach(&fake.vmm, d, 0, NULL) < 0)
		abort();
}

static void access_registers(struct fuzz_input *in)
{
	uint16_t at = fuzz_u16(in);

	/* mostly registers that there are, mostly aligned */
	if (at & 0x8000)
		at &= 0xffc;
	else
		at &= 0x1fc | (at >> 12 & 3);
	fuzz_access(&fake.vmm.mmio, LAYOUT_VIRTIO + at, in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct fuzz_bus mmio = { .attach = attach, .access = access_registers };

	return fuzz_bus(&mmio, data, size);
}
