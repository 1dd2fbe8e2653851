/* SPDX-License-Identifier: Apache-2.0 */
/* The block device against a hostile driver, synchronous and with io_uring. */
#include <linux/virtio_blk.h>
#include "util/linux.h"
#include "vmm/virtio/blk.h"
#include "vmm_fuzz.h"

#define DISK_BYTES (64u << 10)

static struct virtio_device *make(struct driver *v, uint8_t choice)
{
	struct blk_options o = { .read_only = choice & 1,
				 .no_flush = choice & 2,
				 .no_discard = choice & 4,
				 .queues = 1 + (choice >> 3 & 1),
				 .no_uring = choice & 0x30,
				 .serial = "fuzz" };
	struct virtio_device *d;

	o.fd = sys_memfd_create("disk", 1);
	if (o.fd < 0 || ftruncate(o.fd, DISK_BYTES) < 0 ||
	    virtio_blk_new(&o, &v->memory, &v->loop, &d, NULL) < 0)
		abort();
	return d;
}

/* A request that makes sense, nearly. */
static void extra(struct driver *v, struct fuzz_input *in)
{
	static const uint32_t types[] = { VIRTIO_BLK_T_IN,	     VIRTIO_BLK_T_OUT,
					  VIRTIO_BLK_T_FLUSH,	     VIRTIO_BLK_T_GET_ID,
					  VIRTIO_BLK_T_DISCARD,	     VIRTIO_BLK_T_WRITE_ZEROES,
					  VIRTIO_BLK_T_SECURE_ERASE, VIRTIO_BLK_T_IN };
	uint8_t how = fuzz_u8(in);
	struct virtio_blk_outhdr h = { .type = types[how & 7], .sector = fuzz_u8(in) };
	struct virtio_blk_discard_write_zeroes r = { .num_sectors = fuzz_u8(in),
						     .flags = how >> 7 };
	uint32_t bytes = (uint32_t)fuzz_u8(in) * (how & 0x40 ? 16 : 512);
	bool in_ = h.type == VIRTIO_BLK_T_IN || h.type == VIRTIO_BLK_T_GET_ID;
	struct driver_buffer b[] = { { 0x80000, 16, false },
				     { 0x81000, bytes, in_ },
				     { 0x80010, 1, true } };
	unsigned n = how >> 3 & 1 ? v->device->queue_count - 1 : 0;

	r.sector = h.sector;
	memcpy(driver_ptr(v, 0x80000), &h, sizeof(h));
	memcpy(driver_ptr(v, 0x81000), &r, sizeof(r));
	driver_add(v, n, b, 3);
	if (how & 0x20)
		virtio_notify(v->device, n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct fuzz_hooks hooks = { .make = make, .extra = extra };

	return fuzz_device(&hooks, data, size);
}
