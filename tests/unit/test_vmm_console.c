/* SPDX-License-Identifier: Apache-2.0 */
/* The console: ports and their handshake, both directions, a slow host, ends of all kinds. */
#include <fcntl.h>
#include <pthread.h>
#include <linux/virtio_console.h>
#include <signal.h>
#include <sys/socket.h>
#include "tap.h"
#include "virtio_driver.h"
#include "vmm/virtio/console.h"

#define RX0	   0
#define TX0	   1
#define CONTROL_RX 2
#define CONTROL_TX 3
#define RX1	   4
#define TX1	   5
#define BUFFER	   4096

static struct driver v;
static int host[2]; /* the host's sides of port 0 and of "agent" */

static void make(uint64_t features)
{
	struct console_port_options ports[2] = { { .terminal = true },
						 { .name = "org.proa.agent" } };
	struct virtio_device *d;
	int fds[2];

	driver_init(&v, MEMORY_MIN_BYTES);
	for (int i = 0; i < 2; i++) {
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
			abort();
		ports[i].in_fd = ports[i].out_fd = fds[0];
		host[i] = fds[1];
		fcntl(fds[1], F_SETFL, O_NONBLOCK);
	}
	if (virtio_console_new(ports, 2, &v.memory, &v.loop, &d, NULL) < 0)
		abort();
	driver_attach(&v, d);
	driver_start(&v, features);
}

static void end(void)
{
	driver_done(&v);
	for (int i = 0; i < 2; i++)
		host[i] = fd_close(host[i]);
}

/* Gives queue @n a buffer to fill; where. */
static gpa_t give(unsigned n, uint32_t bytes)
{
	gpa_t at = driver_alloc(&v, bytes);

	driver_add(&v, n, &(struct driver_buffer){ at, bytes, true }, 1);
	virtio_notify(v.device, n);
	return at;
}

static void control(uint32_t id, uint16_t event, uint16_t value)
{
	struct virtio_console_control m = { id, event, value };
	gpa_t at = driver_alloc(&v, sizeof(m));

	memcpy(driver_ptr(&v, at), &m, sizeof(m));
	driver_add(&v, CONTROL_TX, &(struct driver_buffer){ at, sizeof(m), false }, 1);
	virtio_notify(v.device, CONTROL_TX);
	driver_settle(&v);
	(void)driver_used(&v, CONTROL_TX, NULL, NULL);
}

/* The next message to the guest; event 0xffff when there is none. */
static struct virtio_console_control hear(char name[64])
{
	static gpa_t at;
	struct virtio_console_control m = { .event = 0xffff };
	uint32_t n;

	if (!at || v.queues[CONTROL_RX].avail == v.queues[CONTROL_RX].used_seen)
		at = give(CONTROL_RX, 64);
	driver_settle(&v);
	if (!driver_used(&v, CONTROL_RX, NULL, &n))
		return m;
	memcpy(&m, driver_ptr(&v, at), sizeof(m));
	memset(name, 0, 64);
	memcpy(name, (char *)driver_ptr(&v, at) + sizeof(m), n - sizeof(m));
	return m;
}

static void hear_all(void)
{
	char name[64];

	while (hear(name).event != 0xffff)
		;
}

