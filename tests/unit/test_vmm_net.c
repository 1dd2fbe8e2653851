/* SPDX-License-Identifier: Apache-2.0 */
/* The network device: frames over a socket pair, and, for root, a tap in a network of its own. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include "tap.h"
#include "virtio_driver.h"
#include "vmm/virtio/net.h"

enum { RX, TX, CONTROL };

struct bench {
	struct driver v;
	int peer;
	gpa_t rx[64], tx;
	unsigned rx_bytes;
};

static bool attach(struct bench *t, struct net_backend *b, uint64_t features)
{
	struct net_options o = { .backend = b, .mac = { 2, 0, 0, 0, 0, 1 }, .mtu = 1500 };
	struct virtio_device *d;
	struct err err = ERR_INIT;

	if (virtio_net_new(&o, &t->v.memory, &t->v.loop, &d, &err) < 0) {
		printf("# %s\n", err.msg);
		return false;
	}
	driver_attach(&t->v, d);
	driver_start(&t->v, features & d->features);
	t->tx = driver_alloc(&t->v, 128 << 10);
	return true;
}

static bool stream_init(struct bench *t, uint64_t features)
{
	struct net_backend *b;
	int fds[2];

	driver_init(&t->v, MEMORY_MIN_BYTES);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0 ||
	    net_stream_new(fds[0], &b, NULL) < 0)
		return false;
	fcntl(fds[1], F_SETFL, O_NONBLOCK);
	t->peer = fds[1];
	return attach(t, b, features);
}

static void stream_done(struct bench *t)
{
	driver_done(&t->v);
	if (t->peer >= 0)
		close(t->peer);
}

static void add_rx(struct bench *t, unsigned count, unsigned bytes)
{
	t->rx_bytes = bytes;
	for (unsigned i = 0; i < count; i++) {
		t->rx[i] = driver_alloc(&t->v, bytes);
		driver_add(&t->v, RX, &(struct driver_buffer){ t->rx[i], bytes, true }, 1);
	}
	virtio_notify(t->v.device, RX);
}

static void peer_send(struct bench *t, const void *bytes, uint32_t n)
{
	uint32_t length = htonl(n);

	if (write(t->peer, &length, 4) != 4 || write(t->peer, bytes, n) != (ssize_t)n)
		printf("# the peer cannot write\n");
}

static void send_from_guest(struct bench *t, uint32_t bytes, uint8_t fill)
{
	struct driver_buffer b[] = { { t->tx, 12, false }, { t->tx + 12, bytes, false } };

	memset(driver_ptr(&t->v, t->tx), 0, 12);
	memset(driver_ptr(&t->v, t->tx + 12), fill, bytes);
	driver_add(&t->v, TX, b, 2);
	virtio_notify(t->v.device, TX);
}

static void test_stream_send(void)
{
	struct bench t;
	uint8_t got[256];
	uint32_t id, used;

	if (!ok(stream_init(&t, UINT64_MAX), "a device over a stream"))
		return;
	ok(((const uint8_t *)t.v.device->config)[0] == 2, "has the address that was given");
	send_from_guest(&t, 100, 0x42);
	ok(driver_wait(&t.v, TX, &id, &used) && used == 0, "a sent frame's buffers come back");
	ok_int(read(t.peer, got, sizeof(got)), 104, "the frame with its length, without a header");
	ok(got[3] == 100 && got[0] == 0 && got[4] == 0x42 && got[103] == 0x42, "in order");
	send_from_guest(&t, 5, 1);
	ok(driver_wait(&t.v, TX, NULL, NULL) && read(t.peer, got, sizeof(got)) < 0,
	   "what is too short for a frame is lost");
	driver_add(&t.v, TX, &(struct driver_buffer){ t.tx, 11, false }, 1);
	virtio_notify(t.v.device, TX);
	ok(driver_is_broken(&t.v), "less than a header breaks the device");
	stream_done(&t);
}

/* More than the socket takes: pieces, in order, and a reset in the middle. */
static void test_stream_full(void)
{
	struct bench t;
	unsigned sent = 0, back = 0, whole = 0, good = 0;
	static uint8_t got[4 + 60000];
	size_t n = 0;

	if (!stream_init(&t, UINT64_MAX))
		return;
	for (; sent < 20; sent++)
		send_from_guest(&t, 60000, 7);
	while (driver_used(&t.v, TX, NULL, NULL))
		back++;
	ok(back < sent, "a full socket holds frames back (%u of %u are sent)", back, sent);
	for (int i = 0; i < 100000 && whole < 15; i++) {
		ssize_t r = read(t.peer, got + n, MIN(sizeof(got) - n, 7777));

		if (r > 0)
			n += (size_t)r;
		if (n == sizeof(got)) {
			uint32_t length;

			memcpy(&length, got, 4);
			good += ntohl(length) == 60000 && got[4] == 7 && got[60003] == 7;
			whole++;
			n = 0;
		}
		loop_once(&t.v.loop, 0);
	}
	while (driver_used(&t.v, TX, NULL, NULL))
		back++;
	ok(whole == 15 && good == 15, "they come whole as the other side reads");
	ok(back >= 15, "and their buffers come back");
	/* fill it once more, and reset while a frame is sent in part */
	for (; sent < 40; sent++)
		send_from_guest(&t, 60000, 7);
	driver_start(&t.v, UINT64_MAX & t.v.device->features);
	send_from_guest(&t, 60000, 9);
	for (int i = 0, end = 0; i < 100000 && !end; i++) {
		ssize_t r = read(t.peer, got + n, sizeof(got) - n);

		if (r > 0)
			n += (size_t)r;
		if (n == sizeof(got)) {
			uint32_t length;

			memcpy(&length, got, 4);
			if (ntohl(length) != 60000)
				break;
			end = got[4] == 9 && got[60003] == 9;
			whole += (unsigned)end;
			n = 0;
		}
		loop_once(&t.v.loop, 0);
	}
	ok_int(whole, 16, "after a reset in the middle of a frame the next one is found");
	stream_done(&t);
}

