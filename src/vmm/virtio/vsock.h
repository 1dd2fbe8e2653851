/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket device (virtio 1.2, section 5.10): connections between the guest and Unix sockets of
 * the host, with nothing in the host's kernel ("hybrid vsock", as Firecracker has it).
 *
 * From the host: connect to the Unix socket PATH, send "CONNECT <port>\n"; when the guest accepts,
 * the answer is "OK <port of the host's side>\n", and the rest is the connection. When it does not,
 * the socket is closed. From the guest: a connection to port P of the host (CID 2) leads to the
 * Unix socket PATH_P.
 *
 * Each side says how much it can take, and neither sends more (section 5.10.6.3). What the guest
 * sends goes straight into the socket; what that does not take waits in a buffer as large as what
 * the guest was promised. What the host sends stays in its socket until the guest has both credit
 * and buffers, and is then read straight into these. So memory is bounded, and so are connections.
 */
#ifndef PROA_VMM_VIRTIO_VSOCK_H
#define PROA_VMM_VIRTIO_VSOCK_H

#include "vmm/virtio/device.h"

#define VSOCK_CONNECTIONS  256
#define VSOCK_BUFFER_BYTES (128u << 10)

struct vsock_options {
	uint32_t guest_cid; /* 3 or more */
	const char *path;   /* PATH, as it is named where the device runs; copied */
	int listen_fd;	    /* of vsock_listen(); the device's on success. -1: none from the host */
	unsigned connections;  /* at most; 0: VSOCK_CONNECTIONS */
	uint32_t buffer_bytes; /* of each, a power of two; 0: VSOCK_BUFFER_BYTES */
};

/* Makes the socket that the host's programs connect to; one that nobody listens on is replaced. */
int vsock_listen(const char *path, int *ret_fd, struct err *err);

int virtio_vsock_new(const struct vsock_options *o, const struct vmm_memory *memory,
		     struct loop *loop, struct virtio_device **ret, struct err *err);

/* How many connections there are. */
unsigned vsock_connections(const struct virtio_device *d);

/*
 * After the machine was restored from a snapshot: tells the guest that its connections are gone
 * (VIRTIO_VSOCK_EVENT_TRANSPORT_RESET). -EAGAIN: it has no buffer for events.
 */
int vsock_transport_reset(struct virtio_device *d);

#endif
