/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/bus.h"

#include <errno.h>
#include <stddef.h>

int bus_add(struct bus *b, struct bus_range *r)
{
	if (b->count == BUS_RANGES_MAX)
		return -ENOSPC;
	b->ranges[b->count++] = r;
	return 0;
}

void bus_remove(struct bus *b, struct bus_range *r)
{
	for (unsigned i = 0; i < b->count; i++)
		if (b->ranges[i] == r) {
			b->ranges[i] = b->ranges[--b->count];
			return;
		}
}

struct bus_range *bus_find(const struct bus *b, uint64_t at, uint32_t bytes)
{
	for (unsigned i = 0; i < b->count; i++) {
		struct bus_range *r = b->ranges[i];

		if (at >= r->start && at - r->start < r->bytes &&
		    bytes <= r->bytes - (at - r->start))
			return r;
	}
	return NULL;
}
