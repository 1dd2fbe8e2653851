/* SPDX-License-Identifier: Apache-2.0 */
/* The socket device between a hostile driver and programs of the host. */
#include <fcntl.h>
#include <linux/virtio_vsock.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "vmm/virtio/vsock.h"
#include "vmm_fuzz.h"

#define CID	 3
#define PROGRAMS 8

static char dir[] = "/tmp/proa-fuzz-XXXXXX", path[40], service[48];
static int listener = -1, server = -1;
static int programs[PROGRAMS]; /* sockets of the host's side, 0: none */

static void clean_up(void)
{
	unlink(path);
	unlink(service);
	rmdir(dir);
}

static struct virtio_device *make(struct driver *v, uint8_t choice)
{
	struct vsock_options o = { .guest_cid = CID,
				   .path = path,
				   .connections = 6,
				   .buffer_bytes = 1024u << (choice & 3) };
	struct virtio_device *d;

	if (listener < 0) {
		if (!mkdtemp(dir))
			abort();
		snprintf(path, sizeof(path), "%s/v", dir);
		snprintf(service, sizeof(service), "%s_1", path);
		if (vsock_listen(path, &listener, NULL) < 0 ||
		    vsock_listen(service, &server, NULL) < 0)
			abort();
		atexit(clean_up);
	}
	o.listen_fd = dup(listener);
	if (virtio_vsock_new(&o, &v->memory, &v->loop, &d, NULL) < 0)
		abort();
	return d;
}

static void packet(struct driver *v, struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in), ports = fuzz_u8(in);
	struct virtio_vsock_hdr h = { .src_cid = CID,
				      .dst_cid = 2,
				      .type = 1,
				      .op = how & 15,
				      .src_port = ports & 3,
				      .flags = fuzz_u8(in) };
	uint32_t bytes = (uint32_t)fuzz_u8(in) * (how & 0x10 ? 32 : 1);

	/* the service, or a port that was given to a program of the host */
	h.dst_port = ports & 4 ? (1u << 30) + (ports >> 3) : 1;
	h.len = bytes + (how & 0x20 ? 1 : 0);
	h.buf_alloc = (uint32_t)fuzz_u8(in) * 64;
	h.fwd_cnt = fuzz_u8(in);
	memcpy(driver_ptr(v, 0x80000), &h, sizeof(h));
	driver_add(v, 1, &(struct driver_buffer){ 0x80000, (uint32_t)sizeof(h) + bytes, false }, 1);
	virtio_notify(v->device, 1);
}

static void program(struct fuzz_input *in)
{
	static uint8_t bytes[4096];
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	uint8_t how = fuzz_u8(in);
	int *s = &programs[how >> 3 & (PROGRAMS - 1)];

	if (*s <= 0) {
		strcpy(a.sun_path, path);
		*s = how & 1 ? accept4(server, NULL, NULL, SOCK_NONBLOCK)
			     : socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
		if (*s > 0 && !(how & 1) && connect(*s, (struct sockaddr *)&a, sizeof(a)) == 0)
			(void)!write(*s, "CONNECT 0\n", how & 2 ? 10 : fuzz_u8(in) % 10);
		return;
	}
	switch (how & 7) {
	case 0:
		close(*s);
		*s = 0;
		break;
	case 1: shutdown(*s, (int)(fuzz_u8(in) % 3)); break;
	case 2:
	case 3: (void)!recv(*s, bytes, sizeof(bytes), 0); break;
	default: (void)!send(*s, bytes, fuzz_u8(in) * 16u, MSG_NOSIGNAL); break;
	}
}

static void extra(struct driver *v, struct fuzz_input *in)
{
	switch (fuzz_u8(in) % 4) {
	case 0:
		for (unsigned n = fuzz_u8(in) % 16; n; n--)
			driver_add(v, 0,
				   &(struct driver_buffer){ 0x300000 + n * 4096,
							    45 + fuzz_u8(in) * 16u, true },
				   1);
		virtio_notify(v->device, 0);
		break;
	case 1: program(in); break;
	default: packet(v, in); break;
	}
	loop_once(&v->loop, 0);
}

static void done(void)
{
	int s;

	for (unsigned i = 0; i < PROGRAMS; i++) {
		if (programs[i] > 0)
			close(programs[i]);
		programs[i] = 0;
	}
	while ((s = accept(server, NULL, NULL)) >= 0)
		close(s);
	while ((s = accept(listener, NULL, NULL)) >= 0)
		close(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct fuzz_hooks hooks = { .make = make, .extra = extra, .done = done };

	return fuzz_device(&hooks, data, size);
}
