/* SPDX-License-Identifier: Apache-2.0 */
/* The block device, by way of a small driver: what it reads, writes, refuses, and whom it locks
 * out. */
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/virtio_blk.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "tap.h"
#include "virtio_driver.h"
#include "vmm/virtio/blk.h"

#define SECTORS 256

static char dir[] = "/tmp/proa-test-blk-XXXXXX";
static char image[64];

struct bench {
	struct driver v;
	gpa_t header, data, status;
};

static void make_image(void)
{
	uint8_t bytes[512];
	int fd = open(image, O_RDWR | O_CREAT | O_TRUNC, 0600);

	for (int i = 0; i < SECTORS; i++) {
		memset(bytes, i, sizeof(bytes));
		if (write(fd, bytes, sizeof(bytes)) != sizeof(bytes))
			abort();
	}
	close(fd);
}

static bool bench_init(struct bench *t, struct blk_options o, uint64_t features)
{
	struct virtio_device *d;
	struct err err = ERR_INIT;

	driver_init(&t->v, MEMORY_MIN_BYTES);
	if (blk_open(image, o.read_only, &o.fd, &err) < 0 ||
	    virtio_blk_new(&o, &t->v.memory, &t->v.loop, &d, &err) < 0) {
		printf("# %s\n", err.msg);
		return false;
	}
	driver_attach(&t->v, d);
	driver_start(&t->v, features & d->features);
	t->header = driver_alloc(&t->v, 16);
	t->data = driver_alloc(&t->v, 1 << 20);
	t->status = driver_alloc(&t->v, 1);
	return true;
}

static void put_header(struct bench *t, uint32_t type, uint64_t sector)
{
	struct virtio_blk_outhdr h = { .type = type, .sector = sector };

	memcpy(driver_ptr(&t->v, t->header), &h, sizeof(h));
	*(uint8_t *)driver_ptr(&t->v, t->status) = 0xee;
}

/* One request with @bytes of data. Returns the status, -1 when it did not come back. */
static int request(struct bench *t, uint32_t type, uint64_t sector, uint32_t bytes,
		   uint32_t *ret_used)
{
	bool in = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
	struct driver_buffer b[] = {
		{ t->header, 16, false },
		{ t->data, bytes, in },
		{ t->status, 1, true },
	};
	uint32_t id;

	put_header(t, type, sector);
	if (bytes)
		driver_add_indirect(&t->v, 0, b, 3);
	else
		driver_add(&t->v, 0, (struct driver_buffer[]){ b[0], b[2] }, 2);
	virtio_notify(t->v.device, 0);
	if (!driver_wait(&t->v, 0, &id, ret_used))
		return -1;
	return *(uint8_t *)driver_ptr(&t->v, t->status);
}

static uint8_t *data_of(struct bench *t)
{
	return driver_ptr(&t->v, t->data);
}

static int read_image(uint64_t sector)
{
	uint8_t byte;
	int fd = open(image, O_RDONLY);
	ssize_t n = pread(fd, &byte, 1, (off_t)(sector * 512));

	close(fd);
	return n == 1 ? byte : -1;
}

