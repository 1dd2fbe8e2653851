/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/virtio/net.h"

#include <errno.h>
#include <linux/virtio_net.h>
#include <sys/random.h>
#include "util/err.h"
#include "util/mem.h"

#define NET_QUEUE_SIZE	 256
#define NET_ROUND	 128 /* frames moved before others have a turn */
#define NET_WINDOW	 64  /* buffers taken in advance */
#define NET_COMMANDS_MAX 16  /* of the control queue, in a round */
#define ETHERNET_HEADER	 14

struct net_buffer {
	uint16_t head;
	uint16_t iovs;
	uint32_t bytes;
};

/* Buffers for frames to the guest, in the order of the queue. Those before the first are used. */
struct net_window {
	unsigned first, count;	  /* of buffers */
	unsigned iov_first, iovs; /* of iov */
	size_t bytes;
	struct net_buffer buffers[NET_WINDOW];
	struct iovec iov[NET_IOVS_MAX];
};

struct net_pair {
	struct net *net;
	unsigned number;
	struct loop_watch watch;
	bool wants_frame; /* there are buffers, and no frame */
	bool held;	  /* a frame from the guest, in chain, waits for the descriptor */
	struct virtq_chain chain;
	struct net_window window;
};

struct net {
	struct virtio_device device;
	struct virtq queues[2 * NET_PAIRS_MAX + 1];
	struct virtio_net_config config;
	struct net_backend *backend;
	bool merge;	 /* VIRTIO_NET_F_MRG_RXBUF: a frame may take several buffers */
	bool dead;	 /* the backend is */
	unsigned active; /* pairs that are in use */
	struct virtq_chain chain;
	struct net_pair pairs[];
};

static struct net *net_of(const struct virtio_device *d)
{
	return container_of(d, struct net, device);
}

static struct virtq *queue_of(struct net_pair *p, bool send)
{
	return &p->net->queues[2 * p->number + (send ? 1 : 0)];
}

/* Watches the descriptor for what is waited for, and not at all otherwise: a hang-up would be told
 * again and again. */
static void watch(struct net_pair *p)
{
	struct loop *loop = p->net->device.loop;
	uint32_t events = (p->wants_frame ? EPOLLIN : 0) | (p->held ? EPOLLOUT : 0);

	if (p->net->dead || !events) {
		loop_remove(loop, &p->watch);
		return;
	}
	loop_set(loop, &p->watch, events);
	loop_add(loop, &p->watch);
}

/* The backend is gone: the link is down, and what the guest sends is lost. */
static void die(struct net *n)
{
	if (n->dead)
		return;
	n->dead = true;
	for (unsigned i = 0; i < n->backend->pairs; i++) {
		n->pairs[i].wants_frame = false;
		loop_remove(n->device.loop, &n->pairs[i].watch);
		/* a frame that is held must go back to the driver, who may wait for it */
		if (n->pairs[i].held)
			virtio_later(&n->device, 2 * i + 1);
	}
	n->config.status &= (uint16_t)~VIRTIO_NET_S_LINK_UP;
	virtio_config_changed(&n->device);
}

/* ---- to the guest --------------------------------------------------------------------------- */

/* Makes room at the end of the window. */
static void compact(struct net_window *w)
{
	if (w->first)
		memmove(w->buffers, w->buffers + w->first, w->count * sizeof(w->buffers[0]));
	if (w->iov_first)
		memmove(w->iov, w->iov + w->iov_first, w->iovs * sizeof(w->iov[0]));
	w->first = w->iov_first = 0;
}

static bool has_room(struct net_window *w)
{
	if (w->first + w->count < NET_WINDOW &&
	    w->iov_first + w->iovs + VIRTQ_SIZE_MAX <= NET_IOVS_MAX)
		return true;
	compact(w);
	return w->count < NET_WINDOW && w->iovs + VIRTQ_SIZE_MAX <= NET_IOVS_MAX;
}

/* Takes buffers until they hold @bytes. Returns whether there is at least one more than before. */
static bool fill(struct net_pair *p, size_t bytes)
{
	struct net *n = p->net;
	struct net_window *w = &p->window;
	struct virtq_chain *c = &n->chain;
	bool more = false;

	while (w->bytes < bytes && has_room(w) && virtio_pop(&n->device, 2 * p->number, c)) {
		/* the header must fit, and a buffer for the guest to fill is no use to anyone */
		if (c->write_bytes < NET_HEADER) {
			virtio_broken(&n->device);
			return false;
		}
		memcpy(w->iov + w->iov_first + w->iovs, c->write,
		       c->write_count * sizeof(c->iov[0]));
		w->buffers[w->first + w->count] = (struct net_buffer){
			.head = c->head,
			.iovs = (uint16_t)c->write_count,
			.bytes = (uint32_t)c->write_bytes,
		};
		w->count++;
		w->iovs += c->write_count;
		w->bytes += c->write_bytes;
		more = true;
		if (!n->merge)
			break;
	}
	return more;
}

