/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket device's two halves: vsock.c has the queues and the packets in them; vsock_conn.c has
 * connections: their sockets, buffers and credit.
 *
 * A connection with something for the guest is in the list of those that are ready; vsock_pump()
 * goes through the list as long as the guest has buffers, one turn for each.
 */
#ifndef PROA_VMM_VIRTIO_VSOCK_INTERNAL_H
#define PROA_VMM_VIRTIO_VSOCK_INTERNAL_H

#include <linux/virtio_vsock.h>
#include <sys/un.h>
#include "vmm/virtio/vsock.h"

#define VSOCK_HOST_CID	 2
#define VSOCK_RESETS_MAX 1024
#define VSOCK_BUCKETS	 256
#define VSOCK_BATCH	 8 /* packets to the guest that one read fills */
#define VSOCK_IOVS_MAX	 1024
#define VSOCK_LINE_MAX	 32

enum { VSOCK_TO_GUEST, VSOCK_FROM_GUEST, VSOCK_EVENTS, VSOCK_QUEUES };

enum vsock_state {
	VSOCK_FREE,
	VSOCK_GREETING,	 /* the host's program has not said CONNECT yet; not in a bucket */
	VSOCK_REQUESTED, /* the guest has not answered yet */
	VSOCK_OPEN,
	VSOCK_ENDED, /* the socket is closed, and the guest was, or will be, told */
};

/* Packets without data that are owed to the guest, by bits. */
enum vsock_owed {
	OWE_REQUEST = 1 << 0,
	OWE_RESPONSE = 1 << 1,
	OWE_SHUTDOWN = 1 << 2,
	OWE_CREDIT = 1 << 3,
};

struct vsock_conn {
	struct vsock *vsock;
	struct loop_watch watch; /* of the socket; fd -EBADF: closed */
	enum vsock_state state;
	uint32_t guest_port, host_port;
	struct vsock_conn *bucket_next;		    /* or of the free ones */
	struct vsock_conn *ready_prev, *ready_next; /* valid if ready */
	bool ready;
	unsigned owed;

	/* host to guest */
	bool readable;			 /* the socket has something, as far as is known */
	bool host_sends, guest_receives; /* until one says that it does not any more */
	uint32_t sent, guest_buffer, guest_forwarded;

	/* guest to host */
	bool guest_sends;
	bool gone; /* the host's program is: nobody receives what the guest sends */
	uint32_t received, forwarded, told; /* bytes; told: forwarded as the guest knows it */
	uint32_t waiting_at, waiting;	    /* bytes in the buffer */
	uint8_t *buffer;

	char line[VSOCK_LINE_MAX]; /* of the greeting */
	unsigned line_bytes;
};

struct vsock_reset {
	uint64_t host_cid;
	uint32_t host_port, guest_port;
	uint16_t type;
};

struct vsock {
	struct virtio_device device;
	struct virtq queues[VSOCK_QUEUES];
	struct virtio_vsock_config config;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	struct loop_watch listener; /* fd -EBADF: none */

	unsigned connections, count; /* at most, and now */
	uint32_t buffer_bytes, next_port;
	struct vsock_conn *conns, *free, *buckets[VSOCK_BUCKETS];
	uint8_t *buffers;
	struct vsock_conn *ready_first, *ready_last;

	struct vsock_reset resets[VSOCK_RESETS_MAX]; /* owed for what is no connection */
	unsigned reset_at, reset_count;

	struct virtq_chain chain, batch[VSOCK_BATCH];
	struct iovec iov[VSOCK_IOVS_MAX];
};

/* ---- vsock.c ---- */

/* Gives the guest what is owed to it, and data, as far as its buffers and a round go. */
void vsock_pump(struct vsock *v);
/* Owes the guest an answer that there is no such connection. */
void vsock_refuse(struct vsock *v, const struct vsock_reset *r);

/* ---- vsock_conn.c ---- */

struct vsock_conn *vsock_conn_find(struct vsock *v, uint32_t guest_port, uint32_t host_port);
/* The guest asks for a connection. false: refused. */
bool vsock_conn_from_guest(struct vsock *v, const struct virtio_vsock_hdr *h);
/* Accepts the host's programs. */
void vsock_conn_accept(struct loop_watch *w, uint32_t events);
/* Watches the listener while there is room for connections. */
void vsock_conn_listen(struct vsock *v);
/* A packet of a connection; the data are in the chain from the header on. */
void vsock_conn_packet(struct vsock_conn *c, const struct virtio_vsock_hdr *h,
		       const struct virtq_chain *chain);
/* Ends it and frees it; @tell: the guest gets a reset. */
void vsock_conn_end(struct vsock_conn *c, bool tell);
/* Bytes that the guest can take. */
uint32_t vsock_conn_credit(const struct vsock_conn *c);
/* Has it anything for the guest? */
bool vsock_conn_has_more(const struct vsock_conn *c);
/* Puts it into the list of those that are ready, or takes it out, and watches what is to be. */
void vsock_conn_update(struct vsock_conn *c);
/* What reading its socket came to: 0: the end; -errno. */
void vsock_conn_no_data(struct vsock_conn *c, ssize_t result);

#endif
