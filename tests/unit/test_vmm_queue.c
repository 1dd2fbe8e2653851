/* SPDX-License-Identifier: Apache-2.0 */
/* Virtqueues: chains as they should be, and all the ways in which a driver can break the rules. */
#include "tap.h"
#include "virtio_driver.h"

static struct driver v;
static struct virtq q;
static struct virtq_chain c;

static void fresh(uint16_t size, bool event_index)
{
	q.size_max = VIRTQ_SIZE_MAX;
	virtq_reset(&q);
	driver_place(&v, 0, &q, size);
	if (virtq_enable(&q, &v.memory, event_index) < 0)
		abort();
}

static void desc(uint16_t at, gpa_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	driver_desc(&v, v.queues[0].desc_at, at,
		    (struct vring_desc){ .addr = addr, .len = len, .flags = flags, .next = next });
}

static int pop(void)
{
	return virtq_pop(&q, &v.memory, &c);
}

static void test_enable(void)
{
	fresh(8, false);
	q.size = 7;
	ok_int(virtq_enable(&q, &v.memory, false), -EINVAL, "a size that is no power of two");
	q.size = 0;
	ok_int(virtq_enable(&q, &v.memory, false), -EINVAL, "no size");
	q.size = 512;
	ok_int(virtq_enable(&q, &v.memory, false), -EINVAL, "more than is offered");
	q.size = 8;
	q.desc_at += 8;
	ok_int(virtq_enable(&q, &v.memory, false), -EINVAL, "descriptors that are not aligned");
	q.desc_at -= 8;
	q.used_at = MEMORY_MIN_BYTES - 16;
	ok_int(virtq_enable(&q, &v.memory, false), -EINVAL, "a ring that reaches out of memory");
	q.used_at = UINT64_MAX - 3;
	ok_int(virtq_enable(&q, &v.memory, false), -EINVAL, "a ring at the end of all addresses");
}

static void test_chains(void)
{
	struct driver_buffer b[] = { { 0x80000, 16, false },
				     { 0x90000, 100, false },
				     { 0xa0000, 0, true },
				     { 0xb0000, 512, true } };

	fresh(8, false);
	ok_int(pop(), 0, "an empty queue");
	driver_add(&v, 0, b, 4);
	ok(pop() == 1 && c.read_count == 2 && c.read_bytes == 116 && c.write_count == 1 &&
		   c.write_bytes == 512 && c.head == 0,
	   "a chain");
	ok(c.read[1].iov_base == driver_ptr(&v, 0x90000) && c.write[0].iov_len == 512,
	   "points into memory");
	ok_int(pop(), 0, "once only");
	virtq_unpop(&q);
	ok_int(pop(), 1, "again when it was given back");
	driver_add_indirect(&v, 0, b, 4);
	ok(pop() == 1 && c.read_count == 2 && c.write_count == 1 && c.head == 4, "an indirect one");
	desc(5, 0x80000, 8, VRING_DESC_F_NEXT, 6);
	desc(6, 0xc0000, 32, VRING_DESC_F_INDIRECT, 0);
	driver_desc(&v, 0xc0000, 0, (struct vring_desc){ 0x90000, 9, VRING_DESC_F_NEXT, 1 });
	driver_desc(&v, 0xc0000, 1, (struct vring_desc){ 0xa0000, 7, VRING_DESC_F_WRITE, 0 });
	driver_offer(&v, 0, 5);
	ok(pop() == 1 && c.read_count == 2 && c.read_bytes == 17 && c.write_bytes == 7,
	   "a table at the end of a chain");
	for (int i = 0; i < 70000; i++) {
		driver_add(&v, 0, b, 1);
		if (pop() != 1)
			break;
		virtq_push(&q, c.head, 3);
	}
	ok_int(q.next_used, (uint16_t)70000, "indexes wrap around");
}

static void expect_broken(const char *what)
{
	ok(pop() == -EBADMSG && q.broken, "%s", what);
	ok_int(pop(), 0, "and nothing more comes");
}

