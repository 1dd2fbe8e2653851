/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queues 0 and 1 belong to port 0, 2 and 3 carry control messages, 4 and 5 belong to port 1, and so
 * on (section 5.3.2); of each pair the first is what the guest receives.
 *
 * Nothing is buffered here: what the guest sends stays in its queue until the host's side takes it,
 * and the host's side is only read while the guest has buffers. Either side may so be as slow as it
 * likes. A port's host side that ends is told to the guest by PORT_OPEN 0, as a terminal's hang-up;
 * where input and output are two descriptors, the end of the input is not the end of the port.
 */
#include "vmm/virtio/console.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_console.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "util/err.h"
#include "util/loop.h"
#include "util/mem.h"
#include "vmm/virtio/device.h"

#define QUEUE_SIZE   64
#define CONTROL_RX   2
#define CONTROL_TX   3
#define MESSAGES_MAX 64
#define NAME_MAX_    40
#define DRAIN_MS     1000
#define ROUNDS	     64 /* chains of a queue served before others have their turn */

struct message {
	struct virtio_console_control head;
	char name[NAME_MAX_];
	uint8_t name_bytes;
};

struct port {
	struct console *console;
	unsigned number;
	char name[NAME_MAX_];
	bool terminal;
	bool guest_open; /* somebody in the guest listens */
	bool host_open;
	bool hung_up; /* not watched: the other end is gone, but what it sent before may still be
		       * there to read; or a file, which is always ready */
	bool input_ended;
	bool announced;
	struct loop_watch in, out;
	size_t sent; /* bytes of the first chain to send that are already gone */
};

struct console {
	struct virtio_device base;
	struct virtio_console_config config;
	struct port ports[CONSOLE_PORTS_MAX];
	unsigned port_count;
	struct virtq queues[2 + 2 * CONSOLE_PORTS_MAX];
	struct message messages[MESSAGES_MAX]; /* to the guest, while it has no buffers for them */
	unsigned message_at, message_count;
	struct virtq_chain chain;
};

static unsigned rx_queue(const struct port *p)
{
	return p->number ? 2 + 2 * p->number : 0;
}

static unsigned tx_queue(const struct port *p)
{
	return rx_queue(p) + 1;
}

/*
 * The next chain of a queue, or, when there is none, a notification asked for: event indexes ask
 * for one at a time. True: there is one.
 */
static bool next_chain(struct console *c, unsigned n)
{
	return virtio_pop(&c->base, n, &c->chain) ||
	       (virtq_notifications(&c->queues[n], true) && virtio_pop(&c->base, n, &c->chain));
}

/* ---- control messages ----------------------------------------------------------------------- */

static void send_messages(struct console *c)
{
	while (c->message_count && next_chain(c, CONTROL_RX)) {
		struct message *m = &c->messages[c->message_at];
		size_t n = iov_write(c->chain.write, c->chain.write_count, 0, &m->head,
				     sizeof(m->head));

		n += iov_write(c->chain.write, c->chain.write_count, n, m->name, m->name_bytes);
		virtq_push(&c->queues[CONTROL_RX], c->chain.head, (uint32_t)n);
		c->message_at = (c->message_at + 1) % MESSAGES_MAX;
		c->message_count--;
	}
	virtio_signal(&c->base, CONTROL_RX);
}

static void tell(struct console *c, unsigned port, uint16_t event, uint16_t value, const char *name)
{
	struct message *m = &c->messages[(c->message_at + c->message_count) % MESSAGES_MAX];

	/* a guest that takes none of so many is not a driver we know */
	if (c->message_count == MESSAGES_MAX) {
		virtio_broken(&c->base);
		return;
	}
	*m = (struct message){ .head = { .id = port, .event = event, .value = value } };
	if (name) {
		m->name_bytes = (uint8_t)strnlen(name, sizeof(m->name));
		memcpy(m->name, name, m->name_bytes);
	}
	c->message_count++;
}

static void receive_bytes(struct port *p);

