/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block device (virtio 1.2, section 5.2) over a raw image or a block device of the host.
 *
 * A read that finds its data in the host's page cache (RWF_NOWAIT) is done at once, and so is a
 * write where the file system can; the driver's chain is given back in the very notification that
 * brought it. Whatever would wait for the disk goes to io_uring, whose descriptor is in the loop,
 * so that the loop itself does not wait. (One exception: where the file system has no RWF_NOWAIT
 * for writes, small ones of whole pages are tried directly, as they are mere copies as long as the
 * host is not short of clean pages; after one that did wait, io_uring does them for a while.)
 * Requests under way are a fixed array; when all are in use, chains wait in the guest's ring.
 *
 * Where the kernel refuses io_uring (ENOSYS, EPERM by seccomp or sysctl), operations are done
 * synchronously instead: right, and slower for everybody, as the loop then does wait.
 *
 * FLUSH is fdatasync(2). With no_flush the host's page cache is where data are said to be durable,
 * and FLUSH is not offered. A driver that does not agree on an offered FLUSH gets writes that are
 * on the disk when they are done (section 5.2.6.2).
 */
#ifndef PROA_VMM_VIRTIO_BLK_H
#define PROA_VMM_VIRTIO_BLK_H

#include "vmm/virtio/device.h"

#define BLK_QUEUES_MAX 8

struct blk_options {
	int fd;		    /* of blk_open(); the device's when its constructor succeeds */
	bool read_only;	    /* as it was opened */
	bool no_flush;	    /* cache=unsafe */
	bool no_discard;    /* offer neither DISCARD nor WRITE_ZEROES */
	bool no_uring;	    /* do all synchronously */
	unsigned queues;    /* 0 means 1 */
	const char *serial; /* at most 20 bytes; NULL: none */
};

/*
 * Opens an image or a block device, and locks it: any number of readers, or one writer. The lock
 * goes with the descriptor. 0 or -errno: a missing file, one that is neither, one in use.
 */
int blk_open(const char *path, bool read_only, int *ret_fd, struct err *err);

int virtio_blk_new(const struct blk_options *o, const struct vmm_memory *memory, struct loop *loop,
		   struct virtio_device **ret, struct err *err);

/* Does it use io_uring? */
bool blk_is_asynchronous(const struct virtio_device *d);

#endif
