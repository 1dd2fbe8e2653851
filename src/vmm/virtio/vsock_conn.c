/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "util/err.h"
#include "util/mem.h"
#include "util/str.h"
#include "vmm/virtio/vsock_internal.h"

#define ACCEPT_ROUND 16

/* ---- the table ------------------------------------------------------------------------------ */

static struct vsock_conn **bucket_of(struct vsock *v, uint32_t guest_port, uint32_t host_port)
{
	return &v->buckets[(guest_port * 31 + host_port) % VSOCK_BUCKETS];
}

struct vsock_conn *vsock_conn_find(struct vsock *v, uint32_t guest_port, uint32_t host_port)
{
	struct vsock_conn *c = *bucket_of(v, guest_port, host_port);

	while (c && (c->guest_port != guest_port || c->host_port != host_port))
		c = c->bucket_next;
	return c;
}

static void put_into_table(struct vsock_conn *c)
{
	struct vsock_conn **at = bucket_of(c->vsock, c->guest_port, c->host_port);

	c->bucket_next = *at;
	*at = c;
}

static void take_from_table(struct vsock_conn *c)
{
	struct vsock_conn **at = bucket_of(c->vsock, c->guest_port, c->host_port);

	while (*at && *at != c)
		at = &(*at)->bucket_next;
	if (*at)
		*at = c->bucket_next;
}

static void ready_remove(struct vsock_conn *c)
{
	struct vsock *v = c->vsock;

	if (!c->ready)
		return;
	c->ready = false;
	*(c->ready_prev ? &c->ready_prev->ready_next : &v->ready_first) = c->ready_next;
	*(c->ready_next ? &c->ready_next->ready_prev : &v->ready_last) = c->ready_prev;
}

static void ready_append(struct vsock_conn *c)
{
	struct vsock *v = c->vsock;

	c->ready = true;
	c->ready_next = NULL;
	c->ready_prev = v->ready_last;
	*(v->ready_last ? &v->ready_last->ready_next : &v->ready_first) = c;
	v->ready_last = c;
}

/* ---- what there is to do -------------------------------------------------------------------- */

uint32_t vsock_conn_credit(const struct vsock_conn *c)
{
	uint32_t under_way = c->sent - c->guest_forwarded;

	return under_way < c->guest_buffer ? c->guest_buffer - under_way : 0;
}

bool vsock_conn_has_more(const struct vsock_conn *c)
{
	return c->owed || (c->state == VSOCK_OPEN && c->readable && c->host_sends &&
			   c->guest_receives && vsock_conn_credit(c));
}

static void close_socket(struct vsock_conn *c)
{
	loop_remove(c->vsock->device.loop, &c->watch);
	c->watch.fd = fd_close(c->watch.fd);
	c->readable = false;
	c->waiting = 0;
}

void vsock_conn_update(struct vsock_conn *c)
{
	struct loop *loop = c->vsock->device.loop;
	uint32_t events = c->waiting ? EPOLLOUT : 0;

	if (c->state == VSOCK_FREE)
		return;
	ready_remove(c);
	if (vsock_conn_has_more(c))
		ready_append(c);
	if (c->state == VSOCK_GREETING ||
	    (c->state == VSOCK_OPEN && !c->readable && c->host_sends && c->guest_receives))
		events |= EPOLLIN;
	/* a hang-up is told even when nothing is asked for: once is enough */
	if (c->watch.fd < 0 || (c->gone && !events)) {
		loop_remove(loop, &c->watch);
		return;
	}
	loop_set(loop, &c->watch, events);
	if (loop_add(loop, &c->watch) < 0)
		vsock_conn_end(c, true);
}

void vsock_conn_end(struct vsock_conn *c, bool tell)
{
	struct vsock *v = c->vsock;

	if (c->state != VSOCK_GREETING) {
		take_from_table(c);
		if (tell)
			vsock_refuse(v, &(struct vsock_reset){ .host_cid = VSOCK_HOST_CID,
							       .host_port = c->host_port,
							       .guest_port = c->guest_port,
							       .type = VIRTIO_VSOCK_TYPE_STREAM });
	}
	ready_remove(c);
	close_socket(c);
	c->state = VSOCK_FREE;
	c->bucket_next = v->free;
	v->free = c;
	v->count--;
	vsock_conn_listen(v);
}