static void test_broken(void)
{
	fresh(8, false);
	driver_offer(&v, 0, 8);
	expect_broken("a head beyond the table");
	fresh(8, false);
	desc(0, 0x80000, 4, VRING_DESC_F_NEXT, 1);
	desc(1, 0x80000, 4, VRING_DESC_F_NEXT, 0);
	driver_offer(&v, 0, 0);
	expect_broken("a loop");
	fresh(8, false);
	desc(0, 0x80000, 4, VRING_DESC_F_NEXT, 9);
	driver_offer(&v, 0, 0);
	expect_broken("a next one beyond the table");
	fresh(8, false);
	desc(0, MEMORY_MIN_BYTES - 4, 8, 0, 0);
	driver_offer(&v, 0, 0);
	expect_broken("a buffer that reaches out of memory");
	fresh(8, false);
	desc(0, UINT64_MAX - 3, 8, 0, 0);
	driver_offer(&v, 0, 0);
	expect_broken("an address that overflows");
	fresh(8, false);
	desc(0, 0x80000, 8, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 1);
	desc(1, 0x80000, 8, 0, 0);
	driver_offer(&v, 0, 0);
	expect_broken("a buffer to read behind one to write");
	fresh(8, false);
	for (int i = 0; i < 9; i++)
		driver_offer(&v, 0, 0);
	expect_broken("more chains than the queue is long");
	fresh(8, false);
	__atomic_store_n((uint16_t *)driver_ptr(&v, v.queues[0].avail_at) + 1, 0x8000,
			 __ATOMIC_RELEASE);
	expect_broken("an index that jumps");
}

static void test_broken_tables(void)
{
	const struct vring_desc nested = { 0xd0000, 16, VRING_DESC_F_INDIRECT, 0 };
	const struct vring_desc loop = { 0x80000, 4, VRING_DESC_F_NEXT, 0 };

	fresh(8, false);
	desc(0, 0xc0000, 16, VRING_DESC_F_INDIRECT, 0);
	driver_desc(&v, 0xc0000, 0, nested);
	driver_offer(&v, 0, 0);
	expect_broken("a table in a table");
	fresh(8, false);
	desc(0, 0xc0000, 16, VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT, 1);
	driver_offer(&v, 0, 0);
	expect_broken("a table and a next one");
	fresh(8, false);
	desc(0, 0xc0000, 16, VRING_DESC_F_INDIRECT, 0);
	driver_desc(&v, 0xc0000, 0, loop);
	driver_offer(&v, 0, 0);
	expect_broken("a loop in a table");
	fresh(8, false);
	desc(0, 0xc0000, 17, VRING_DESC_F_INDIRECT, 0);
	driver_offer(&v, 0, 0);
	expect_broken("a table with a part of a descriptor");
	fresh(8, false);
	desc(0, 0xc0000, 0, VRING_DESC_F_INDIRECT, 0);
	driver_offer(&v, 0, 0);
	expect_broken("an empty table");
	fresh(8, false);
	desc(0, 0xc0000, 16 * 9, VRING_DESC_F_INDIRECT, 0);
	driver_offer(&v, 0, 0);
	expect_broken("a table longer than the queue");
	fresh(8, false);
	desc(0, MEMORY_MIN_BYTES, 16, VRING_DESC_F_INDIRECT, 0);
	driver_offer(&v, 0, 0);
	expect_broken("a table that is not memory");
	/* 256 from the table and one before it: no more than fits */
	fresh(256, false);
	desc(0, 0x80000, 4, VRING_DESC_F_NEXT, 1);
	desc(1, 0xc0000, 16 * 256, VRING_DESC_F_INDIRECT, 0);
	for (uint16_t i = 0; i < 256; i++)
		driver_desc(&v, 0xc0000, i,
			    (struct vring_desc){ 0x80000, 4, i < 255 ? VRING_DESC_F_NEXT : 0,
						 (uint16_t)(i + 1) });
	driver_offer(&v, 0, 0);
	expect_broken("a chain longer than the longest queue");
}

