/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/uring.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "util/mem.h"

static int enter(struct uring *u, unsigned submit, unsigned wait)
{
	long r;

	do
		r = syscall(SYS_io_uring_enter, u->fd, submit, wait,
			    wait ? IORING_ENTER_GETEVENTS : 0, NULL, 0);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : (int)r;
}

static int map(struct uring *u, const struct io_uring_params *p)
{
	size_t sq = p->sq_off.array + p->sq_entries * sizeof(unsigned);
	size_t cq = p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe);
	int prot = PROT_READ | PROT_WRITE, flags = MAP_SHARED | MAP_POPULATE;
	uint8_t *rings;
	void *sqes;

	u->rings_bytes = MAX(sq, cq);
	rings = mmap(NULL, u->rings_bytes, prot, flags, u->fd, IORING_OFF_SQ_RING);
	if (rings == MAP_FAILED)
		return -errno;
	u->rings = rings;
	u->sqes_bytes = p->sq_entries * sizeof(struct io_uring_sqe);
	sqes = mmap(NULL, u->sqes_bytes, prot, flags, u->fd, IORING_OFF_SQES);
	if (sqes == MAP_FAILED)
		return -errno;
	u->sqes = sqes;
	u->entries = p->sq_entries;
	u->sq_head = (unsigned *)(rings + p->sq_off.head);
	u->sq_tail = (unsigned *)(rings + p->sq_off.tail);
	u->sq_mask = *(unsigned *)(rings + p->sq_off.ring_mask);
	u->sq_array = (unsigned *)(rings + p->sq_off.array);
	u->cq_head = (unsigned *)(rings + p->cq_off.head);
	u->cq_tail = (unsigned *)(rings + p->cq_off.tail);
	u->cq_mask = *(unsigned *)(rings + p->cq_off.ring_mask);
	u->cqes = (struct io_uring_cqe *)(rings + p->cq_off.cqes);
	u->tail = *u->sq_tail;
	return 0;
}

int uring_init(struct uring *u, unsigned entries)
{
	struct io_uring_params p = { 0 };
	long fd = syscall(SYS_io_uring_setup, entries, &p);
	int r;

	*u = (struct uring)URING_INIT;
	if (fd < 0)
		return -errno;
	u->fd = (int)fd;
	/* one mapping for both rings is there since 5.4; older kernels lack operations as well */
	r = p.features & IORING_FEAT_SINGLE_MMAP ? map(u, &p) : -ENOSYS;
	if (r < 0)
		uring_done(u);
	return r;
}

void uring_done(struct uring *u)
{
	if (u->sqes)
		munmap(u->sqes, u->sqes_bytes);
	if (u->rings)
		munmap(u->rings, u->rings_bytes);
	fd_close(u->fd);
	*u = (struct uring)URING_INIT;
}

struct io_uring_sqe *uring_prepare(struct uring *u)
{
	unsigned at = u->tail & u->sq_mask;
	struct io_uring_sqe *e = (struct io_uring_sqe *)u->sqes + at;

	if (u->tail - __atomic_load_n(u->sq_head, __ATOMIC_ACQUIRE) >= u->entries)
		return NULL;
	memset(e, 0, sizeof(*e));
	u->sq_array[at] = at;
	u->tail++;
	return e;
}

unsigned uring_submit(struct uring *u)
{
	unsigned left = u->tail - *u->sq_tail;

	__atomic_store_n(u->sq_tail, u->tail, __ATOMIC_RELEASE);
	while (left) {
		int r = enter(u, left, 0);

		if (r <= 0)
			break;
		left -= MIN((unsigned)r, left);
	}
	/* the kernel reads the ring only within the call: what it left can be taken back */
	u->tail -= left;
	__atomic_store_n(u->sq_tail, u->tail, __ATOMIC_RELEASE);
	return left;
}

bool uring_complete(struct uring *u, uint64_t *ret_data, int *ret_result)
{
	unsigned head = *u->cq_head;
	const struct io_uring_cqe *e = &u->cqes[head & u->cq_mask];

	if (head == __atomic_load_n(u->cq_tail, __ATOMIC_ACQUIRE))
		return false;
	*ret_data = e->user_data;
	*ret_result = e->res;
	__atomic_store_n(u->cq_head, head + 1, __ATOMIC_RELEASE);
	return true;
}

void uring_wait(struct uring *u)
{
	struct pollfd p = { .fd = u->fd, .events = POLLIN };

	/* the descriptor tells of completions as well, should the call be refused */
	if (enter(u, 0, 1) < 0)
		(void)poll(&p, 1, -1);
}
