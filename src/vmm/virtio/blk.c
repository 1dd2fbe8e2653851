/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/virtio/blk.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include "util/err.h"
#include "util/mem.h"
#include "vmm/virtio/blk_internal.h"

/* of linux/fs.h, which does not go together with every libc's headers */
#ifndef BLKGETSIZE64
#define BLKGETSIZE64 _IOR(0x12, 114, size_t)
#endif

/* What a round may cost: one for a request, and one more for each 64 KiB copied in it. */
#define BLK_ROUND 256

/* A write that is done at once although the file system cannot tell whether it will wait: so long
 * at most, and not for this time after one that did wait. */
#define BLK_EAGER_BYTES (256u << 10)
#define BLK_SLOW_NS	2000000
#define BLK_PAUSE_NS	20000000

static struct blk *blk_of(const struct virtio_device *d)
{
	return container_of(d, struct blk, device);
}

/* ---- requests ------------------------------------------------------------------------------- */

static void release(struct blk *b, struct blk_request *q)
{
	q->next = b->free;
	b->free = q;
}

static void finish(struct blk *b, struct blk_request *q)
{
	uint32_t written = q->data_bytes + 1;

	*(volatile uint8_t *)q->status_at = q->status;
	/* bytes from the first one on: a status behind data that were not filled is not counted */
	if (q->status != VIRTIO_BLK_S_OK && q->data_bytes)
		written = 0;
	virtq_push(&b->queues[q->queue], q->chain.head, written);
	release(b, q);
}

static void run_to_end(struct blk *b, struct blk_request *q)
{
	while (blk_request_advance(b, q, blk_request_run(b, q, false)))
		;
	finish(b, q);
}

static void put_off(struct blk *b, struct blk_request *q)
{
	if (b->ring.fd < 0) {
		run_to_end(b, q);
		return;
	}
	q->next = NULL;
	*b->pending_end = q;
	b->pending_end = &q->next;
}

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

/*
 * ext4 has no writes with RWF_NOWAIT, and a copy into the page cache by way of a thread of io_uring
 * costs many times the copy. Whole pages go there without a read before; what may still make it
 * wait is a host that has too much to write back, and then others take over for a while.
 */
static void write_eagerly(struct blk *b, struct blk_request *q)
{
	int64_t before = now_ns(), after;
	ssize_t r;

	if (q->write_flags || q->at % 4096 || q->left % 4096 || q->left > BLK_EAGER_BYTES ||
	    before < b->eager_from_ns)
		return;
	r = blk_request_run(b, q, false);
	after = now_ns();
	if (after - before > BLK_SLOW_NS)
		b->eager_from_ns = after + BLK_PAUSE_NS;
	if (r > 0)
		blk_request_advance(b, q, r);
}

/* Reads and writes that need not wait are done here and now. */
static void start_request(struct blk *b, struct blk_request *q)
{
	bool write = q->step == BLK_WRITE;
	ssize_t r;

	if (q->step == BLK_READ || (write && !b->no_nowait_write)) {
		r = blk_request_run(b, q, true);
		if (write && r == -EOPNOTSUPP)
			b->no_nowait_write = true;
		/* an error may be of the attempt only: it counts when it comes again */
		if (r > 0)
			blk_request_advance(b, q, r);
	}
	if (q->step == BLK_WRITE && b->no_nowait_write && b->ring.fd >= 0)
		write_eagerly(b, q);
	if (q->step == BLK_NOTHING)
		finish(b, q);
	else
		put_off(b, q);
}

/* Hands what was put off to io_uring; what that does not take is done synchronously. */
static void submit(struct blk *b)
{
	struct blk_request *q = b->pending, *next;
	unsigned taken = 0;

	if (!q)
		return;
	b->pending = NULL;
	b->pending_end = &b->pending;
	for (next = q; next; next = next->next) {
		struct io_uring_sqe *e = uring_prepare(&b->ring);

		if (!e) /* cannot be: there are no more requests than entries */
			break;
		blk_request_prepare(b, next, e);
		taken++;
	}
	taken -= uring_submit(&b->ring);
	b->in_flight += taken;
	for (; q; q = next) {
		next = q->next;
		if (taken)
			taken--;
		else
			run_to_end(b, q);
	}
}

/* Takes completions. Returns whether there were any. */
static bool reap(struct blk *b)
{
	bool any = false;
	uint64_t data;
	int result;

	while (b->in_flight && uring_complete(&b->ring, &data, &result)) {
		struct blk_request *q = (struct blk_request *)(uintptr_t)data;
		ssize_t result_bytes = result;

		any = true;
		b->in_flight--;
		/* not for the likes of a disk, as far as is known; but never again and again */
		if (result == -EAGAIN)
			result_bytes = blk_request_run(b, q, false);
		if (blk_request_advance(b, q, result_bytes))
			put_off(b, q);
		else
			finish(b, q);
	}
	return any;
}