static void test_read_write(bool no_uring)
{
	const char *how = no_uring ? "synchronous" : "io_uring";
	struct bench t;
	uint32_t used = 0;

	make_image();
	if (!ok(bench_init(&t, (struct blk_options){ .no_uring = no_uring, .serial = "disk-1" },
			   UINT64_MAX),
		"%s: a disk is made", how))
		return;
	ok_int(((const struct virtio_blk_config *)t.v.device->config)->capacity, SECTORS,
	       "its capacity is the image's");
	ok_int(request(&t, VIRTIO_BLK_T_IN, 3, 1024, &used), VIRTIO_BLK_S_OK, "read");
	ok_int(used, 1025, "all bytes are counted");
	ok(data_of(&t)[0] == 3 && data_of(&t)[1023] == 4, "the right ones");
	ok_int(request(&t, VIRTIO_BLK_T_IN, SECTORS - 1, 512, NULL), VIRTIO_BLK_S_OK, "the last");
	memset(data_of(&t), 0xab, 4096);
	ok_int(request(&t, VIRTIO_BLK_T_OUT, 8, 4096, &used), VIRTIO_BLK_S_OK, "write");
	ok_int(used, 1, "a write fills the status only");
	ok_int(read_image(15), 0xab, "it is in the image");
	ok_int(read_image(16), 16, "and nothing behind it");
	ok_int(request(&t, VIRTIO_BLK_T_FLUSH, 0, 0, NULL), VIRTIO_BLK_S_OK, "flush");
	ok_int(request(&t, VIRTIO_BLK_T_GET_ID, 0, 20, &used), VIRTIO_BLK_S_OK, "serial number");
	ok_str((char *)data_of(&t), "disk-1", "as it was given");
	ok_int(used, 21, "20 bytes and the status");
	ok(!driver_is_broken(&t.v), "the device is in order");
	driver_done(&t.v);
}

static void test_refusals(void)
{
	struct bench t;

	make_image();
	if (!bench_init(&t, (struct blk_options){ 0 }, UINT64_MAX))
		return;
	ok_int(request(&t, VIRTIO_BLK_T_IN, SECTORS, 512, NULL), VIRTIO_BLK_S_IOERR,
	       "a read behind the end fails");
	ok_int(request(&t, VIRTIO_BLK_T_OUT, SECTORS - 1, 1024, NULL), VIRTIO_BLK_S_IOERR,
	       "a write across the end fails");
	ok_int(request(&t, VIRTIO_BLK_T_IN, UINT64_MAX, 512, NULL), VIRTIO_BLK_S_IOERR,
	       "the greatest sector fails");
	ok_int(request(&t, VIRTIO_BLK_T_IN, UINT64_MAX / 512 + 1, 512, NULL), VIRTIO_BLK_S_IOERR,
	       "a sector whose offset overflows fails");
	ok_int(request(&t, VIRTIO_BLK_T_IN, 0, 100, NULL), VIRTIO_BLK_S_IOERR,
	       "half a sector fails");
	ok_int(request(&t, VIRTIO_BLK_T_GET_ID, 0, 19, NULL), VIRTIO_BLK_S_IOERR,
	       "too little room for the serial number");
	ok_int(request(&t, 77, 0, 512, NULL), VIRTIO_BLK_S_UNSUPP, "an unknown type");
	if (truncate(image, 4 * 512) == 0)
		ok_int(request(&t, VIRTIO_BLK_T_IN, 3, 1024, NULL), VIRTIO_BLK_S_IOERR,
		       "an image that was cut: an error, no end of waiting");
	ok(!driver_is_broken(&t.v), "all these leave the device in order");
	driver_add(&t.v, 0, &(struct driver_buffer){ t.header, 15, false }, 1);
	virtio_notify(t.v.device, 0);
	ok(driver_is_broken(&t.v), "a header that is too short breaks it");
	ok_int(t.v.config_interrupts, 1, "and the driver is told");
	driver_start(&t.v, 0);
	ok(!driver_is_broken(&t.v), "a reset mends it");
	driver_add(&t.v, 0, &(struct driver_buffer){ t.header, 16, false }, 1);
	virtio_notify(t.v.device, 0);
	ok(driver_is_broken(&t.v), "no status byte breaks it");
	driver_done(&t.v);
}

static void put_range(struct bench *t, unsigned i, uint64_t sector, uint32_t count, uint32_t flags)
{
	struct virtio_blk_discard_write_zeroes r = { sector, count, flags };

	memcpy(data_of(t) + i * sizeof(r), &r, sizeof(r));
}

