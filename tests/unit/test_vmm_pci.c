/* SPDX-License-Identifier: Apache-2.0 */
/* PCI: configuration space, a BAR that moves, virtio's capabilities, MSI-X. */
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include "tap.h"
#include "virtio_driver.h"
#include "vmm/layout.h"
#include "vmm/pci.h"
#include "vmm/virtio/rng.h"
#include "vmm/virtio/transport.h"
#include "vmm_fake.h"

#define SLOT   2 /* of the device; the bus counts the host bridge as well */
#define CONFIG (LAYOUT_ECAM + ((SLOT + 1) * 8ull << 12))
#define BAR_AT 0xc1000000u

static struct driver v;
static uint8_t caps[6]; /* where virtio's capability of each type is */
static uint8_t msix;

static uint32_t conf(uint32_t at, uint32_t bytes)
{
	return (uint32_t)fake_read(&fake.vmm.mmio, CONFIG + at, bytes);
}

static void conf_set(uint32_t at, uint32_t value, uint32_t bytes)
{
	fake_write(&fake.vmm.mmio, CONFIG + at, value, bytes);
}

static uint32_t part(unsigned type)
{
	return conf(caps[type] + 8u, 4);
}

static uint64_t reg(uint32_t at, uint32_t bytes)
{
	return fake_read(&fake.vmm.mmio, BAR_AT + at, bytes);
}

static void reg_set(uint32_t at, uint64_t value, uint32_t bytes)
{
	fake_write(&fake.vmm.mmio, BAR_AT + at, value, bytes);
}

static void begin(void)
{
	struct virtio_device *d;

	fake_init();
	driver_init(&v, MEMORY_MIN_BYTES);
	if (pci_new(&fake.vmm, &fake.vmm.pci, NULL) < 0 ||
	    virtio_rng_new(&v.memory, &v.loop, &d, NULL) < 0 ||
	    virtio_pci_attach(&fake.vmm, d, SLOT, NULL) < 0)
		abort();
	v.device = d;
	for (uint32_t at = conf(PCI_CAPABILITY_LIST, 1); at; at = conf(at + 1, 1))
		if (conf(at, 1) == PCI_CAP_ID_MSIX)
			msix = (uint8_t)at;
		else if (conf(at, 1) == PCI_CAP_ID_VNDR && conf(at + 3, 1) < sizeof(caps))
			caps[conf(at + 3, 1)] = (uint8_t)at;
}

static void end(void)
{
	driver_done(&v);
	pci_free(fake.vmm.pci);
	ok(fake.vmm.mmio.count == 0 && fake.vmm.ports.count == 0, "the buses are empty again");
	fake_done();
}