/* Reads the host's side while the guest has room. */
static void watch_input(struct port *p)
{
	struct console *c = p->console;
	struct virtq *q = &c->queues[rx_queue(p)];
	bool can = c->base.started && p->host_open && !p->input_ended && p->guest_open &&
		   (virtq_has_more(q) || virtq_notifications(q, true));

	if (p->in.added)
		(void)loop_set(c->base.loop, &p->in,
			       (can ? EPOLLIN : 0) | (p->in.events & EPOLLOUT));
	else if (can && p->hung_up)
		receive_bytes(p);
}

static void announce(struct port *p)
{
	struct console *c = p->console;

	if (p->terminal)
		tell(c, p->number, VIRTIO_CONSOLE_CONSOLE_PORT, 1, NULL);
	if (p->name[0])
		tell(c, p->number, VIRTIO_CONSOLE_PORT_NAME, 1, p->name);
	if (p->host_open)
		tell(c, p->number, VIRTIO_CONSOLE_PORT_OPEN, 1, NULL);
}

static void receive_message(struct console *c, const struct virtio_console_control *m)
{
	struct port *p = m->id < c->port_count ? &c->ports[m->id] : NULL;

	switch (m->event) {
	case VIRTIO_CONSOLE_DEVICE_READY:
		for (unsigned i = 0; m->value && i < c->port_count; i++)
			tell(c, i, VIRTIO_CONSOLE_PORT_ADD, 1, NULL);
		break;
	case VIRTIO_CONSOLE_PORT_READY:
		if (p && m->value && !p->announced) {
			p->announced = true;
			announce(p);
		}
		break;
	case VIRTIO_CONSOLE_PORT_OPEN:
		if (p) {
			p->guest_open = m->value;
			watch_input(p);
		}
		break;
	default: break;
	}
}

static void receive_messages(struct console *c)
{
	for (unsigned i = 0; i < ROUNDS && next_chain(c, CONTROL_TX); i++) {
		struct virtio_console_control m;

		if (iov_read(c->chain.read, c->chain.read_count, 0, &m, sizeof(m)) == sizeof(m))
			receive_message(c, &m);
		virtq_push(&c->queues[CONTROL_TX], c->chain.head, 0);
	}
	if (virtq_has_more(&c->queues[CONTROL_TX]))
		virtio_later(&c->base, CONTROL_TX);
	virtio_signal(&c->base, CONTROL_TX);
	send_messages(c);
}

/* ---- bytes ---------------------------------------------------------------------------------- */

static void host_ended(struct port *p)
{
	struct console *c = p->console;

	loop_remove(c->base.loop, &p->in);
	if (p->out.fd != p->in.fd)
		loop_remove(c->base.loop, &p->out);
	p->host_open = p->hung_up = false;
	p->input_ended = true;
	if (c->base.started && p->announced && !p->terminal) {
		tell(c, p->number, VIRTIO_CONSOLE_PORT_OPEN, 0, NULL);
		send_messages(c);
	}
}

/* No more to read. Who has another descriptor for it may still be written to. */
static void end_input(struct port *p)
{
	if (p->out.fd == p->in.fd || p->out.fd < 0) {
		host_ended(p);
		return;
	}
	loop_remove(p->console->base.loop, &p->in);
	p->hung_up = false;
	p->input_ended = true;
}

/* One chain towards the host: true when all of it is gone. */
static bool send_chain(struct port *p, const struct virtq_chain *c, bool *ret_full)
{
	struct iovec rest[VIRTQ_SIZE_MAX];
	unsigned n = iov_slice(c->read, c->read_count, p->sent, c->read_bytes - p->sent, rest);
	ssize_t done;

	*ret_full = false;
	if (p->out.fd < 0 || !p->host_open || !n)
		return true;
	done = writev(p->out.fd, rest, (int)MIN(n, 1024u));
	if (done < 0 && (errno == EAGAIN || errno == EINTR)) {
		*ret_full = true;
		return false;
	}
	if (done < 0) {
		host_ended(p);
		return true; /* nobody will read it: thrown away */
	}
	p->sent += (size_t)done;
	*ret_full = p->sent < c->read_bytes;
	return !*ret_full;
}

