/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's memory as the host sees it. memory_at() is the only function that turns an address of
 * the guest into a pointer: it gives one only if all the bytes asked for are memory.
 *
 * What the pointer leads to is the guest's, which may change it at any instant: copy once, check
 * the copy, use the copy.
 */
#ifndef PROA_VMM_MEMORY_H
#define PROA_VMM_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

/* An address in the guest's physical address space. */
typedef uint64_t gpa_t;

/* Below 4 GiB, memory ends here; what lies between is for devices (docs/vmm.md has the map). */
#define MEMORY_LOW_END	  0xc0000000ull
#define MEMORY_HIGH_START 0x100000000ull
#define MEMORY_MIN_BYTES  (16ull << 20)
#define MEMORY_MAX_BYTES  (1ull << 40)

struct vmm_region {
	gpa_t start;
	uint64_t bytes;
	uint8_t *host;
	uint64_t offset; /* in the file, if there is one */
};

struct vmm_memory {
	struct vmm_region regions[2]; /* below and above the hole */
	unsigned count;
	int fd; /* a memfd that others can map as well; -EBADF: private and anonymous */
};

/*
 * Reserves @bytes (a multiple of 4 KiB); pages come into being when they are touched. @shared: in a
 * memfd, for a device that lives in another process. 0 or -errno. End it with memory_done().
 */
int memory_init(struct vmm_memory *m, uint64_t bytes, bool shared, struct err *err);
void memory_done(struct vmm_memory *m);

/* The @bytes at @at; NULL unless all of them are the guest's memory. */
static inline void *memory_at(const struct vmm_memory *m, gpa_t at, uint64_t bytes)
{
	for (unsigned i = 0; i < m->count; i++) {
		const struct vmm_region *r = &m->regions[i];

		if (at >= r->start && at - r->start <= r->bytes &&
		    bytes <= r->bytes - (at - r->start))
			return r->host + (at - r->start);
	}
	return NULL;
}

/* Copies in; false, and nothing is copied, unless all of it is memory. */
bool memory_write(const struct vmm_memory *m, gpa_t at, const void *from, size_t bytes);

/* Gives the pages back to the host; the guest reads zeros there from then on. -errno. */
int memory_discard(const struct vmm_memory *m, gpa_t at, uint64_t bytes);
/* The same for what a chain's buffer points to: the whole pages inside it, which may be none. */
int memory_discard_inside(const struct vmm_memory *m, void *at, size_t bytes);

#endif
