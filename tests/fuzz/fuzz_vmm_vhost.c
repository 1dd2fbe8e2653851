/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file server that says what the input says: all of it lies in the socket before the first
 * question is asked, and nothing comes after it. The driver starts and resets the device meanwhile.
 */
#include <sys/socket.h>
#include "../unit/vmm_fake.h"
#include "vmm/virtio/fs.h"
#include "vmm/virtio/transport.h"
#include "vmm_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct driver v;
	struct fuzz_input in = { data, MIN(size, 60000u) };
	struct fs_options o = { .tag = "t", .answer_ms = 50 };
	uint8_t how = fuzz_u8(&in);
	int fds[2];

	o.queues = 1 + how % 8;
	memset(&v, 0, sizeof(v));
	fake_init();
	if (memory_init(&v.memory, MEMORY_MIN_BYTES, true, NULL) < 0 ||
	    loop_init(&v.loop, NULL) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		abort();
	if (in.left && send(fds[1], in.at, in.left, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		abort();
	shutdown(fds[1], SHUT_WR);
	o.socket = fds[0];
	v.heap = DRIVER_BASE + DRIVER_QUEUES * DRIVER_STRIDE;
	if (virtio_fs_new(&o, &v.memory, &v.loop, &v.device, NULL) == 0) {
		if (virtio_mmio_attach(&fake.vmm, v.device, 0, NULL) < 0)
			abort();
		for (unsigned i = 0; i < 3; i++) {
			driver_start(&v, v.device->features);
			if (how & 0x80)
				loop_once(&v.loop, 0);
			virtio_set_status(v.device, 0);
		}
		loop_once(&v.loop, 0);
		virtio_device_free(v.device);
	}
	close(fds[1]);
	if (loop_once(&v.loop, 0) != 0)
		abort(); /* a watch was left behind */
	loop_done(&v.loop);
	memory_done(&v.memory);
	fake_done();
	return 0;
}
