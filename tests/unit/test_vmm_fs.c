/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The front of a file server, against a server in a thread that is as good or bad as a test wants
 * it: it speaks vhost-user as far as the front does, and misbehaves from a given message on.
 */
#include <fcntl.h>
#include <linux/virtio_mmio.h>
#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include "tap.h"
#include "virtio_driver.h"
#include "vmm/layout.h"
#include "vmm/virtio/fs.h"
#include "vmm/virtio/transport.h"
#include "vmm_fake.h"

#define GET_FEATURES	      1
#define SET_OWNER	      3
#define SET_MEM_TABLE	      5
#define SET_VRING_ADDR	      9
#define GET_VRING_BASE	      11
#define SET_VRING_KICK	      12
#define SET_VRING_CALL	      13
#define GET_PROTOCOL_FEATURES 15
#define SET_VRING_ENABLE      18
#define ANSWER_MS	      300

enum evil { GOOD, SILENT, GARBAGE, WRONG_REQUEST, LONG_ANSWER, DRIBBLE, CLOSE, REFUSE };

struct message {
	uint32_t request, flags, size;
	uint8_t body[256];
} __attribute__((packed));

static struct server {
	int fd;
	pthread_t thread;
	uint64_t features, protocol;
	enum evil evil;
	uint32_t evil_at; /* the request from which on it is evil */
	/* what was told, read after the thread has ended or answered */
	uint32_t kinds; /* requests seen, as bits */
	bool sized;	/* SET_OWNER had no body */
	uint64_t table[9];
	int memory_fd, kick_fd, call_fd;
} server;

static struct driver v;

static void send_answer(const struct message *m, uint64_t value)
{
	struct message a = { .request = m->request, .flags = 1 | 4, .size = 8 };
	bool evil = server.evil && m->request == server.evil_at;
	size_t n = 20;

	memcpy(a.body, &value, 8);
	if (evil && server.evil == GARBAGE)
		memset(&a, 0xa5, sizeof(a));
	if (evil && server.evil == WRONG_REQUEST)
		a.request++;
	if (evil && server.evil == REFUSE)
		a.body[0] = 1;
	if (evil && server.evil == LONG_ANSWER) {
		a.size = 200;
		n = 212;
	}
	if (evil && server.evil == SILENT)
		return;
	for (size_t i = 0; evil && server.evil == DRIBBLE && i < 20; i++) {
		if (send(server.fd, (uint8_t *)&a + i, 1, MSG_NOSIGNAL) < 0)
			return;
		usleep(ANSWER_MS * 1000 / 3);
	}
	if (!evil || server.evil != DRIBBLE)
		(void)!send(server.fd, &a, n, MSG_NOSIGNAL);
}