static void test_stream_receive(void)
{
	struct bench t;
	struct virtio_net_hdr_v1 h;
	uint8_t frame[4000];
	uint32_t id, used, total = 0;

	if (!stream_init(&t, UINT64_MAX))
		return;
	for (unsigned i = 0; i < sizeof(frame); i++)
		frame[i] = (uint8_t)(i * 7);
	peer_send(&t, frame, 60);
	driver_settle(&t.v);
	ok(!driver_used(&t.v, RX, NULL, NULL), "without buffers a frame waits");
	add_rx(&t, 8, 1536);
	ok(driver_wait(&t.v, RX, &id, &used) && used == 72, "it comes when there are some");
	memcpy(&h, driver_ptr(&t.v, t.rx[0]), sizeof(h));
	ok(h.num_buffers == 1 && h.flags == VIRTIO_NET_HDR_F_DATA_VALID && !h.gso_type,
	   "with a header");
	ok(!memcmp(driver_ptr(&t.v, t.rx[0] + 12), frame, 60), "and its bytes");
	peer_send(&t, frame, 4000);
	for (int i = 0; i < 3 && driver_wait(&t.v, RX, NULL, &used); i++)
		total += used;
	ok_int(total, 4012, "a long one takes several");
	memcpy(&h, driver_ptr(&t.v, t.rx[1]), sizeof(h));
	ok_int(h.num_buffers, 3, "and says how many");
	ok(!memcmp(driver_ptr(&t.v, t.rx[1] + 12), frame, 1524) &&
		   !memcmp(driver_ptr(&t.v, t.rx[2]), frame + 1524, 1536) &&
		   !memcmp(driver_ptr(&t.v, t.rx[3]), frame + 3060, 940),
	   "all bytes are there");
	/* in pieces */
	for (unsigned i = 0; i < 104; i += 8) {
		uint8_t bytes[104] = { 0, 0, 0, 100 };

		memcpy(bytes + 4, frame, 100);
		if (write(t.peer, bytes + i, 8) != 8)
			break;
		driver_settle(&t.v);
	}
	ok(driver_wait(&t.v, RX, NULL, &used) && used == 112, "a frame in small pieces");
	ok(!memcmp(driver_ptr(&t.v, t.rx[4] + 12), frame, 100), "is put together");
	stream_done(&t);
}

static void test_stream_small_buffers(void)
{
	struct bench t;
	uint8_t frame[4000] = { 0 };
	uint32_t used;

	if (!stream_init(&t, ~(1ull << VIRTIO_NET_F_MRG_RXBUF)))
		return;
	add_rx(&t, 4, 1536);
	peer_send(&t, frame, 4000);
	peer_send(&t, frame, 99);
	ok(driver_wait(&t.v, RX, NULL, &used) && used == 111,
	   "one buffer for a frame: what does not fit is dropped, the next one comes");
	driver_add(&t.v, RX, &(struct driver_buffer){ t.tx, 11, true }, 1);
	for (int i = 0; i < 4; i++)
		peer_send(&t, frame, 99);
	driver_settle(&t.v);
	ok(driver_is_broken(&t.v), "a buffer without room for the header breaks the device");
	stream_done(&t);
}