static void handshake(void)
{
	control(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	for (uint32_t i = 0; i < 2; i++) {
		control(i, VIRTIO_CONSOLE_PORT_READY, 1);
		control(i, VIRTIO_CONSOLE_PORT_OPEN, 1);
	}
	hear_all();
}

static void say(unsigned n, const char *text, size_t bytes)
{
	gpa_t at = driver_alloc(&v, bytes);

	memcpy(driver_ptr(&v, at), text, bytes);
	driver_add(&v, n, &(struct driver_buffer){ at, (uint32_t)bytes, false }, 1);
	virtio_notify(v.device, n);
}

static void test_handshake(void)
{
	struct virtio_console_control m;
	char name[64];

	make(1ull << VIRTIO_CONSOLE_F_MULTIPORT);
	control(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	for (uint32_t i = 0; i < 2; i++) {
		m = hear(name);
		ok(m.event == VIRTIO_CONSOLE_PORT_ADD && m.id == i, "port %u is added", i);
	}
	control(0, VIRTIO_CONSOLE_PORT_READY, 1);
	m = hear(name);
	ok(m.event == VIRTIO_CONSOLE_CONSOLE_PORT && m.id == 0 && m.value == 1, "a terminal");
	m = hear(name);
	ok(m.event == VIRTIO_CONSOLE_PORT_OPEN && m.value == 1, "that is open");
	control(1, VIRTIO_CONSOLE_PORT_READY, 1);
	m = hear(name);
	ok(m.event == VIRTIO_CONSOLE_PORT_NAME && m.id == 1, "a channel");
	ok_str(name, "org.proa.agent", "with its name");
	m = hear(name);
	ok(m.event == VIRTIO_CONSOLE_PORT_OPEN && m.id == 1, "that is open");
	control(1, VIRTIO_CONSOLE_PORT_READY, 1);
	ok(hear(name).event == 0xffff, "said once");
	control(2, VIRTIO_CONSOLE_PORT_READY, 1);
	control(UINT32_MAX, VIRTIO_CONSOLE_PORT_OPEN, 1);
	control(0, 999, 1);
	control(0, VIRTIO_CONSOLE_PORT_READY, 0);
	ok(hear(name).event == 0xffff && !driver_is_broken(&v),
	   "ports and events that there are not");
	say(CONTROL_TX, "abc", 3);
	driver_settle(&v);
	ok(driver_used(&v, CONTROL_TX, NULL, NULL), "half a message comes back");
	end();
}

static void test_bytes(void)
{
	char text[64] = "";
	uint32_t n = 0;
	gpa_t at;

	make(1ull << VIRTIO_CONSOLE_F_MULTIPORT);
	handshake();
	say(TX1, "hello", 5);
	ok(driver_wait(&v, TX1, NULL, NULL) && recv(host[1], text, 64, 0) == 5, "to the host");
	ok_str(text, "hello", "what was said");
	at = give(RX1, 8);
	ok(send(host[1], "0123456789", 10, 0) == 10 && driver_wait(&v, RX1, NULL, &n) && n == 8,
	   "from the host, as much as fits");
	ok(!memcmp(driver_ptr(&v, at), "01234567", 8), "what was sent");
	at = give(RX1, 8);
	ok(driver_wait(&v, RX1, NULL, &n) && n == 2 && !memcmp(driver_ptr(&v, at), "89", 2),
	   "then the rest");
	ok(v.queues[RX1].interrupts >= 2 && v.queues[TX1].interrupts >= 1, "with interrupts");
	ok(send(host[0], "x", 1, 0) == 1, "input while there is no buffer");
	driver_settle(&v);
	at = give(RX0, 8);
	ok(driver_wait(&v, RX0, NULL, &n) && n == 1, "waits for one");
	control(1, VIRTIO_CONSOLE_PORT_OPEN, 0);
	at = give(RX1, 8);
	ok(send(host[1], "late", 4, 0) == 4, "input for a port that is closed");
	driver_settle(&v);
	ok(!driver_used(&v, RX1, NULL, NULL), "waits");
	control(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	ok(driver_wait(&v, RX1, NULL, &n) && n == 4 && !memcmp(driver_ptr(&v, at), "late", 4),
	   "until it is opened");
	end();
}

static void test_single(void)
{
	uint32_t n = 0;

	make(0);
	say(TX0, "hi", 2);
	ok(driver_wait(&v, TX0, NULL, NULL), "without MULTIPORT port 0 works at once");
	give(RX0, 8);
	ok(send(host[0], "yes", 3, 0) == 3 && driver_wait(&v, RX0, NULL, &n) && n == 3,
	   "both ways");
	end();
}

/* A host that does not read for a while loses nothing, and keeps nobody. */
static void test_slow(void)
{
	static char bytes[65536];
	unsigned sent = 0, back = 0;
	size_t got = 0;
	ssize_t n;

	make(1ull << VIRTIO_CONSOLE_F_MULTIPORT);
	handshake();
	memset(bytes, 'a', sizeof(bytes));
	for (; sent < 32; sent++)
		say(TX1, bytes, 65536);
	driver_settle(&v);
	while (driver_used(&v, TX1, NULL, NULL))
		back++;
	ok(back < sent, "who does not read fills the line (%u of %u)", back, sent);
	say(TX0, "hi", 2);
	ok(driver_wait(&v, TX0, NULL, NULL), "the other port goes on");
	while (got < 32u * 65536) {
		n = recv(host[1], bytes, sizeof(bytes), 0);
		if (n > 0)
			got += (size_t)n;
		else if (loop_once(&v.loop, 200) <= 0)
			break;
	}
	ok(got == 32u * 65536, "every byte arrives in the end");
	driver_settle(&v);
	while (driver_used(&v, TX1, NULL, NULL))
		back++;
	ok_int(back, sent, "and all buffers come back");
	for (sent = 0; sent < 16; sent++)
		say(TX1, bytes, 65536);
	virtio_set_status(v.device, 0);
	driver_settle(&v);
	driver_start(&v, 1ull << VIRTIO_CONSOLE_F_MULTIPORT);
	handshake();
	while (recv(host[1], bytes, sizeof(bytes), 0) > 0)
		driver_settle(&v);
	say(TX1, "fresh", 5);
	ok(driver_wait(&v, TX1, NULL, NULL) && recv(host[1], bytes, 64, 0) == 5 &&
		   !memcmp(bytes, "fresh", 5),
	   "a reset in the middle of it leaves nothing behind");
	end();
}

static void *read_slowly(void *data)
{
	static char bytes[65536];
	size_t *got = data;
	ssize_t n;

	fcntl(host[1], F_SETFL, 0);
	while (*got < 16u * 65536 && (n = recv(host[1], bytes, 20000, 0)) > 0) {
		*got += (size_t)n;
		usleep(1000);
	}
	return NULL;
}

/* What a guest sent before it ended is still handed over, but nobody is waited for long. */
static void test_drain(void)
{
	static char bytes[65536];
	size_t got = 0;
	pthread_t reader;
	int64_t before;

	make(1ull << VIRTIO_CONSOLE_F_MULTIPORT);
	handshake();
	for (int i = 0; i < 16; i++)
		say(TX1, bytes, 65536);
	pthread_create(&reader, NULL, read_slowly, &got);
	virtio_drain(v.device);
	pthread_join(reader, NULL);
	ok(got == 16u * 65536, "last words are heard");
	for (int i = 0; i < 16; i++)
		say(TX1, bytes, 65536);
	before = driver_now_ms();
	virtio_drain(v.device);
	ok(driver_now_ms() - before < 3000, "if somebody listens");
	end();
}

static void test_hangup(void)
{
	struct virtio_console_control m;
	char name[64];
	uint32_t n = 0;

	make(1ull << VIRTIO_CONSOLE_F_MULTIPORT);
	handshake();
	ok(send(host[1], "last", 4, 0) == 4, "a host that says something");
	host[1] = fd_close(host[1]);
	driver_settle(&v);
	ok(loop_once(&v.loop, 0) == 0, "and is gone: nothing goes round and round");
	give(RX1, 64);
	ok(driver_wait(&v, RX1, NULL, &n) && n == 4, "what it said still arrives");
	give(RX1, 64);
	m = hear(name);
	ok(m.event == VIRTIO_CONSOLE_PORT_OPEN && m.id == 1 && m.value == 0, "then its end");
	say(TX1, "hello?", 6);
	ok(driver_wait(&v, TX1, NULL, NULL), "what is sent then is thrown away");
	host[0] = fd_close(host[0]);
	driver_settle(&v);
	say(TX0, "terminal?", 9);
	ok(driver_wait(&v, TX0, NULL, NULL) && !driver_is_broken(&v), "likewise at a terminal");
	ok(loop_once(&v.loop, 0) == 0, "and all is quiet");
	end();
}

/* A guest that asks and asks and takes no answer. */
static void test_flood(void)
{
	make(1ull << VIRTIO_CONSOLE_F_MULTIPORT);
	for (int i = 0; i < 100 && !driver_is_broken(&v); i++)
		control(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	ok(driver_is_broken(&v), "answers that nobody takes are bounded");
	driver_start(&v, 1ull << VIRTIO_CONSOLE_F_MULTIPORT);
	handshake();
	say(TX1, "again", 5);
	ok(driver_wait(&v, TX1, NULL, NULL), "a reset helps");
	end();
}

/* Standard input and output, which are not one: each may end, or be a file. */
static void test_two_descriptors(void)
{
	struct console_port_options port = { .terminal = true };
	struct virtio_device *d;
	int in[2], out[2];
	char text[64] = "";
	uint32_t n = 0;

	driver_init(&v, MEMORY_MIN_BYTES);
	if (pipe(in) < 0 || pipe(out) < 0)
		abort();
	port.in_fd = in[0];
	port.out_fd = out[1];
	if (virtio_console_new(&port, 1, &v.memory, &v.loop, &d, NULL) < 0)
		abort();
	driver_attach(&v, d);
	driver_start(&v, 0);
	ok(write(in[1], "abc", 3) == 3, "input");
	close(in[1]);
	give(RX0, 64);
	ok(driver_wait(&v, RX0, NULL, &n) && n == 3, "arrives");
	give(RX0, 64);
	driver_settle(&v);
	say(TX0, "still here", 10);
	ok(driver_wait(&v, TX0, NULL, NULL) && read(out[0], text, 64) == 10,
	   "the end of the input is not the output's");
	close(out[0]);
	driver_settle(&v);
	ok(loop_once(&v.loop, 0) == 0, "an output that nobody reads does not go round and round");
	say(TX0, "void", 4);
	ok(driver_wait(&v, TX0, NULL, NULL), "and takes what comes");
	driver_done(&v);
}

static void test_file(void)
{
	char path[] = "/tmp/proa-console-XXXXXX";
	struct console_port_options port = { .terminal = true, .in_fd = mkstemp(path) };
	struct virtio_device *d;
	gpa_t at;
	uint32_t n = 0;

	unlink(path);
	port.out_fd = open("/dev/null", O_WRONLY);
	if (port.in_fd < 0 || write(port.in_fd, "from a file", 11) != 11 ||
	    lseek(port.in_fd, 0, SEEK_SET) < 0)
		abort();
	driver_init(&v, MEMORY_MIN_BYTES);
	if (virtio_console_new(&port, 1, &v.memory, &v.loop, &d, NULL) < 0)
		abort();
	driver_attach(&v, d);
	driver_start(&v, 0);
	at = give(RX0, 64);
	ok(driver_wait(&v, RX0, NULL, &n) && n == 11 &&
		   !memcmp(driver_ptr(&v, at), "from a file", 11),
	   "input from a file");
	give(RX0, 64);
	driver_settle(&v);
	say(TX0, "x", 1);
	ok(driver_wait(&v, TX0, NULL, NULL), "and output to one that is not");
	driver_done(&v);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN); /* as vmm.c does */
	test_handshake();
	test_bytes();
	test_single();
	test_slow();
	test_drain();
	test_hangup();
	test_flood();
	test_two_descriptors();
	test_file();
	return tap_done();
}
