/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/virtio/vsock.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "util/err.h"
#include "util/mem.h"
#include "vmm/virtio/vsock_internal.h"

#define VSOCK_QUEUE_SIZE 128
#define VSOCK_ROUND	 64 /* packets, or turns of connections, before others have theirs */

static struct vsock *vsock_of(const struct virtio_device *d)
{
	return container_of(d, struct vsock, device);
}

/* ---- to the guest --------------------------------------------------------------------------- */

/* Takes a buffer of at least a header and a byte. */
static bool pop_buffer(struct vsock *v, struct virtq_chain *c)
{
	if (!virtio_pop(&v->device, VSOCK_TO_GUEST, c))
		return false;
	if (c->write_bytes > sizeof(struct virtio_vsock_hdr))
		return true;
	virtio_broken(&v->device);
	return false;
}

static void push_packet(struct vsock *v, const struct virtq_chain *c,
			const struct virtio_vsock_hdr *h)
{
	iov_write(c->write, c->write_count, 0, h, sizeof(*h));
	virtq_push(&v->queues[VSOCK_TO_GUEST], c->head, (uint32_t)sizeof(*h) + h->len);
}

void vsock_refuse(struct vsock *v, const struct vsock_reset *r)
{
	/* so many at a time come only from a guest that asks for trouble: let it wait */
	if (v->reset_count < VSOCK_RESETS_MAX)
		v->resets[(v->reset_at + v->reset_count++) % VSOCK_RESETS_MAX] = *r;
}

static void give_reset(struct vsock *v)
{
	const struct vsock_reset *r = &v->resets[v->reset_at];
	struct virtio_vsock_hdr h = {
		.src_cid = r->host_cid,
		.dst_cid = v->config.guest_cid,
		.src_port = r->host_port,
		.dst_port = r->guest_port,
		.type = r->type,
		.op = VIRTIO_VSOCK_OP_RST,
	};

	if (!pop_buffer(v, &v->chain))
		return;
	push_packet(v, &v->chain, &h);
	v->reset_at = (v->reset_at + 1) % VSOCK_RESETS_MAX;
	v->reset_count--;
}

static struct virtio_vsock_hdr header_of(struct vsock_conn *c, uint16_t op, uint32_t bytes)
{
	c->told = c->forwarded;
	c->owed &= ~(unsigned)OWE_CREDIT;
	return (struct virtio_vsock_hdr){
		.src_cid = VSOCK_HOST_CID,
		.dst_cid = c->vsock->config.guest_cid,
		.src_port = c->host_port,
		.dst_port = c->guest_port,
		.len = bytes,
		.type = VIRTIO_VSOCK_TYPE_STREAM,
		.op = op,
		.buf_alloc = c->vsock->buffer_bytes,
		.fwd_cnt = c->forwarded,
	};
}

static void give_owed(struct vsock *v, struct vsock_conn *c)
{
	static const uint16_t ops[] = { VIRTIO_VSOCK_OP_REQUEST, VIRTIO_VSOCK_OP_RESPONSE,
					VIRTIO_VSOCK_OP_SHUTDOWN, VIRTIO_VSOCK_OP_CREDIT_UPDATE };
	struct virtio_vsock_hdr h;
	unsigned i = 0;

	if (!pop_buffer(v, &v->chain))
		return;
	while (!(c->owed >> i & 1))
		i++;
	c->owed &= ~(1u << i);
	h = header_of(c, ops[i], 0);
	if (ops[i] == VIRTIO_VSOCK_OP_SHUTDOWN)
		h.flags = VIRTIO_VSOCK_SHUTDOWN_SEND | (c->gone ? VIRTIO_VSOCK_SHUTDOWN_RCV : 0);
	push_packet(v, &v->chain, &h);
}

/* Takes buffers for as much as there is credit; their parts behind the header are in v->iov then.
 * Returns how many. */
static unsigned take_buffers(struct vsock *v, uint32_t credit, unsigned *ret_iovs,
			     size_t *ret_bytes)
{
	size_t bytes = 0;
	unsigned n = 0, iovs = 0;

	while (n < VSOCK_BATCH && bytes < credit && pop_buffer(v, &v->batch[n])) {
		const struct virtq_chain *c = &v->batch[n];
		size_t part = MIN(c->write_bytes - sizeof(struct virtio_vsock_hdr), credit - bytes);

		if (iovs + c->write_count > VSOCK_IOVS_MAX) {
			virtq_unpop(&v->queues[VSOCK_TO_GUEST]);
			break;
		}
		iovs += iov_slice(c->write, c->write_count, sizeof(struct virtio_vsock_hdr), part,
				  v->iov + iovs);
		bytes += part;
		n++;
	}
	*ret_iovs = iovs;
	*ret_bytes = bytes;
	return n;
}

