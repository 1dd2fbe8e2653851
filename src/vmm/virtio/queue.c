/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/virtio/queue.h"

#include <errno.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include "util/mem.h"

/* Places in the rings, in units of 16 bits (section 2.7.6, 2.7.8). */
#define AVAIL_FLAGS 0
#define AVAIL_INDEX 1
#define AVAIL_RING  2
#define USED_FLAGS  0
#define USED_INDEX  1
#define USED_RING   2 /* each element is four units */

static uint16_t load(const volatile uint16_t *at)
{
	return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}

static void store(volatile uint16_t *at, uint16_t value)
{
	__atomic_store_n(at, value, __ATOMIC_RELEASE);
}

int virtq_enable(struct virtq *q, const struct vmm_memory *m, bool event_index)
{
	uint64_t n = q->size;

	if (!n || n > q->size_max || n > VIRTQ_SIZE_MAX || (n & (n - 1)))
		return -EINVAL;
	if (q->desc_at % 16 || q->avail_at % 2 || q->used_at % 4)
		return -EINVAL;
	q->desc = memory_at(m, q->desc_at, n * sizeof(struct vring_desc));
	q->avail = memory_at(m, q->avail_at, 6 + 2 * n);
	q->used = memory_at(m, q->used_at, 6 + 8 * n);
	if (!q->desc || !q->avail || !q->used)
		return -EINVAL;
	q->event_index = event_index;
	q->next_avail = q->next_used = q->signalled = 0;
	q->broken = false;
	q->ready = true;
	return 0;
}

void virtq_reset(struct virtq *q)
{
	*q = (struct virtq){ .size_max = q->size_max, .size = q->size_max };
}

static int broken(struct virtq *q)
{
	q->broken = true;
	return -EBADMSG;
}

bool virtq_has_more(const struct virtq *q)
{
	return q->ready && !q->broken && load(&q->avail[AVAIL_INDEX]) != q->next_avail;
}

/* One descriptor becomes one element; readable ones must come first (section 2.7.4.2). */
static int add_buffer(struct virtq_chain *c, const struct vmm_memory *m, const struct vring_desc *d)
{
	bool writable = d->flags & VRING_DESC_F_WRITE;
	unsigned n = c->read_count + c->write_count;
	size_t *total = writable ? &c->write_bytes : &c->read_bytes;
	void *at;

	if (n >= VIRTQ_SIZE_MAX || (!writable && c->write_count))
		return -EBADMSG;
	if (!d->len)
		return 0;
	at = memory_at(m, d->addr, d->len);
	/* what a used element can say is 32 bits */
	if (!at || __builtin_add_overflow(*total, d->len, total) || *total > UINT32_MAX)
		return -EBADMSG;
	c->iov[n] = (struct iovec){ .iov_base = at, .iov_len = d->len };
	if (writable)
		c->write_count++;
	else
		c->read_count++;
	return 0;
}

/* Follows a chain through @table of @count descriptors; -EBADMSG when it is not one. */
static int follow(struct virtq_chain *c, const struct vmm_memory *m, const uint8_t *table,
		  uint32_t count, uint32_t at, bool nested, struct vring_desc *ret_indirect)
{
	for (uint32_t steps = 0; steps < count; steps++) {
		struct vring_desc d;
		int r;

		if (at >= count)
			return -EBADMSG;
		memcpy(&d, table + (size_t)at * sizeof(d), sizeof(d));
		if (d.flags & VRING_DESC_F_INDIRECT) {
			/* it may end a chain (section 2.7.5.3.2), and must not be one of a table */
			if (nested || d.flags & VRING_DESC_F_NEXT)
				return -EBADMSG;
			*ret_indirect = d;
			return 1;
		}
		r = add_buffer(c, m, &d);
		if (r < 0)
			return r;
		if (!(d.flags & VRING_DESC_F_NEXT))
			return 0;
		at = d.next;
	}
	return -EBADMSG; /* longer than the table: a loop */
}

static int follow_indirect(struct virtq *q, struct virtq_chain *c, const struct vmm_memory *m,
			   const struct vring_desc *d)
{
	uint32_t count = d->len / sizeof(struct vring_desc);
	const uint8_t *table = memory_at(m, d->addr, d->len);
	struct vring_desc none;

	/* section 2.7.5.3.1: no longer than the queue */
	if (!table || !count || d->len % sizeof(struct vring_desc) || count > q->size)
		return -EBADMSG;
	return follow(c, m, table, count, 0, true, &none);
}

