/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which device answers at an address. Ranges are added before the guest starts (those of PCI move
 * while it runs, under the machine's lock); an access that no device takes reads as all ones.
 *
 * Ranges that answer without the lock are kept in a list of their own, which does not change while
 * the guest runs: that is all an access looks at before it has the lock.
 */
#ifndef PROA_VMM_BUS_H
#define PROA_VMM_BUS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct bus_range;
struct bus_ops {
	/* @at is relative to the range; @bytes is 1, 2, 4 or 8. */
	void (*read)(struct bus_range *r, uint64_t at, void *to, uint32_t bytes);
	void (*write)(struct bus_range *r, uint64_t at, const void *from, uint32_t bytes);
	/* Tried first, without the machine's lock: what a register needs that is read at each
	 * interrupt. False: not here. May be NULL. A range that has one of them stays on the bus
	 * for as long as a guest runs. */
	bool (*fast_read)(struct bus_range *r, uint64_t at, void *to, uint32_t bytes);
	bool (*fast_write)(struct bus_range *r, uint64_t at, const void *from, uint32_t bytes);
};

struct bus_range {
	uint64_t start, bytes;
	const struct bus_ops *ops;
};

#define BUS_RANGES_MAX 64
struct bus {
	struct bus_range *ranges[BUS_RANGES_MAX];
	unsigned count;
	struct bus_range *fast[BUS_RANGES_MAX]; /* of these, those with fast_read or fast_write */
	unsigned fast_count;
};

/* The range must stay where it is. -ENOSPC when the bus is full. */
int bus_add(struct bus *b, struct bus_range *r);
void bus_remove(struct bus *b, struct bus_range *r);
/* The range that all the bytes lie in, or NULL. */
struct bus_range *bus_find(const struct bus *b, uint64_t at, uint32_t bytes);
/* A processor's access; the lock is not held, and is taken if need be. */
void bus_access(const struct bus *b, pthread_mutex_t *lock, uint64_t at, void *data, uint32_t bytes,
		bool write);

#endif
