/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io_uring, as little of it as a disk needs: a ring of submissions, a ring of completions, and one
 * system call between them. The ring's descriptor is readable when there are completions, so that
 * it can be watched by the loop.
 *
 * Its user never has more operations under way than the ring has entries; neither ring can overflow
 * then. Calls come from one thread at a time (the machine's lock).
 */
#ifndef PROA_VMM_URING_H
#define PROA_VMM_URING_H

#include <linux/io_uring.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct uring {
	int fd; /* -EBADF: none */
	unsigned entries;
	void *rings, *sqes;
	size_t rings_bytes, sqes_bytes;
	unsigned *sq_head, *sq_tail, sq_mask, *sq_array;
	unsigned *cq_head, *cq_tail, cq_mask;
	struct io_uring_cqe *cqes;
	unsigned tail; /* of the submissions prepared; the kernel has been told of *sq_tail */
};

#define URING_INIT                                                                                 \
	{                                                                                          \
		.fd = -EBADF                                                                       \
	}

/* 0 or -errno: -ENOSYS, -EPERM and others where the kernel or its administrator refuses. */
int uring_init(struct uring *u, unsigned entries);
void uring_done(struct uring *u);

/* The next submission to fill in, all zeros. NULL when the ring is full. */
struct io_uring_sqe *uring_prepare(struct uring *u);
/*
 * Hands what was prepared to the kernel. Returns how many of them were not taken; these, the last
 * ones prepared, are forgotten, and their user must do them in another way.
 */
unsigned uring_submit(struct uring *u);
/* Takes a completion; false when there is none. */
bool uring_complete(struct uring *u, uint64_t *ret_data, int *ret_result);
/* Waits for one. */
void uring_wait(struct uring *u);

#endif
