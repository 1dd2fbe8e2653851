/* SPDX-License-Identifier: Apache-2.0 */
/* The network device between a hostile driver and a peer that is not to be trusted either. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/socket.h>
#include "vmm/virtio/net.h"
#include "vmm_fuzz.h"

static int peer = -1;

static struct virtio_device *make(struct driver *v, uint8_t choice)
{
	struct net_options o = { .mac = { 2, 0, 0, 0, 0, 1 }, .mtu = choice & 1 ? 1500 : 0 };
	struct virtio_device *d;
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0 ||
	    net_stream_new(fds[0], &o.backend, NULL) < 0 ||
	    virtio_net_new(&o, &v->memory, &v->loop, &d, NULL) < 0)
		abort();
	peer = fds[1];
	fcntl(peer, F_SETFL, O_NONBLOCK);
	return d;
}

static void say(const void *bytes, size_t n)
{
	if (peer >= 0 && send(peer, bytes, n, MSG_NOSIGNAL) < 0)
		return;
}

static void extra(struct driver *v, struct fuzz_input *in)
{
	static uint8_t bytes[8192];
	uint32_t n;

	switch (fuzz_u8(in) % 6) {
	case 0: /* a frame */
		n = fuzz_u16(in) % 4000;
		memcpy(bytes, &(uint32_t){ htonl(n) }, 4);
		say(bytes, n + 4);
		break;
	case 1: /* or whatever */
		n = fuzz_u8(in) % 16;
		fuzz_bytes(in, bytes, n);
		say(bytes, n);
		break;
	case 2: /* buffers for frames */
		for (n = fuzz_u8(in) % 16; n; n--)
			driver_add(v, 0,
				   &(struct driver_buffer){ 0x300000 + n * 4096ull,
							    16 + fuzz_u8(in) * 16u, true },
				   1);
		virtio_notify(v->device, 0);
		break;
	case 3: /* frames from the guest, up to many */
		for (n = fuzz_u8(in) % 64; n; n--)
			driver_add(v, 1, &(struct driver_buffer){ 0x400000, 65000, false }, 1);
		virtio_notify(v->device, 1);
		break;
	case 4:
		for (n = 0; n < 64 && peer >= 0 && recv(peer, bytes, sizeof(bytes), 0) > 0; n++)
			;
		break;
	default:
		if (fuzz_u8(in) == 7)
			peer = fd_close(peer);
		break;
	}
	loop_once(&v->loop, 0);
}

static void done(void)
{
	peer = fd_close(peer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct fuzz_hooks hooks = { .make = make, .extra = extra, .done = done };

	return fuzz_device(&hooks, data, size);
}
