/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/virtio/balloon.h"

#include <errno.h>
#include <linux/virtio_balloon.h>
#include "util/err.h"
#include "util/mem.h"

#define BALLOON_QUEUE_SIZE 128
#define BALLOON_ROUND	   32	/* chains handled before others have a turn */
#define BALLOON_PFNS_MAX   4096 /* in a chain; Linux puts 256 there */

enum { QUEUE_INFLATE, QUEUE_DEFLATE, QUEUE_STATS, QUEUE_REPORTING, QUEUES };

/* Of the configuration space: what a driver without other features may see. */
#define CONFIG_BYTES (offsetof(struct virtio_balloon_config, actual) + 4)

struct balloon {
	struct virtio_device device;
	struct virtq queues[QUEUES];
	struct virtio_balloon_config config;
	struct balloon_stats stats;
	int stats_head; /* the buffer that is kept until the next question; -1: none */
	uint64_t reported_bytes;
	struct virtq_chain chain;
};

static struct balloon *balloon_of(const struct virtio_device *d)
{
	return container_of(d, struct balloon, device);
}

/* ---- pages ---------------------------------------------------------------------------------- */

/* Pages that follow one another, up or down, so that one system call does for all. */
struct run {
	uint64_t first, count;
};

static void run_end(const struct vmm_memory *m, struct run *run)
{
	/* pages that are no memory are the driver's mistake and harm nobody: -EFAULT */
	if (run->count)
		(void)memory_discard(m, run->first * 4096, run->count * 4096);
	run->count = 0;
}

static void run_add(const struct vmm_memory *m, struct run *run, uint64_t page)
{
	if (run->count && page == run->first + run->count) {
		run->count++;
	} else if (run->count && page + 1 == run->first) {
		run->first--;
		run->count++;
	} else {
		run_end(m, run);
		*run = (struct run){ .first = page, .count = 1 };
	}
}

static void inflate(const struct virtio_device *d, const struct virtq_chain *c)
{
	size_t count = MIN(c->read_bytes / sizeof(uint32_t), BALLOON_PFNS_MAX);
	struct run run = { 0 };
	uint32_t pages[256];

	for (size_t at = 0; at < count;) {
		size_t n = MIN(count - at, ARRAY_SIZE(pages));

		iov_read(c->read, c->read_count, at * sizeof(uint32_t), pages,
			 n * sizeof(uint32_t));
		for (size_t i = 0; i < n; i++)
			if (memory_at(d->memory, (gpa_t)pages[i] * 4096, 4096))
				run_add(d->memory, &run, pages[i]);
		at += n;
	}
	run_end(d->memory, &run);
}

static void report(struct balloon *b, const struct virtq_chain *c)
{
	for (unsigned i = 0; i < c->read_count + c->write_count; i++) {
		const struct iovec *v = &c->iov[i];

		if (memory_discard_inside(b->device.memory, v->iov_base, v->iov_len) == 0)
			b->reported_bytes += v->iov_len & ~(size_t)4095;
	}
}

/* ---- statistics ----------------------------------------------------------------------------- */

static void take_stats(struct balloon *b, const struct virtq_chain *c)
{
	static const size_t fields[VIRTIO_BALLOON_S_NR] = {
		[VIRTIO_BALLOON_S_SWAP_IN] = offsetof(struct balloon_stats, swapped_in_bytes) + 1,
		[VIRTIO_BALLOON_S_SWAP_OUT] = offsetof(struct balloon_stats, swapped_out_bytes) + 1,
		[VIRTIO_BALLOON_S_MAJFLT] = offsetof(struct balloon_stats, major_faults) + 1,
		[VIRTIO_BALLOON_S_MINFLT] = offsetof(struct balloon_stats, minor_faults) + 1,
		[VIRTIO_BALLOON_S_MEMFREE] = offsetof(struct balloon_stats, free_bytes) + 1,
		[VIRTIO_BALLOON_S_MEMTOT] = offsetof(struct balloon_stats, total_bytes) + 1,
		[VIRTIO_BALLOON_S_AVAIL] = offsetof(struct balloon_stats, available_bytes) + 1,
		[VIRTIO_BALLOON_S_CACHES] = offsetof(struct balloon_stats, cache_bytes) + 1,
	};
	struct virtio_balloon_stat s;

	memset(&b->stats, 0xff, sizeof(b->stats));
	for (size_t at = 0; at < 64 * sizeof(s); at += sizeof(s)) {
		if (iov_read(c->read, c->read_count, at, &s, sizeof(s)) != sizeof(s))
			break;
		if (s.tag < ARRAY_SIZE(fields) && fields[s.tag])
			memcpy((uint8_t *)&b->stats + fields[s.tag] - 1, &s.val, sizeof(s.val));
	}
}

/* The driver's one buffer stays with us: giving it back is how it is asked for new numbers. */
static void on_stats(struct balloon *b, unsigned n)
{
	while (b->stats_head < 0 && virtio_pop(&b->device, n, &b->chain)) {
		take_stats(b, &b->chain);
		b->stats_head = b->chain.head;
	}
}

