/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network device (virtio 1.2, section 5.1) over a backend: a tap interface, or a stream socket
 * to a process such as passt that speaks in frames, each with its length before it.
 *
 * Frames go straight between the backend's descriptor and the guest's buffers. For those to the
 * guest, a window of buffers is taken from the queue in advance, as nobody knows how long the next
 * frame is; what a frame did not need stays in the window. The descriptor is watched only while
 * somebody waits for it: for frames while the guest has buffers, for room while a frame is held.
 * Each event moves a bounded number of frames.
 *
 * Checksums and segmentation are the backend's to offer: a tap does all, by way of the kernel,
 * which is also what checks the header in front of each frame; a stream none.
 */
#ifndef PROA_VMM_VIRTIO_NET_H
#define PROA_VMM_VIRTIO_NET_H

#include <sys/types.h>
#include "vmm/virtio/device.h"

#define NET_PAIRS_MAX 8
#define NET_HEADER    12    /* struct virtio_net_hdr_v1 */
#define NET_FRAME_MAX 65550 /* without the header */
#define NET_IOVS_MAX  768   /* of one receive(); a send() has VIRTQ_SIZE_MAX at most */

struct net_backend;

/* All frames have a header of NET_HEADER bytes before them. */
struct net_backend_ops {
	/* The driver agreed on these features (feature bits of the device). */
	void (*offload)(struct net_backend *b, uint64_t features);
	/* How many pairs of queues are in use. 0 or -errno. */
	int (*use_pairs)(struct net_backend *b, unsigned pairs);
	/*
	 * Reads a frame into @iov of @bytes. Its bytes with the header; -EAGAIN: no frame (maybe a
	 * part of one, in @iov); -ENOBUFS: one of *@ret_need bytes, of which the beginning may be
	 * in
	 * @iov. In these cases @iov must begin with the same buffers the next time, unless drop()
	 * is called. Other errors: the backend is dead.
	 */
	ssize_t (*receive)(struct net_backend *b, unsigned pair, const struct iovec *iov,
			   unsigned count, size_t bytes, size_t *ret_need);
	/* Forgets the frame that is being received. */
	void (*drop)(struct net_backend *b, unsigned pair);
	/* Sends a frame. 0; -EAGAIN: not all of it, call again with the same when the descriptor is
	 * writable. Other errors: the backend is dead. */
	int (*send)(struct net_backend *b, unsigned pair, const struct iovec *iov, unsigned count,
		    size_t bytes);
	/* The guest's buffers are not valid any more; a frame half sent is ended somehow. */
	void (*stop)(struct net_backend *b);
	void (*free)(struct net_backend *b);
};

/* Embedded in each backend's own struct. */
struct net_backend {
	const struct net_backend_ops *ops;
	uint64_t features; /* of the device, that this backend can serve */
	unsigned pairs;	   /* of queues */
	int fds[NET_PAIRS_MAX];
};

/* A tap interface that exists, or is made, by name. 0 or -errno. */
int net_tap_open(const char *name, unsigned pairs, struct net_backend **ret, struct err *err);
/* The same by descriptors (with IFF_VNET_HDR, IFF_NO_PI); the backend's when it succeeds. */
int net_tap_new(const int *fds, unsigned pairs, struct net_backend **ret, struct err *err);
/* A connected stream socket; the backend's when it succeeds. */
int net_stream_new(int fd, struct net_backend **ret, struct err *err);

struct net_options {
	struct net_backend *backend; /* the device's when its constructor succeeds */
	uint8_t mac[6];		     /* all zeros: a random one, locally administered */
	uint16_t mtu;		     /* 0: not said */
};

int virtio_net_new(const struct net_options *o, const struct vmm_memory *memory, struct loop *loop,
		   struct virtio_device **ret, struct err *err);

#endif
