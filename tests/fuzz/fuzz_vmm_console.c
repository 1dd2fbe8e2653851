/* SPDX-License-Identifier: Apache-2.0 */
/* The console between a hostile driver and hosts that come, go and stop to listen. */
#include <fcntl.h>
#include <linux/virtio_console.h>
#include <signal.h>
#include <sys/socket.h>
#include "vmm/virtio/console.h"
#include "vmm_fuzz.h"

#define PORTS 3

static int peers[PORTS] = { -1, -1, -1 };

/* A terminal of two pipes or sockets, and channels. */
static struct virtio_device *make(struct driver *v, uint8_t choice)
{
	static const char *const names[PORTS] = { NULL, "org.proa.agent", "other" };
	struct console_port_options ports[PORTS] = { { .terminal = true } };
	struct virtio_device *d;
	int fds[2];

	for (int i = 0; i < PORTS; i++) {
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
			abort();
		ports[i].name = names[i];
		ports[i].in_fd = fds[0];
		ports[i].out_fd = i == 0 && choice & 1 ? fcntl(fds[0], F_DUPFD_CLOEXEC, 0) : fds[0];
		peers[i] = fds[1];
	}
	if (virtio_console_new(ports, 1 + choice / 2 % PORTS, &v->memory, &v->loop, &d, NULL) < 0)
		abort();
	for (int i = 1 + choice / 2 % PORTS; i < PORTS; i++) {
		close(ports[i].in_fd);
		peers[i] = fd_close(peers[i]);
	}
	return d;
}

static void control(struct driver *v, struct fuzz_input *in)
{
	struct virtio_console_control m = { .id = fuzz_u8(in) % 4 };
	gpa_t at = 0x180000;

	m.event = fuzz_u8(in) % 9;
	m.value = fuzz_u8(in) & 1;
	memcpy(driver_ptr(v, at), &m, sizeof(m));
	driver_add(v, 3, &(struct driver_buffer){ at, sizeof(m), false }, 1);
	virtio_notify(v->device, 3);
}

static void extra(struct driver *v, struct fuzz_input *in)
{
	static uint8_t bytes[16384];
	uint8_t what = fuzz_u8(in);
	int *peer = &peers[what / 8 % PORTS];
	unsigned queue = (unsigned)(what / 8) % v->device->queue_count;

	switch (what % 8) {
	case 0:
	case 1: control(v, in); break;
	case 2:
		if (*peer >= 0)
			(void)!send(*peer, bytes, fuzz_u8(in) * 16u, MSG_NOSIGNAL);
		break;
	case 3:
		if (*peer >= 0)
			(void)!recv(*peer, bytes, sizeof(bytes), 0);
		break;
	case 4:
		if (fuzz_u8(in) % 4 == 0)
			*peer = fd_close(*peer);
		else if (*peer >= 0)
			shutdown(*peer, what & 64 ? SHUT_RD : SHUT_WR);
		break;
	case 5: /* much at once */
		for (unsigned n = fuzz_u8(in) % 70; n; n--)
			driver_add(v, queue,
				   &(struct driver_buffer){ 0x200000, 65536, (queue & 1) == 0 }, 1);
		virtio_notify(v->device, queue);
		break;
	default:
		driver_add(v, queue,
			   &(struct driver_buffer){ 0x200000, fuzz_u8(in), (queue & 1) == 0 }, 1);
		virtio_notify(v->device, queue);
		break;
	}
	loop_once(&v->loop, 0);
}

static void done(void)
{
	for (int i = 0; i < PORTS; i++)
		peers[i] = fd_close(peers[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct fuzz_hooks hooks = { .make = make, .extra = extra, .done = done };

	signal(SIGPIPE, SIG_IGN);
	return fuzz_device(&hooks, data, size);
}
