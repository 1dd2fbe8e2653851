/* SPDX-License-Identifier: Apache-2.0 */
#include "image/ring.h"

#include <errno.h>
#include <stdlib.h>

int ring_init(struct ring *r)
{
	*r = (struct ring){ .lock = PTHREAD_MUTEX_INITIALIZER,
			    .changed = PTHREAD_COND_INITIALIZER };
	r->memory = malloc((size_t)RING_BUFFERS * RING_BUFFER_BYTES);
	return r->memory ? 0 : -ENOMEM;
}

void ring_done(struct ring *r)
{
	free(r->memory);
	pthread_mutex_destroy(&r->lock);
	pthread_cond_destroy(&r->changed);
}

static uint8_t *buffer(struct ring *r, unsigned n)
{
	return r->memory + (size_t)(n % RING_BUFFERS) * RING_BUFFER_BYTES;
}

uint8_t *ring_reserve(struct ring *r)
{
	uint8_t *b;

	pthread_mutex_lock(&r->lock);
	while (r->head - r->tail == RING_BUFFERS && !r->aborted)
		pthread_cond_wait(&r->changed, &r->lock);
	b = r->aborted ? NULL : buffer(r, r->head);
	pthread_mutex_unlock(&r->lock);
	return b;
}

void ring_push(struct ring *r, size_t n)
{
	pthread_mutex_lock(&r->lock);
	r->lengths[r->head % RING_BUFFERS] = n;
	r->head++;
	pthread_cond_signal(&r->changed);
	pthread_mutex_unlock(&r->lock);
}

void ring_end(struct ring *r)
{
	pthread_mutex_lock(&r->lock);
	r->ended = true;
	pthread_cond_signal(&r->changed);
	pthread_mutex_unlock(&r->lock);
}

const uint8_t *ring_take(struct ring *r, size_t *ret_n)
{
	const uint8_t *b = NULL;

	pthread_mutex_lock(&r->lock);
	while (r->head == r->tail && !r->ended && !r->aborted)
		pthread_cond_wait(&r->changed, &r->lock);
	if (!r->aborted) {
		b = buffer(r, r->tail);
		*ret_n = r->head == r->tail ? 0 : r->lengths[r->tail % RING_BUFFERS];
	}
	pthread_mutex_unlock(&r->lock);
	return b;
}

void ring_release(struct ring *r)
{
	pthread_mutex_lock(&r->lock);
	r->tail++;
	pthread_cond_signal(&r->changed);
	pthread_mutex_unlock(&r->lock);
}

void ring_abort(struct ring *r)
{
	pthread_mutex_lock(&r->lock);
	r->aborted = true;
	pthread_cond_signal(&r->changed);
	pthread_mutex_unlock(&r->lock);
}
