/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/bus.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

int bus_add(struct bus *b, struct bus_range *r)
{
	if (b->count == BUS_RANGES_MAX)
		return -ENOSPC;
	b->ranges[b->count++] = r;
	if (r->ops->fast_read || r->ops->fast_write)
		b->fast[b->fast_count++] = r;
	return 0;
}

static void take_out(struct bus_range **list, unsigned *count, const struct bus_range *r)
{
	for (unsigned i = 0; i < *count; i++)
		if (list[i] == r) {
			list[i] = list[--*count];
			return;
		}
}

void bus_remove(struct bus *b, struct bus_range *r)
{
	take_out(b->ranges, &b->count, r);
	take_out(b->fast, &b->fast_count, r);
}

static struct bus_range *find(struct bus_range *const *list, unsigned count, uint64_t at,
			      uint32_t bytes)
{
	for (unsigned i = 0; i < count; i++) {
		struct bus_range *r = list[i];

		if (at >= r->start && at - r->start < r->bytes &&
		    bytes <= r->bytes - (at - r->start))
			return r;
	}
	return NULL;
}

struct bus_range *bus_find(const struct bus *b, uint64_t at, uint32_t bytes)
{
	return find(b->ranges, b->count, at, bytes);
}

static bool access_fast(const struct bus *b, uint64_t at, void *data, uint32_t bytes, bool write)
{
	struct bus_range *r = find(b->fast, b->fast_count, at, bytes);

	if (!r)
		return false;
	if (write)
		return r->ops->fast_write && r->ops->fast_write(r, at - r->start, data, bytes);
	return r->ops->fast_read && r->ops->fast_read(r, at - r->start, data, bytes);
}

void bus_access(const struct bus *b, pthread_mutex_t *lock, uint64_t at, void *data, uint32_t bytes,
		bool write)
{
	struct bus_range *r;

	if (access_fast(b, at, data, bytes, write))
		return;
	pthread_mutex_lock(lock);
	r = bus_find(b, at, bytes);
	if (!r && !write)
		memset(data, 0xff, bytes);
	else if (r && write)
		r->ops->write(r, at - r->start, data, bytes);
	else if (r)
		r->ops->read(r, at - r->start, data, bytes);
	pthread_mutex_unlock(lock);
}
