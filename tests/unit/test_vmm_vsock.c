/* SPDX-License-Identifier: Apache-2.0 */
/* The socket device: connections from both sides, credit, half-close, and packets nobody should
 * send. */
#include <fcntl.h>
#include <linux/virtio_vsock.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "tap.h"
#include "virtio_driver.h"
#include "vmm/virtio/vsock.h"

#define CID	7
#define BUFFERS 32
#define BUFFER	4096
#define SMALL	4096 /* the device's buffer for a connection */

enum { RX, TX, EVENTS };

static char dir[] = "/tmp/proa-test-vsock-XXXXXX";
static char path[64];

struct bench {
	struct driver v;
	gpa_t rx, tx;
	int server; /* PATH_1000 */
	struct virtio_vsock_hdr got;
	uint8_t data[BUFFER];
};

static struct sockaddr_un address(const char *name)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	strcpy(a.sun_path, name);
	return a;
}

static void offer(struct bench *t, unsigned i)
{
	driver_desc(&t->v, t->v.queues[RX].desc_at, (uint16_t)i,
		    (struct vring_desc){ .addr = t->rx + i * BUFFER,
					 .len = BUFFER,
					 .flags = VRING_DESC_F_WRITE });
	driver_offer(&t->v, RX, (uint16_t)i);
}

static void offer_all(struct bench *t)
{
	for (unsigned i = 0; i < BUFFERS; i++)
		offer(t, i);
	virtio_notify(t->v.device, RX);
}