static void test_ranges(bool no_uring)
{
	struct bench t;

	make_image();
	if (!bench_init(&t, (struct blk_options){ .no_uring = no_uring }, UINT64_MAX))
		return;
	put_range(&t, 0, 8, 8, 0);
	put_range(&t, 1, 100, 0, 0);
	put_range(&t, 2, 32, 1, 0);
	ok_int(request(&t, VIRTIO_BLK_T_WRITE_ZEROES, 0, 48, NULL), VIRTIO_BLK_S_OK,
	       "write zeroes");
	ok(read_image(7) == 7 && read_image(8) == 0 && read_image(15) == 0 && read_image(16) == 16,
	   "a range is zeros, its neighbours are not");
	ok(read_image(32) == 0 && read_image(33) == 33 && read_image(100) == 100, "and one more");
	put_range(&t, 0, 40, 8, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP);
	ok_int(request(&t, VIRTIO_BLK_T_WRITE_ZEROES, 0, 16, NULL), VIRTIO_BLK_S_OK, "unmapped");
	ok(read_image(40) == 0 && read_image(48) == 48, "zeros as well");
	put_range(&t, 0, 56, 8, 0);
	ok_int(request(&t, VIRTIO_BLK_T_DISCARD, 0, 16, NULL), VIRTIO_BLK_S_OK, "discard");
	ok_int(read_image(64), 64, "nothing behind it");
	put_range(&t, 0, 56, 8, 1);
	ok_int(request(&t, VIRTIO_BLK_T_DISCARD, 0, 16, NULL), VIRTIO_BLK_S_UNSUPP,
	       "a discard with a flag that only zeroes have");
	put_range(&t, 0, 56, 8, 2);
	ok_int(request(&t, VIRTIO_BLK_T_WRITE_ZEROES, 0, 16, NULL), VIRTIO_BLK_S_UNSUPP,
	       "a flag nobody knows");
	put_range(&t, 0, SECTORS - 1, 2, 0);
	ok_int(request(&t, VIRTIO_BLK_T_WRITE_ZEROES, 0, 16, NULL), VIRTIO_BLK_S_IOERR,
	       "a range across the end");
	put_range(&t, 0, UINT64_MAX, 2, 0);
	ok_int(request(&t, VIRTIO_BLK_T_WRITE_ZEROES, 0, 16, NULL), VIRTIO_BLK_S_IOERR,
	       "a range that overflows");
	ok_int(request(&t, VIRTIO_BLK_T_WRITE_ZEROES, 0, 17, NULL), VIRTIO_BLK_S_IOERR,
	       "a range and a byte");
	ok_int(request(&t, VIRTIO_BLK_T_WRITE_ZEROES, 0, 17 * 16, NULL), VIRTIO_BLK_S_IOERR,
	       "too many ranges");
	driver_done(&t.v);
}

static void test_features(void)
{
	struct bench t;

	make_image();
	if (bench_init(&t, (struct blk_options){ .read_only = true }, UINT64_MAX)) {
		ok_int(request(&t, VIRTIO_BLK_T_IN, 1, 512, NULL), VIRTIO_BLK_S_OK,
		       "read-only: read");
		ok_int(request(&t, VIRTIO_BLK_T_OUT, 1, 512, NULL), VIRTIO_BLK_S_IOERR,
		       "read-only: a write fails");
		ok_int(request(&t, VIRTIO_BLK_T_FLUSH, 0, 0, NULL), VIRTIO_BLK_S_OK,
		       "read-only: flush has nothing to do");
		driver_done(&t.v);
	}
	if (bench_init(&t, (struct blk_options){ .no_flush = true, .no_discard = true },
		       UINT64_MAX)) {
		ok(!virtio_has(t.v.device, VIRTIO_BLK_F_FLUSH), "cache=unsafe offers no flush");
		ok_int(request(&t, VIRTIO_BLK_T_FLUSH, 0, 0, NULL), VIRTIO_BLK_S_UNSUPP,
		       "and does none");
		ok_int(request(&t, VIRTIO_BLK_T_DISCARD, 0, 16, NULL), VIRTIO_BLK_S_UNSUPP,
		       "what was not agreed on is not done");
		driver_done(&t.v);
	}
	if (bench_init(&t, (struct blk_options){ 0 }, 0)) {
		memset(data_of(&t), 0x5c, 512);
		ok_int(request(&t, VIRTIO_BLK_T_OUT, 1, 512, NULL), VIRTIO_BLK_S_OK,
		       "a driver without flush writes through");
		ok_int(read_image(1), 0x5c, "to the image");
		driver_done(&t.v);
	}
}