static void give_data(struct vsock *v, struct vsock_conn *c)
{
	size_t room, left;
	unsigned iovs, n = take_buffers(v, vsock_conn_credit(c), &iovs, &room), used = 0;
	ssize_t r;

	if (!n)
		return;
	r = readv(c->watch.fd, v->iov, (int)iovs);
	if (r < 0)
		r = -errno;
	for (left = r > 0 ? (size_t)r : 0; left; used++) {
		const struct virtq_chain *b = &v->batch[used];
		size_t part = MIN(b->write_bytes - sizeof(struct virtio_vsock_hdr), left);
		struct virtio_vsock_hdr h = header_of(c, VIRTIO_VSOCK_OP_RW, (uint32_t)part);

		push_packet(v, b, &h);
		c->sent += (uint32_t)part;
		left -= part;
	}
	while (n-- > used)
		virtq_unpop(&v->queues[VSOCK_TO_GUEST]);
	if (r <= 0)
		vsock_conn_no_data(c, r);
	else if ((size_t)r < room)
		c->readable = false; /* and if it is, the loop says so */
}

void vsock_pump(struct vsock *v)
{
	struct virtq *q = &v->queues[VSOCK_TO_GUEST];
	struct vsock_conn *c;

	virtq_notifications(q, false);
	for (unsigned turns = 0; v->reset_count || v->ready_first; turns++) {
		if (turns == VSOCK_ROUND) {
			virtio_later(&v->device, VSOCK_TO_GUEST);
			break;
		}
		if (!virtq_has_more(q) && !virtq_notifications(q, true))
			break;
		c = v->ready_first;
		if (v->reset_count) {
			give_reset(v);
			continue;
		}
		if (c->owed)
			give_owed(v, c);
		else
			give_data(v, c);
		/* to the end of the list, or out of it */
		vsock_conn_update(c);
	}
	virtio_signal(&v->device, VSOCK_TO_GUEST);
}

/* ---- from the guest ------------------------------------------------------------------------- */

static void refuse_packet(struct vsock *v, const struct virtio_vsock_hdr *h)
{
	if (h->op != VIRTIO_VSOCK_OP_RST)
		vsock_refuse(v, &(struct vsock_reset){ .host_cid = h->dst_cid,
						       .host_port = h->dst_port,
						       .guest_port = h->src_port,
						       .type = h->type });
}

static void take_packet(struct vsock *v, const struct virtq_chain *chain)
{
	struct virtio_vsock_hdr h;
	struct vsock_conn *c;

	if (iov_read(chain->read, chain->read_count, 0, &h, sizeof(h)) != sizeof(h)) {
		virtio_broken(&v->device);
		return;
	}
	if (h.src_cid != v->config.guest_cid || h.dst_cid != VSOCK_HOST_CID ||
	    h.type != VIRTIO_VSOCK_TYPE_STREAM) {
		refuse_packet(v, &h);
		return;
	}
	c = vsock_conn_find(v, h.src_port, h.dst_port);
	if (c && h.len > chain->read_bytes - sizeof(h))
		vsock_conn_end(c, true);
	else if (c)
		vsock_conn_packet(c, &h, chain);
	else if (h.op != VIRTIO_VSOCK_OP_REQUEST || !vsock_conn_from_guest(v, &h))
		refuse_packet(v, &h);
}

static void take_packets(struct vsock *v)
{
	struct virtio_device *d = &v->device;
	struct virtq *q = &v->queues[VSOCK_FROM_GUEST];
	unsigned taken = 0;

	virtq_notifications(q, false);
	do
		while (taken < VSOCK_ROUND && virtio_pop(d, VSOCK_FROM_GUEST, &v->chain)) {
			uint16_t head = v->chain.head;

			take_packet(v, &v->chain);
			virtq_push(q, head, 0);
			taken++;
		}
	while (taken < VSOCK_ROUND && virtq_notifications(q, true));
	if (taken >= VSOCK_ROUND)
		virtio_later(d, VSOCK_FROM_GUEST);
	virtio_signal(d, VSOCK_FROM_GUEST);
}

/* ---- the device ----------------------------------------------------------------------------- */

static void vsock_notify(struct virtio_device *d, unsigned n)
{
	struct vsock *v = vsock_of(d);

	if (n == VSOCK_FROM_GUEST)
		take_packets(v);
	if (n != VSOCK_EVENTS)
		vsock_pump(v);
}

