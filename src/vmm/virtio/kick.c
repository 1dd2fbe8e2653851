/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/virtio/kick.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "util/mem.h"

static void kicked(struct loop_watch *w, uint32_t events _unused_)
{
	struct virtio_kick *k = container_of(w, struct virtio_kick, watch);
	uint64_t count;

	if (read(w->fd, &count, sizeof(count)) == sizeof(count))
		virtio_notify(k->device, k->queue);
}

int kick_init(struct virtio_kick *kicks, struct virtio_device *d)
{
	for (unsigned i = 0; i < d->queue_count; i++)
		kicks[i].watch.fd = -EBADF;
	for (unsigned i = 0; i < d->queue_count; i++) {
		int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), r;

		if (fd < 0)
			return -errno;
		kicks[i] = (struct virtio_kick){
			.watch = { .fd = fd, .events = EPOLLIN, .call = kicked },
			.device = d,
			.queue = i,
		};
		r = loop_add(d->loop, &kicks[i].watch);
		if (r < 0)
			return r;
	}
	return 0;
}

void kick_by_hand(struct virtio_kick *kicks, struct virtio_device *d, uint32_t n)
{
	static const uint64_t one = 1;

	if (n >= d->queue_count)
		return;
	if (d->ops->notify)
		virtio_notify(d, n);
	else /* another process waits for it */
		(void)!write(kicks[n].watch.fd, &one, sizeof(one));
}

void kick_unwatch(struct virtio_kick *k)
{
	loop_remove(k->device->loop, &k->watch);
}

void kick_done(struct virtio_kick *kicks, struct virtio_device *d)
{
	for (unsigned i = 0; i < d->queue_count; i++) {
		if (kicks[i].device)
			loop_remove(d->loop, &kicks[i].watch);
		if (kicks[i].device)
			fd_close(kicks[i].watch.fd);
	}
}