static ssize_t take(struct message *m, int fds[8])
{
	struct iovec iov = { m, 12 };
	union {
		struct cmsghdr head;
		char room[256];
	} control = { 0 };
	struct msghdr h = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = 256
	};
	ssize_t n = recvmsg(server.fd, &h, MSG_WAITALL | MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = CMSG_FIRSTHDR(&h);

	if (n == 12 && c)
		memcpy(fds, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
	if (n == 12 && m->size && m->size <= sizeof(m->body))
		n += recv(server.fd, m->body, m->size, MSG_WAITALL);
	return n;
}

static void handle(const struct message *m, int *fds)
{
	uint64_t answer = 0;
	uint32_t state[2] = { 0 };

	memcpy(state, m->body, 8);
	server.kinds |= 1u << m->request;
	switch (m->request) {
	case GET_FEATURES: answer = server.features; break;
	case GET_PROTOCOL_FEATURES: answer = server.protocol; break;
	case SET_OWNER: server.sized = m->size == 0; break;
	case SET_MEM_TABLE:
		memcpy(server.table, m->body, sizeof(server.table));
		server.memory_fd = fds[0];
		break;
	case SET_VRING_KICK: server.kick_fd = fds[0]; break;
	case SET_VRING_CALL: server.call_fd = fds[0]; break;
	case GET_VRING_BASE: answer = state[0] | 7ull << 32; break;
	default: break;
	}
	if (m->flags & 8 || m->request == GET_FEATURES || m->request == GET_PROTOCOL_FEATURES ||
	    m->request == GET_VRING_BASE)
		send_answer(m, answer);
}

static void *serve(void *data _unused_)
{
	struct message m = { 0 };
	int fds[8];

	while (take(&m, fds) >= 12) {
		if (server.evil == CLOSE && m.request == server.evil_at)
			break;
		handle(&m, fds);
	}
	shutdown(server.fd, SHUT_RDWR);
	return NULL;
}

static int make(enum evil evil, uint32_t evil_at, uint64_t features, struct err *err)
{
	struct fs_options o = { .tag = "shared", .queues = 1, .answer_ms = ANSWER_MS };
	struct virtio_device *d;
	int fds[2], r;

	fake_init();
	memset(&v, 0, sizeof(v));
	if (memory_init(&v.memory, MEMORY_MIN_BYTES, true, NULL) < 0 ||
	    loop_init(&v.loop, NULL) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		abort();
	v.heap = DRIVER_BASE + DRIVER_QUEUES * DRIVER_STRIDE;
	server = (struct server){ .fd = fds[1],
				  .features = features,
				  .protocol = 1 << 3,
				  .evil = evil,
				  .evil_at = evil_at };
	if (pthread_create(&server.thread, NULL, serve, NULL))
		abort();
	o.socket = fds[0];
	r = virtio_fs_new(&o, &v.memory, &v.loop, &d, err);
	if (r < 0)
		return r;
	v.device = d;
	return virtio_mmio_attach(&fake.vmm, d, 0, err);
}

static void end(void)
{
	if (v.device)
		virtio_device_free(v.device);
	shutdown(server.fd, SHUT_RDWR);
	pthread_join(server.thread, NULL);
	close(server.fd);
	fd_close(server.memory_fd > 0 ? server.memory_fd : -1);
	fd_close(server.kick_fd > 0 ? server.kick_fd : -1);
	fd_close(server.call_fd > 0 ? server.call_fd : -1);
	loop_done(&v.loop);
	memory_done(&v.memory);
	fake_done();
}

#define FEATURES (1ull << 32 | 1ull << 30 | 1ull << 29 | 1ull << 28)

static uint8_t start(void)
{
	return driver_start(&v, v.device->features);
}

static bool is_ready(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 1000) == 1;
}

static void test_good(void)
{
	uint64_t one = 1;
	void *seen;

	ok_int(make(GOOD, 0, FEATURES, NULL), 0, "a file server");
	ok(server.sized, "SET_OWNER has no body");
	ok_int(start() & 0x4f, 0xf, "the device starts");
	ok(server.kinds & 1 << SET_VRING_ENABLE && server.kinds & 1 << SET_VRING_ADDR,
	   "its queues are the server's");
	ok(server.table[0] == 1 && server.table[2] == MEMORY_MIN_BYTES &&
		   server.table[3] == (uintptr_t)v.memory.regions[0].host,
	   "it is told of the memory");
	seen = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, server.memory_fd, 0);
	memset(driver_ptr(&v, 0), 7, 16);
	ok(seen != MAP_FAILED && *(uint8_t *)seen == 7, "which it can map");
	munmap(seen, 4096);
	fake_write(&fake.vmm.mmio, LAYOUT_VIRTIO + VIRTIO_MMIO_QUEUE_NOTIFY, 1, 4);
	ok(is_ready(server.kick_fd), "a kick of the guest's is the server's");
	ok(loop_once(&v.loop, 0) == 0, "and nobody else's");
	ok(write(server.call_fd, &one, 8) == 8 && fake_interrupts(LAYOUT_VIRTIO_GSI) == 1,
	   "its call is an interrupt");
	ok(fake_read(&fake.vmm.mmio, LAYOUT_VIRTIO + VIRTIO_MMIO_INTERRUPT_STATUS, 4) & 1,
	   "for a queue");
	server.kinds = 0;
	virtio_set_status(v.device, 0);
	ok(server.kinds == 1 << GET_VRING_BASE, "a reset asks it to stop");
	ok_int(start() & 0x4f, 0xf, "and it starts again");
	end();
}

static void test_early_kick(void)
{
	ok_int(make(GOOD, 0, FEATURES, NULL), 0, "a driver in a hurry");
	driver_start(&v, 0);
	virtio_set_status(v.device, 0);
	v.device->queues[1].desc_at = 0;
	virtio_set_status(v.device, 3);
	virtio_accept_features(v.device, 1, 1);
	virtio_set_status(v.device, 0xb);
	for (unsigned i = 0; i < 2; i++) {
		driver_place(&v, i, &v.device->queues[i], 64);
		virtio_set_queue_ready(v.device, i, true);
	}
	driver_add(&v, 1, &(struct driver_buffer){ 0x200000, 16, false }, 1);
	virtio_set_status(v.device, 0xf);
	ok(is_ready(server.kick_fd), "what was there before the start is kicked for");
	end();
}