static void progress(struct blk *b)
{
	do
		submit(b);
	while (reap(b));
}

/* Takes requests from queue @n until it is empty, or enough was done for this round. */
static void serve(struct blk *b, unsigned n)
{
	struct virtio_device *d = &b->device;
	struct virtq *vq = &b->queues[n];
	uint64_t cost = 0;

	virtq_notifications(vq, false);
	do
		while (cost < BLK_ROUND && b->free && virtio_pop(d, n, &b->free->chain)) {
			struct blk_request *q = b->free;

			cost += 1 + (q->chain.read_bytes + q->chain.write_bytes) / (64u << 10);
			q->queue = (uint16_t)n;
			if (!blk_request_begin(b, q)) {
				virtio_broken(d);
				break;
			}
			b->free = q->next;
			start_request(b, q);
		}
	while (cost < BLK_ROUND && b->free && virtq_notifications(vq, true));
	if (cost >= BLK_ROUND)
		virtio_later(d, n);
	else if (!b->free)
		b->starved |= 1u << n;
}

static void signal_all(struct blk *b)
{
	for (unsigned i = 0; i < b->device.queue_count; i++)
		virtio_signal(&b->device, i);
}

static void blk_notify(struct virtio_device *d, unsigned n)
{
	struct blk *b = blk_of(d);

	serve(b, n);
	progress(b);
	signal_all(b);
}

static void on_ring(struct loop_watch *w, uint32_t events _unused_)
{
	struct blk *b = container_of(w, struct blk, watch);
	unsigned starved;

	progress(b);
	starved = b->starved;
	b->starved = 0;
	for (unsigned n = 0; starved; n++, starved >>= 1)
		if (starved & 1)
			serve(b, n);
	progress(b);
	signal_all(b);
}

/* ---- the device ----------------------------------------------------------------------------- */

static void blk_stop(struct virtio_device *d)
{
	struct blk *b = blk_of(d);
	uint64_t data;
	int result;

	/* they are in the kernel's hands, which writes to the guest's memory: all must end */
	while (b->in_flight) {
		while (b->in_flight && uring_complete(&b->ring, &data, &result)) {
			b->in_flight--;
			release(b, (struct blk_request *)(uintptr_t)data);
		}
		if (b->in_flight)
			uring_wait(&b->ring);
	}
	b->starved = 0;
}

static void blk_free(struct virtio_device *d)
{
	struct blk *b = blk_of(d);

	loop_remove(d->loop, &b->watch);
	uring_done(&b->ring);
	fd_close(b->fd);
	free(b->requests);
	free(b);
}

static const struct virtio_ops blk_ops = {
	.name = "blk",
	.id = VIRTIO_ID_BLOCK,
	.stop = blk_stop,
	.notify = blk_notify,
	.free = blk_free,
};

bool blk_is_asynchronous(const struct virtio_device *d)
{
	return blk_of(d)->ring.fd >= 0;
}

/* The size in bytes. */
static int measure(int fd, uint64_t *ret, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(err, errno, "look at a disk");
	*ret = (uint64_t)st.st_size;
	if (S_ISBLK(st.st_mode) && ioctl(fd, BLKGETSIZE64, ret) < 0)
		return err_sys(err, errno, "find out the size of a block device");
	return 0;
}

static void configure(struct blk *b, const struct blk_options *o)
{
	struct virtio_device *d = &b->device;

	b->config.capacity = b->sectors;
	b->config.seg_max = BLK_QUEUE_SIZE - 2; /* header and status */
	b->config.blk_size = BLK_SECTOR;
	b->config.physical_block_exp = 3; /* pages of 4 KiB are what the host's cache holds */
	b->config.min_io_size = 8;
	b->config.num_queues = (uint16_t)d->queue_count;
	d->features |= 1ull << VIRTIO_BLK_F_SEG_MAX | 1ull << VIRTIO_BLK_F_BLK_SIZE |
		       1ull << VIRTIO_BLK_F_TOPOLOGY;
	if (d->queue_count > 1)
		d->features |= 1ull << VIRTIO_BLK_F_MQ;
	if (!o->no_flush)
		d->features |= 1ull << VIRTIO_BLK_F_FLUSH;
	if (o->read_only)
		d->features |= 1ull << VIRTIO_BLK_F_RO;
	if (!o->read_only && !o->no_discard) {
		b->config.max_discard_sectors = b->config.max_write_zeroes_sectors = BLK_RANGE_MAX;
		b->config.max_discard_seg = b->config.max_write_zeroes_seg = BLK_RANGES_MAX;
		b->config.discard_sector_alignment = 8;
		b->config.write_zeroes_may_unmap = 1;
		d->features |= 1ull << VIRTIO_BLK_F_DISCARD | 1ull << VIRTIO_BLK_F_WRITE_ZEROES;
	}
	d->config = &b->config;
	d->config_bytes = offsetof(struct virtio_blk_config, write_zeroes_may_unmap) + 4;
}