/* The host's side has nothing more to say. When nobody is there to listen either, it ends. */
static void host_ends(struct vsock_conn *c)
{
	c->host_sends = false;
	c->readable = false;
	c->owed |= OWE_SHUTDOWN;
	if (c->gone) {
		close_socket(c);
		c->state = VSOCK_ENDED;
	}
}

void vsock_conn_no_data(struct vsock_conn *c, ssize_t result)
{
	if (result == -EAGAIN || result == -EINTR) {
		c->readable = false;
	} else if (result == 0) {
		host_ends(c);
	} else {
		/* the program went away with bytes unread, or worse */
		vsock_conn_end(c, true);
	}
}

/* ---- guest to host -------------------------------------------------------------------------- */

/* The guest is owed a word on credit when it sees less than half of the buffer as free. */
static void forwarded(struct vsock_conn *c, size_t n)
{
	c->forwarded += (uint32_t)n;
	if (c->forwarded != c->told && c->received - c->told > c->vsock->buffer_bytes / 2)
		c->owed |= OWE_CREDIT;
}

static ssize_t send_some(const struct vsock_conn *c, struct iovec *iov, size_t count)
{
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = count };
	ssize_t n = sendmsg(c->watch.fd, &m, MSG_NOSIGNAL);

	if (n >= 0)
		return n;
	return errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

/* Nothing is waiting: does what the guest's SHUTDOWN asked for. true: the connection is no more. */
static bool shut_down(struct vsock_conn *c)
{
	if (c->guest_sends || c->waiting)
		return false;
	if (!c->guest_receives || c->state == VSOCK_ENDED) {
		vsock_conn_end(c, true);
		return true;
	}
	(void)shutdown(c->watch.fd, SHUT_WR);
	return false;
}

/* Writes what waits. true: the connection is no more. */
static bool flush(struct vsock_conn *c)
{
	uint32_t size = c->vsock->buffer_bytes;

	while (c->waiting) {
		uint32_t first = MIN(c->waiting, size - c->waiting_at);
		struct iovec iov[] = {
			{ .iov_base = c->buffer + c->waiting_at, .iov_len = first },
			{ .iov_base = c->buffer, .iov_len = c->waiting - first },
		};
		ssize_t n = send_some(c, iov, iov[1].iov_len ? 2 : 1);

		if (n == 0)
			return false;
		if (n < 0) {
			vsock_conn_end(c, true);
			return true;
		}
		c->waiting_at = (c->waiting_at + (uint32_t)n) & (size - 1);
		c->waiting -= (uint32_t)n;
		forwarded(c, (size_t)n);
	}
	return shut_down(c);
}

/* Puts the rest of a packet's data behind what waits. */
static void keep(struct vsock_conn *c, const struct virtq_chain *chain, size_t offset, uint32_t n)
{
	uint32_t size = c->vsock->buffer_bytes;
	uint32_t end = (c->waiting_at + c->waiting) & (size - 1);
	uint32_t first = MIN(n, size - end);

	iov_read(chain->read, chain->read_count, offset, c->buffer + end, first);
	iov_read(chain->read, chain->read_count, offset + first, c->buffer, n - first);
	c->waiting += n;
}

static void take_data(struct vsock_conn *c, const struct virtio_vsock_hdr *h,
		      const struct virtq_chain *chain)
{
	struct vsock *v = c->vsock;
	uint32_t done = 0;
	unsigned count;
	ssize_t n;

	c->received += h->len;
	if (c->gone || c->state == VSOCK_ENDED) {
		forwarded(c, h->len); /* nobody is there to take it */
		return;
	}
	if (!c->waiting && h->len) {
		count = iov_slice(chain->read, chain->read_count, sizeof(*h), h->len, v->iov);
		n = send_some(c, v->iov, count);
		if (n < 0) {
			vsock_conn_end(c, true);
			return;
		}
		done = (uint32_t)n;
		forwarded(c, done);
	}
	keep(c, chain, sizeof(*h) + done, h->len - done);
}

