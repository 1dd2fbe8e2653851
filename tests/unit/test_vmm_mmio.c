/* SPDX-License-Identifier: Apache-2.0 */
/* A virtio device's status machine, driven through the registers of virtio-mmio. */
#include <linux/virtio_balloon.h>
#include <linux/virtio_mmio.h>
#include "tap.h"
#include "virtio_driver.h"
#include "vmm/layout.h"
#include "vmm/virtio/balloon.h"
#include "vmm/virtio/rng.h"
#include "vmm/virtio/transport.h"
#include "vmm_fake.h"

#define BASE (LAYOUT_VIRTIO + 3 * LAYOUT_VIRTIO_SIZE)
#define GSI  (LAYOUT_VIRTIO_GSI + 3)

static struct driver v;

static uint32_t get(uint32_t at)
{
	return (uint32_t)fake_read(&fake.vmm.mmio, BASE + at, 4);
}

static void set(uint32_t at, uint32_t value)
{
	fake_write(&fake.vmm.mmio, BASE + at, value, 4);
}

static void begin(struct virtio_device *d)
{
	v.device = d;
	if (virtio_mmio_attach(&fake.vmm, d, 3, NULL) < 0)
		abort();
}

static void begin_rng(void)
{
	struct virtio_device *d;

	fake_init();
	driver_init(&v, MEMORY_MIN_BYTES);
	if (virtio_rng_new(&v.memory, &v.loop, &d, NULL) < 0)
		abort();
	begin(d);
}

static void begin_balloon(void)
{
	const struct balloon_options o = { .target_pages = 0x0f02 };
	struct virtio_device *d;

	fake_init();
	driver_init(&v, MEMORY_MIN_BYTES);
	if (virtio_balloon_new(&o, &v.memory, &v.loop, &d, NULL) < 0)
		abort();
	begin(d);
}

static void end(void)
{
	driver_done(&v);
	ok(fake.vmm.mmio.count == 0 && fake.vmm.mmio.fast_count == 0, "the bus is empty again");
	fake_done();
}

static void place_queue(unsigned n, uint16_t size)
{
	struct virtq scratch = { 0 };

	driver_place(&v, n, &scratch, size);
	set(VIRTIO_MMIO_QUEUE_SEL, n);
	set(VIRTIO_MMIO_QUEUE_NUM, size);
	set(VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)scratch.desc_at);
	set(VIRTIO_MMIO_QUEUE_DESC_HIGH, (uint32_t)(scratch.desc_at >> 32));
	set(VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)scratch.avail_at);
	set(VIRTIO_MMIO_QUEUE_AVAIL_HIGH, 0);
	set(VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)scratch.used_at);
	set(VIRTIO_MMIO_QUEUE_USED_HIGH, 0);
}

static void agree(uint64_t features)
{
	set(VIRTIO_MMIO_STATUS, 0);
	set(VIRTIO_MMIO_STATUS, 1);
	set(VIRTIO_MMIO_STATUS, 3);
	for (uint32_t word = 0; word < 2; word++) {
		set(VIRTIO_MMIO_DRIVER_FEATURES_SEL, word);
		set(VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(features >> 32 * word));
	}
	set(VIRTIO_MMIO_STATUS, 0xb);
}

static void start(void)
{
	agree(1ull << VIRTIO_F_VERSION_1);
	place_queue(0, 64);
	set(VIRTIO_MMIO_QUEUE_READY, 1);
	set(VIRTIO_MMIO_STATUS, 0xf);
}