static int make_requests(struct blk *b, struct err *err)
{
	unsigned count = b->device.queue_count * BLK_QUEUE_SIZE;

	b->requests = calloc(count, sizeof(*b->requests));
	if (!b->requests)
		return err_set(err, ENOMEM, "out of memory");
	for (unsigned i = count; i-- > 0;)
		release(b, &b->requests[i]);
	return 0;
}

static int start_ring(struct blk *b, struct err *err)
{
	int r = uring_init(&b->ring, b->device.queue_count * BLK_QUEUE_SIZE);

	if (r < 0) /* refused: it goes without */
		return 0;
	b->watch = (struct loop_watch){ .fd = b->ring.fd, .events = EPOLLIN, .call = on_ring };
	r = loop_add(b->device.loop, &b->watch);
	return r < 0 ? err_sys(err, -r, "watch a disk's completions") : 0;
}

int virtio_blk_new(const struct blk_options *o, const struct vmm_memory *memory, struct loop *loop,
		   struct virtio_device **ret, struct err *err)
{
	unsigned queues = o->queues ? o->queues : 1;
	uint64_t bytes;
	struct blk *b;
	int r;

	if (queues > BLK_QUEUES_MAX)
		return err_set(err, EINVAL, "a disk has at most %d queues", BLK_QUEUES_MAX);
	if (o->serial && strlen(o->serial) > VIRTIO_BLK_ID_BYTES)
		return err_set(err, EINVAL,
			       "the serial number \"%s\" of a disk is too long: %d bytes at most",
			       o->serial, VIRTIO_BLK_ID_BYTES);
	r = measure(o->fd, &bytes, err);
	if (r < 0)
		return r;
	b = calloc(1, sizeof(*b));
	if (!b)
		return err_set(err, ENOMEM, "out of memory");
	b->fd = -EBADF;
	b->ring = (struct uring)URING_INIT;
	b->pending_end = &b->pending;
	b->sectors = bytes / BLK_SECTOR;
	b->read_only = o->read_only;
	if (o->serial)
		memcpy(b->serial, o->serial, strlen(o->serial));
	for (unsigned i = 0; i < queues; i++)
		b->queues[i].size_max = BLK_QUEUE_SIZE;
	virtio_device_init(&b->device, &blk_ops, memory, loop, b->queues, queues);
	configure(b, o);
	r = virtio_later_init(&b->device, err);
	if (r == 0)
		r = make_requests(b, err);
	if (r == 0 && !o->no_uring)
		r = start_ring(b, err);
	if (r < 0) {
		virtio_device_free(&b->device);
		return r;
	}
	b->fd = o->fd;
	*ret = &b->device;
	return 0;
}

int blk_open(const char *path, bool read_only, int *ret_fd, struct err *err)
{
	struct flock lock = { .l_type = read_only ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET };
	_cleanup_close_ int fd = -EBADF;
	struct stat st;

	/* O_NONBLOCK: to open a FIFO must not wait for somebody at its other end */
	fd = open(path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 && errno == EISDIR)
		return err_set(err, EISDIR, "disk \"%s\": is a directory", path);
	if (fd < 0 && errno == EROFS)
		return err_set(err, EROFS,
			       "disk \"%s\": its file system is read-only (open it "
			       "read-only)",
			       path);
	if (fd < 0)
		return err_sys(err, errno, "disk \"%s\"", path);
	if (fstat(fd, &st) < 0)
		return err_sys(err, errno, "disk \"%s\"", path);
	if (S_ISDIR(st.st_mode))
		return err_set(err, EISDIR, "disk \"%s\": is a directory", path);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_set(err, EINVAL, "disk \"%s\": neither a file nor a block device", path);
	if (fcntl(fd, F_SETFL, 0) < 0) /* io_uring would take O_NONBLOCK at its word */
		return err_sys(err, errno, "disk \"%s\"", path);
	if (fcntl(fd, F_OFD_SETLK, &lock) == 0) {
		*ret_fd = TAKE_FD(fd);
		return 0;
	}
	if (errno != EAGAIN && errno != EACCES)
		return err_sys(err, errno, "lock disk \"%s\"", path);
	return err_set(err, EBUSY,
		       read_only ? "disk \"%s\": in use by another writer"
				 : "disk \"%s\": in use (a writer needs it for itself)",
		       path);
}
