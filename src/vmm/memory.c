/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "util/err.h"
#include "util/linux.h"
#include "util/mem.h"

#ifndef MFD_CLOEXEC
#define MFD_CLOEXEC 1u
#endif

#define HUGE_PAGE (2ull << 20)

/*
 * Address space for @bytes that starts at a multiple of HUGE_PAGE, as the guest's addresses do:
 * only then can KVM map huge pages, and every page of a guest that it maps by 4 KiB costs an exit
 * of its own.
 */
static void *reserve_aligned(uint64_t bytes)
{
	uint8_t *start = mmap(NULL, bytes + HUGE_PAGE, PROT_NONE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint64_t before;

	if (start == MAP_FAILED)
		return NULL;
	before = -(uintptr_t)start % HUGE_PAGE;
	if (before)
		munmap(start, before);
	munmap(start + before + bytes, HUGE_PAGE - before);
	return start + before;
}

static int map_region(struct vmm_memory *m, gpa_t start, uint64_t bytes, uint64_t offset)
{
	int flags = m->fd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;
	void *host = reserve_aligned(bytes);

	if (!host)
		return -errno;
	if (mmap(host, bytes, PROT_READ | PROT_WRITE, flags | MAP_NORESERVE | MAP_FIXED, m->fd,
		 m->fd >= 0 ? (off_t)offset : 0) == MAP_FAILED) {
		munmap(host, bytes);
		return -errno;
	}
	/* whatever crashes, the guest's secrets are in no core file; the rest is advice */
	(void)madvise(host, bytes, MADV_DONTDUMP);
	(void)madvise(host, bytes, MADV_HUGEPAGE);
	m->regions[m->count++] = (struct vmm_region){
		.start = start, .bytes = bytes, .host = host, .offset = offset
	};
	return 0;
}

int memory_init(struct vmm_memory *m, uint64_t bytes, bool shared, struct err *err)
{
	uint64_t low = MIN(bytes, MEMORY_LOW_END);
	int r;

	*m = (struct vmm_memory){ .fd = -EBADF };
	if (bytes < MEMORY_MIN_BYTES || bytes > MEMORY_MAX_BYTES || bytes % 4096)
		return err_set(err, EINVAL,
			       "a machine's memory must be between 16 MiB and 1 TiB, in whole "
			       "pages of 4 KiB");
	if (shared) {
		m->fd = sys_memfd_create("guest", MFD_CLOEXEC);
		if (m->fd < 0 || ftruncate(m->fd, (off_t)bytes) < 0) {
			r = err_sys(err, errno, "make the machine's memory");
			memory_done(m);
			return r;
		}
	}
	r = map_region(m, 0, low, 0);
	if (r == 0 && bytes > low)
		r = map_region(m, MEMORY_HIGH_START, bytes - low, low);
	if (r < 0) {
		memory_done(m);
		return err_sys(err, -r, "reserve %llu MiB for the machine's memory",
			       (unsigned long long)(bytes >> 20));
	}
	return 0;
}

void memory_done(struct vmm_memory *m)
{
	for (unsigned i = 0; i < m->count; i++)
		munmap(m->regions[i].host, m->regions[i].bytes);
	m->count = 0;
	m->fd = fd_close(m->fd);
}

bool memory_write(const struct vmm_memory *m, gpa_t at, const void *from, size_t bytes)
{
	void *p = memory_at(m, at, bytes);

	if (p)
		memcpy(p, from, bytes);
	return p;
}

static int discard(const struct vmm_memory *m, void *at, size_t bytes)
{
	/* of a shared memory MADV_DONTNEED would only drop our own view */
	return madvise(at, bytes, m->fd >= 0 ? MADV_REMOVE : MADV_DONTNEED) < 0 ? -errno : 0;
}

int memory_discard(const struct vmm_memory *m, gpa_t at, uint64_t bytes)
{
	void *p = memory_at(m, at, bytes);

	if (!p || at % 4096 || bytes % 4096)
		return -EFAULT;
	return discard(m, p, bytes);
}

int memory_discard_inside(const struct vmm_memory *m, void *at, size_t bytes)
{
	size_t before = -(uintptr_t)at % 4096;

	if (bytes < before + 4096)
		return 0;
	return discard(m, (uint8_t *)at + before, (bytes - before) & ~(size_t)4095);
}
