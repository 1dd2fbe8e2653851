/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/virtio/blk_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/syscall.h>
#include "util/mem.h"

/* of linux/fs.h, which does not go together with every libc's headers */
#ifndef RWF_DSYNC
#define RWF_DSYNC 0x2
#endif
#ifndef RWF_NOWAIT
#define RWF_NOWAIT 0x8
#endif

#define PUNCH_HOLE (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)
#define ZERO_RANGE (FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE)

/* ---- what a request asks for ---------------------------------------------------------------- */

static bool in_disk(const struct blk *b, uint64_t sector, uint64_t bytes)
{
	return bytes % BLK_SECTOR == 0 && sector <= b->sectors &&
	       bytes / BLK_SECTOR <= b->sectors - sector;
}

/* Goes forward in the data by @n bytes. */
static void consume(struct blk_request *q, size_t n)
{
	while (q->iov_count && n >= q->iov->iov_len) {
		n -= q->iov->iov_len;
		q->iov++;
		q->iov_count--;
	}
	if (q->iov_count) {
		q->iov->iov_base = (uint8_t *)q->iov->iov_base + n;
		q->iov->iov_len -= n;
	}
}

/* Finds the status, the last writable byte of all, and takes it from the data. */
static bool split_status(struct blk_request *q)
{
	struct virtq_chain *c = &q->chain;
	struct iovec *last = c->write + c->write_count - 1;

	if (!c->write_bytes)
		return false;
	q->status_at = (uint8_t *)last->iov_base + last->iov_len - 1;
	if (!--last->iov_len)
		c->write_count--;
	q->data_bytes = (uint32_t)(c->write_bytes - 1);
	return true;
}

static uint8_t begin_read(struct blk *b, struct blk_request *q, uint64_t sector)
{
	if (q->chain.read_bytes || !in_disk(b, sector, q->data_bytes))
		return VIRTIO_BLK_S_IOERR;
	q->iov = q->chain.write;
	q->iov_count = q->chain.write_count;
	q->at = sector * BLK_SECTOR;
	q->left = q->data_bytes;
	q->step = q->left ? BLK_READ : BLK_NOTHING;
	return VIRTIO_BLK_S_OK;
}

static uint8_t begin_write(struct blk *b, struct blk_request *q, uint64_t sector)
{
	if (b->read_only || !in_disk(b, sector, q->chain.read_bytes))
		return VIRTIO_BLK_S_IOERR;
	q->at = sector * BLK_SECTOR;
	q->left = q->chain.read_bytes;
	q->step = q->left ? BLK_WRITE : BLK_NOTHING;
	/* a driver that did not agree to flush relies on writes being durable (5.2.6.2) */
	if (b->device.features >> VIRTIO_BLK_F_FLUSH & 1 &&
	    !virtio_has(&b->device, VIRTIO_BLK_F_FLUSH))
		q->write_flags = RWF_DSYNC;
	return VIRTIO_BLK_S_OK;
}

static uint8_t begin_flush(struct blk *b, struct blk_request *q)
{
	if (!virtio_has(&b->device, VIRTIO_BLK_F_FLUSH))
		return VIRTIO_BLK_S_UNSUPP;
	/* nothing that this descriptor wrote needs it */
	q->step = b->read_only ? BLK_NOTHING : BLK_FLUSH;
	return VIRTIO_BLK_S_OK;
}

static uint8_t give_serial(struct blk *b, struct blk_request *q)
{
	const struct virtq_chain *c = &q->chain;

	if (c->read_bytes || q->data_bytes < VIRTIO_BLK_ID_BYTES)
		return VIRTIO_BLK_S_IOERR;
	q->data_bytes =
		(uint32_t)iov_write(c->write, c->write_count, 0, b->serial, sizeof(b->serial));
	return VIRTIO_BLK_S_OK;
}