static void test_old_server(void)
{
	ok_int(make(GOOD, 0, 1ull << 32, NULL), 0, "a server without protocol features");
	ok_int(start() & 0x4f, 0xf, "starts as well");
	ok(!(server.kinds & (1 << SET_VRING_ENABLE | 1 << GET_PROTOCOL_FEATURES)),
	   "and is asked for nothing that it does not know");
	end();
	ok(make(GOOD, 0, 0, NULL) < 0, "one that is older than virtio 1.0 is refused");
	end();
}

/* At the greeting. */
static void test_bad_greeting(enum evil evil, const char *what)
{
	struct err err = ERR_INIT;
	int64_t before = driver_now_ms();

	ok(make(evil, GET_FEATURES, FEATURES, &err) < 0, "a server that %s", what);
	ok(strstr(err.msg, "file server of \"shared\"") && driver_now_ms() - before < 3 * ANSWER_MS,
	   "soon an error: %s", err.msg);
	end();
}

/* While the guest starts it. */
static void test_bad_start(enum evil evil, uint32_t at, const char *what)
{
	int64_t before;

	if (make(evil, at, FEATURES, NULL) < 0)
		abort();
	before = driver_now_ms();
	ok(start() & 0x40, "at the start: a server that %s", what);
	ok(driver_now_ms() - before < 3 * ANSWER_MS, "soon breaks the device");
	ok(start() & 0x40, "and it stays broken");
	ok(loop_once(&v.loop, 0) == 0, "nothing is watched any more");
	end();
}

static void test_bad_stop(enum evil evil, const char *what)
{
	int64_t before;

	if (make(evil, GET_VRING_BASE, FEATURES, NULL) < 0)
		abort();
	ok_int(start() & 0x4f, 0xf, "at the stop: a server that %s", what);
	before = driver_now_ms();
	virtio_set_status(v.device, 0);
	ok(driver_now_ms() - before < 3 * ANSWER_MS, "is not waited for long");
	ok(evil == REFUSE || start() & 0x40, "and not used again");
	end();
}

static void test_death(void)
{
	if (make(GOOD, 0, FEATURES, NULL) < 0)
		abort();
	ok_int(start() & 0x4f, 0xf, "a server");
	shutdown(server.fd, SHUT_RDWR);
	driver_settle(&v);
	ok(driver_is_broken(&v), "that dies breaks the device");
	ok(fake_read(&fake.vmm.mmio, LAYOUT_VIRTIO + VIRTIO_MMIO_INTERRUPT_STATUS, 4) & 2,
	   "and the guest is told");
	virtio_set_status(v.device, 0);
	ok(start() & 0x40, "which cannot help it");
	end();
	if (make(GOOD, 0, FEATURES, NULL) < 0)
		abort();
	ok(start() == 0xf && send(server.fd, "x", 1, 0) == 1, "a server that talks unasked");
	driver_settle(&v);
	ok(driver_is_broken(&v) && loop_once(&v.loop, 0) == 0, "is let go as well");
	end();
}

int main(void)
{
	test_good();
	test_early_kick();
	test_old_server();
	test_bad_greeting(SILENT, "is silent");
	test_bad_greeting(GARBAGE, "answers garbage");
	test_bad_greeting(WRONG_REQUEST, "answers another question");
	test_bad_greeting(LONG_ANSWER, "answers too much");
	test_bad_greeting(DRIBBLE, "answers byte by byte, for ever");
	test_bad_greeting(CLOSE, "hangs up");
	test_bad_start(SILENT, SET_MEM_TABLE, "is silent");
	test_bad_start(GARBAGE, SET_VRING_ADDR, "answers garbage");
	test_bad_start(DRIBBLE, SET_VRING_KICK, "dribbles");
	test_bad_start(CLOSE, SET_VRING_CALL, "hangs up");
	test_bad_start(REFUSE, SET_VRING_ENABLE, "refuses");
	test_bad_stop(SILENT, "is silent");
	test_bad_stop(GARBAGE, "answers garbage");
	test_bad_stop(DRIBBLE, "dribbles");
	test_bad_stop(CLOSE, "hangs up");
	test_death();
	return tap_done();
}
