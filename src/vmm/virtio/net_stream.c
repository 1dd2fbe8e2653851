/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream socket as a network backend: before each frame its length, 32 bits, big-endian (passt,
 * QEMU's "-netdev stream"). The header that virtio has before frames is not sent, and is zeros on
 * the way in.
 *
 * One read takes the rest of a frame, into the guest's buffers, and the length of the next one.
 * A frame may be sent in pieces; when its buffers go away in between, zeros take their place, so
 * that the other side still finds the next one.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_net.h>
#include <sys/socket.h>
#include "util/err.h"
#include "util/mem.h"
#include "vmm/virtio/net.h"

struct stream {
	struct net_backend backend;
	bool checked; /* the guest was told that it need not check checksums */

	uint32_t length; /* of the next frame, as it comes in */
	size_t length_got;
	size_t frame, got; /* the frame that comes in: its bytes (0: not known), those that came */
	size_t skip;	   /* bytes of a dropped one that are still to come */

	uint32_t length_out;
	size_t sending, sent; /* the frame that goes out, its length included; 0: none */
	bool orphan;	      /* its buffers are gone */

	struct iovec iov[NET_IOVS_MAX + 1], rest[VIRTQ_SIZE_MAX + 1];
	uint8_t bin[NET_FRAME_MAX];   /* what is skipped goes here */
	uint8_t zeros[NET_FRAME_MAX]; /* never written to */
};

static struct stream *stream_of(struct net_backend *b)
{
	return container_of(b, struct stream, backend);
}

static void stream_offload(struct net_backend *b, uint64_t features)
{
	/* nothing happens to a frame between two processes: the guest may save itself the work */
	stream_of(b)->checked = features >> VIRTIO_NET_F_GUEST_CSUM & 1;
}

static int stream_use_pairs(struct net_backend *b _unused_, unsigned pairs)
{
	return pairs == 1 ? 0 : -EINVAL;
}

/* ---- to the guest --------------------------------------------------------------------------- */

static ssize_t got_or_error(ssize_t n)
{
	if (n > 0)
		return n;
	if (n == 0)
		return -EPIPE; /* the other side is gone */
	return errno == EINTR || errno == EWOULDBLOCK ? -EAGAIN : -errno;
}

static int skip(struct stream *s)
{
	while (s->skip) {
		ssize_t n =
			got_or_error(read(s->backend.fds[0], s->bin, MIN(s->skip, sizeof(s->bin))));

		if (n < 0)
			return (int)n;
		s->skip -= (size_t)n;
	}
	return 0;
}

/* Finds out the length of the next frame. */
static int read_length(struct stream *s)
{
	while (s->length_got < sizeof(s->length)) {
		ssize_t n =
			got_or_error(read(s->backend.fds[0], (uint8_t *)&s->length + s->length_got,
					  sizeof(s->length) - s->length_got));

		if (n < 0)
			return (int)n;
		s->length_got += (size_t)n;
	}
	s->length_got = 0;
	s->frame = ntohl(s->length);
	s->got = 0;
	return s->frame && s->frame <= NET_FRAME_MAX ? 0 : -EPROTO;
}

static ssize_t frame_done(struct stream *s, const struct iovec *iov, unsigned count)
{
	struct virtio_net_hdr_v1 header = { .flags = s->checked ? VIRTIO_NET_HDR_F_DATA_VALID : 0 };
	ssize_t bytes = (ssize_t)(NET_HEADER + s->frame);

	iov_write(iov, count, 0, &header, sizeof(header));
	s->length_got = s->got - s->frame;
	s->frame = s->got = 0;
	return bytes;
}

static ssize_t stream_receive(struct net_backend *b, unsigned pair _unused_,
			      const struct iovec *iov, unsigned count, size_t bytes,
			      size_t *ret_need)
{
	struct stream *s = stream_of(b);
	ssize_t r = skip(s);

	if (r == 0 && !s->frame)
		r = read_length(s);
	if (r < 0)
		return r;
	if (bytes < NET_HEADER + s->frame) {
		*ret_need = NET_HEADER + s->frame;
		return -ENOBUFS;
	}
	while (s->got < s->frame) {
		unsigned n = iov_slice(iov, count, NET_HEADER + s->got, s->frame - s->got, s->iov);

		s->iov[n++] =
			(struct iovec){ .iov_base = &s->length, .iov_len = sizeof(s->length) };
		r = got_or_error(readv(b->fds[0], s->iov, (int)n));
		if (r < 0)
			return r;
		s->got += (size_t)r;
	}
	return frame_done(s, iov, count);
}

static void stream_drop(struct net_backend *b, unsigned pair _unused_)
{
	struct stream *s = stream_of(b);

	s->skip += s->frame - s->got;
	s->frame = s->got = 0;
}

/* ---- from the guest ------------------------------------------------------------------------- */

/* Sends what is left of the frame: the length, then @iov. */
static int send_rest(struct stream *s, const struct iovec *iov, unsigned count)
{
	while (s->sent < s->sending) {
		struct msghdr message = { .msg_iov = s->rest };
		size_t left = s->sending - s->sent;
		unsigned n = 0;
		ssize_t r;

		if (s->sent < sizeof(s->length_out)) {
			s->rest[n++] = (struct iovec){
				.iov_base = (uint8_t *)&s->length_out + s->sent,
				.iov_len = sizeof(s->length_out) - s->sent,
			};
			left -= s->rest[0].iov_len;
		}
		n += iov_slice(iov, count, s->sending - sizeof(s->length_out) - left, left,
			       s->rest + n);
		message.msg_iovlen = n;
		r = sendmsg(s->backend.fds[0], &message, MSG_NOSIGNAL);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return errno == EWOULDBLOCK ? -EAGAIN : -errno;
		s->sent += (size_t)r;
	}
	s->sending = s->sent = 0;
	return 0;
}

static int stream_send(struct net_backend *b, unsigned pair _unused_, const struct iovec *iov,
		       unsigned count, size_t bytes)
{
	struct stream *s = stream_of(b);
	struct iovec zeros = { .iov_base = s->zeros, .iov_len = sizeof(s->zeros) };
	unsigned n;

	if (s->orphan) {
		int r = send_rest(s, &zeros, 1);

		if (r < 0)
			return r;
		s->orphan = false;
	}
	if (!s->sending) {
		s->sending = sizeof(s->length_out) + bytes - NET_HEADER;
		s->length_out = htonl((uint32_t)(bytes - NET_HEADER));
	}
	n = iov_slice(iov, count, NET_HEADER, bytes - NET_HEADER, s->iov);
	return send_rest(s, s->iov, n);
}

static void stream_stop(struct net_backend *b)
{
	struct stream *s = stream_of(b);

	stream_drop(b, 0);
	if (s->sent)
		s->orphan = true;
	else
		s->sending = 0;
}

static void stream_free(struct net_backend *b)
{
	fd_close(b->fds[0]);
	free(stream_of(b));
}

static const struct net_backend_ops stream_ops = {
	.offload = stream_offload,
	.use_pairs = stream_use_pairs,
	.receive = stream_receive,
	.drop = stream_drop,
	.send = stream_send,
	.stop = stream_stop,
	.free = stream_free,
};

int net_stream_new(int fd, struct net_backend **ret, struct err *err)
{
	struct stream *s = calloc(1, sizeof(*s));
	int flags = fcntl(fd, F_GETFL);

	if (!s)
		return err_set(err, ENOMEM, "out of memory");
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
		free(s);
		return err_sys(err, errno, "set up the socket of a network");
	}
	s->backend = (struct net_backend){
		.ops = &stream_ops,
		.features = 1ull << VIRTIO_NET_F_GUEST_CSUM,
		.pairs = 1,
		.fds = { fd },
	};
	*ret = &s->backend;
	return 0;
}