/* The way to make a range what it shall be, the next best one each time it is refused. */
static void choose_way(struct blk *b, struct blk_request *q)
{
	bool unmap = q->ranges[q->range].flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;

	q->step = BLK_ALLOCATE;
	if ((!q->zeroes || unmap) && !b->no_punch) {
		q->fallocate_mode = PUNCH_HOLE;
	} else if (!q->zeroes) {
		/* a discard is a hint: to ignore it is allowed */
		q->step = BLK_NOTHING;
	} else if (!b->no_zero_range) {
		q->fallocate_mode = ZERO_RANGE;
	} else {
		q->step = BLK_ZEROS;
		q->iov_count = 0;
	}
}

/* As many zeros as fit into the array that the chain, read by now, does not need any more. */
static void fill_zeros(struct blk *b, struct blk_request *q)
{
	uint64_t left = q->left;

	q->iov = q->chain.iov;
	for (q->iov_count = 0; left && q->iov_count < VIRTQ_SIZE_MAX; q->iov_count++) {
		size_t n = MIN(left, sizeof(b->zeros));

		q->iov[q->iov_count] = (struct iovec){ .iov_base = b->zeros, .iov_len = n };
		left -= n;
	}
}

/* Sets up the work on the next range that has any; false: all are done. */
static bool begin_range(struct blk *b, struct blk_request *q)
{
	for (; q->range < q->range_count; q->range++) {
		q->at = q->ranges[q->range].sector * BLK_SECTOR;
		q->left = (uint64_t)q->ranges[q->range].num_sectors * BLK_SECTOR;
		if (!q->left)
			continue;
		choose_way(b, q);
		if (q->step == BLK_ZEROS)
			fill_zeros(b, q);
		if (q->step != BLK_NOTHING)
			return true;
	}
	q->step = BLK_NOTHING;
	return false;
}

static uint8_t begin_ranges(struct blk *b, struct blk_request *q, bool zeroes)
{
	unsigned bit = zeroes ? VIRTIO_BLK_F_WRITE_ZEROES : VIRTIO_BLK_F_DISCARD;
	uint32_t flags = zeroes ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0;
	size_t bytes = q->chain.read_bytes;

	if (!virtio_has(&b->device, bit))
		return VIRTIO_BLK_S_UNSUPP;
	if (b->read_only || !bytes || bytes % sizeof(q->ranges[0]) || bytes > sizeof(q->ranges))
		return VIRTIO_BLK_S_IOERR;
	iov_read(q->iov, q->iov_count, 0, q->ranges, bytes);
	q->range_count = (unsigned)(bytes / sizeof(q->ranges[0]));
	q->zeroes = zeroes;
	for (unsigned i = 0; i < q->range_count; i++) {
		if (q->ranges[i].flags & ~flags)
			return VIRTIO_BLK_S_UNSUPP;
		if (q->ranges[i].num_sectors > BLK_RANGE_MAX ||
		    !in_disk(b, q->ranges[i].sector,
			     (uint64_t)q->ranges[i].num_sectors * BLK_SECTOR))
			return VIRTIO_BLK_S_IOERR;
	}
	q->range = 0;
	begin_range(b, q);
	return VIRTIO_BLK_S_OK;
}

bool blk_request_begin(struct blk *b, struct blk_request *q)
{
	struct virtq_chain *c = &q->chain;
	struct virtio_blk_outhdr header;

	q->step = BLK_NOTHING;
	q->range = q->range_count = 0;
	q->write_flags = 0;
	q->status = VIRTIO_BLK_S_UNSUPP;
	if (iov_read(c->read, c->read_count, 0, &header, sizeof(header)) != sizeof(header) ||
	    !split_status(q))
		return false;
	q->iov = c->read;
	q->iov_count = c->read_count;
	consume(q, sizeof(header));
	c->read_bytes -= sizeof(header);
	if (header.type == VIRTIO_BLK_T_IN)
		q->status = begin_read(b, q, header.sector);
	else if (header.type == VIRTIO_BLK_T_OUT)
		q->status = begin_write(b, q, header.sector);
	else if (header.type == VIRTIO_BLK_T_FLUSH)
		q->status = begin_flush(b, q);
	else if (header.type == VIRTIO_BLK_T_GET_ID)
		q->status = give_serial(b, q);
	else if (header.type == VIRTIO_BLK_T_DISCARD || header.type == VIRTIO_BLK_T_WRITE_ZEROES)
		q->status = begin_ranges(b, q, header.type == VIRTIO_BLK_T_WRITE_ZEROES);
	return true;
}