/* Gives back the buffers that a frame of @bytes fills; the driver sees all of them or none. */
static void deliver(struct net_pair *p, size_t bytes)
{
	struct net_window *w = &p->window;
	struct virtq *q = queue_of(p, false);
	uint16_t used = 0;
	size_t left = bytes;

	for (unsigned i = w->first; left; i++, used++)
		left -= MIN(left, w->buffers[i].bytes);
	iov_write(w->iov + w->iov_first, w->iovs, offsetof(struct virtio_net_hdr_v1, num_buffers),
		  &used, sizeof(used));
	for (left = bytes; used; used--) {
		const struct net_buffer *b = &w->buffers[w->first++];
		size_t n = MIN(left, b->bytes);

		virtq_put(q, b->head, (uint32_t)n);
		left -= n;
		w->count--;
		w->iov_first += b->iovs;
		w->iovs -= b->iovs;
		w->bytes -= b->bytes;
	}
	virtq_publish(q);
}

/* As many bytes as a frame may have, by what the driver agreed to. */
static size_t frame_max(const struct net *n)
{
	if (virtio_has(&n->device, VIRTIO_NET_F_GUEST_TSO4) ||
	    virtio_has(&n->device, VIRTIO_NET_F_GUEST_TSO6) || n->config.mtu)
		return NET_HEADER + NET_FRAME_MAX;
	return NET_HEADER + ETHERNET_HEADER + 4 + 1500;
}

/* One frame. 1; 0: nothing more can be done now. */
static int receive(struct net_pair *p)
{
	struct net *n = p->net;
	struct net_window *w = &p->window;
	struct virtq *q = queue_of(p, false);
	size_t need = n->merge ? frame_max(n) : 1;
	ssize_t r;

	fill(p, need);
	if (!w->count)
		return virtq_notifications(q, true);
	r = n->backend->ops->receive(n->backend, p->number, w->iov + w->iov_first, w->iovs,
				     w->bytes, &need);
	if (r > 0) {
		deliver(p, (size_t)r);
		return 1;
	}
	if (r == -EAGAIN) {
		p->wants_frame = true;
		return 0;
	}
	if (r != -ENOBUFS) {
		die(n);
		return 0;
	}
	if (n->merge && fill(p, need))
		return 1;
	/* with all that the guest can give it still has no room: never will it have */
	if (!n->merge || !has_room(w) || w->count >= q->size || q->broken) {
		n->backend->ops->drop(n->backend, p->number);
		return 1;
	}
	return virtq_notifications(q, true);
}

static void receive_some(struct net_pair *p)
{
	struct virtq *q = queue_of(p, false);

	p->wants_frame = false;
	if (!q->ready || q->broken || p->net->dead) {
		watch(p);
		return;
	}
	virtq_notifications(q, false);
	for (unsigned i = 0;; i++) {
		if (i == NET_ROUND) {
			/* the descriptor says so again if there are more */
			p->wants_frame = true;
			break;
		}
		if (!receive(p) || q->broken)
			break;
	}
	p->wants_frame = p->wants_frame && !q->broken && !p->net->dead;
	watch(p);
	virtio_signal(&p->net->device, 2 * p->number);
}

/* ---- from the guest ------------------------------------------------------------------------- */

/* Sends the frame in the pair's chain. false: it is held, for the descriptor takes no more. */
static bool send_frame(struct net_pair *p)
{
	struct net *n = p->net;
	const struct virtq_chain *c = &p->chain;
	int r = 0;

	/* what cannot be a frame is lost, as on any wire */
	if (!n->dead && c->read_bytes >= NET_HEADER + ETHERNET_HEADER &&
	    c->read_bytes <= NET_HEADER + NET_FRAME_MAX)
		r = n->backend->ops->send(n->backend, p->number, c->read, c->read_count,
					  c->read_bytes);
	if (r == -EAGAIN)
		return false;
	if (r < 0)
		die(n);
	virtq_push(queue_of(p, true), c->head, 0);
	return true;
}