/* More requests than there is room for, in two queues, some of which wait for the disk. */
static void test_many(bool no_uring)
{
	struct bench t;
	unsigned back = 0, good = 0;

	make_image();
	if (!bench_init(&t, (struct blk_options){ .queues = 2, .no_uring = no_uring }, UINT64_MAX))
		return;
	for (int round = 0; round < 8; round++) {
		int fd = open(image, O_RDWR);

		/* out of the cache: a read has to wait */
		fdatasync(fd);
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
		close(fd);
		for (unsigned i = 0; i < 80; i++) {
			struct driver_buffer b[] = { { t.header, 16, false },
						     { t.data + i * 512, 512, true },
						     { t.status, 1, true } };

			put_header(&t, VIRTIO_BLK_T_IN, 77);
			driver_add_indirect(&t.v, i % 2, b, 3);
		}
		virtio_notify(t.v.device, 0);
		virtio_notify(t.v.device, 1);
		for (unsigned i = 0; i < 80; i++)
			back += driver_wait(&t.v, i % 2, NULL, NULL);
		for (unsigned i = 0; i < 80; i++)
			good += data_of(&t)[i * 512] == 77 && data_of(&t)[i * 512 + 511] == 77;
		memset(data_of(&t), 0, 80 * 512);
	}
	ok_int(back, 640, "all of many requests come back");
	ok_int(good, 640, "with their data");
	ok(t.v.queues[0].interrupts < 320, "in batches: %u interrupts for 320 requests",
	   t.v.queues[0].interrupts);
	driver_done(&t.v);
}

static void test_stop(void)
{
	struct bench t;

	make_image();
	for (int round = 0; round < 20; round++) {
		if (!bench_init(&t, (struct blk_options){ 0 }, UINT64_MAX))
			return;
		for (unsigned i = 0; i < 32; i++) {
			struct driver_buffer b[] = { { t.header, 16, false },
						     { t.data, 4096, false },
						     { t.status, 1, true } };

			put_header(&t, VIRTIO_BLK_T_OUT, (i % 16) * 8);
			driver_add_indirect(&t.v, 0, b, 3);
		}
		virtio_notify(t.v.device, 0);
		virtio_set_status(t.v.device, 0);
		/* memory goes away: a request that were still under way would be seen */
		driver_done(&t.v);
	}
	ok(true, "stopped with requests under way");
}

/* Refuses one system call to this process from now on. */
static bool refuse(int number)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { ARRAY_SIZE(code), code };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* 0 when all went well; 2: refusing is refused. */
static int work_without(int number, bool late)
{
	struct bench t;

	if (!late && !refuse(number))
		return 2;
	if (!bench_init(&t, (struct blk_options){ 0 }, UINT64_MAX))
		return 1;
	if (late && (!blk_is_asynchronous(t.v.device) || !refuse(number)))
		return 2; /* or there is no io_uring to begin with */
	if (blk_is_asynchronous(t.v.device) != late ||
	    request(&t, VIRTIO_BLK_T_FLUSH, 0, 0, NULL) != VIRTIO_BLK_S_OK)
		return 1;
	put_range(&t, 0, 8, 8, 0);
	if (request(&t, VIRTIO_BLK_T_WRITE_ZEROES, 0, 16, NULL) != VIRTIO_BLK_S_OK ||
	    request(&t, VIRTIO_BLK_T_IN, 9, 512, NULL) != VIRTIO_BLK_S_OK || data_of(&t)[0])
		return 1;
	driver_done(&t.v);
	return 0;
}