/* ---- one step ------------------------------------------------------------------------------- */

ssize_t blk_request_run(const struct blk *b, const struct blk_request *q, bool nowait)
{
	int flags = nowait ? RWF_NOWAIT : 0;
	long r;

	/* raw calls: not every libc has them; the offset's upper half is of no use on 64 bits */
	if (q->step == BLK_READ)
		r = syscall(SYS_preadv2, b->fd, q->iov, (long)q->iov_count, (long)q->at, 0L, flags);
	else if (q->step == BLK_WRITE || q->step == BLK_ZEROS)
		r = syscall(SYS_pwritev2, b->fd, q->iov, (long)q->iov_count, (long)q->at, 0L,
			    flags | q->write_flags);
	else if (q->step == BLK_FLUSH)
		r = fdatasync(b->fd);
	else
		r = fallocate(b->fd, q->fallocate_mode, (off_t)q->at, (off_t)q->left);
	return r < 0 ? -errno : r;
}

void blk_request_prepare(const struct blk *b, struct blk_request *q, struct io_uring_sqe *e)
{
	e->fd = b->fd;
	e->user_data = (uint64_t)(uintptr_t)q;
	if (q->step == BLK_FLUSH) {
		e->opcode = IORING_OP_FSYNC;
		e->fsync_flags = IORING_FSYNC_DATASYNC;
		return;
	}
	e->off = q->at;
	if (q->step == BLK_ALLOCATE) {
		e->opcode = IORING_OP_FALLOCATE;
		e->addr = q->left; /* so it is: the length is here, the mode there */
		e->len = (uint32_t)q->fallocate_mode;
		return;
	}
	e->opcode = q->step == BLK_READ ? IORING_OP_READV : IORING_OP_WRITEV;
	e->addr = (uint64_t)(uintptr_t)q->iov;
	e->len = q->iov_count;
	e->rw_flags = q->step == BLK_READ ? 0 : q->write_flags;
}

static bool fail(struct blk_request *q)
{
	q->status = VIRTIO_BLK_S_IOERR;
	q->step = BLK_NOTHING;
	return false;
}

static bool advance_data(struct blk *b, struct blk_request *q, ssize_t result)
{
	/* 0: the file ends before it should, as somebody cut it */
	if (result <= 0 || (uint64_t)result > q->left)
		return fail(q);
	consume(q, (size_t)result);
	q->at += (uint64_t)result;
	q->left -= (uint64_t)result;
	if (q->left && q->step == BLK_ZEROS && !q->iov_count)
		fill_zeros(b, q);
	return q->left;
}

/* true: the step was refused as such, and there is another way. */
static bool refused(struct blk *b, struct blk_request *q, ssize_t result)
{
	if (result != -EOPNOTSUPP && result != -ENOSYS && result != -EINVAL && result != -EPERM)
		return false;
	if (q->fallocate_mode == PUNCH_HOLE)
		b->no_punch = true;
	else
		b->no_zero_range = true;
	return true;
}

bool blk_request_advance(struct blk *b, struct blk_request *q, ssize_t result)
{
	if (q->step == BLK_NOTHING)
		return false;
	if (result == -EINTR || result == -EAGAIN)
		return true;
	if (q->step == BLK_ALLOCATE && refused(b, q, result))
		return begin_range(b, q);
	if (q->step == BLK_READ || q->step == BLK_WRITE || q->step == BLK_ZEROS) {
		if (advance_data(b, q, result))
			return true;
	} else if (result < 0) {
		return fail(q);
	}
	if (q->status != VIRTIO_BLK_S_OK)
		return false;
	q->range++;
	return begin_range(b, q);
}