static void test_stream_ends(void)
{
	struct bench t;
	uint8_t zeros[16] = { 0 };
	uint32_t length = htonl(NET_FRAME_MAX + 1);

	if (!stream_init(&t, UINT64_MAX))
		return;
	add_rx(&t, 8, 1536);
	if (write(t.peer, &length, 4) != 4)
		return;
	driver_settle(&t.v);
	ok_int(t.v.config_interrupts, 1, "a length that no frame has ends the backend");
	ok(!(((const struct virtio_net_config *)t.v.device->config)->status & VIRTIO_NET_S_LINK_UP),
	   "and the link is down");
	send_from_guest(&t, 100, 1);
	ok(driver_wait(&t.v, TX, NULL, NULL), "frames for it are lost, the guest does not wait");
	stream_done(&t);

	if (!stream_init(&t, UINT64_MAX))
		return;
	add_rx(&t, 8, 1536);
	if (write(t.peer, zeros, 3) != 3)
		return;
	close(t.peer);
	t.peer = -1;
	driver_settle(&t.v);
	ok(!(((const struct virtio_net_config *)t.v.device->config)->status & VIRTIO_NET_S_LINK_UP),
	   "so it is when the other side goes away");
	ok(loop_once(&t.v.loop, 0) == 0, "and the loop has peace");
	stream_done(&t);
}

static int control(struct bench *t, unsigned queue, uint8_t class, uint8_t cmd, const void *data,
		   uint32_t bytes)
{
	struct driver_buffer b[] = { { t->tx, 2, false },
				     { t->tx + 16, bytes, false },
				     { t->tx + 64, 1, true } };
	uint8_t *at = driver_ptr(&t->v, t->tx);

	at[0] = class;
	at[1] = cmd;
	at[64] = 0xee;
	memcpy(at + 16, data, bytes);
	driver_add(&t->v, queue, b, 3);
	virtio_notify(t->v.device, queue);
	return driver_wait(&t->v, queue, NULL, NULL) ? at[64] : -1;
}

static void test_control(void)
{
	struct bench t;
	uint16_t pairs = 1;

	if (!stream_init(&t, UINT64_MAX))
		return;
	ok_int(control(&t, CONTROL, VIRTIO_NET_CTRL_MQ, 0, &pairs, 2), VIRTIO_NET_ERR,
	       "a command that was not agreed on");
	ok_int(control(&t, CONTROL, 99, 99, &pairs, 2), VIRTIO_NET_ERR, "one that nobody knows");
	driver_add(&t.v, CONTROL, &(struct driver_buffer){ t.tx, 2, false }, 1);
	virtio_notify(t.v.device, CONTROL);
	ok(driver_is_broken(&t.v), "one without room for an answer breaks the device");
	stream_done(&t);
}

/* ---- tap ------------------------------------------------------------------------------------ */

static int open_packet(const char *name)
{
	int s = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, htons(0x88b5));
	struct ifreq r = { 0 };
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_protocol = htons(0x88b5) };

	strcpy(r.ifr_name, name);
	if (ioctl(s, SIOCGIFFLAGS, &r) < 0)
		return -1;
	r.ifr_flags |= IFF_UP;
	if (ioctl(s, SIOCSIFFLAGS, &r) < 0)
		return -1;
	to.sll_ifindex = (int)if_nametoindex(name);
	return bind(s, (struct sockaddr *)&to, sizeof(to)) < 0 ? -1 : s;
}

static bool tap_init(struct bench *t, unsigned pairs)
{
	struct net_backend *b;
	struct err err = ERR_INIT;

	driver_init(&t->v, MEMORY_MIN_BYTES);
	if (net_tap_open("proatap", pairs, &b, &err) < 0) {
		printf("# %s\n", err.msg);
		loop_done(&t->v.loop);
		memory_done(&t->v.memory);
		return false;
	}
	if (!attach(t, b, UINT64_MAX))
		return false;
	t->peer = open_packet("proatap");
	return t->peer >= 0;
}

/* A frame of the experimental type 0x88b5 with @bytes in all. */
static void frame_make(uint8_t *f, size_t bytes)
{
	memset(f, 0x33, bytes);
	memset(f, 0xff, 6);
	f[6] = 2;
	f[12] = 0x88;
	f[13] = 0xb5;
}

static bool next_frame(struct bench *t, uint32_t *ret_used, unsigned *ret_which)
{
	/* the kernel itself has things to say on a new interface: skip them */
	while (driver_wait(&t->v, RX, NULL, ret_used)) {
		unsigned i = (*ret_which)++;
		const uint8_t *f = driver_ptr(&t->v, t->rx[i] + 12);

		if (f[12] == 0x88 && f[13] == 0xb5)
			return true;
	}
	return false;
}

