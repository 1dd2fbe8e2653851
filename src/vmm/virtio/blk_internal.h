/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block device's two halves: blk.c takes requests from the queues and gives them back;
 * blk_request.c says what a request is made of: which system calls, one after the other.
 */
#ifndef PROA_VMM_VIRTIO_BLK_INTERNAL_H
#define PROA_VMM_VIRTIO_BLK_INTERNAL_H

#include <linux/virtio_blk.h>
#include "vmm/uring.h"
#include "vmm/virtio/blk.h"

#define BLK_SECTOR	512u
#define BLK_QUEUE_SIZE	128
#define BLK_RANGES_MAX	16	   /* of one DISCARD or WRITE_ZEROES */
#define BLK_RANGE_MAX	(1u << 21) /* sectors in a range: 1 GiB */
#define BLK_ZEROS_BYTES (64u << 10)

enum blk_step {
	BLK_NOTHING,  /* no system call is left */
	BLK_READ,     /* into iov */
	BLK_WRITE,    /* out of iov */
	BLK_ZEROS,    /* as BLK_WRITE; iov are zeros, and made anew until all are written */
	BLK_FLUSH,    /* fdatasync */
	BLK_ALLOCATE, /* fallocate with fallocate_mode */
};

struct blk_request {
	struct virtq_chain chain;
	struct blk_request *next; /* in a list: free, or to be handed to io_uring */
	uint16_t queue;

	enum blk_step step; /* the next system call */
	struct iovec *iov;  /* of chain.iov: data that are left */
	unsigned iov_count;
	uint64_t at, left; /* in the file, bytes */
	int write_flags;   /* RWF_DSYNC */
	int fallocate_mode;

	bool zeroes; /* WRITE_ZEROES, not DISCARD */
	unsigned range, range_count;
	struct virtio_blk_discard_write_zeroes ranges[BLK_RANGES_MAX];

	uint8_t *status_at;  /* in the guest's memory */
	uint8_t status;	     /* VIRTIO_BLK_S_OK until something fails */
	uint32_t data_bytes; /* of the buffers to fill, without the status */
};

struct blk {
	struct virtio_device device;
	struct virtq queues[BLK_QUEUES_MAX];
	struct virtio_blk_config config;
	int fd;
	bool read_only;
	bool no_nowait_write, no_punch, no_zero_range; /* what the file refused before */
	int64_t eager_from_ns; /* no write that might wait before this time (CLOCK_MONOTONIC) */
	uint64_t sectors;
	uint8_t serial[VIRTIO_BLK_ID_BYTES];

	struct uring ring;
	struct loop_watch watch;		    /* of the ring */
	unsigned in_flight;			    /* in the kernel's hands */
	unsigned starved;			    /* queues (bits) that wait for a free request */
	struct blk_request *pending, **pending_end; /* for io_uring, not handed over yet */
	struct blk_request *free;
	struct blk_request *requests;
	uint8_t zeros[BLK_ZEROS_BYTES]; /* never written to */
};

/*
 * Reads the request's header and sets up its first step. false: the chain cannot be a request
 * (no header, no status byte). Anything else wrong is in the status, and there is no step.
 */
bool blk_request_begin(struct blk *b, struct blk_request *q);
/* Does the step by a system call. @nowait: only if that would not wait. Its result or -errno. */
ssize_t blk_request_run(const struct blk *b, const struct blk_request *q, bool nowait);
/* The same as a submission to io_uring. */
void blk_request_prepare(const struct blk *b, struct blk_request *q, struct io_uring_sqe *e);
/* Takes a step's result and sets up the next one; false: that was the last, BLK_NOTHING is left. */
bool blk_request_advance(struct blk *b, struct blk_request *q, ssize_t result);

#endif
