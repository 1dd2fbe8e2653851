/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file server that has the rights to open, own and change files of the host does not belong into
 * the process that faces the guest. So this device is a front: it hands guest memory, rings and
 * eventfds to a server (virtiofsd) over a socket, by the vhost-user protocol (QEMU's
 * docs/interop/vhost-user.rst), and has nothing to do until the driver resets the device. A request
 * passes from the guest's kick to the server without coming by here: the ioeventfd is the server's
 * kick, the irqfd its call.
 *
 * The server is trusted no more than needed: its answers are of a fixed size, all those of a start
 * or a stop together are waited for with one limit, for the machine waits as well, and who does not
 * answer, or not by the rules, is let go: no answer after that would be to the question asked. A
 * server that is gone leaves a device that needs a reset and cannot be started again.
 */
#include "vmm/virtio/fs.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "util/err.h"
#include "util/loop.h"
#include "util/mem.h"
#include "vmm/virtio/device.h"

#define QUEUE_SIZE   128
#define QUEUES_MAX   9
#define TAG_BYTES    36
#define ANSWER_MS    5000
#define FD_MAX	     2
#define BIT(n)	     (1ull << (n))
#define F_PROTOCOL   30 /* VHOST_USER_F_PROTOCOL_FEATURES */
#define PF_REPLY_ACK 3

enum {
	GET_FEATURES = 1,
	SET_FEATURES = 2,
	SET_OWNER = 3,
	SET_MEM_TABLE = 5,
	SET_VRING_NUM = 8,
	SET_VRING_ADDR = 9,
	SET_VRING_BASE = 10,
	GET_VRING_BASE = 11,
	SET_VRING_KICK = 12,
	SET_VRING_CALL = 13,
	GET_PROTOCOL_FEATURES = 15,
	SET_PROTOCOL_FEATURES = 16,
	SET_VRING_ENABLE = 18,
};
#define VERSION	   1u
#define REPLY	   4u
#define NEED_REPLY 8u

struct vring_state {
	uint32_t index, num;
};
struct vring_addr {
	uint32_t index, flags;
	uint64_t desc, used, avail, log;
};
struct region {
	uint64_t guest, bytes, user, offset;
};
struct mem_table {
	uint32_t count, padding;
	struct region regions[FD_MAX];
};

struct message {
	uint32_t request, flags, size;
	union {
		uint64_t number;
		struct vring_state state;
		struct vring_addr addr;
		struct mem_table table;
	} body;
} __attribute__((packed));
#define HEAD_BYTES offsetof(struct message, body)

struct fs {
	struct virtio_device base;
	struct {
		char tag[TAG_BYTES];
		uint32_t queues;
	} __attribute__((packed)) config;
	struct virtq queues[QUEUES_MAX];
	struct loop_watch socket;
	uint64_t server_features;
	bool acknowledges; /* the server answers requests that have no answer of their own */
	uint32_t answer_ms;
	int64_t deadline_ms; /* of all answers to what is being done */
};

/* ---- the protocol --------------------------------------------------------------------------- */

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ll + t.tv_nsec / 1000000;
}

static void set_deadline(struct fs *f)
{
	f->deadline_ms = now_ms() + f->answer_ms;
}

static void drop_server(struct fs *f)
{
	loop_remove(f->base.loop, &f->socket);
	f->socket.fd = fd_close(f->socket.fd);
}

static int send_message(struct fs *f, const struct message *m, const int *fds, unsigned fd_count)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)m, .iov_len = HEAD_BYTES + m->size };
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int) * FD_MAX)];
	} control = { 0 };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (fd_count) {
		h.msg_control = control.room;
		h.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
		control.head = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int) * fd_count),
						 .cmsg_level = SOL_SOCKET,
						 .cmsg_type = SCM_RIGHTS };
		memcpy(CMSG_DATA(&control.head), fds, sizeof(int) * fd_count);
	}
	do
		/* a server that lets so much pile up is not waited for */
		n = sendmsg(f->socket.fd, &h, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return (size_t)n == iov.iov_len ? 0 : -EIO;
}

static int receive(struct fs *f, void *to, size_t bytes)
{
	uint8_t *at = to;

	while (bytes) {
		struct pollfd p = { .fd = f->socket.fd, .events = POLLIN };
		int64_t left = f->deadline_ms - now_ms();
		ssize_t n;

		if (left <= 0)
			return -ETIMEDOUT;
		/* a vCPU's thread may be interrupted here: to be paused, for example */
		if (poll(&p, 1, (int)left) < 0 && errno != EINTR)
			return -errno;
		n = recv(f->socket.fd, at, bytes, MSG_DONTWAIT);
		if (n == 0)
			return -EPIPE;
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return -errno;
		if (n > 0) {
			at += n;
			bytes -= (size_t)n;
		}
	}
	return 0;
}