static void test_tap(void)
{
	uint8_t frame[1514], got[2000];
	unsigned which = 0;
	struct bench t;
	uint32_t used;
	ssize_t n = -1;

	if (!tap_init(&t, 1)) {
		skip_one("no tap interface here");
		return;
	}
	add_rx(&t, 64, 2048);
	frame_make(frame, sizeof(frame));
	send_from_guest(&t, 100, 0);
	frame_make(driver_ptr(&t.v, t.tx + 12), 100);
	driver_add(&t.v, TX, &(struct driver_buffer){ t.tx, 112, false }, 1);
	virtio_notify(t.v.device, TX);
	ok(driver_wait(&t.v, TX, NULL, NULL), "a tap takes a frame");
	for (int i = 0; i < 100 && n != 100; i++) {
		n = recv(t.peer, got, sizeof(got), 0);
		loop_once(&t.v.loop, 1);
	}
	ok_int(n, 100, "it comes out");
	ok(!memcmp(got, driver_ptr(&t.v, t.tx + 12), 100), "as it was");
	ok_int(send(t.peer, frame, sizeof(frame), 0), 1514, "one for the guest");
	ok(next_frame(&t, &used, &which) && used == 1526, "comes with its header");
	ok(!memcmp(driver_ptr(&t.v, t.rx[which - 1] + 12), frame, 1514), "as it was");
	memset(driver_ptr(&t.v, t.tx), 0xff, 12);
	driver_add(&t.v, TX, &(struct driver_buffer){ t.tx, 112, false }, 1);
	virtio_notify(t.v.device, TX);
	ok(driver_wait(&t.v, TX, NULL, NULL) && !driver_is_broken(&t.v),
	   "a header that makes no sense loses the frame, and nothing else");
	stream_done(&t);
}

/* Too few buffers for a frame: it waits for more. */
static void test_tap_waits(void)
{
	uint8_t frame[1514];
	unsigned which = 0;
	uint32_t used, total = 0;
	struct bench t;

	if (!tap_init(&t, 1)) {
		skip_one("no tap interface here");
		return;
	}
	/* small ones are used up by what the kernel says */
	add_rx(&t, 60, 512);
	driver_settle(&t.v);
	while (driver_used(&t.v, RX, NULL, NULL))
		which++;
	frame_make(frame, sizeof(frame));
	for (int i = 0; i < 25; i++)
		if (send(t.peer, frame, sizeof(frame), 0) != sizeof(frame))
			printf("# cannot send\n");
	driver_settle(&t.v);
	while (driver_used(&t.v, RX, NULL, &used))
		total += used;
	ok(total < 25 * 1526 && total >= 10 * 1526, "frames as far as the buffers go (%u bytes)",
	   total);
	for (unsigned i = 0; i < 32; i++)
		driver_add(&t.v, RX, &(struct driver_buffer){ t.rx[i], 512, true }, 1);
	virtio_notify(t.v.device, RX);
	driver_settle(&t.v);
	while (driver_used(&t.v, RX, NULL, &used))
		total += used;
	ok(total >= 25 * 1526, "and the others, none lost, when there are more (%u bytes)", total);
	stream_done(&t);
}

static void test_tap_queues(void)
{
	uint16_t pairs = 2;
	uint64_t offloads = 1ull << VIRTIO_NET_F_GUEST_CSUM;
	struct bench t;

	if (!tap_init(&t, 2)) {
		skip_one("no tap interface with several queues here");
		return;
	}
	ok_int(((const struct virtio_net_config *)t.v.device->config)->max_virtqueue_pairs, 2,
	       "two pairs of queues");
	ok_int(control(&t, 4, VIRTIO_NET_CTRL_MQ, 0, &pairs, 2), VIRTIO_NET_OK, "both in use");
	pairs = 3;
	ok_int(control(&t, 4, VIRTIO_NET_CTRL_MQ, 0, &pairs, 2), VIRTIO_NET_ERR, "three are not");
	pairs = 0;
	ok_int(control(&t, 4, VIRTIO_NET_CTRL_MQ, 0, &pairs, 2), VIRTIO_NET_ERR, "nor none");
	pairs = 1;
	ok_int(control(&t, 4, VIRTIO_NET_CTRL_MQ, 0, &pairs, 2), VIRTIO_NET_OK, "back to one");
	ok_int(control(&t, 4, VIRTIO_NET_CTRL_MQ, 0, &pairs, 1), VIRTIO_NET_ERR, "half a number");
	ok_int(control(&t, 4, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, &offloads, 8), VIRTIO_NET_OK,
	       "offloads");
	offloads = UINT64_MAX;
	ok_int(control(&t, 4, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, &offloads, 8), VIRTIO_NET_ERR,
	       "but not all there are");
	stream_done(&t);
}

int main(void)
{
	test_stream_send();
	test_stream_full();
	test_stream_receive();
	test_stream_small_buffers();
	test_stream_ends();
	test_control();
	if (geteuid() != 0 || unshare(CLONE_NEWNET) < 0) {
		skip_one("a tap needs root");
		return tap_done();
	}
	test_tap();
	test_tap_waits();
	test_tap_queues();
	return tap_done();
}