static void send_bytes(struct port *p)
{
	struct console *c = p->console;
	struct virtq *q = &c->queues[tx_queue(p)];
	bool full = false;

	for (unsigned i = 0; i < ROUNDS && !full; i++) {
		if (!next_chain(c, tx_queue(p)))
			break;
		if (send_chain(p, &c->chain, &full)) {
			virtq_push(q, c->chain.head, 0);
			p->sent = 0;
		} else {
			virtq_unpop(q);
		}
	}
	virtio_signal(&c->base, tx_queue(p));
	/* a file is never waited for */
	if (!full && virtq_has_more(q))
		virtio_later(&c->base, tx_queue(p));
	if (p->out.fd != p->in.fd)
		(void)loop_set(c->base.loop, &p->out, full && p->out.added ? EPOLLOUT : 0);
	else if (p->in.added)
		(void)loop_set(c->base.loop, &p->in,
			       (p->in.events & EPOLLIN) | (full ? EPOLLOUT : 0));
}

static void receive_bytes(struct port *p)
{
	struct console *c = p->console;
	struct virtq *q = &c->queues[rx_queue(p)];

	for (unsigned i = 0; i < ROUNDS && p->guest_open && !p->input_ended; i++) {
		ssize_t n;

		if (!next_chain(c, rx_queue(p)))
			break;
		n = readv(p->in.fd, c->chain.write, (int)c->chain.write_count);
		if (n <= 0 && c->chain.write_count) {
			virtq_unpop(q);
			if (n == 0 || (errno != EAGAIN && errno != EINTR))
				end_input(p);
			break;
		}
		virtq_push(q, c->chain.head, (uint32_t)MAX(n, 0));
	}
	virtio_signal(&c->base, rx_queue(p));
	if (!p->hung_up)
		watch_input(p);
	else if (virtq_has_more(q))
		virtio_later(&c->base, rx_queue(p));
}

static void in_ready(struct loop_watch *w, uint32_t events)
{
	struct port *p = container_of(w, struct port, in);
	bool started = p->console->base.started;

	/* a hang-up is told also when nothing is asked for, again and again */
	if (events & (EPOLLHUP | EPOLLERR) && !(events & EPOLLIN)) {
		loop_remove(p->console->base.loop, w);
		p->hung_up = true;
		watch_input(p);
		return;
	}
	if (started && events & EPOLLOUT && p->out.fd == p->in.fd)
		send_bytes(p);
	if (started && p->host_open && events & EPOLLIN)
		receive_bytes(p);
}

static void out_ready(struct loop_watch *w, uint32_t events)
{
	struct port *p = container_of(w, struct port, out);

	/* nobody reads any more, which is told also when nothing is asked for, again and again */
	if (events & (EPOLLHUP | EPOLLERR))
		host_ended(p);
	if (p->console->base.started)
		send_bytes(p);
	else
		(void)loop_set(p->console->base.loop, w, 0);
}

static void console_notify(struct virtio_device *d, unsigned n)
{
	struct console *c = container_of(d, struct console, base);

	if (n == CONTROL_RX) {
		send_messages(c);
	} else if (n == CONTROL_TX) {
		receive_messages(c);
	} else {
		struct port *p = &c->ports[n < 2 ? 0 : n / 2 - 1];

		if (n % 2)
			send_bytes(p);
		else
			watch_input(p);
	}
}

static int console_start(struct virtio_device *d)
{
	struct console *c = container_of(d, struct console, base);

	/* without the feature there is port 0 alone, always open (section 5.3.5) */
	if (!virtio_has(d, VIRTIO_CONSOLE_F_MULTIPORT))
		c->ports[0].guest_open = c->ports[0].announced = true;
	return 0;
}

static void console_stop(struct virtio_device *d)
{
	struct console *c = container_of(d, struct console, base);

	c->message_count = c->message_at = 0;
	for (unsigned i = 0; i < c->port_count; i++) {
		struct port *p = &c->ports[i];

		p->guest_open = p->announced = false;
		p->sent = 0;
		if (p->in.added)
			(void)loop_set(d->loop, &p->in, 0);
		if (p->out.added)
			(void)loop_set(d->loop, &p->out, 0);
	}
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ll + t.tv_nsec / 1000000;
}