static uint16_t *avail(void)
{
	return driver_ptr(&v, v.queues[0].avail_at);
}

static uint16_t *used(void)
{
	return driver_ptr(&v, v.queues[0].used_at);
}

static void test_interrupts(void)
{
	fresh(8, false);
	ok(!virtq_must_interrupt(&q), "nothing pushed, no interrupt");
	virtq_push(&q, 3, 77);
	ok(used()[1] == 1 && used()[2] == 3 && used()[4] == 77, "a used element");
	ok(virtq_must_interrupt(&q), "is told of");
	ok(!virtq_must_interrupt(&q), "once");
	virtq_put(&q, 4, 1);
	ok_int(used()[1], 1, "what is put is not seen");
	virtq_publish(&q);
	ok_int(used()[1], 2, "until it is published");
	avail()[0] = VRING_AVAIL_F_NO_INTERRUPT;
	ok(!virtq_must_interrupt(&q), "a driver that wants no interrupt gets none");
	virtq_notifications(&q, false);
	ok_int(used()[0], VRING_USED_F_NO_NOTIFY, "no notifications");
	driver_offer(&v, 0, 0);
	ok(virtq_notifications(&q, true) && used()[0] == 0, "what came meanwhile is seen");

	fresh(8, true);
	avail()[2 + 8] = 2; /* used_event: tell me of the third */
	virtq_push(&q, 0, 0);
	ok(!virtq_must_interrupt(&q), "event index: not of the first");
	virtq_push(&q, 0, 0);
	virtq_push(&q, 0, 0);
	ok(virtq_must_interrupt(&q), "of the third");
	virtq_push(&q, 0, 0);
	ok(!virtq_must_interrupt(&q), "not of the fourth");
	virtq_notifications(&q, true);
	ok_int(used()[2 + 4 * 8], q.next_avail, "avail_event is the next one");
	virtq_notifications(&q, false);
	ok_int(used()[2 + 4 * 8], (uint16_t)(q.next_avail - 1), "or one that is past");
}

static void test_iov(void)
{
	char a[] = "abcd", b[] = "efgh", out[16] = "";
	struct iovec iov[] = { { a, 4 }, { b, 4 } }, part[2];

	ok(iov_read(iov, 2, 2, out, 10) == 6 && !memcmp(out, "cdefgh", 6), "read across");
	ok_int(iov_read(iov, 2, 8, out, 10), 0, "nothing behind the end");
	ok(iov_write(iov, 2, 3, "XY", 2) == 2 && a[3] == 'X' && b[0] == 'Y', "write across");
	ok(iov_slice(iov, 2, 1, 4, part) == 2 && part[0].iov_len == 3 && part[1].iov_len == 1,
	   "a slice");
	ok(iov_zero(iov, 2, 7, 9) == 1 && !b[3] && b[2] == 'g', "zeros");
}

static void test_discard_inside(void)
{
	uint8_t *at = driver_ptr(&v, 0x100000);

	memset(at, 1, 0x4000);
	ok_int(memory_discard_inside(&v.memory, at + 1, 4096), 0, "less than a page inside");
	ok(at[0] == 1 && at[4096] == 1, "leaves all");
	ok_int(memory_discard_inside(&v.memory, at + 1, 3 * 4096), 0, "two pages inside");
	ok(at[4095] == 1 && at[4096] == 0 && at[3 * 4096 - 1] == 0 && at[3 * 4096] == 1,
	   "are given back, their neighbours are not");
}

int main(void)
{
	driver_init(&v, MEMORY_MIN_BYTES);
	test_enable();
	test_chains();
	test_broken();
	test_broken_tables();
	test_interrupts();
	test_iov();
	test_discard_inside();
	loop_done(&v.loop);
	memory_done(&v.memory);
	return tap_done();
}