static void test_refused_ring(int number, bool late, const char *what)
{
	int status;
	pid_t pid;

	make_image();
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		_exit(work_without(number, late));
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || status == 2 << 8)
		skip_one("no seccomp here");
	else
		ok_int(status, 0, "%s", what);
}

static void test_open(void)
{
	char fifo[80], missing[80];
	struct err err = ERR_INIT;
	int a = -1, b = -1;

	make_image();
	snprintf(fifo, sizeof(fifo), "%s/fifo", dir);
	snprintf(missing, sizeof(missing), "%s/missing", dir);
	ok_int(blk_open(missing, true, &a, &err), -ENOENT, "a missing image");
	ok(strstr(err.msg, missing), "is named: %s", err.msg);
	ok_int(blk_open(dir, true, &a, &err), -EISDIR, "a directory: %s", err.msg);
	ok_int(blk_open(dir, false, &a, &err), -EISDIR, "and to be written");
	ok(mkfifo(fifo, 0600) == 0 && blk_open(fifo, true, &a, &err) == -EINVAL, "a FIFO: %s",
	   err.msg);
	ok_int(blk_open(image, true, &a, &err), 0, "a reader");
	ok_int(blk_open(image, true, &b, &err), 0, "and another");
	close(b);
	ok_int(blk_open(image, false, &b, &err), -EBUSY, "but no writer: %s", err.msg);
	close(a);
	ok_int(blk_open(image, false, &a, &err), 0, "a writer");
	ok_int(blk_open(image, true, &b, &err), -EBUSY, "keeps readers out: %s", err.msg);
	ok_int(blk_open(image, false, &b, &err), -EBUSY, "and writers");
	close(a);
	ok_int(blk_open(image, true, &a, &err), 0, "until it closes");
	close(a);
	unlink(fifo);
}

/* What 200 ms are good for, @depth requests of 4 KiB at a time. */
static unsigned measure(uint32_t type, unsigned depth, bool no_uring)
{
	struct bench t;
	int64_t start;
	unsigned n = 0;

	make_image();
	if (!bench_init(&t, (struct blk_options){ .no_flush = true, .no_uring = no_uring },
			UINT64_MAX))
		return 0;
	start = driver_now_ms();
	while (driver_now_ms() - start < 200) {
		for (unsigned i = 0; i < depth; i++) {
			struct driver_buffer b[] = { { t.header, 16, false },
						     { t.data, 4096, type == VIRTIO_BLK_T_IN },
						     { t.status, 1, true } };

			put_header(&t, type, 8);
			driver_add(&t.v, 0, b, 3);
		}
		virtio_notify(t.v.device, 0);
		for (unsigned i = 0; i < depth; i++)
			n += driver_wait(&t.v, 0, NULL, NULL);
	}
	driver_done(&t.v);
	return n * 5;
}

static void test_speed(void)
{
	unsigned n = measure(VIRTIO_BLK_T_IN, 32, false);

	ok(n > 160, "reads from the page cache: %u of 4 KiB a second", n);
	n = measure(VIRTIO_BLK_T_OUT, 1, false);
	ok(n > 5, "writes into it, one at a time: %u, %u without io_uring", n,
	   measure(VIRTIO_BLK_T_OUT, 1, true));
	n = measure(VIRTIO_BLK_T_OUT, 32, false);
	ok(n > 160, "writes, 32 at a time: %u, %u without io_uring", n,
	   measure(VIRTIO_BLK_T_OUT, 32, true));
}

int main(void)
{
	if (!mkdtemp(dir))
		return 1;
	snprintf(image, sizeof(image), "%s/image", dir);
	test_read_write(false);
	test_read_write(true);
	test_refusals();
	test_ranges(false);
	test_ranges(true);
	test_features();
	test_many(false);
	test_many(true);
	test_stop();
	test_refused_ring(SYS_io_uring_setup, false, "without io_uring all is done all the same");
	test_refused_ring(SYS_io_uring_enter, true, "and when it is refused later");
	test_open();
	test_speed();
	unlink(image);
	rmdir(dir);
	return tap_done();
}