int balloon_poll_stats(struct virtio_device *d)
{
	struct balloon *b = balloon_of(d);

	if (!d->started || b->stats_head < 0)
		return -EAGAIN;
	virtq_push(&b->queues[QUEUE_STATS], (uint16_t)b->stats_head, 0);
	b->stats_head = -1;
	virtio_signal(d, QUEUE_STATS);
	/* it may have added the next one already, for which no notification comes any more */
	on_stats(b, QUEUE_STATS);
	return 0;
}

struct balloon_stats balloon_stats(const struct virtio_device *d)
{
	return balloon_of(d)->stats;
}

/* ---- the device ----------------------------------------------------------------------------- */

/* Queues are numbered without those that were not agreed on (section 5.5.2, and what Linux does).
 */
static unsigned role_of(const struct virtio_device *d, unsigned n)
{
	if (n >= QUEUE_STATS && !virtio_has(d, VIRTIO_BALLOON_F_STATS_VQ))
		return n + 1;
	return n;
}

static void handle(struct balloon *b, unsigned role, const struct virtq_chain *c)
{
	if (role == QUEUE_INFLATE)
		inflate(&b->device, c);
	else if (role == QUEUE_REPORTING && virtio_has(&b->device, VIRTIO_BALLOON_F_REPORTING))
		report(b, c);
	/* deflating takes nothing: a page comes back when it is touched */
}

static void balloon_notify(struct virtio_device *d, unsigned n)
{
	struct balloon *b = balloon_of(d);
	unsigned role = role_of(d, n), handled = 0;
	struct virtq *q = &b->queues[n];

	if (role == QUEUE_STATS) {
		on_stats(b, n);
		return;
	}
	virtq_notifications(q, false);
	do
		while (handled < BALLOON_ROUND && virtio_pop(d, n, &b->chain)) {
			handle(b, role, &b->chain);
			virtq_push(q, b->chain.head, 0);
			handled++;
		}
	while (handled < BALLOON_ROUND && virtq_notifications(q, true));
	if (handled >= BALLOON_ROUND)
		virtio_later(d, n);
	virtio_signal(d, n);
}

static void balloon_write_config(struct virtio_device *d, uint32_t at, const void *from,
				 uint32_t bytes)
{
	const uint32_t actual = offsetof(struct virtio_balloon_config, actual);

	if (at >= actual && bytes <= 4 && at - actual <= 4 - bytes)
		memcpy((uint8_t *)&balloon_of(d)->config + at, from, bytes);
}

static void balloon_stop(struct virtio_device *d)
{
	struct balloon *b = balloon_of(d);

	/* a driver that starts anew has given nothing yet */
	b->stats_head = -1;
	b->config.actual = 0;
}

static void balloon_free(struct virtio_device *d)
{
	free(balloon_of(d));
}

static const struct virtio_ops balloon_ops = {
	.name = "balloon",
	.id = VIRTIO_ID_BALLOON,
	.write_config = balloon_write_config,
	.stop = balloon_stop,
	.notify = balloon_notify,
	.free = balloon_free,
};

int balloon_set_target(struct virtio_device *d, uint64_t pages)
{
	struct balloon *b = balloon_of(d);
	uint64_t bytes = 0;

	for (unsigned i = 0; i < d->memory->count; i++)
		bytes += d->memory->regions[i].bytes;
	if (pages > bytes / 4096 || pages > UINT32_MAX)
		return -ERANGE;
	b->config.num_pages = (uint32_t)pages;
	virtio_config_changed(d);
	return 0;
}

uint64_t balloon_actual(const struct virtio_device *d)
{
	return balloon_of(d)->config.actual;
}

uint64_t balloon_reported_bytes(const struct virtio_device *d)
{
	return balloon_of(d)->reported_bytes;
}

int virtio_balloon_new(const struct balloon_options *o, const struct vmm_memory *memory,
		       struct loop *loop, struct virtio_device **ret, struct err *err)
{
	struct balloon *b = calloc(1, sizeof(*b));
	struct virtio_device *d;
	int r;

	if (!b)
		return err_set(err, ENOMEM, "out of memory");
	d = &b->device;
	b->stats_head = -1;
	memset(&b->stats, 0xff, sizeof(b->stats));
	for (unsigned i = 0; i < QUEUES; i++)
		b->queues[i].size_max = BALLOON_QUEUE_SIZE;
	d->features = 1ull << VIRTIO_BALLOON_F_STATS_VQ | 1ull << VIRTIO_BALLOON_F_DEFLATE_ON_OOM;
	if (!o->no_reporting)
		d->features |= 1ull << VIRTIO_BALLOON_F_REPORTING;
	d->config = &b->config;
	d->config_bytes = CONFIG_BYTES;
	virtio_device_init(d, &balloon_ops, memory, loop, b->queues, QUEUES);
	r = virtio_later_init(d, err);
	if (r == 0 && balloon_set_target(d, o->target_pages) < 0)
		r = err_set(err, ERANGE, "the balloon's target is more than the memory there is");
	if (r < 0) {
		virtio_device_free(d);
		return r;
	}
	*ret = d;
	return 0;
}
