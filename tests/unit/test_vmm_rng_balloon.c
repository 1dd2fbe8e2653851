/* SPDX-License-Identifier: Apache-2.0 */
/* The entropy device and the balloon. */
#include <linux/virtio_balloon.h>
#include "tap.h"
#include "virtio_driver.h"
#include "vmm/virtio/balloon.h"
#include "vmm/virtio/rng.h"

static struct driver v;

static bool is_zero(gpa_t at, size_t bytes)
{
	const uint8_t *p = driver_ptr(&v, at);

	for (size_t i = 0; i < bytes; i++)
		if (p[i])
			return false;
	return true;
}

static void test_rng(void)
{
	struct virtio_device *d;
	uint32_t used;
	gpa_t at;
	unsigned back = 0;

	driver_init(&v, MEMORY_MIN_BYTES);
	ok_int(virtio_rng_new(&v.memory, &v.loop, &d, NULL), 0, "an entropy device");
	driver_attach(&v, d);
	driver_start(&v, 0);
	at = driver_alloc(&v, 1 << 20);
	driver_add(&v, 0, &(struct driver_buffer){ at, 64, true }, 1);
	virtio_notify(d, 0);
	ok(driver_used(&v, 0, NULL, &used) && used == 64, "64 bytes at once");
	ok(!is_zero(at, 64) && is_zero(at + 64, 64), "and no more");
	driver_add(&v, 0, &(struct driver_buffer){ at, 1 << 20, true }, 1);
	virtio_notify(d, 0);
	ok(driver_used(&v, 0, NULL, &used) && used == RNG_REQUEST_BYTES, "a request has a bound");
	driver_add(&v, 0, &(struct driver_buffer){ at, 64, false }, 1);
	virtio_notify(d, 0);
	ok(driver_used(&v, 0, NULL, &used) && used == 0, "nothing to fill, nothing filled");
	for (int i = 0; i < 64; i++)
		driver_add(&v, 0, &(struct driver_buffer){ at, 16, true }, 1);
	virtio_notify(d, 0);
	while (driver_wait(&v, 0, NULL, NULL) && ++back < 64)
		;
	ok_int(back, 64, "many");
	driver_settle(&v);
	driver_offer(&v, 0, 9999);
	virtio_notify(d, 0);
	ok(driver_is_broken(&v), "a driver that breaks the rules");
	driver_done(&v);
}

static void make_balloon(struct balloon_options o, uint64_t features)
{
	struct virtio_device *d;

	driver_init(&v, MEMORY_MIN_BYTES);
	if (virtio_balloon_new(&o, &v.memory, &v.loop, &d, NULL) < 0)
		abort();
	driver_attach(&v, d);
	driver_start(&v, features & d->features);
}

static void test_inflate(void)
{
	gpa_t list, pages = 0x200000;
	uint32_t *pfns, actual = 5, target;

	make_balloon((struct balloon_options){ .target_pages = 8 }, UINT64_MAX);
	list = driver_alloc(&v, 4096);
	pfns = driver_ptr(&v, list);
	memset(driver_ptr(&v, pages), 7, 10 * 4096);
	pfns[0] = 0x203; /* down, apart, up, nonsense */
	pfns[1] = 0x202;
	pfns[2] = 0x206;
	pfns[3] = 0x207;
	pfns[4] = 0xffffffff;
	pfns[5] = MEMORY_MIN_BYTES / 4096;
	driver_add(&v, 0, &(struct driver_buffer){ list, 24, false }, 1);
	virtio_notify(v.device, 0);
	ok(driver_used(&v, 0, NULL, NULL), "pages are given");
	ok(is_zero(pages + 0x2000, 0x2000) && is_zero(pages + 0x6000, 0x2000), "and gone");
	ok(!is_zero(pages + 0x1fff, 1) && !is_zero(pages + 0x4000, 1) &&
		   !is_zero(pages + 0x5fff, 1) && !is_zero(pages + 0x8000, 1),
	   "their neighbours are not");
	driver_add(&v, 1, &(struct driver_buffer){ list, 16, false }, 1);
	virtio_notify(v.device, 1);
	ok(driver_used(&v, 1, NULL, NULL), "taken back");
	virtio_read_config(v.device, 0, &target, 4);
	ok_int(target, 8, "the target to begin with");
	virtio_write_config(v.device, 4, &actual, 4);
	ok_int(balloon_actual(v.device), 5, "what the guest says that it gave");
	virtio_write_config(v.device, 0, &actual, 4);
	virtio_write_config(v.device, 2, &actual, 4);
	virtio_read_config(v.device, 0, &target, 4);
	ok_int(target, 8, "the target is not the guest's");
	ok_int(balloon_set_target(v.device, 100), 0, "a new target");
	ok_int(v.config_interrupts, 1, "is told");
	ok_int(balloon_set_target(v.device, MEMORY_MIN_BYTES / 4096 + 1), -ERANGE,
	       "not more than there is");
	driver_done(&v);
}

static void test_report(unsigned queue, uint64_t features)
{
	gpa_t pages = 0x200000;

	make_balloon((struct balloon_options){ 0 }, features);
	memset(driver_ptr(&v, pages), 7, 0x10000);
	driver_add(&v, queue,
		   (struct driver_buffer[]){ { pages, 0x2000, true },
					     { pages + 0x4001, 0x2000, true } },
		   2);
	virtio_notify(v.device, queue);
	ok(driver_used(&v, queue, NULL, NULL), "free pages are reported in queue %u", queue);
	ok(is_zero(pages, 0x2000) && !is_zero(pages + 0x2000, 1), "and go back to the host");
	ok(!is_zero(pages + 0x4fff, 1) && is_zero(pages + 0x5000, 0x1000) &&
		   !is_zero(pages + 0x6000, 1),
	   "whole pages only");
	driver_done(&v);
}

static void test_stats(void)
{
	struct virtio_balloon_stat *s;
	struct balloon_stats got;
	gpa_t at;

	make_balloon((struct balloon_options){ 0 }, UINT64_MAX);
	ok_int(balloon_poll_stats(v.device), -EAGAIN, "no statistics yet");
	at = driver_alloc(&v, 100);
	s = driver_ptr(&v, at);
	s[0] = (struct virtio_balloon_stat){ VIRTIO_BALLOON_S_MEMFREE, 1234 };
	s[1] = (struct virtio_balloon_stat){ 999, 1 };
	s[2] = (struct virtio_balloon_stat){ VIRTIO_BALLOON_S_MEMTOT, 9999 };
	driver_add(&v, 2, &(struct driver_buffer){ at, 35, false }, 1);
	virtio_notify(v.device, 2);
	got = balloon_stats(v.device);
	ok(got.free_bytes == 1234 && got.total_bytes == 9999 && got.cache_bytes == UINT64_MAX,
	   "what the guest says of its memory");
	ok(!driver_used(&v, 2, NULL, NULL), "the buffer stays");
	ok(balloon_poll_stats(v.device) == 0 && driver_used(&v, 2, NULL, NULL),
	   "until the next question");
	ok_int(balloon_poll_stats(v.device), -EAGAIN, "which is not asked twice");
	driver_done(&v);
}

int main(void)
{
	test_rng();
	test_inflate();
	test_report(3, UINT64_MAX);
	test_report(2, ~(1ull << VIRTIO_BALLOON_F_STATS_VQ));
	test_stats();
	return tap_done();
}