static uint32_t ask_for_bytes(gpa_t at, uint32_t n)
{
	uint32_t used = UINT32_MAX;

	driver_add(&v, 0, &(struct driver_buffer){ at, n, true }, 1);
	set(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	return driver_wait(&v, 0, NULL, &used) ? used : UINT32_MAX;
}

static void test_identity(void)
{
	begin_rng();
	ok(get(0) == 0x74726976 && get(4) == 2 && get(8) == 4, "magic, version, device");
	ok(get(VIRTIO_MMIO_QUEUE_NUM_MAX) > 0, "queue 0 exists");
	set(VIRTIO_MMIO_QUEUE_SEL, 1);
	ok_int(get(VIRTIO_MMIO_QUEUE_NUM_MAX), 0, "queue 1 does not");
	set(VIRTIO_MMIO_QUEUE_SEL, UINT32_MAX);
	ok_int(get(VIRTIO_MMIO_QUEUE_NUM_MAX), 0, "nor does the last");
	set(VIRTIO_MMIO_QUEUE_NUM, 8);
	set(VIRTIO_MMIO_QUEUE_READY, 1);
	ok_int(get(VIRTIO_MMIO_STATUS), 0, "and nothing comes of setting it up");
	set(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	ok_int(get(VIRTIO_MMIO_DEVICE_FEATURES) & 1, 1, "VIRTIO_F_VERSION_1 is offered");
	set(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 2);
	ok_int(get(VIRTIO_MMIO_DEVICE_FEATURES), 0, "there are 64 features");
	ok_int(get(VIRTIO_MMIO_SHM_LEN_LOW), UINT32_MAX, "no shared memory");
	ok_int(fake_read(&fake.vmm.mmio, BASE + 1, 4), 0, "not aligned: nothing");
	ok_int(fake_read(&fake.vmm.mmio, BASE, 2), 0, "not 32 bits: nothing");
	ok_int(fake_read(&fake.vmm.mmio, BASE + 4092, 8) & 0xff, 0xff, "across the end: nobody's");
	end();
}

static void test_start(void)
{
	gpa_t at;

	begin_rng();
	at = driver_alloc(&v, 4096);
	start();
	ok_int(get(VIRTIO_MMIO_STATUS), 0xf, "from reset to DRIVER_OK");
	ok_int(get(VIRTIO_MMIO_QUEUE_READY), 1, "its queue is ready");
	ok_int(ask_for_bytes(at, 64), 64, "it works");
	ok_int(fake_interrupts(GSI), 1, "and interrupts");
	ok_int(get(VIRTIO_MMIO_INTERRUPT_STATUS), 1, "for a queue");
	set(VIRTIO_MMIO_INTERRUPT_ACK, 1);
	ok_int(get(VIRTIO_MMIO_INTERRUPT_STATUS), 0, "acknowledged");
	set(VIRTIO_MMIO_QUEUE_READY, 0);
	ok_int(get(VIRTIO_MMIO_QUEUE_READY), 1, "a queue at work is not taken back");
	set(VIRTIO_MMIO_QUEUE_DESC_LOW, 0xdead0000);
	set(VIRTIO_MMIO_QUEUE_NUM, 3);
	ok_int(ask_for_bytes(at, 32), 32, "nor changed");
	set(VIRTIO_MMIO_STATUS, 0xf);
	ok_int(ask_for_bytes(at, 16), 16, "DRIVER_OK twice");
	set(VIRTIO_MMIO_STATUS, 0);
	ok(get(VIRTIO_MMIO_STATUS) == 0 && get(VIRTIO_MMIO_QUEUE_READY) == 0, "reset");
	ok_int(get(VIRTIO_MMIO_INTERRUPT_STATUS), 0, "with nothing pending");
	driver_add(&v, 0, &(struct driver_buffer){ at, 16, true }, 1);
	set(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	driver_settle(&v);
	ok(!driver_used(&v, 0, NULL, NULL), "and it touches nothing any more");
	start();
	ok_int(ask_for_bytes(at, 8), 8, "started again");
	set(VIRTIO_MMIO_STATUS, 0x100);
	ok(get(VIRTIO_MMIO_STATUS) == 0 && get(VIRTIO_MMIO_INTERRUPT_STATUS) == 0,
	   "what counts are the eight bits");
	end();
}

static void test_features(void)
{
	begin_rng();
	agree(0);
	ok_int(get(VIRTIO_MMIO_STATUS), 3, "without VERSION_1 FEATURES_OK is refused");
	agree(1ull << VIRTIO_F_VERSION_1 | 1ull << 50);
	ok_int(get(VIRTIO_MMIO_STATUS), 3, "and with what was not offered");
	set(VIRTIO_MMIO_STATUS, 7);
	ok_int(get(VIRTIO_MMIO_STATUS), 0x47, "DRIVER_OK all the same: it needs a reset");
	set(VIRTIO_MMIO_STATUS, 0xf);
	ok(get(VIRTIO_MMIO_STATUS) & 0x40, "which only a reset ends");
	place_queue(0, 64);
	set(VIRTIO_MMIO_QUEUE_READY, 1);
	ok_int(get(VIRTIO_MMIO_QUEUE_READY), 0, "until then no queue is made ready");
	agree(1ull << VIRTIO_F_VERSION_1);
	ok_int(get(VIRTIO_MMIO_STATUS), 0xb, "good features after a reset");
	set(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	set(VIRTIO_MMIO_DRIVER_FEATURES, 1u << 29);
	ok(v.device->driver_features == 1ull << VIRTIO_F_VERSION_1, "are not changed any more");
	end();
}

static void bad_queue(uint32_t size, uint64_t desc, uint64_t avail, uint64_t used, const char *what)
{
	agree(1ull << VIRTIO_F_VERSION_1);
	place_queue(0, 64);
	set(VIRTIO_MMIO_QUEUE_NUM, size);
	if (desc != UINT64_MAX) {
		set(VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)desc);
		set(VIRTIO_MMIO_QUEUE_DESC_HIGH, (uint32_t)(desc >> 32));
	}
	if (avail != UINT64_MAX)
		set(VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)avail);
	if (used != UINT64_MAX)
		set(VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)used);
	set(VIRTIO_MMIO_QUEUE_READY, 1);
	ok(get(VIRTIO_MMIO_STATUS) & 0x40 && !get(VIRTIO_MMIO_QUEUE_READY), "%s", what);
	set(VIRTIO_MMIO_STATUS, 0xf);
	ok(!v.device->started, "and it does not start");
}

static void test_bad_queues(void)
{
	const uint64_t good = UINT64_MAX;

	begin_rng();
	bad_queue(0, good, good, good, "a queue of size 0");
	bad_queue(3, good, good, good, "not a power of two");
	bad_queue(512, good, good, good, "too long");
	bad_queue(0x10040, good, good, good, "so long that 16 bits do not hold it");
	bad_queue(64, MEMORY_MIN_BYTES, good, good, "descriptors behind the memory");
	bad_queue(64, MEMORY_MIN_BYTES - 1008, good, good, "partly behind it");
	bad_queue(64, 1ull << 63, good, good, "at the end of all addresses");
	bad_queue(64, 0x10008, good, good, "not aligned");
	bad_queue(64, good, MEMORY_MIN_BYTES - 2, good, "the ring");
	bad_queue(64, good, good, MEMORY_MIN_BYTES - 4, "the other ring");
	end();
}

static void test_late_queue(void)
{
	gpa_t at;

	begin_rng();
	at = driver_alloc(&v, 64);
	agree(1ull << VIRTIO_F_VERSION_1);
	set(VIRTIO_MMIO_STATUS, 0xf);
	ok_int(get(VIRTIO_MMIO_STATUS), 0xf, "a device may start without queues");
	place_queue(0, 64);
	set(VIRTIO_MMIO_QUEUE_READY, 1);
	ok_int(get(VIRTIO_MMIO_QUEUE_READY), 0, "which it then does not get any more");
	agree(1ull << VIRTIO_F_VERSION_1);
	place_queue(0, 64);
	set(VIRTIO_MMIO_QUEUE_READY, 2);
	ok_int(get(VIRTIO_MMIO_QUEUE_READY), 0, "ready is 0 or 1");
	set(VIRTIO_MMIO_QUEUE_READY, 1);
	set(VIRTIO_MMIO_QUEUE_READY, 0);
	ok_int(get(VIRTIO_MMIO_QUEUE_READY), 0, "and may be taken back before the start");
	set(VIRTIO_MMIO_QUEUE_READY, 1);
	driver_add(&v, 0, &(struct driver_buffer){ at, 16, true }, 1);
	set(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	driver_settle(&v);
	ok(!driver_used(&v, 0, NULL, NULL), "a kick before DRIVER_OK is too early");
	set(VIRTIO_MMIO_STATUS, 0xf);
	ok(driver_wait(&v, 0, NULL, NULL), "what was there is served at the start");
	set(VIRTIO_MMIO_QUEUE_NOTIFY, 77);
	fake_write(&fake.vmm.mmio, BASE + VIRTIO_MMIO_QUEUE_NOTIFY, 0, 2);
	ok_int(get(VIRTIO_MMIO_STATUS), 0xf, "kicks of what is not there");
	driver_offer(&v, 0, 9999);
	set(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	driver_settle(&v);
	ok(get(VIRTIO_MMIO_STATUS) == 0x4f && get(VIRTIO_MMIO_INTERRUPT_STATUS) & 2,
	   "a broken rule: the device needs a reset, and says so");
	end();
}

static void test_config(void)
{
	uint32_t target, before;

	begin_balloon();
	target = get(VIRTIO_MMIO_CONFIG);
	ok_int(target, 0x0f02, "the configuration space");
	ok(fake_read(&fake.vmm.mmio, BASE + VIRTIO_MMIO_CONFIG + 1, 1) == 0x0f &&
		   fake_read(&fake.vmm.mmio, BASE + VIRTIO_MMIO_CONFIG, 2) == 0x0f02,
	   "in any width");
	ok_int(fake_read(&fake.vmm.mmio, BASE + 0xff8, 8), 0, "behind its end are zeros");
	fake_write(&fake.vmm.mmio, BASE + 0xff8, UINT64_MAX, 8);
	before = get(VIRTIO_MMIO_CONFIG_GENERATION);
	agree(1ull << VIRTIO_F_VERSION_1);
	set(VIRTIO_MMIO_STATUS, 0xf);
	(void)balloon_set_target(v.device, 5);
	ok(get(VIRTIO_MMIO_CONFIG_GENERATION) != before && get(VIRTIO_MMIO_CONFIG) == 5,
	   "a change has a new generation");
	ok(get(VIRTIO_MMIO_INTERRUPT_STATUS) == 2 && fake_interrupts(GSI) == 1, "and is told");
	set(VIRTIO_MMIO_INTERRUPT_ACK, 1);
	ok_int(get(VIRTIO_MMIO_INTERRUPT_STATUS), 2, "until this very thing is acknowledged");
	end();
}

/* Every register in every width with a few values, in every state: nothing to see but that it
 * holds. */
static void test_everything(void)
{
	static const uint64_t values[] = { 0, 1, 4, 0xff, 0x10000, UINT64_MAX };

	begin_rng();
	for (unsigned state = 0; state < 16; state++)
		for (uint32_t at = 0; at < 0x120; at++)
			for (uint32_t bytes = 1; bytes <= 8; bytes *= 2) {
				set(VIRTIO_MMIO_STATUS, state);
				fake_write(&fake.vmm.mmio, BASE + at,
					   values[(at + state) % ARRAY_SIZE(values)], bytes);
				fake_read(&fake.vmm.mmio, BASE + at, bytes);
			}
	set(VIRTIO_MMIO_STATUS, 0);
	start();
	ok_int(ask_for_bytes(driver_alloc(&v, 64), 64), 64, "it works after all that");
	end();
}

static void test_too_many(void)
{
	struct virtio_device *d;
	struct err err = ERR_INIT;

	fake_init();
	driver_init(&v, MEMORY_MIN_BYTES);
	if (virtio_rng_new(&v.memory, &v.loop, &d, NULL) < 0)
		abort();
	v.device = d;
	ok_int(virtio_mmio_attach(&fake.vmm, d, LAYOUT_VIRTIO_MAX, &err), -ENOSPC,
	       "more devices than pins");
	ok(strstr(err.msg, "18 virtio-mmio"), "are refused: %s", err.msg);
	end();
}

int main(void)
{
	test_identity();
	test_start();
	test_features();
	test_bad_queues();
	test_late_queue();
	test_config();
	test_everything();
	test_too_many();
	return tap_done();
}
