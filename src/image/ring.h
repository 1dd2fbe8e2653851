/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Eight buffers between two threads: one reads, hashes and inflates a layer, the other unpacks it.
 * One producer, one consumer; a buffer belongs to one of them at a time.
 */
#ifndef PROA_IMAGE_RING_H
#define PROA_IMAGE_RING_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RING_BUFFERS	  8
#define RING_BUFFER_BYTES (512u << 10)

struct ring {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint8_t *memory;
	size_t lengths[RING_BUFFERS];
	unsigned head, tail; /* produced, consumed: free-running */
	bool ended, aborted;
};

int ring_init(struct ring *r);
void ring_done(struct ring *r);

/* A buffer of RING_BUFFER_BYTES to fill; waits for one. NULL: the other side gave up. */
uint8_t *ring_reserve(struct ring *r);
/* Hands over the reserved buffer with @n bytes in it. */
void ring_push(struct ring *r, size_t n);
/* No more will come. */
void ring_end(struct ring *r);

/*
 * The next buffer with *@ret_n bytes; *@ret_n is 0 at the end. NULL: the other side gave up. The
 * bytes are the caller's until ring_release().
 */
const uint8_t *ring_take(struct ring *r, size_t *ret_n);
void ring_release(struct ring *r);

/* Either side gives up; the other is told at its next call. */
void ring_abort(struct ring *r);

#endif