/* The answer to @request: a number, or a state whose second half is the number. */
static int receive_answer(struct fs *f, uint32_t request, uint64_t *ret)
{
	struct message m = { 0 };
	int r = receive(f, &m, HEAD_BYTES);

	if (r < 0)
		return r;
	if (m.request != request || !(m.flags & REPLY) || m.size != sizeof(m.body.number))
		return -EPROTO;
	r = receive(f, &m.body, m.size);
	*ret = request == GET_VRING_BASE ? m.body.state.num : m.body.number;
	return r;
}

static int ask(struct fs *f, uint32_t request, uint64_t *ret)
{
	struct message m = { .request = request, .flags = VERSION };
	int r = send_message(f, &m, NULL, 0);

	return r == 0 ? receive_answer(f, request, ret) : r;
}

/* Tells, and waits until it is done if the server can say so. */
static int tell(struct fs *f, struct message *m, const int *fds, unsigned fd_count)
{
	uint64_t failed = 0;
	int r;

	m->flags = VERSION | (f->acknowledges ? NEED_REPLY : 0);
	r = send_message(f, m, fds, fd_count);
	if (r == 0 && f->acknowledges)
		r = receive_answer(f, m->request, &failed);
	return r == 0 && failed ? -EIO : r;
}

static int tell_number(struct fs *f, uint32_t request, uint64_t number)
{
	struct message m = { .request = request, .size = 8, .body.number = number };

	return tell(f, &m, NULL, 0);
}

static int tell_state(struct fs *f, uint32_t request, unsigned queue, uint32_t number)
{
	struct message m = { .request = request,
			     .size = sizeof(m.body.state),
			     .body.state = { .index = queue, .num = number } };

	return tell(f, &m, NULL, 0);
}

static int tell_fd(struct fs *f, uint32_t request, unsigned queue, int fd)
{
	struct message m = { .request = request, .size = 8, .body.number = queue };

	return tell(f, &m, &fd, 1);
}

static int tell_memory(struct fs *f)
{
	const struct vmm_memory *memory = f->base.memory;
	struct message m = { .request = SET_MEM_TABLE };
	int fds[FD_MAX];

	m.body.table.count = memory->count;
	m.size = 8 + memory->count * (uint32_t)sizeof(struct region);
	for (unsigned i = 0; i < memory->count; i++) {
		const struct vmm_region *r = &memory->regions[i];

		fds[i] = memory->fd;
		m.body.table.regions[i] = (struct region){ .guest = r->start,
							   .bytes = r->bytes,
							   .user = (uint64_t)(uintptr_t)r->host,
							   .offset = r->offset };
	}
	return tell(f, &m, fds, memory->count);
}

/* ---- the device ----------------------------------------------------------------------------- */

static int start_queue(struct fs *f, unsigned n)
{
	struct virtq *q = &f->queues[n];
	struct message addr = { .request = SET_VRING_ADDR, .size = sizeof(addr.body.addr) };
	static const uint64_t one = 1;
	int kick = f->base.kick_fd(&f->base, n);
	int r = tell_state(f, SET_VRING_NUM, n, q->size);

	addr.body.addr = (struct vring_addr){ .index = n,
					      .desc = (uint64_t)(uintptr_t)q->desc,
					      .used = (uint64_t)(uintptr_t)q->used,
					      .avail = (uint64_t)(uintptr_t)q->avail };
	if (r == 0)
		r = tell_state(f, SET_VRING_BASE, n, 0);
	if (r == 0)
		r = tell(f, &addr, NULL, 0);
	if (r == 0)
		r = tell_fd(f, SET_VRING_CALL, n, f->base.call_fd(&f->base, n));
	if (r == 0)
		r = tell_fd(f, SET_VRING_KICK, n, kick);
	/* without these features a queue is on from its first kick */
	if (r == 0 && f->server_features & BIT(F_PROTOCOL))
		r = tell_state(f, SET_VRING_ENABLE, n, 1);
	/* kicks until now may have been taken by our own loop */
	if (r == 0 && virtq_has_more(q))
		(void)!write(kick, &one, sizeof(one));
	return r;
}

