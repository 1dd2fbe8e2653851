/* SPDX-License-Identifier: Apache-2.0 */
/* The balloon against a hostile driver. */
#include "vmm/virtio/balloon.h"
#include "vmm_fuzz.h"

static struct virtio_device *make(struct driver *v, uint8_t choice)
{
	struct balloon_options o = { .target_pages = choice, .no_reporting = choice == 1 };
	struct virtio_device *d;

	if (virtio_balloon_new(&o, &v->memory, &v->loop, &d, NULL) < 0)
		abort();
	return d;
}

/* Inflates with page numbers that may well be memory. */
static void inflate(struct driver *v, struct fuzz_input *in)
{
	uint32_t n = 1 + fuzz_u8(in) % 16, first = fuzz_u16(in);
	uint32_t *pages = driver_ptr(v, 0x80000);

	for (uint32_t i = 0; i < n; i++)
		pages[i] = first + (uint32_t)(int8_t)fuzz_u8(in);
	driver_add(v, 0, &(struct driver_buffer){ 0x80000, n * 4, false }, 1);
	virtio_notify(v->device, 0);
}

static void extra(struct driver *v, struct fuzz_input *in)
{
	switch (fuzz_u8(in) % 3) {
	case 0: inflate(v, in); break;
	case 1: balloon_set_target(v->device, fuzz_u16(in)); break;
	default:
		balloon_poll_stats(v->device);
		balloon_stats(v->device);
		balloon_actual(v->device);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct fuzz_hooks hooks = { .make = make, .extra = extra };

	return fuzz_device(&hooks, data, size);
}