static void map(uint32_t at)
{
	conf_set(PCI_BASE_ADDRESS_0, at, 4);
	conf_set(PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
}

/* By the two ports, as BIOSes and early kernels do. */
static uint32_t port_read(uint32_t slot, uint32_t at, uint32_t bytes)
{
	fake_write(&fake.vmm.ports, LAYOUT_PCI_ADDRESS_PORT, 1u << 31 | slot << 11 | (at & 0xfc),
		   4);
	return (uint32_t)fake_read(&fake.vmm.ports, LAYOUT_PCI_DATA_PORT + at % 4, bytes);
}

static void test_probe(void)
{
	begin();
	ok(port_read(0, 0, 4) == 0x00081b36 && port_read(0, 0x0a, 2) == 0x0600,
	   "the host bridge, by ports");
	ok_int(port_read(SLOT + 1, 0, 4), 0x10441af4, "the device, by ports");
	ok_int(conf(0, 4), 0x10441af4, "and by memory");
	ok_int(port_read(SLOT + 2, 0, 4), UINT32_MAX, "an empty slot");
	ok_int(fake_read(&fake.vmm.mmio, CONFIG + 4096, 4), UINT32_MAX, "no second function");
	fake_write(&fake.vmm.ports, LAYOUT_PCI_ADDRESS_PORT, 1u << 31 | 1 << 16, 4);
	ok_int(fake_read(&fake.vmm.ports, LAYOUT_PCI_DATA_PORT, 4), UINT32_MAX, "no second bus");
	fake_write(&fake.vmm.ports, LAYOUT_PCI_ADDRESS_PORT, 0, 4);
	ok_int(fake_read(&fake.vmm.ports, LAYOUT_PCI_DATA_PORT, 4), UINT32_MAX,
	       "ports that are not enabled");
	fake_write(&fake.vmm.ports, LAYOUT_PCI_ADDRESS_PORT, 0x80001800, 4);
	fake_write(&fake.vmm.ports, LAYOUT_PCI_ADDRESS_PORT, 0x12, 1);
	fake_write(&fake.vmm.ports, LAYOUT_PCI_ADDRESS_PORT + 1, 0x12, 2);
	ok_int(fake_read(&fake.vmm.ports, LAYOUT_PCI_ADDRESS_PORT, 4), 0x80001800,
	       "the address is written as a whole");
	conf_set(PCI_VENDOR_ID, 0, 4);
	conf_set(PCI_CAPABILITY_LIST, 0, 1);
	ok(conf(0, 4) == 0x10441af4 && conf(PCI_CAPABILITY_LIST, 1) == 0x40,
	   "what a function is cannot be written");
	ok_int(fake_read(&fake.vmm.mmio, CONFIG + 0x100, 4), 0, "no extended capabilities");
	ok_int(fake_read(&fake.vmm.mmio, CONFIG + 0xfe, 4), 0, "across the end");
	ok(caps[1] && caps[2] && caps[3] && caps[4] && caps[5] && msix,
	   "the list of capabilities has all of them");
	end();
}

static void test_bar(void)
{
	begin();
	conf_set(PCI_BASE_ADDRESS_0, UINT32_MAX, 4);
	ok_int(~conf(PCI_BASE_ADDRESS_0, 4) + 1, 0x8000, "how large the BAR is");
	conf_set(PCI_BASE_ADDRESS_0 + 4, UINT32_MAX, 4);
	ok_int(conf(PCI_BASE_ADDRESS_0 + 4, 4), 0, "there is one");
	conf_set(PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	ok(fake.kick_count == 0 && fake.vmm.mmio.count == 1,
	   "outside of the window it is not mapped");
	map(BAR_AT);
	ok(fake.kick_count == 1 && fake.kicks[0].at == BAR_AT + part(2),
	   "inside it is, with its kicks");
	ok_int(reg(VIRTIO_PCI_COMMON_NUMQ, 2), 1, "and answers");
	map(BAR_AT + 0x100000);
	ok(fake.kick_count == 1 && fake.kicks[0].at == BAR_AT + 0x100000 + part(2),
	   "elsewhere the kicks follow");
	ok_int(reg(VIRTIO_PCI_COMMON_NUMQ, 2), 0xffff, "and nobody is where it was");
	conf_set(PCI_COMMAND, 0, 2);
	ok(fake.kick_count == 0 && fake.vmm.mmio.count == 1, "decoding switched off");
	for (uint32_t i = 0; i < 4; i++)
		conf_set(PCI_BASE_ADDRESS_0 + i, BAR_AT >> 8 * i, 1);
	conf_set(PCI_COMMAND, PCI_COMMAND_MEMORY, 1);
	ok_int(reg(VIRTIO_PCI_COMMON_NUMQ, 2), 1, "written byte by byte");
	map(0xcfff8000);
	ok(fake.vmm.mmio.count == 2, "at the end of the window");
	map(LAYOUT_ECAM);
	map(LAYOUT_VIRTIO);
	map(0x8000);
	ok(fake.vmm.mmio.count == 1 && conf(0, 4) == 0x10441af4,
	   "over memory or other devices it is not mapped");
	end();
}

static void agree(void)
{
	reg_set(VIRTIO_PCI_COMMON_STATUS, 0, 1);
	reg_set(VIRTIO_PCI_COMMON_STATUS, 3, 1);
	reg_set(VIRTIO_PCI_COMMON_GFSELECT, 1, 4);
	reg_set(VIRTIO_PCI_COMMON_GF, 1, 4);
	reg_set(VIRTIO_PCI_COMMON_STATUS, 0xb, 1);
}

static void start(void)
{
	struct virtq scratch = { 0 };

	agree();
	driver_place(&v, 0, &scratch, 64);
	reg_set(VIRTIO_PCI_COMMON_Q_SELECT, 0, 2);
	reg_set(VIRTIO_PCI_COMMON_Q_SIZE, 64, 2);
	reg_set(VIRTIO_PCI_COMMON_Q_DESCLO, scratch.desc_at, 4);
	reg_set(VIRTIO_PCI_COMMON_Q_DESCHI, 0, 4);
	reg_set(VIRTIO_PCI_COMMON_Q_AVAILLO, scratch.avail_at, 4);
	reg_set(VIRTIO_PCI_COMMON_Q_USEDLO, scratch.used_at, 4);
	reg_set(VIRTIO_PCI_COMMON_MSIX, 0, 2);
	reg_set(VIRTIO_PCI_COMMON_Q_MSIX, 1, 2);
	reg_set(VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
	reg_set(VIRTIO_PCI_COMMON_STATUS, 0xf, 1);
}

static void ask(gpa_t at)
{
	driver_add(&v, 0, &(struct driver_buffer){ at, 16, true }, 1);
	reg_set(part(2), 0, 2);
	ok(driver_wait(&v, 0, NULL, NULL), "a request is served");
}

static uint32_t entry(unsigned n)
{
	return (conf(msix + 4u, 4) & ~7u) + n * 16;
}

static void set_entry(unsigned n, uint32_t data, bool masked)
{
	reg_set(entry(n), 0xfee00000, 4);
	reg_set(entry(n) + 4, 0, 4);
	reg_set(entry(n) + 8, data, 4);
	reg_set(entry(n) + 12, masked, 4);
}

static void test_work(void)
{
	gpa_t at;
	const struct route *r;

	begin();
	r = fake.routes[SLOT];
	map(BAR_AT);
	at = driver_alloc(&v, 64);
	start();
	ok_int(reg(VIRTIO_PCI_COMMON_STATUS, 1), 0xf, "from reset to DRIVER_OK");
	ask(at);
	ok(!fake_interrupts(routes_gsi(SLOT, 1)), "without MSI-X there are no interrupts");
	ok(reg(part(3), 1) == 1 && reg(part(3), 1) == 0, "but the ISR, until it is read");
	conf_set(msix + 2u, 0x8000, 2);
	set_entry(1, 0x41, false);
	ok(r[1].on && r[1].data == 0x41 && r[1].address_low == 0xfee00000 && !r[0].on,
	   "an entry that is not masked becomes a route");
	ask(at);
	ok_int(fake_interrupts(routes_gsi(SLOT, 1)), 1, "which is taken");
	set_entry(1, 0x42, true);
	ok(!r[1].on, "masked, there is none");
	ask(at);
	ok(!fake_interrupts(routes_gsi(SLOT, 1)), "and no interrupt");
	ok_int(reg(conf(msix + 8u, 4) & ~7u, 4), 2, "but it is pending");
	set_entry(1, 0x42, false);
	ok(r[1].on && r[1].data == 0x42 && fake_interrupts(routes_gsi(SLOT, 1)) == 1,
	   "and comes with the unmasking");
	ok_int(reg(conf(msix + 8u, 4) & ~7u, 4), 0, "once");
	conf_set(msix + 2u, 0xc000, 2);
	ask(at);
	ok(!r[1].on && !fake_interrupts(routes_gsi(SLOT, 1)), "all masked");
	conf_set(msix + 2u, 0x8000, 2);
	ok_int(fake_interrupts(routes_gsi(SLOT, 1)), 1, "and unmasked");
	map(BAR_AT + 0x8000);
	map(BAR_AT);
	ask(at);
	ok_int(fake_interrupts(routes_gsi(SLOT, 1)), 1, "the BAR moved there and back");
	reg_set(VIRTIO_PCI_COMMON_STATUS, 0, 1);
	ok(reg(VIRTIO_PCI_COMMON_Q_MSIX, 2) == 0xffff && reg(VIRTIO_PCI_COMMON_MSIX, 2) == 0xffff,
	   "a reset takes the vectors away");
	end();
}

static void test_bounds(void)
{
	uint32_t count, table;

	begin();
	map(BAR_AT);
	count = (conf(msix + 2u, 2) & 0x7ff) + 1;
	table = entry(0);
	ok_int(count, 2, "a vector for the queue and one for the configuration");
	set_entry(count, 7, false);
	ok_int(reg(entry(count) + 8, 4), 0, "there is no entry behind the last");
	reg_set(table + count * 16 - 4, UINT64_MAX, 8);
	ok_int(reg(table + count * 16 - 4, 8), 0, "nor half of one");
	reg_set(VIRTIO_PCI_COMMON_MSIX, count, 2);
	ok_int(reg(VIRTIO_PCI_COMMON_MSIX, 2), 0xffff, "a vector that does not exist is none");
	reg_set(VIRTIO_PCI_COMMON_Q_SELECT, 1, 2);
	ok_int(reg(VIRTIO_PCI_COMMON_Q_SIZE, 2), 0, "a queue that does not exist has no size");
	reg_set(VIRTIO_PCI_COMMON_Q_SELECT, 0xffff, 2);
	reg_set(VIRTIO_PCI_COMMON_Q_MSIX, 1, 2);
	reg_set(VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
	reg_set(part(2) + 4, 1, 2);
	reg_set(part(2) + 4092, 1, 2);
	reg_set(part(2), 0xffff, 4);
	ok_int(reg(VIRTIO_PCI_COMMON_STATUS, 1), 0, "and none of its registers do anything");
	agree();
	reg_set(VIRTIO_PCI_COMMON_Q_SELECT, 0, 2);
	reg_set(VIRTIO_PCI_COMMON_Q_SIZE, 3, 2);
	reg_set(VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
	ok(reg(VIRTIO_PCI_COMMON_STATUS, 1) & 0x40, "not a power of two");
	agree();
	reg_set(VIRTIO_PCI_COMMON_Q_DESCLO, 0xfffffff0, 4);
	reg_set(VIRTIO_PCI_COMMON_Q_DESCHI, UINT32_MAX, 4);
	reg_set(VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
	ok(reg(VIRTIO_PCI_COMMON_STATUS, 1) & 0x40, "not in memory");
	end();
}

/* Registers by way of configuration space (section 4.1.4.9), with no BAR mapped at all. */
static uint32_t window(uint32_t at, uint32_t bytes)
{
	conf_set(caps[5] + 8u, at, 4);
	conf_set(caps[5] + 12u, bytes, 4);
	return conf(caps[5] + 16u, bytes <= 4 ? bytes : 4);
}

static void test_window(void)
{
	begin();
	ok_int(window(VIRTIO_PCI_COMMON_NUMQ, 2), 1, "the window shows registers");
	conf_set(caps[5] + 8u, VIRTIO_PCI_COMMON_STATUS, 4);
	conf_set(caps[5] + 12u, 1, 4);
	conf_set(caps[5] + 16u, 3, 1);
	ok_int(v.device->status, 3, "and writes them");
	conf_set(caps[5] + 16u, 0, 4);
	(void)window(UINT32_MAX, 4);
	(void)window(0x8000, 1);
	(void)window(0x7ffc, 4);
	(void)window(0x7ffe, 4);
	(void)window(0, 8);
	(void)window(0, UINT32_MAX);
	conf_set(caps[5] + 16u, UINT32_MAX, 4);
	conf_set(caps[5] + 4u, 1, 1);
	conf_set(caps[5] + 8u, VIRTIO_PCI_COMMON_STATUS, 4);
	conf_set(caps[5] + 12u, 1, 4);
	conf_set(caps[5] + 16u, 5, 1);
	ok_int(v.device->status, 0, "places and lengths that are none do nothing");
	end();
}

static void test_everything(void)
{
	begin();
	for (uint32_t at = 0; at < 256; at++)
		for (uint32_t bytes = 1; bytes <= 8; bytes *= 2) {
			fake_write(&fake.vmm.mmio, CONFIG + at, 0x5a5a5a5a5a5a5a5a, bytes);
			fake_read(&fake.vmm.mmio, CONFIG + at, bytes);
		}
	map(BAR_AT);
	for (uint32_t at = 0; at < 0x8000; at++) {
		uint32_t bytes = 1u << at % 4;

		if (at % 0x1000 == 0x100)
			at += 0xe00;
		reg_set(at, at % 3 ? UINT64_MAX : at % 7, bytes);
		(void)reg(at, bytes);
	}
	conf_set(msix + 2u, 0, 2);
	start();
	ask(driver_alloc(&v, 64));
	end();
}

/* Two devices that a guest puts at the same place. */
static void test_overlap(void)
{
	const uint64_t other = LAYOUT_ECAM + (8ull << 12);
	struct virtio_device *d;

	begin();
	if (virtio_rng_new(&v.memory, &v.loop, &d, NULL) < 0 ||
	    virtio_pci_attach(&fake.vmm, d, 0, NULL) < 0)
		abort();
	map(BAR_AT);
	fake_write(&fake.vmm.mmio, other + PCI_BASE_ADDRESS_0, BAR_AT, 4);
	fake_write(&fake.vmm.mmio, other + PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	start();
	ask(driver_alloc(&v, 64));
	map(BAR_AT + 0x8000);
	ok_int(reg(VIRTIO_PCI_COMMON_STATUS, 1), 0, "the other one is there now");
	virtio_device_free(d);
	ok_int(fake.kick_count, 1, "and leaves only the first one's kicks");
	end();
}

int main(void)
{
	test_probe();
	test_bar();
	test_work();
	test_bounds();
	test_window();
	test_everything();
	test_overlap();
	return tap_done();
}
