/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A split virtqueue, the device's side (virtio 1.2, section 2.7), with indirect descriptors and
 * event indexes. All in the rings is the driver's, which is hostile: each field is read once, and
 * a chain is handed out only if all of it is memory and it is no longer than the queue.
 */
#ifndef PROA_VMM_VIRTIO_QUEUE_H
#define PROA_VMM_VIRTIO_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include "vmm/memory.h"

/* The longest queue that a device offers, and so the longest chain. */
#define VIRTQ_SIZE_MAX 256

struct virtq {
	uint16_t size_max; /* what the device offers, a power of two; 0: no such queue */
	uint16_t size;	   /* what the driver chose */
	bool ready;	   /* addresses were checked; the device may use it */
	bool broken;	   /* the driver broke a rule; nothing more is taken from it */
	bool event_index;  /* VIRTIO_F_EVENT_IDX was negotiated */
	gpa_t desc_at, avail_at, used_at;

	/* the rings, in the guest's memory */
	const void *desc;
	const volatile uint16_t *avail;
	volatile uint16_t *used;

	uint16_t next_avail; /* index of the next chain to take */
	uint16_t next_used;  /* index of the next used element to write */
	uint16_t signalled;  /* next_used, when the driver was last told */
};

/* A chain of buffers: first those the device reads, then those it writes. */
struct virtq_chain {
	uint16_t head;
	unsigned read_count, write_count;
	size_t read_bytes, write_bytes;
	struct iovec *read, *write; /* into iov */
	struct iovec iov[VIRTQ_SIZE_MAX];
};

/* Half of one of the three addresses: registers are of 32 bits. */
static inline void virtq_set_half(gpa_t *at, uint32_t value, bool high)
{
	*at = high ? (*at & 0xffffffffull) | (uint64_t)value << 32 : (*at & ~0xffffffffull) | value;
}

/* Checks the addresses and maps the rings, all indexes 0. 0, or -EINVAL when they are not memory,
 * not aligned, or the size is not a power of two within what is offered. */
int virtq_enable(struct virtq *q, const struct vmm_memory *m, bool event_index);
/* Back to what it was before the driver set it up; size_max stays. */
void virtq_reset(struct virtq *q);

/*
 * Takes the next chain: 1, 0 when there is none, or -EBADMSG: the driver broke a rule, the queue is
 * marked broken and the device needs a reset.
 */
int virtq_pop(struct virtq *q, const struct vmm_memory *m, struct virtq_chain *ret);

/* Gives the last chain back as if it had not been taken. */
void virtq_unpop(struct virtq *q);

/* Gives a chain back to the driver; @written bytes of it were filled. */
void virtq_push(struct virtq *q, uint16_t head, uint32_t written);

/*
 * The same in two halves, for chains that the driver must see all at once or not at all (the merged
 * buffers of a network frame): any number of put, then publish.
 */
void virtq_put(struct virtq *q, uint16_t head, uint32_t written);
void virtq_publish(struct virtq *q);

/* Does the driver want to be told of what was pushed since it was told last? Marks it told. */
bool virtq_must_interrupt(struct virtq *q);

/*
 * Asks the driver to notify (@on) of what it adds, or not to. When it is switched on, true means
 * that something was added meanwhile and must be looked at, for no notification will tell of it.
 */
bool virtq_notifications(struct virtq *q, bool on);

/* Is there a chain to take? */
bool virtq_has_more(const struct virtq *q);

/* Copies between a chain's buffers and plain bytes, from @offset on. Returns the bytes copied. */
size_t iov_read(const struct iovec *iov, unsigned count, size_t offset, void *to, size_t bytes);
size_t iov_write(const struct iovec *iov, unsigned count, size_t offset, const void *from,
		 size_t bytes);
size_t iov_zero(const struct iovec *iov, unsigned count, size_t offset, size_t bytes);
/* A part of it, @bytes from @offset on, into @ret (as many elements as @iov). Its count. */
unsigned iov_slice(const struct iovec *iov, unsigned count, size_t offset, size_t bytes,
		   struct iovec *ret);

#endif