int virtq_pop(struct virtq *q, const struct vmm_memory *m, struct virtq_chain *ret)
{
	struct vring_desc indirect;
	uint16_t index, head;
	int r;

	if (!q->ready || q->broken)
		return 0;
	index = load(&q->avail[AVAIL_INDEX]);
	if (index == q->next_avail)
		return 0;
	if ((uint16_t)(index - q->next_avail) > q->size)
		return broken(q);
	head = q->avail[AVAIL_RING + (q->next_avail & (q->size - 1))];
	if (head >= q->size)
		return broken(q);
	ret->head = head;
	ret->read_count = ret->write_count = 0;
	ret->read_bytes = ret->write_bytes = 0;
	r = follow(ret, m, q->desc, q->size, head, false, &indirect);
	if (r == 1)
		r = follow_indirect(q, ret, m, &indirect);
	if (r < 0)
		return broken(q);
	ret->read = ret->iov;
	ret->write = ret->iov + ret->read_count;
	q->next_avail++;
	return 1;
}

void virtq_unpop(struct virtq *q)
{
	q->next_avail--;
}

void virtq_put(struct virtq *q, uint16_t head, uint32_t written)
{
	struct vring_used_elem e = { .id = head, .len = written };
	uint8_t *ring;

	if (!q->ready || q->broken)
		return;
	ring = (uint8_t *)(uintptr_t)(q->used + USED_RING);
	memcpy(ring + (size_t)(q->next_used & (q->size - 1)) * sizeof(e), &e, sizeof(e));
	q->next_used++;
}

void virtq_publish(struct virtq *q)
{
	if (q->ready && !q->broken)
		store(&q->used[USED_INDEX], q->next_used);
}

void virtq_push(struct virtq *q, uint16_t head, uint32_t written)
{
	virtq_put(q, head, written);
	virtq_publish(q);
}

bool virtq_must_interrupt(struct virtq *q)
{
	uint16_t before = q->signalled, now = q->next_used, event;

	if (!q->ready || q->broken || before == now)
		return false;
	/* the index just stored must be seen before what the driver wants is read */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	q->signalled = now;
	if (!q->event_index)
		return !(load(&q->avail[AVAIL_FLAGS]) & VRING_AVAIL_F_NO_INTERRUPT);
	event = load(&q->avail[AVAIL_RING + q->size]);
	return vring_need_event(event, now, before);
}

bool virtq_notifications(struct virtq *q, bool on)
{
	if (!q->ready || q->broken)
		return false;
	if (q->event_index)
		/* an index long gone asks for nothing for as long as it takes to come round */
		store(&q->used[USED_RING + 4 * q->size],
		      on ? q->next_avail : (uint16_t)(q->next_avail - 1));
	else
		store(&q->used[USED_FLAGS], on ? 0 : VRING_USED_F_NO_NOTIFY);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return on && virtq_has_more(q);
}

/* ---- buffers -------------------------------------------------------------------------------- */

/* Calls what to do for each piece; @kind: 'r' out of the buffers, 'w' into them, 'z' zeros. */
static size_t iov_walk(const struct iovec *iov, unsigned count, size_t offset, uint8_t *bytes,
		       size_t n, char kind)
{
	size_t done = 0;

	for (unsigned i = 0; i < count && done < n; i++) {
		size_t piece = iov[i].iov_len;
		uint8_t *at;

		if (offset >= piece) {
			offset -= piece;
			continue;
		}
		at = (uint8_t *)iov[i].iov_base + offset;
		piece = MIN(piece - offset, n - done);
		if (kind == 'r')
			memcpy(bytes + done, at, piece);
		else if (kind == 'w')
			memcpy(at, bytes + done, piece);
		else
			memset(at, 0, piece);
		done += piece;
		offset = 0;
	}
	return done;
}

size_t iov_read(const struct iovec *iov, unsigned count, size_t offset, void *to, size_t bytes)
{
	return iov_walk(iov, count, offset, to, bytes, 'r');
}

size_t iov_write(const struct iovec *iov, unsigned count, size_t offset, const void *from,
		 size_t bytes)
{
	return iov_walk(iov, count, offset, (uint8_t *)(uintptr_t)from, bytes, 'w');
}

size_t iov_zero(const struct iovec *iov, unsigned count, size_t offset, size_t bytes)
{
	return iov_walk(iov, count, offset, NULL, bytes, 'z');
}

unsigned iov_slice(const struct iovec *iov, unsigned count, size_t offset, size_t bytes,
		   struct iovec *ret)
{
	unsigned n = 0;

	for (unsigned i = 0; i < count && bytes; i++) {
		size_t piece = iov[i].iov_len;

		if (offset >= piece) {
			offset -= piece;
			continue;
		}
		piece = MIN(piece - offset, bytes);
		ret[n++] = (struct iovec){ .iov_base = (uint8_t *)iov[i].iov_base + offset,
					   .iov_len = piece };
		bytes -= piece;
		offset = 0;
	}
	return n;
}