static void take_shutdown(struct vsock_conn *c, uint32_t flags)
{
	if (flags & VIRTIO_VSOCK_SHUTDOWN_RCV && c->guest_receives) {
		c->guest_receives = false;
		if (c->watch.fd >= 0)
			(void)shutdown(c->watch.fd, SHUT_RD);
	}
	if (flags & VIRTIO_VSOCK_SHUTDOWN_SEND)
		c->guest_sends = false;
	if (!shut_down(c))
		vsock_conn_update(c);
}

/* The guest accepts: the host's program learns of it, and of the port of its side. */
static void take_response(struct vsock_conn *c)
{
	char line[VSOCK_LINE_MAX];
	int n = snprintf(line, sizeof(line), "OK %u\n", c->host_port);

	/* the first bytes in this direction: they have room, or nobody is there */
	if (send(c->watch.fd, line, (size_t)n, MSG_NOSIGNAL) != n) {
		vsock_conn_end(c, true);
		return;
	}
	c->state = VSOCK_OPEN;
	vsock_conn_update(c);
}

void vsock_conn_packet(struct vsock_conn *c, const struct virtio_vsock_hdr *h,
		       const struct virtq_chain *chain)
{
	bool open = c->state == VSOCK_OPEN || c->state == VSOCK_ENDED;

	c->guest_buffer = h->buf_alloc;
	c->guest_forwarded = h->fwd_cnt;
	if (h->op == VIRTIO_VSOCK_OP_RST) {
		vsock_conn_end(c, false);
	} else if (h->op == VIRTIO_VSOCK_OP_RESPONSE && c->state == VSOCK_REQUESTED &&
		   !(c->owed & OWE_REQUEST)) {
		take_response(c);
	} else if (h->op == VIRTIO_VSOCK_OP_SHUTDOWN && open) {
		take_shutdown(c, h->flags);
	} else if (h->op == VIRTIO_VSOCK_OP_CREDIT_UPDATE && open) {
		vsock_conn_update(c);
	} else if (h->op == VIRTIO_VSOCK_OP_CREDIT_REQUEST && open) {
		c->owed |= OWE_CREDIT;
		vsock_conn_update(c);
	} else if (h->op == VIRTIO_VSOCK_OP_RW && open && c->guest_sends &&
		   h->len <= c->vsock->buffer_bytes - c->waiting) {
		take_data(c, h, chain);
		vsock_conn_update(c);
	} else {
		vsock_conn_end(c, true);
	}
}

/* ---- sockets -------------------------------------------------------------------------------- */

/* A program of the host says "CONNECT <port>\n". Reads no byte behind that. false: nothing more
 * can be read now; the connection may be no more. */
static bool read_greeting(struct vsock_conn *c)
{
	struct vsock *v = c->vsock;
	char *at = c->line + c->line_bytes, *end;
	uint32_t port;
	ssize_t n = recv(c->watch.fd, at, sizeof(c->line) - c->line_bytes, MSG_PEEK);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	end = n > 0 ? memchr(at, '\n', (size_t)n) : NULL;
	if (end)
		n = end - at + 1;
	if (n <= 0 || recv(c->watch.fd, at, (size_t)n, 0) != n ||
	    (!end && c->line_bytes + (unsigned)n >= sizeof(c->line))) {
		vsock_conn_end(c, false);
		return false;
	}
	c->line_bytes += (unsigned)n;
	if (!end)
		return true;
	*end = 0;
	if (!str_starts(c->line, "CONNECT ") || str_to_u32(c->line + 8, &port) < 0) {
		vsock_conn_end(c, false);
		return false;
	}
	/* there are more ports than connections: one is free */
	do {
		c->host_port = v->next_port;
		v->next_port = v->next_port == UINT32_MAX ? 1u << 30 : v->next_port + 1;
	} while (vsock_conn_find(v, port, c->host_port));
	c->guest_port = port;
	c->state = VSOCK_REQUESTED;
	c->owed = OWE_REQUEST;
	put_into_table(c);
	return false;
}