static int vsock_start(struct virtio_device *d)
{
	vsock_conn_listen(vsock_of(d));
	return 0;
}

static void vsock_stop(struct virtio_device *d)
{
	struct vsock *v = vsock_of(d);

	loop_remove(d->loop, &v->listener);
	for (unsigned i = 0; i < v->connections; i++)
		if (v->conns[i].state != VSOCK_FREE)
			vsock_conn_end(&v->conns[i], false);
	loop_remove(d->loop, &v->listener); /* the last ones to end made room */
	v->reset_count = 0;
}

static void vsock_free(struct virtio_device *d)
{
	struct vsock *v = vsock_of(d);

	loop_remove(d->loop, &v->listener);
	fd_close(v->listener.fd);
	free(v->buffers);
	free(v->conns);
	free(v);
}

static const struct virtio_ops vsock_ops = {
	.name = "vsock",
	.id = VIRTIO_ID_VSOCK,
	.start = vsock_start,
	.stop = vsock_stop,
	.notify = vsock_notify,
	.free = vsock_free,
};

unsigned vsock_connections(const struct virtio_device *d)
{
	return vsock_of(d)->count;
}

int vsock_transport_reset(struct virtio_device *d)
{
	struct virtio_vsock_event e = { .id = VIRTIO_VSOCK_EVENT_TRANSPORT_RESET };
	struct vsock *v = vsock_of(d);

	if (!d->started || !virtio_pop(d, VSOCK_EVENTS, &v->chain))
		return -EAGAIN;
	iov_write(v->chain.write, v->chain.write_count, 0, &e, sizeof(e));
	virtq_push(&v->queues[VSOCK_EVENTS], v->chain.head,
		   (uint32_t)MIN(v->chain.write_bytes, sizeof(e)));
	virtio_signal(d, VSOCK_EVENTS);
	return 0;
}

static int make_connections(struct vsock *v, const struct vsock_options *o, struct err *err)
{
	v->connections = o->connections ? o->connections : VSOCK_CONNECTIONS;
	v->buffer_bytes = o->buffer_bytes ? o->buffer_bytes : VSOCK_BUFFER_BYTES;
	v->conns = calloc(v->connections, sizeof(*v->conns));
	/* pages come into being when a socket lags behind */
	v->buffers = calloc(v->connections, v->buffer_bytes);
	if (!v->conns || !v->buffers)
		return err_set(err, ENOMEM, "out of memory");
	for (unsigned i = v->connections; i-- > 0;) {
		v->conns[i].vsock = v;
		v->conns[i].watch.fd = -EBADF;
		v->conns[i].buffer = v->buffers + (size_t)i * v->buffer_bytes;
		v->conns[i].bucket_next = v->free;
		v->free = &v->conns[i];
	}
	return 0;
}

int virtio_vsock_new(const struct vsock_options *o, const struct vmm_memory *memory,
		     struct loop *loop, struct virtio_device **ret, struct err *err)
{
	struct vsock *v;
	int r;

	/* PATH_4294967295 must fit */
	if (strlen(o->path) + 11 >= sizeof(v->path))
		return err_set(err, ENAMETOOLONG, "the path of a socket is too long: \"%s\"",
			       o->path);
	if (o->guest_cid < 3 || o->guest_cid == UINT32_MAX)
		return err_set(err, EINVAL, "a machine's CID is 3 or more");
	if (o->buffer_bytes & (o->buffer_bytes - 1))
		return err_set(err, EINVAL, "a socket's buffer must be a power of two");
	v = calloc(1, sizeof(*v));
	if (!v)
		return err_set(err, ENOMEM, "out of memory");
	strcpy(v->path, o->path);
	v->config.guest_cid = o->guest_cid;
	v->listener = (struct loop_watch){ .fd = -EBADF };
	v->next_port = 1u << 30;
	for (unsigned i = 0; i < VSOCK_QUEUES; i++)
		v->queues[i].size_max = VSOCK_QUEUE_SIZE;
	v->device.config = &v->config;
	v->device.config_bytes = sizeof(v->config);
	virtio_device_init(&v->device, &vsock_ops, memory, loop, v->queues, VSOCK_QUEUES);
	r = make_connections(v, o, err);
	if (r == 0)
		r = virtio_later_init(&v->device, err);
	if (r < 0) {
		virtio_device_free(&v->device);
		return r;
	}
	v->listener = (struct loop_watch){ .fd = o->listen_fd >= 0 ? o->listen_fd : -EBADF,
					   .events = EPOLLIN,
					   .call = vsock_conn_accept };
	*ret = &v->device;
	return 0;
}
