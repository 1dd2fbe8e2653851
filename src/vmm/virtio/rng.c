/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/virtio/rng.h"

#include <errno.h>
#include <sys/random.h>
#include "util/err.h"
#include "util/mem.h"

#define RNG_QUEUE_SIZE 64
#define RNG_ROUND      64 /* requests served before others have a turn */

struct rng {
	struct virtio_device device;
	struct virtq queue;
	struct virtq_chain chain;
};

/* Fills what was asked for, as far as the bound goes. Returns the bytes. */
static uint32_t fill(const struct virtq_chain *c)
{
	uint8_t bytes[RNG_REQUEST_BYTES];
	size_t want = MIN(c->write_bytes, sizeof(bytes));
	ssize_t got = want ? getrandom(bytes, want, 0) : 0;

	/* interrupted or refused: the driver gets fewer bytes, and asks again */
	return got > 0 ? (uint32_t)iov_write(c->write, c->write_count, 0, bytes, (size_t)got) : 0;
}

static void rng_notify(struct virtio_device *d, unsigned n)
{
	struct rng *g = container_of(d, struct rng, device);
	unsigned served = 0;

	virtq_notifications(&g->queue, false);
	do
		while (served < RNG_ROUND && virtio_pop(d, n, &g->chain)) {
			virtq_push(&g->queue, g->chain.head, fill(&g->chain));
			served++;
		}
	while (served < RNG_ROUND && virtq_notifications(&g->queue, true));
	if (served >= RNG_ROUND)
		virtio_later(d, n);
	virtio_signal(d, n);
}

static void rng_free(struct virtio_device *d)
{
	free(container_of(d, struct rng, device));
}

static const struct virtio_ops rng_ops = {
	.name = "rng",
	.id = VIRTIO_ID_RNG,
	.notify = rng_notify,
	.free = rng_free,
};

int virtio_rng_new(const struct vmm_memory *memory, struct loop *loop, struct virtio_device **ret,
		   struct err *err)
{
	struct rng *g = calloc(1, sizeof(*g));
	int r;

	if (!g)
		return err_set(err, ENOMEM, "out of memory");
	g->queue.size_max = RNG_QUEUE_SIZE;
	virtio_device_init(&g->device, &rng_ops, memory, loop, &g->queue, 1);
	r = virtio_later_init(&g->device, err);
	if (r < 0) {
		virtio_device_free(&g->device);
		return r;
	}
	*ret = &g->device;
	return 0;
}
