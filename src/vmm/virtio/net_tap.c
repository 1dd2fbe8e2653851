/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tap interface as a network backend: one descriptor for each pair of queues, and the header that
 * virtio has before each frame is the one that the kernel reads and writes there.
 *
 * A read says only afterwards how long the frame was. What does not fit into the guest's buffers
 * goes to a buffer behind them, and waits there until there is room for all of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include "util/err.h"
#include "util/mem.h"
#include "vmm/virtio/net.h"

struct tap_pair {
	bool attached;
	size_t held;  /* bytes of a frame that waits for room; 0: none */
	size_t front; /* of these, so many are in the guest's buffers already */
	uint8_t rest[NET_HEADER + NET_FRAME_MAX + 64];
};

struct tap {
	struct net_backend backend;
	struct iovec iov[NET_IOVS_MAX + 1];
	struct tap_pair pairs[];
};

static struct tap *tap_of(struct net_backend *b)
{
	return container_of(b, struct tap, backend);
}

static void tap_offload(struct net_backend *b, uint64_t features)
{
	static const struct {
		unsigned bit;
		unsigned long flag;
	} map[] = {
		{ VIRTIO_NET_F_GUEST_CSUM, TUN_F_CSUM },
		{ VIRTIO_NET_F_GUEST_TSO4, TUN_F_TSO4 },
		{ VIRTIO_NET_F_GUEST_TSO6, TUN_F_TSO6 },
		{ VIRTIO_NET_F_GUEST_ECN, TUN_F_TSO_ECN },
	};
	unsigned long flags = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(map); i++)
		if (features >> map[i].bit & 1)
			flags |= map[i].flag;
	/* the others mean nothing without checksums, and the kernel would refuse all */
	if (!(flags & TUN_F_CSUM))
		flags = 0;
	/* refused, as a driver can agree to what makes no sense together: frames come checksummed
	 * and small, which every driver understands */
	if (ioctl(b->fds[0], TUNSETOFFLOAD, flags) < 0)
		(void)ioctl(b->fds[0], TUNSETOFFLOAD, 0ul);
}

static int tap_use_pairs(struct net_backend *b, unsigned pairs)
{
	struct tap *t = tap_of(b);

	if (b->pairs == 1)
		return 0;
	for (unsigned i = 0; i < b->pairs; i++) {
		struct ifreq request = { 0 };

		if (t->pairs[i].attached == (i < pairs))
			continue;
		request.ifr_flags = i < pairs ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE;
		if (ioctl(b->fds[i], TUNSETQUEUE, &request) < 0)
			return -errno;
		t->pairs[i].attached = i < pairs;
	}
	return 0;
}

static ssize_t tap_receive(struct net_backend *b, unsigned pair, const struct iovec *iov,
			   unsigned count, size_t bytes, size_t *ret_need)
{
	struct tap *t = tap_of(b);
	struct tap_pair *p = &t->pairs[pair];
	ssize_t n;

	if (!p->held) {
		memcpy(t->iov, iov, count * sizeof(*iov));
		t->iov[count] = (struct iovec){ .iov_base = p->rest, .iov_len = sizeof(p->rest) };
		n = readv(b->fds[pair], t->iov, (int)count + 1);
		if (n < 0)
			return errno == EINTR ? -EAGAIN : -errno;
		if ((size_t)n <= bytes)
			return n;
		p->held = (size_t)n;
		p->front = bytes;
	}
	if (bytes < p->held) {
		*ret_need = p->held;
		return -ENOBUFS;
	}
	iov_write(iov, count, p->front, p->rest, p->held - p->front);
	n = (ssize_t)p->held;
	p->held = 0;
	return n;
}

static void tap_drop(struct net_backend *b, unsigned pair)
{
	tap_of(b)->pairs[pair].held = 0;
}

static int tap_send(struct net_backend *b, unsigned pair, const struct iovec *iov, unsigned count,
		    size_t bytes _unused_)
{
	/* other errors are of this frame (a header that makes no sense) or of an interface that is
	 * down: as on a wire, it is lost, and whoever needs it sends it again */
	if (writev(b->fds[pair], iov, (int)count) < 0 && errno == EAGAIN)
		return -EAGAIN;
	return 0;
}

static void tap_stop(struct net_backend *b)
{
	for (unsigned i = 0; i < b->pairs; i++)
		tap_of(b)->pairs[i].held = 0;
}

static void tap_free(struct net_backend *b)
{
	for (unsigned i = 0; i < b->pairs; i++)
		fd_close(b->fds[i]);
	free(tap_of(b));
}

static const struct net_backend_ops tap_ops = {
	.offload = tap_offload,
	.use_pairs = tap_use_pairs,
	.receive = tap_receive,
	.drop = tap_drop,
	.send = tap_send,
	.stop = tap_stop,
	.free = tap_free,
};

static int prepare(int fd, struct err *err)
{
	int bytes = NET_HEADER, flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
	    ioctl(fd, TUNSETVNETHDRSZ, &bytes) < 0)
		return err_sys(err, errno, "set up a tap interface");
	return 0;
}

int net_tap_new(const int *fds, unsigned pairs, struct net_backend **ret, struct err *err)
{
	struct tap *t;
	int r;

	if (!pairs || pairs > NET_PAIRS_MAX)
		return err_set(err, EINVAL, "a network device has between 1 and %d pairs of queues",
			       NET_PAIRS_MAX);
	for (unsigned i = 0; i < pairs; i++) {
		r = prepare(fds[i], err);
		if (r < 0)
			return r;
	}
	t = calloc(1, sizeof(*t) + pairs * sizeof(t->pairs[0]));
	if (!t)
		return err_set(err, ENOMEM, "out of memory");
	t->backend.ops = &tap_ops;
	t->backend.pairs = pairs;
	t->backend.features = 1ull << VIRTIO_NET_F_CSUM | 1ull << VIRTIO_NET_F_GUEST_CSUM |
			      1ull << VIRTIO_NET_F_HOST_TSO4 | 1ull << VIRTIO_NET_F_HOST_TSO6 |
			      1ull << VIRTIO_NET_F_HOST_ECN | 1ull << VIRTIO_NET_F_GUEST_TSO4 |
			      1ull << VIRTIO_NET_F_GUEST_TSO6 | 1ull << VIRTIO_NET_F_GUEST_ECN |
			      1ull << VIRTIO_NET_F_CTRL_GUEST_OFFLOADS;
	for (unsigned i = 0; i < pairs; i++) {
		t->backend.fds[i] = fds[i];
		t->pairs[i].attached = true;
	}
	*ret = &t->backend;
	return 0;
}

int net_tap_open(const char *name, unsigned pairs, struct net_backend **ret, struct err *err)
{
	struct ifreq request = { 0 };
	int fds[NET_PAIRS_MAX], r = 0;
	unsigned n = 0;

	if (strlen(name) >= sizeof(request.ifr_name))
		return err_set(err, EINVAL, "the name of an interface is too long: \"%s\"", name);
	while (n < pairs && n < NET_PAIRS_MAX && r == 0) {
		fds[n] = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
		if (fds[n] < 0) {
			r = err_sys(err, errno, "open /dev/net/tun");
			break;
		}
		strcpy(request.ifr_name, name);
		request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
		if (pairs > 1)
			request.ifr_flags |= IFF_MULTI_QUEUE;
		if (ioctl(fds[n++], TUNSETIFF, &request) < 0)
			r = err_sys(err, errno, "open the tap interface \"%s\"", name);
	}
	if (r == 0)
		r = net_tap_new(fds, pairs, ret, err);
	while (r < 0 && n)
		fd_close(fds[--n]);
	return r;
}
