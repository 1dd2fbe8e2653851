/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory balloon (virtio 1.2, section 5.5): the host sets a target, the guest gives pages until
 * the balloon holds as many, and these go back to the host. Besides, and of more use, the guest
 * reports ranges that it does not need at the moment (section 5.5.6.7), which go back at once and
 * come again, as zeros, when they are touched.
 *
 * Numbers of pages are the guest's word, and so are its counts: they are shown, never relied on.
 */
#ifndef PROA_VMM_VIRTIO_BALLOON_H
#define PROA_VMM_VIRTIO_BALLOON_H

#include "vmm/virtio/device.h"

struct balloon_options {
	uint64_t target_pages; /* of 4 KiB; the target to begin with */
	bool no_reporting;     /* do not offer the reporting of free pages */
};

/* What the guest says of its memory (section 5.5.6.4), in bytes; UINT64_MAX: it does not say. */
struct balloon_stats {
	uint64_t free_bytes, total_bytes, available_bytes, cache_bytes;
	uint64_t swapped_in_bytes, swapped_out_bytes;
	uint64_t major_faults, minor_faults;
};

int virtio_balloon_new(const struct balloon_options *o, const struct vmm_memory *memory,
		       struct loop *loop, struct virtio_device **ret, struct err *err);

/* How many pages (4 KiB) the guest shall give; -ERANGE when it has not got as many. */
int balloon_set_target(struct virtio_device *d, uint64_t pages);
/* How many it says it has given. */
uint64_t balloon_actual(const struct virtio_device *d);
/* Bytes given back by reports of free pages since the machine started. */
uint64_t balloon_reported_bytes(const struct virtio_device *d);

/* What it said last. */
struct balloon_stats balloon_stats(const struct virtio_device *d);
/* Asks it to say it anew. -EAGAIN: it has not answered the question before, or has no such driver.
 */
int balloon_poll_stats(struct virtio_device *d);

#endif