static int fs_start(struct virtio_device *d)
{
	struct fs *f = container_of(d, struct fs, base);
	int r;

	if (f->socket.fd < 0)
		return -EPIPE;
	set_deadline(f);
	r = tell_number(f, SET_FEATURES,
			d->driver_features | (f->server_features & BIT(F_PROTOCOL)));
	if (r == 0)
		r = tell_memory(f);
	for (unsigned i = 0; r == 0 && i < d->queue_count; i++)
		if (f->queues[i].ready)
			r = start_queue(f, i);
	/* those that it has taken must not go on alone */
	if (r < 0)
		drop_server(f);
	return r;
}

/* Asking for a queue's place stops it: the answer comes when the server uses it no more. Whether
 * one that does not answer still uses it we cannot know; its end is what else it understands. */
static void fs_stop(struct virtio_device *d)
{
	struct fs *f = container_of(d, struct fs, base);
	uint64_t place;

	set_deadline(f);
	for (unsigned i = 0; f->socket.fd >= 0 && i < d->queue_count; i++) {
		struct message m = { .request = GET_VRING_BASE,
				     .flags = VERSION,
				     .size = sizeof(m.body.state),
				     .body.state = { .index = i } };

		if (f->queues[i].ready && (send_message(f, &m, NULL, 0) < 0 ||
					   receive_answer(f, GET_VRING_BASE, &place) < 0))
			drop_server(f);
	}
}

/* Nothing comes by itself: it is the server's end, or not the server's protocol. */
static void socket_ready(struct loop_watch *w, uint32_t events _unused_)
{
	struct fs *f = container_of(w, struct fs, socket);
	char byte;

	/* an answer that another thread waited for, and has by now */
	if (recv(w->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
	    (errno == EAGAIN || errno == EINTR))
		return;
	drop_server(f);
	virtio_broken(&f->base);
}

static void fs_free(struct virtio_device *d)
{
	struct fs *f = container_of(d, struct fs, base);

	loop_remove(d->loop, &f->socket);
	fd_close(f->socket.fd);
	free(f);
}

static const struct virtio_ops fs_ops = {
	.name = "fs", .id = VIRTIO_ID_FS, .start = fs_start, .stop = fs_stop, .free = fs_free
};

/* What can be agreed on before there is a driver. */
static int greet(struct fs *f)
{
	struct message owner = { .request = SET_OWNER };
	uint64_t features = 0;
	int r;

	set_deadline(f);
	r = tell(f, &owner, NULL, 0);
	if (r == 0)
		r = ask(f, GET_FEATURES, &f->server_features);
	if (r == 0 && f->server_features & BIT(F_PROTOCOL)) {
		r = ask(f, GET_PROTOCOL_FEATURES, &features);
		if (r == 0)
			r = tell_number(f, SET_PROTOCOL_FEATURES, features & BIT(PF_REPLY_ACK));
		f->acknowledges = r == 0 && features & BIT(PF_REPLY_ACK);
	}
	return r;
}

int virtio_fs_new(const struct fs_options *o, const struct vmm_memory *memory, struct loop *loop,
		  struct virtio_device **ret, struct err *err)
{
	struct fs *f = calloc(1, sizeof(*f));
	int r;

	if (!f) {
		close(o->socket);
		return err_set(err, ENOMEM, "out of memory");
	}
	memcpy(f->config.tag, o->tag, strnlen(o->tag, TAG_BYTES));
	f->answer_ms = o->answer_ms ? o->answer_ms : ANSWER_MS;
	f->config.queues = o->queues;
	f->base.config = &f->config;
	f->base.config_bytes = sizeof(f->config);
	for (unsigned i = 0; i < o->queues + 1; i++)
		f->queues[i].size_max = QUEUE_SIZE;
	virtio_device_init(&f->base, &fs_ops, memory, loop, f->queues, o->queues + 1);
	f->socket = (struct loop_watch){ .fd = o->socket, .events = EPOLLIN, .call = socket_ready };
	r = greet(f);
	if (r == 0) {
		/* the rings are the server's: only what both can do is offered */
		f->base.features &= f->server_features;
		r = f->base.features & BIT(VIRTIO_F_VERSION_1) ? loop_add(loop, &f->socket)
							       : -EPROTONOSUPPORT;
	}
	if (r < 0) {
		fs_free(&f->base);
		return err_sys(err, -r, "talk to the file server of \"%s\" (vhost-user)", o->tag);
	}
	*ret = &f->base;
	return 0;
}