static void bench_init(struct bench *t, bool with_buffers)
{
	struct vsock_options o = {
		.guest_cid = CID, .path = path, .connections = 4, .buffer_bytes = SMALL
	};
	struct virtio_device *d;
	struct err err = ERR_INIT;
	char name[80];
	struct sockaddr_un a;

	memset(t, 0, sizeof(*t));
	snprintf(name, sizeof(name), "%s_1000", path);
	unlink(name);
	a = address(name);
	t->server = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (bind(t->server, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(t->server, 8) < 0)
		abort();
	driver_init(&t->v, MEMORY_MIN_BYTES);
	if (vsock_listen(path, &o.listen_fd, &err) < 0 ||
	    virtio_vsock_new(&o, &t->v.memory, &t->v.loop, &d, &err) < 0) {
		printf("# %s\n", err.msg);
		abort();
	}
	driver_attach(&t->v, d);
	driver_start(&t->v, 1ull << VIRTIO_RING_F_EVENT_IDX);
	t->rx = driver_alloc(&t->v, BUFFERS * BUFFER);
	t->tx = driver_alloc(&t->v, 64 << 10);
	if (with_buffers)
		offer_all(t);
}

static void bench_done(struct bench *t)
{
	driver_done(&t->v);
	close(t->server);
}

/* Waits for a packet; it is in t->got and t->data, and its buffer is the device's again. */
static bool next(struct bench *t)
{
	uint32_t id, used;

	if (!driver_wait(&t->v, RX, &id, &used) || id >= BUFFERS || used < sizeof(t->got))
		return false;
	memcpy(&t->got, driver_ptr(&t->v, t->rx + id * BUFFER), sizeof(t->got));
	memcpy(t->data, driver_ptr(&t->v, t->rx + id * BUFFER + sizeof(t->got)),
	       BUFFER - sizeof(t->got));
	offer(t, id);
	virtio_notify(t->v.device, RX);
	return used == sizeof(t->got) + t->got.len;
}

static bool next_is(struct bench *t, uint16_t op)
{
	if (!next(t))
		return false;
	if (t->got.op != op)
		printf("# got operation %d\n", t->got.op);
	return t->got.op == op && t->got.src_cid == 2 && t->got.dst_cid == CID;
}

static bool is_quiet(struct bench *t)
{
	driver_settle(&t->v);
	return !driver_used(&t->v, RX, NULL, NULL);
}

static void send_raw(struct bench *t, struct virtio_vsock_hdr h, const void *data, uint32_t bytes)
{
	memcpy(driver_ptr(&t->v, t->tx), &h, sizeof(h));
	if (bytes)
		memcpy(driver_ptr(&t->v, t->tx + sizeof(h)), data, bytes);
	driver_add(&t->v, TX, &(struct driver_buffer){ t->tx, (uint32_t)sizeof(h) + bytes, false },
		   1);
	virtio_notify(t->v.device, TX);
	driver_wait(&t->v, TX, NULL, NULL);
}

static struct virtio_vsock_hdr packet(uint32_t guest_port, uint32_t host_port, uint16_t op)
{
	return (struct virtio_vsock_hdr){ .src_cid = CID,
					  .dst_cid = 2,
					  .src_port = guest_port,
					  .dst_port = host_port,
					  .type = 1,
					  .op = op,
					  .buf_alloc = 65536 };
}

static void send_data(struct bench *t, uint32_t guest_port, uint32_t host_port, const void *data,
		      uint32_t bytes)
{
	struct virtio_vsock_hdr h = packet(guest_port, host_port, VIRTIO_VSOCK_OP_RW);

	h.len = bytes;
	send_raw(t, h, data, bytes);
}

static void send_shutdown(struct bench *t, uint32_t guest_port, uint32_t host_port, uint32_t flags)
{
	struct virtio_vsock_hdr h = packet(guest_port, host_port, VIRTIO_VSOCK_OP_SHUTDOWN);

	h.flags = flags;
	send_raw(t, h, NULL, 0);
}

/* From the guest's port @port to the host's 1000. Returns the server's socket. */
static int connect_guest(struct bench *t, uint32_t port, uint32_t credit)
{
	struct virtio_vsock_hdr h = packet(port, 1000, VIRTIO_VSOCK_OP_REQUEST);

	h.buf_alloc = credit;
	send_raw(t, h, NULL, 0);
	if (!next_is(t, VIRTIO_VSOCK_OP_RESPONSE))
		return -1;
	return accept4(t->server, NULL, NULL, SOCK_NONBLOCK);
}

static int connect_host(void)
{
	struct sockaddr_un a = address(path);
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	return connect(s, (struct sockaddr *)&a, sizeof(a)) < 0 ? -1 : s;
}

static void test_from_guest(void)
{
	char bytes[16] = "";
	struct bench t;
	int s;

	bench_init(&t, true);
	s = connect_guest(&t, 5, 65536);
	ok(s >= 0, "the guest connects");
	ok(t.got.src_port == 1000 && t.got.dst_port == 5 && t.got.buf_alloc == SMALL,
	   "and learns what may be sent");
	send_data(&t, 5, 1000, "hello", 5);
	ok(read(s, bytes, 16) == 5 && !memcmp(bytes, "hello", 5), "what it sends arrives");
	ok(write(s, "world", 5) == 5 && next_is(&t, VIRTIO_VSOCK_OP_RW) && t.got.len == 5 &&
		   !memcmp(t.data, "world", 5),
	   "and what it is sent");
	ok_int(t.got.fwd_cnt, 5, "with word of what was taken");
	send_raw(&t, packet(5, 1000, VIRTIO_VSOCK_OP_CREDIT_REQUEST), NULL, 0);
	ok(next_is(&t, VIRTIO_VSOCK_OP_CREDIT_UPDATE), "a question for credit is answered");
	send_raw(&t, packet(5, 1000, VIRTIO_VSOCK_OP_RST), NULL, 0);
	ok_int(read(s, bytes, 16), 0, "a reset ends it");
	ok(is_quiet(&t) && vsock_connections(t.v.device) == 0, "without an answer");
	send_raw(&t, packet(5, 1001, VIRTIO_VSOCK_OP_REQUEST), NULL, 0);
	ok(next_is(&t, VIRTIO_VSOCK_OP_RST) && t.got.src_port == 1001, "nobody there: a reset");
	close(s);
	bench_done(&t);
}

static void test_from_host(void)
{
	char line[32] = "", want[32];
	struct bench t;
	int s;

	bench_init(&t, true);
	s = connect_host();
	ok(s >= 0 && write(s, "CONN", 4) == 4 && is_quiet(&t), "a program of the host begins");
	ok(write(s, "ECT 52\nearly", 12) == 12 && next_is(&t, VIRTIO_VSOCK_OP_REQUEST),
	   "and the guest is asked");
	ok(t.got.dst_port == 52 && t.got.src_port >= 1u << 30, "for that port");
	ok(read(s, line, sizeof(line)) < 0, "no answer before the guest's");
	send_raw(&t, packet(52, t.got.src_port, VIRTIO_VSOCK_OP_RESPONSE), NULL, 0);
	snprintf(want, sizeof(want), "OK %u\n", t.got.src_port);
	ok(read(s, line, sizeof(line)) > 0, "then there is one");
	ok_str(line, want, "with the port");
	ok(next_is(&t, VIRTIO_VSOCK_OP_RW) && t.got.len == 5 && !memcmp(t.data, "early", 5),
	   "what was sent early is not lost");
	close(s);
	ok(next_is(&t, VIRTIO_VSOCK_OP_SHUTDOWN) && t.got.flags == 3, "the program goes away");
	send_raw(&t, packet(52, t.got.src_port, VIRTIO_VSOCK_OP_RST), NULL, 0);
	ok_int(vsock_connections(t.v.device), 0, "and the connection");

	s = connect_host();
	ok(write(s, "CONNECT 53\n", 11) == 11 && next_is(&t, VIRTIO_VSOCK_OP_REQUEST), "once more");
	send_raw(&t, packet(53, t.got.src_port, VIRTIO_VSOCK_OP_RST), NULL, 0);
	ok_int(read(s, line, sizeof(line)), 0, "the guest refuses: closed");
	close(s);
	s = connect_host();
	ok(write(s, "GET / HTTP/1.1\r\n", 16) == 16 && is_quiet(&t) &&
		   read(s, line, sizeof(line)) <= 0 && vsock_connections(t.v.device) == 0,
	   "what is no greeting is refused");
	close(s);
	s = connect_host();
	ok(write(s, "CONNECT 0000000000000000000000000000000000052", 45) == 45 && is_quiet(&t) &&
		   vsock_connections(t.v.device) == 0,
	   "nor one without end");
	close(s);
	bench_done(&t);
}

static void test_credit_to_guest(void)
{
	static char bytes[10000];
	struct virtio_vsock_hdr h;
	struct bench t;
	uint32_t got = 0;
	int s;

	bench_init(&t, true);
	s = connect_guest(&t, 5, 6000);
	memset(bytes, 'x', sizeof(bytes));
	ok_int(write(s, bytes, sizeof(bytes)), 10000, "ten thousand bytes for the guest");
	while (got < 6000 && next_is(&t, VIRTIO_VSOCK_OP_RW))
		got += t.got.len;
	ok(got == 6000 && is_quiet(&t), "of which it gets what it has credit for");
	h = packet(5, 1000, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	h.buf_alloc = 6000;
	h.fwd_cnt = 6000;
	send_raw(&t, h, NULL, 0);
	while (got < 10000 && next_is(&t, VIRTIO_VSOCK_OP_RW))
		got += t.got.len;
	ok_int(got, 10000, "and the rest when it says that it can take it");
	h.fwd_cnt = 4; /* more under way than there is room for: no credit, no harm */
	send_raw(&t, h, NULL, 0);
	ok(write(s, "x", 1) == 1 && is_quiet(&t), "nonsense is no credit");
	close(s);
	bench_done(&t);
}

static void test_credit_from_guest(void)
{
	static char bytes[SMALL];
	struct bench t;
	unsigned sent = 0, got = 0, credit = 0, room = SMALL;
	int s, small = 1;

	bench_init(&t, true);
	s = connect_guest(&t, 5, 65536);
	setsockopt(s, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	memset(bytes, 'y', sizeof(bytes));
	/* as a driver that keeps to its credit, against a program that does not read */
	for (int i = 0; i < 1000 && room; i++) {
		unsigned n = MIN(room, 1000u);

		send_data(&t, 5, 1000, bytes, n);
		sent += n;
		driver_settle(&t.v);
		while (driver_used(&t.v, RX, NULL, NULL))
			credit++;
		/* the last header says what was taken: it is in some buffer; ask */
		send_raw(&t, packet(5, 1000, VIRTIO_VSOCK_OP_CREDIT_REQUEST), NULL, 0);
		if (!driver_wait(&t.v, RX, &(uint32_t){ 0 }, NULL))
			break;
		room = 0;
		for (unsigned b = 0; b < BUFFERS; b++) {
			struct virtio_vsock_hdr h;

			memcpy(&h, driver_ptr(&t.v, t.rx + b * BUFFER), sizeof(h));
			if (h.op == VIRTIO_VSOCK_OP_CREDIT_UPDATE &&
			    SMALL - (sent - h.fwd_cnt) > room && sent - h.fwd_cnt <= SMALL)
				room = SMALL - (sent - h.fwd_cnt);
		}
		if (t.v.queues[RX].used_seen >= BUFFERS - 2)
			break;
	}
	ok(sent >= SMALL, "the guest sends %u bytes to a program that does not read", sent);
	while (got < sent) {
		ssize_t n = read(s, bytes, sizeof(bytes));

		if (n > 0)
			got += (unsigned)n;
		else if (loop_once(&t.v.loop, 100) <= 0)
			break;
	}
	ok_int(got, sent, "all of them arrive when it does");
	close(s);
	bench_done(&t);
}

static void test_overrun(void)
{
	static char bytes[SMALL + 1];
	struct bench t;
	unsigned i;
	int s;

	bench_init(&t, true);
	s = connect_guest(&t, 5, 65536);
	send_data(&t, 5, 1000, bytes, SMALL + 1);
	ok(next_is(&t, VIRTIO_VSOCK_OP_RST), "more than the promised room in one packet: a reset");
	close(s);
	s = connect_guest(&t, 6, 65536);
	for (i = 0; i < 2000; i++) {
		send_data(&t, 6, 1000, bytes, SMALL);
		if (vsock_connections(t.v.device) == 0)
			break;
	}
	ok(i > 1 && i < 2000, "or in many, as nobody reads");
	close(s);
	bench_done(&t);
}

static void test_shutdown(void)
{
	char bytes[16];
	struct bench t;
	int s;

	bench_init(&t, true);
	s = connect_guest(&t, 5, 65536);
	send_data(&t, 5, 1000, "last", 4);
	send_shutdown(&t, 5, 1000, VIRTIO_VSOCK_SHUTDOWN_SEND);
	ok(read(s, bytes, 16) == 4 && read(s, bytes, 16) == 0, "the guest is done with sending");
	ok(write(s, "more", 4) == 4 && next_is(&t, VIRTIO_VSOCK_OP_RW), "and still receives");
	send_data(&t, 5, 1000, "x", 1);
	ok(next_is(&t, VIRTIO_VSOCK_OP_RST), "but must not send");
	close(s);

	s = connect_guest(&t, 6, 65536);
	shutdown(s, SHUT_WR);
	ok(next_is(&t, VIRTIO_VSOCK_OP_SHUTDOWN) && t.got.flags == VIRTIO_VSOCK_SHUTDOWN_SEND,
	   "the host is done with sending");
	send_data(&t, 6, 1000, "reply", 5);
	ok(read(s, bytes, 16) == 5, "and still receives");
	close(s);
	ok(next_is(&t, VIRTIO_VSOCK_OP_SHUTDOWN) && t.got.flags == 3, "until it is gone");
	send_data(&t, 6, 1000, "late", 4);
	send_shutdown(&t, 6, 1000, 3);
	ok(next_is(&t, VIRTIO_VSOCK_OP_RST) && vsock_connections(t.v.device) == 0,
	   "the guest's part is confirmed");

	s = connect_guest(&t, 7, 65536);
	send_shutdown(&t, 7, 1000, 3);
	ok(next_is(&t, VIRTIO_VSOCK_OP_RST) && read(s, bytes, 16) == 0, "the guest ends it all");
	close(s);
	s = connect_guest(&t, 8, 65536);
	ok(write(s, "bye", 3) == 3 && close(s) == 0, "last words");
	ok(next_is(&t, VIRTIO_VSOCK_OP_RW) && t.got.len == 3 &&
		   next_is(&t, VIRTIO_VSOCK_OP_SHUTDOWN) && t.got.flags == 3,
	   "arrive");
	ok(is_quiet(&t) && loop_once(&t.v.loop, 0) == 0, "and the loop has peace");
	bench_done(&t);
}

static void test_invalid(void)
{
	struct virtio_vsock_hdr h;
	struct bench t;
	int s;

	bench_init(&t, true);
	s = connect_guest(&t, 5, 65536);
	h = packet(5, 1000, VIRTIO_VSOCK_OP_RW);
	h.len = 100;
	send_raw(&t, h, "short", 5);
	ok(next_is(&t, VIRTIO_VSOCK_OP_RST), "a length that is not there");
	close(s);
	send_data(&t, 5, 1000, "x", 1);
	ok(next_is(&t, VIRTIO_VSOCK_OP_RST), "data without a connection");
	send_raw(&t, packet(5, 1000, VIRTIO_VSOCK_OP_RST), NULL, 0);
	ok(is_quiet(&t), "a reset without one has no answer");
	h = packet(5, 1000, VIRTIO_VSOCK_OP_REQUEST);
	h.type = 9;
	send_raw(&t, h, NULL, 0);
	ok(next_is(&t, VIRTIO_VSOCK_OP_RST) && t.got.type == 9, "a type that nobody knows");
	h = packet(5, 1000, VIRTIO_VSOCK_OP_REQUEST);
	h.src_cid = 99;
	send_raw(&t, h, NULL, 0);
	ok(next_is(&t, VIRTIO_VSOCK_OP_RST), "another's CID");
	h = packet(5, 1000, VIRTIO_VSOCK_OP_REQUEST);
	h.dst_cid = 3;
	send_raw(&t, h, NULL, 0);
	ok(next(&t) && t.got.op == VIRTIO_VSOCK_OP_RST && t.got.src_cid == 3,
	   "for another machine");
	s = connect_guest(&t, 5, 65536);
	send_raw(&t, packet(5, 1000, VIRTIO_VSOCK_OP_REQUEST), NULL, 0);
	ok(next_is(&t, VIRTIO_VSOCK_OP_RST) && vsock_connections(t.v.device) == 0, "asked twice");
	close(s);
	s = connect_guest(&t, 5, 65536);
	send_raw(&t, packet(5, 1000, 77), NULL, 0);
	ok(next_is(&t, VIRTIO_VSOCK_OP_RST), "an operation that nobody knows");
	close(s);
	ok(!driver_is_broken(&t.v), "all this leaves the device in order");
	driver_add(&t.v, TX, &(struct driver_buffer){ t.tx, 43, false }, 1);
	virtio_notify(t.v.device, TX);
	ok(driver_is_broken(&t.v), "less than a header does not");
	bench_done(&t);
}

static void test_limits(void)
{
	struct bench t;
	int s[5];

	bench_init(&t, false);
	for (uint32_t i = 0; i < 5; i++) {
		send_raw(&t, packet(i, 1000, VIRTIO_VSOCK_OP_REQUEST), NULL, 0);
		s[i] = accept4(t.server, NULL, NULL, SOCK_NONBLOCK);
	}
	ok_int(vsock_connections(t.v.device), 4, "connections are bounded");
	if (write(s[0], "x", 1) != 1)
		abort();
	driver_settle(&t.v);
	ok_int(loop_once(&t.v.loop, 0), 0, "a guest without buffers keeps nobody busy");
	offer_all(&t);
	ok(next_is(&t, VIRTIO_VSOCK_OP_RST), "answers come when it has some: one refused,");
	for (int i = 0; i < 4; i++)
		ok(next_is(&t, VIRTIO_VSOCK_OP_RESPONSE), "one accepted,");
	ok(next_is(&t, VIRTIO_VSOCK_OP_RW), "and the data");
	virtio_set_status(t.v.device, 0);
	ok(vsock_connections(t.v.device) == 0 && read(s[1], (char[1]){ 0 }, 1) == 0,
	   "a reset ends all");
	for (int i = 0; i < 5; i++)
		if (s[i] >= 0)
			close(s[i]);
	driver_start(&t.v, 0);
	driver_add(&t.v, EVENTS, &(struct driver_buffer){ t.tx, 4, true }, 1);
	virtio_notify(t.v.device, EVENTS);
	ok(vsock_transport_reset(t.v.device) == 0 && driver_used(&t.v, EVENTS, NULL, NULL),
	   "after a snapshot the guest can be told");
	ok_int(vsock_transport_reset(t.v.device), -EAGAIN, "if it has a buffer for it");
	bench_done(&t);
}

int main(void)
{
	char name[80];

	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof(path), "%s/v", dir);
	test_from_guest();
	test_from_host();
	test_credit_to_guest();
	test_credit_from_guest();
	test_overrun();
	test_shutdown();
	test_invalid();
	test_limits();
	unlink(path);
	snprintf(name, sizeof(name), "%s_1000", path);
	unlink(name);
	rmdir(dir);
	return tap_done();
}