static void send_some(struct net_pair *p)
{
	struct virtio_device *d = &p->net->device;
	struct virtq *q = queue_of(p, true);
	unsigned number = 2 * p->number + 1, sent = 0;

	if (!q->ready || q->broken) {
		p->held = false;
		watch(p);
		return;
	}
	virtq_notifications(q, false);
	if (p->held)
		p->held = !send_frame(p);
	do
		while (!p->held && sent < NET_ROUND && virtio_pop(d, number, &p->chain)) {
			if (p->chain.read_bytes < NET_HEADER) {
				virtio_broken(d);
				break;
			}
			p->held = !send_frame(p);
			sent++;
		}
	while (!p->held && sent < NET_ROUND && virtq_notifications(q, true));
	if (!p->held && sent >= NET_ROUND)
		virtio_later(d, number);
	watch(p);
	virtio_signal(d, number);
}

static void on_backend(struct loop_watch *w, uint32_t events)
{
	struct net_pair *p = container_of(w, struct net_pair, watch);

	if (p->held && events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
		send_some(p);
	if (p->wants_frame && events & (EPOLLIN | EPOLLERR | EPOLLHUP))
		receive_some(p);
}

/* ---- commands ------------------------------------------------------------------------------- */

static int use_pairs(struct net *n, unsigned pairs)
{
	int r = n->backend->ops->use_pairs(n->backend, pairs);
	unsigned before = n->active;

	if (r < 0)
		return r;
	n->active = pairs;
	for (unsigned i = pairs; i < before; i++) {
		/* nobody sends for it any more; the buffers stay until the pair is used again */
		n->pairs[i].wants_frame = false;
		loop_remove(n->device.loop, &n->pairs[i].watch);
	}
	for (unsigned i = before; i < pairs; i++) {
		receive_some(&n->pairs[i]);
		send_some(&n->pairs[i]);
	}
	return 0;
}

/* Offloads that can be switched off and on again (section 5.1.6.5.6). */
static int set_offloads(struct net *n, uint64_t wanted)
{
	uint64_t can = 1ull << VIRTIO_NET_F_GUEST_CSUM | 1ull << VIRTIO_NET_F_GUEST_TSO4 |
		       1ull << VIRTIO_NET_F_GUEST_TSO6 | 1ull << VIRTIO_NET_F_GUEST_ECN;

	if (wanted & ~(can & n->device.driver_features))
		return -EINVAL;
	n->backend->ops->offload(n->backend, wanted);
	return 0;
}

static int command(struct net *n, const struct virtq_chain *c)
{
	struct virtio_net_ctrl_hdr h;
	uint16_t pairs;
	uint64_t offloads;
	size_t at = sizeof(h);

	if (iov_read(c->read, c->read_count, 0, &h, sizeof(h)) != sizeof(h))
		return -EINVAL;
	if (h.class == VIRTIO_NET_CTRL_MQ && h.cmd == VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET &&
	    virtio_has(&n->device, VIRTIO_NET_F_MQ) && c->read_bytes == at + sizeof(pairs)) {
		iov_read(c->read, c->read_count, at, &pairs, sizeof(pairs));
		if (pairs < 1 || pairs > n->backend->pairs)
			return -EINVAL;
		return use_pairs(n, pairs);
	}
	if (h.class == VIRTIO_NET_CTRL_GUEST_OFFLOADS &&
	    h.cmd == VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET &&
	    virtio_has(&n->device, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) &&
	    c->read_bytes == at + sizeof(offloads)) {
		iov_read(c->read, c->read_count, at, &offloads, sizeof(offloads));
		return set_offloads(n, offloads);
	}
	return -EOPNOTSUPP;
}

static void serve_commands(struct net *n, unsigned number)
{
	struct virtio_device *d = &n->device;
	unsigned served = 0;

	while (served < NET_COMMANDS_MAX && virtio_pop(d, number, &n->chain)) {
		struct virtq_chain *c = &n->chain;
		uint16_t head = c->head;
		uint8_t *ack_at = c->write_bytes ? c->write->iov_base : NULL;

		if (!ack_at) {
			virtio_broken(d);
			return;
		}
		/* the chain is used for other queues while the command is done */
		*ack_at = command(n, c) < 0 ? VIRTIO_NET_ERR : VIRTIO_NET_OK;
		virtq_push(&n->queues[number], head, 1);
		served++;
	}
	if (served >= NET_COMMANDS_MAX)
		virtio_later(d, number);
	virtio_signal(d, number);
}

/* ---- the device ----------------------------------------------------------------------------- */

static void net_notify(struct virtio_device *d, unsigned number)
{
	struct net *n = net_of(d);
	/* without VIRTIO_NET_F_MQ the queue of commands is the third one */
	unsigned commands = virtio_has(d, VIRTIO_NET_F_MQ) ? 2 * n->backend->pairs : 2;

	if (number == commands)
		serve_commands(n, number);
	else if (number / 2 >= n->active)
		return;
	else if (number % 2)
		send_some(&n->pairs[number / 2]);
	else if (!n->pairs[number / 2].wants_frame)
		receive_some(&n->pairs[number / 2]);
}

static int net_start(struct virtio_device *d)
{
	struct net *n = net_of(d);

	n->merge = virtio_has(d, VIRTIO_NET_F_MRG_RXBUF);
	n->active = 1;
	n->backend->ops->offload(n->backend, d->driver_features);
	return n->backend->ops->use_pairs(n->backend, 1);
}

static void net_stop(struct virtio_device *d)
{
	struct net *n = net_of(d);

	for (unsigned i = 0; i < n->backend->pairs; i++) {
		struct net_pair *p = &n->pairs[i];

		loop_remove(d->loop, &p->watch);
		p->wants_frame = p->held = false;
		p->window.first = p->window.count = 0;
		p->window.iov_first = p->window.iovs = 0;
		p->window.bytes = 0;
	}
	n->backend->ops->stop(n->backend);
}

static void net_free(struct virtio_device *d)
{
	struct net *n = net_of(d);

	if (n->backend)
		n->backend->ops->free(n->backend);
	free(n);
}

static const struct virtio_ops net_ops = {
	.name = "net",
	.id = VIRTIO_ID_NET,
	.start = net_start,
	.stop = net_stop,
	.notify = net_notify,
	.free = net_free,
};

static int configure(struct net *n, const struct net_options *o, struct err *err)
{
	static const uint8_t none[sizeof(o->mac)];
	struct virtio_device *d = &n->device;

	if (o->mac[0] & 1)
		return err_set(err, EINVAL, "a machine's network address must not be a group's");
	memcpy(n->config.mac, o->mac, sizeof(o->mac));
	if (!memcmp(o->mac, none, sizeof(none))) {
		if (getrandom(n->config.mac, sizeof(n->config.mac), 0) != sizeof(n->config.mac))
			return err_set(err, EIO, "no random numbers for a network address");
		n->config.mac[0] = (uint8_t)((n->config.mac[0] & ~1u) | 2);
	}
	if (o->mtu && o->mtu < 68)
		return err_set(err, EINVAL, "an MTU is at least 68 bytes");
	n->config.status = VIRTIO_NET_S_LINK_UP;
	n->config.max_virtqueue_pairs = (uint16_t)o->backend->pairs;
	n->config.mtu = o->mtu;
	d->features |= o->backend->features | 1ull << VIRTIO_NET_F_MAC |
		       1ull << VIRTIO_NET_F_STATUS | 1ull << VIRTIO_NET_F_MRG_RXBUF |
		       1ull << VIRTIO_NET_F_CTRL_VQ;
	if (o->mtu)
		d->features |= 1ull << VIRTIO_NET_F_MTU;
	if (o->backend->pairs > 1)
		d->features |= 1ull << VIRTIO_NET_F_MQ;
	d->config = &n->config;
	d->config_bytes = offsetof(struct virtio_net_config, mtu) + sizeof(n->config.mtu);
	return 0;
}

int virtio_net_new(const struct net_options *o, const struct vmm_memory *memory, struct loop *loop,
		   struct virtio_device **ret, struct err *err)
{
	unsigned pairs = o->backend->pairs;
	struct net *n = calloc(1, sizeof(*n) + pairs * sizeof(n->pairs[0]));
	int r;

	if (!n)
		return err_set(err, ENOMEM, "out of memory");
	for (unsigned i = 0; i < 2 * pairs + 1; i++)
		n->queues[i].size_max = NET_QUEUE_SIZE;
	virtio_device_init(&n->device, &net_ops, memory, loop, n->queues, 2 * pairs + 1);
	r = configure(n, o, err);
	if (r == 0)
		r = virtio_later_init(&n->device, err);
	if (r < 0) {
		virtio_device_free(&n->device);
		return r;
	}
	for (unsigned i = 0; i < pairs; i++) {
		n->pairs[i].net = n;
		n->pairs[i].number = i;
		n->pairs[i].watch =
			(struct loop_watch){ .fd = o->backend->fds[i], .call = on_backend };
	}
	n->backend = o->backend;
	*ret = &n->device;
	return 0;
}