static void hang_up(struct vsock_conn *c)
{
	if (c->state != VSOCK_OPEN) {
		vsock_conn_end(c, true);
		return;
	}
	c->gone = true;
	forwarded(c, c->waiting);
	c->waiting = 0;
	if (!c->host_sends || !c->guest_receives)
		host_ends(c);
	else
		c->readable = true; /* until its end, which is near */
}

static void on_socket(struct loop_watch *w, uint32_t events)
{
	struct vsock_conn *c = container_of(w, struct vsock_conn, watch);
	struct vsock *v = c->vsock;

	if (!w->added)
		return;
	if (c->state == VSOCK_GREETING) {
		while (read_greeting(c))
			;
	} else if (events & (EPOLLHUP | EPOLLERR)) {
		if (c->gone)
			c->readable = true;
		else
			hang_up(c);
	} else {
		if (events & EPOLLIN)
			c->readable = true;
		if (events & EPOLLOUT)
			(void)flush(c);
	}
	vsock_conn_update(c);
	vsock_pump(v);
}

/* A free connection for the socket @fd, which is its own from now on. */
static struct vsock_conn *take_free(struct vsock *v, int fd, enum vsock_state state)
{
	struct vsock_conn *c = v->free;
	uint8_t *buffer = c->buffer;

	v->free = c->bucket_next;
	v->count++;
	*c = (struct vsock_conn){
		.vsock = v,
		.watch = { .fd = fd, .call = on_socket },
		.state = state,
		.host_sends = true,
		.guest_receives = true,
		.guest_sends = true,
		.buffer = buffer,
	};
	return c;
}

bool vsock_conn_from_guest(struct vsock *v, const struct virtio_vsock_hdr *h)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	struct vsock_conn *c;
	int fd;

	if (!v->free)
		return false;
	/* the path was measured: it fits */
	snprintf(to.sun_path, sizeof(to.sun_path), "%.96s_%u", v->path, h->dst_port);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return false;
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
		close(fd);
		return false;
	}
	c = take_free(v, fd, VSOCK_OPEN);
	c->guest_port = h->src_port;
	c->host_port = h->dst_port;
	c->guest_buffer = h->buf_alloc;
	c->guest_forwarded = h->fwd_cnt;
	c->owed = OWE_RESPONSE;
	put_into_table(c);
	vsock_conn_update(c);
	return true;
}

void vsock_conn_listen(struct vsock *v)
{
	if (v->listener.fd < 0)
		return;
	if (v->free)
		(void)loop_add(v->device.loop, &v->listener);
	else
		loop_remove(v->device.loop, &v->listener);
}

void vsock_conn_accept(struct loop_watch *w, uint32_t events _unused_)
{
	struct vsock *v = container_of(w, struct vsock, listener);

	if (!w->added)
		return;
	for (unsigned i = 0; i < ACCEPT_ROUND && v->free; i++) {
		int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0 && (errno == EMFILE || errno == ENFILE)) {
			/* until a connection ends */
			loop_remove(v->device.loop, w);
			return;
		}
		if (fd < 0)
			break;
		vsock_conn_update(take_free(v, fd, VSOCK_GREETING));
	}
	vsock_conn_listen(v);
}

int vsock_listen(const char *path, int *ret_fd, struct err *err)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = -EBADF, probe = -EBADF;
	struct stat st;

	if (strlen(path) >= sizeof(at.sun_path))
		return err_set(err, ENAMETOOLONG, "the path of a socket is too long: \"%s\"", path);
	strcpy(at.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || probe < 0)
		return err_sys(err, errno, "make a socket");
	/* left behind by a machine that was killed */
	if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode) &&
	    connect(probe, (struct sockaddr *)&at, sizeof(at)) < 0 && errno == ECONNREFUSED)
		(void)unlink(path);
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		return err_sys(err, errno, "make the socket \"%s\"", path);
	if (listen(fd, 128) < 0)
		return err_sys(err, errno, "listen on the socket \"%s\"", path);
	*ret_fd = TAKE_FD(fd);
	return 0;
}
