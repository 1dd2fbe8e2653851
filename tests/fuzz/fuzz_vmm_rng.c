/* SPDX-License-Identifier: Apache-2.0 */
/* The entropy device against a hostile driver. */
#include "vmm/virtio/rng.h"
#include "vmm_fuzz.h"

static struct virtio_device *make(struct driver *v, uint8_t choice _unused_)
{
	struct virtio_device *d;

	if (virtio_rng_new(&v->memory, &v->loop, &d, NULL) < 0)
		abort();
	return d;
}

static void extra(struct driver *v, struct fuzz_input *in)
{
	for (unsigned n = fuzz_u8(in); n; n--)
		driver_offer(v, 0, (uint16_t)(n % v->queues[0].size));
	virtio_notify(v->device, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct fuzz_hooks hooks = { .make = make, .extra = extra };

	return fuzz_device(&hooks, data, size);
}