/* Drivers do not wait until the host has taken what they send: last words may be in the queues. */
static void console_drain(struct virtio_device *d)
{
	struct console *c = container_of(d, struct console, base);
	int64_t end = now_ms() + DRAIN_MS, left;

	for (unsigned i = 0; i < c->port_count; i++) {
		struct port *p = &c->ports[i];
		struct pollfd out = { .fd = p->out.fd, .events = POLLOUT };

		while (p->host_open && virtq_has_more(&c->queues[tx_queue(p)]) &&
		       (left = end - now_ms()) > 0) {
			send_bytes(p);
			if (virtq_has_more(&c->queues[tx_queue(p)]))
				(void)poll(&out, 1, (int)left);
		}
	}
}

static void console_free(struct virtio_device *d)
{
	struct console *c = container_of(d, struct console, base);

	for (unsigned i = 0; i < c->port_count; i++) {
		struct port *p = &c->ports[i];

		loop_remove(d->loop, &p->in);
		loop_remove(d->loop, &p->out);
		fd_close(p->in.fd);
		if (p->out.fd != p->in.fd)
			fd_close(p->out.fd);
	}
	free(c);
}

static const struct virtio_ops console_ops = { .name = "console",
					       .id = VIRTIO_ID_CONSOLE,
					       .start = console_start,
					       .stop = console_stop,
					       .notify = console_notify,
					       .drain = console_drain,
					       .free = console_free };

static int watch(struct port *p, struct loop *loop)
{
	struct loop_watch *both[] = { &p->in, &p->out };
	int r = 0;

	for (unsigned i = 0; r == 0 && i < ARRAY_SIZE(both); i++) {
		struct loop_watch *w = both[i];

		if (w->fd < 0 || (i && p->out.fd == p->in.fd))
			continue;
		(void)fcntl(w->fd, F_SETFL, fcntl(w->fd, F_GETFL) | O_NONBLOCK);
		r = loop_add(loop, w);
		if (r == -EPERM) { /* a file: always ready */
			p->hung_up |= w == &p->in;
			r = 0;
		}
	}
	return r;
}

int virtio_console_new(const struct console_port_options *ports, unsigned count,
		       const struct vmm_memory *memory, struct loop *loop,
		       struct virtio_device **ret, struct err *err)
{
	struct console *c = calloc(1, sizeof(*c));
	int r = 0;

	if (!c)
		return err_set(err, ENOMEM, "out of memory");
	c->base.features = 1ull << VIRTIO_CONSOLE_F_MULTIPORT;
	c->config.max_nr_ports = count;
	c->base.config = &c->config;
	c->base.config_bytes = sizeof(c->config);
	c->port_count = count;
	for (unsigned i = 0; i < count; i++) {
		struct port *p = &c->ports[i];

		p->console = c;
		p->number = i;
		p->terminal = ports[i].terminal;
		p->host_open = ports[i].in_fd >= 0 || ports[i].out_fd >= 0;
		snprintf(p->name, sizeof(p->name), "%s", ports[i].name ? ports[i].name : "");
		p->in = (struct loop_watch){ .fd = ports[i].in_fd, .call = in_ready };
		p->out = (struct loop_watch){ .fd = ports[i].out_fd, .call = out_ready };
	}
	for (unsigned i = 0; i < 2 + 2 * count; i++)
		c->queues[i].size_max = QUEUE_SIZE;
	virtio_device_init(&c->base, &console_ops, memory, loop, c->queues, 2 + 2 * count);
	r = virtio_later_init(&c->base, err);
	for (unsigned i = 0; r == 0 && i < count; i++)
		r = watch(&c->ports[i], loop);
	if (r < 0) {
		loop_remove(loop, &c->base.later);
		fd_close(c->base.later.fd);
		console_free(&c->base);
		return err_sys(err, -r, "watch the console");
	}
	*ret = &c->base;
	return 0;
}
