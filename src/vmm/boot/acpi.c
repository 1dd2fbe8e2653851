/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ACPI 6.4: RSDP (5.2.5) → XSDT → FADT, MADT, MCFG; FADT → DSDT. The machine is of the
 * hardware-reduced kind (4.1): no timer chip, no interrupt controller of 1976, no fixed power
 * button, so the kernel looks for none of them. Power off and reset are two registers.
 */
#include "vmm/boot/acpi.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "util/err.h"
#include "util/mem.h"
#include "util/str.h"
#include "vmm/boot/aml.h"
#include "vmm/layout.h"

#define FADT_BYTES     276
#define FLAG_WBINVD    (1u << 0)
#define FLAG_SLP_BTN   (1u << 5)
#define FLAG_RESET_REG (1u << 10)
#define FLAG_REDUCED   (1u << 20)
#define BOOT_NO_VGA    (1u << 2)
#define BOOT_NO_RTC    (1u << 5)
#define RESET_VALUE    0xfe
#define SLEEP_S5       5

/* Tables one behind the other; where each is, is known when it is added. */
struct tables {
	struct vmm_memory *memory;
	gpa_t next;
	bool full;
};

static uint8_t checksum(const uint8_t *bytes, size_t n)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum = (uint8_t)(sum + bytes[i]);
	return (uint8_t)-sum;
}

/* The 36 bytes that open each table (5.2.6). */
static void begin(struct str_buf *b, const char *signature, uint8_t revision)
{
	str_buf_puts(b, signature);
	aml_dword(b, 0); /* length, and below the checksum: set when it is added */
	aml_byte(b, revision);
	aml_byte(b, 0);
	str_buf_add(b, "PROA  ", 6);
	str_buf_add(b, "PROAVMM ", 8);
	aml_dword(b, 1);
	str_buf_add(b, "PROA", 4);
	aml_dword(b, 1);
}

/* Ends and places a table; its address. */
static gpa_t add(struct tables *t, struct str_buf *b)
{
	gpa_t at = t->next;
	uint32_t n = (uint32_t)b->len;

	if (b->failed || at + n > LAYOUT_ACPI_END) {
		t->full = true;
	} else {
		memcpy(b->data + 4, &n, 4);
		b->data[9] = 0;
		b->data[9] = (char)checksum((uint8_t *)b->data, n);
		memory_write(t->memory, at, b->data, n);
		t->next = (at + n + 63) & ~63ull;
	}
	str_buf_done(b);
	return at;
}

/* ---- DSDT ----------------------------------------------------------------------------------- */

static void add_virtio(struct str_buf *b, unsigned n)
{
	struct aml_resources r;
	char name[16];
	size_t at;

	snprintf(name, sizeof(name), "VI%02X", n & 0xff);
	at = aml_device(b, name);
	aml_name(b, "_HID");
	aml_string(b, "LNRO0005");
	aml_name(b, "_UID");
	aml_integer(b, n);
	r = aml_resources_open(b);
	aml_memory32(b, LAYOUT_VIRTIO + n * LAYOUT_VIRTIO_SIZE, LAYOUT_VIRTIO_SIZE);
	aml_interrupt(b, LAYOUT_VIRTIO_GSI + n);
	aml_resources_close(b, &r);
	aml_close(b, at);
}

static void add_serial(struct str_buf *b)
{
	size_t at = aml_device(b, "COM1");
	struct aml_resources r;

	aml_name(b, "_HID");
	aml_eisa_id(b, "PNP0501");
	aml_name(b, "_UID");
	aml_integer(b, 0);
	r = aml_resources_open(b);
	aml_io(b, LAYOUT_SERIAL_PORT, 8);
	aml_interrupt(b, LAYOUT_SERIAL_GSI);
	aml_resources_close(b, &r);
	aml_close(b, at);
}

/* A button, and the device whose interrupt says that it was pressed (5.6.9). */
static void add_power_button(struct str_buf *b)
{
	struct aml_resources r;
	size_t at = aml_device(b, "PWRB"), method;

	aml_name(b, "_HID");
	aml_eisa_id(b, "PNP0C0C");
	aml_close(b, at);
	at = aml_device(b, "GED0");
	aml_name(b, "_HID");
	aml_string(b, "ACPI0013");
	r = aml_resources_open(b);
	aml_interrupt(b, LAYOUT_POWER_GSI);
	aml_resources_close(b, &r);
	method = aml_method(b, "_EVT", 1);
	aml_byte(b, 0x86); /* Notify (PWRB, 0x80) */
	str_buf_puts(b, "PWRB");
	aml_integer(b, 0x80);
	aml_close(b, method);
	aml_close(b, at);
}

static void add_pvpanic(struct str_buf *b)
{
	size_t at = aml_device(b, "PVPN");
	struct aml_resources r;

	aml_name(b, "_HID");
	aml_string(b, "QEMU0001");
	aml_name(b, "_STA");
	aml_integer(b, 0x0f);
	r = aml_resources_open(b);
	aml_io(b, LAYOUT_PANIC_PORT, 1);
	aml_resources_close(b, &r);
	aml_close(b, at);
}

static void add_host_bridge(struct str_buf *b)
{
	size_t at = aml_device(b, "PCI0");
	struct aml_resources r;

	aml_name(b, "_HID");
	aml_eisa_id(b, "PNP0A08");
	aml_name(b, "_CID");
	aml_eisa_id(b, "PNP0A03");
	aml_name(b, "_UID");
	aml_integer(b, 0);
	aml_name(b, "_SEG");
	aml_integer(b, 0);
	aml_name(b, "_BBN");
	aml_integer(b, 0);
	r = aml_resources_open(b);
	aml_window(b, 2, 0, 0);
	aml_window(b, 0, LAYOUT_PCI_WINDOW, LAYOUT_PCI_WINDOW_END);
	aml_resources_close(b, &r);
	aml_close(b, at);
}

/* The ECAM must be somebody's (PCI Firmware Specification 4.1.2). */
static void add_motherboard(struct str_buf *b)
{
	size_t at = aml_device(b, "MBRD");
	struct aml_resources r;

	aml_name(b, "_HID");
	aml_eisa_id(b, "PNP0C02");
	r = aml_resources_open(b);
	aml_memory32(b, LAYOUT_ECAM, LAYOUT_ECAM_SIZE);
	aml_resources_close(b, &r);
	aml_close(b, at);
}

static gpa_t add_dsdt(struct tables *t, const struct acpi_machine *a)
{
	struct str_buf b = { 0 };
	size_t scope;

	begin(&b, "DSDT", 6);
	aml_name(&b, "_S5_"); /* Package () { 5, 0, 0, 0 }: what to write to the sleep register */
	aml_byte(&b, 0x12);
	scope = aml_open(&b);
	aml_byte(&b, 4);
	aml_integer(&b, SLEEP_S5);
	for (int i = 0; i < 3; i++)
		aml_integer(&b, 0);
	aml_close(&b, scope);
	scope = aml_scope(&b, "_SB_");
	if (a->serial)
		add_serial(&b);
	add_power_button(&b);
	add_pvpanic(&b);
	for (unsigned i = 0; i < a->mmio_devices; i++)
		add_virtio(&b, i);
	if (a->pci) {
		add_host_bridge(&b);
		add_motherboard(&b);
	}
	aml_close(&b, scope);
	return add(t, &b);
}

/* ---- the other tables ----------------------------------------------------------------------- */

static void put(struct str_buf *b, size_t at, uint64_t value, size_t bytes)
{
	if (!b->failed)
		memcpy(b->data + at, &value, bytes);
}

/* A generic address (5.2.3.2): a byte in the space of ports. */
static void put_port(struct str_buf *b, size_t at, uint16_t port)
{
	put(b, at, 1 | 8 << 8 | 1 << 24, 4);
	put(b, at + 4, port, 8);
}

static gpa_t add_fadt(struct tables *t, gpa_t dsdt)
{
	static const char zeros[FADT_BYTES];
	struct str_buf b = { 0 };

	begin(&b, "FACP", 6);
	str_buf_add(&b, zeros, FADT_BYTES - b.len);
	put(&b, 40, dsdt, 4);
	put(&b, 109, BOOT_NO_VGA | BOOT_NO_RTC, 2);
	put(&b, 112, FLAG_WBINVD | FLAG_SLP_BTN | FLAG_RESET_REG | FLAG_REDUCED, 4);
	put_port(&b, 116, LAYOUT_I8042_PORT);
	put(&b, 128, RESET_VALUE, 1);
	put(&b, 131, 4, 1); /* 6.4 */
	put(&b, 140, dsdt, 8);
	put_port(&b, 244, LAYOUT_SLEEP_PORT);
	put_port(&b, 256, LAYOUT_SLEEP_PORT + 1);
	memcpy(b.failed ? (char[8]){ 0 } : b.data + 268, "PROA-VMM", 8);
	return add(t, &b);
}

static gpa_t add_madt(struct tables *t, unsigned cpus)
{
	struct str_buf b = { 0 };

	begin(&b, "APIC", 5);
	aml_dword(&b, LAYOUT_LAPIC);
	aml_dword(&b, 0); /* no pair of 8259 */
	for (unsigned i = 0; i < cpus; i++) {
		aml_byte(&b, 0); /* a processor's local APIC, enabled */
		aml_byte(&b, 8);
		aml_byte(&b, (uint8_t)i);
		aml_byte(&b, (uint8_t)i);
		aml_dword(&b, 1);
	}
	aml_byte(&b, 1); /* the I/O APIC */
	aml_byte(&b, 12);
	aml_byte(&b, 0);
	aml_byte(&b, 0);
	aml_dword(&b, LAYOUT_IOAPIC);
	aml_dword(&b, 0);
	return add(t, &b);
}

static gpa_t add_mcfg(struct tables *t)
{
	struct str_buf b = { 0 };

	begin(&b, "MCFG", 1);
	aml_qword(&b, 0);
	aml_qword(&b, LAYOUT_ECAM);
	aml_word(&b, 0); /* segment */
	aml_byte(&b, 0); /* buses from … to */
	aml_byte(&b, 0);
	aml_dword(&b, 0);
	return add(t, &b);
}

static void write_rsdp(struct vmm_memory *m, gpa_t xsdt)
{
	uint8_t p[36] = "RSD PTR ";
	uint32_t n = sizeof(p);

	memcpy(p + 9, "PROA  ", 6);
	p[15] = 2;
	memcpy(p + 20, &n, 4);
	memcpy(p + 24, &xsdt, 8);
	p[8] = checksum(p, 20);
	p[32] = checksum(p, sizeof(p));
	memory_write(m, LAYOUT_ACPI, p, sizeof(p));
}

int acpi_write(const struct acpi_machine *a, struct vmm_memory *m, struct err *err)
{
	struct tables t = { .memory = m, .next = LAYOUT_ACPI + 64 };
	struct str_buf xsdt = { 0 };
	gpa_t dsdt = add_dsdt(&t, a);

	begin(&xsdt, "XSDT", 1);
	aml_qword(&xsdt, add_fadt(&t, dsdt));
	aml_qword(&xsdt, add_madt(&t, a->cpus));
	if (a->pci)
		aml_qword(&xsdt, add_mcfg(&t));
	write_rsdp(m, add(&t, &xsdt));
	return t.full ? err_set(err, ENOMEM, "make the machine's ACPI tables: out of memory") : 0;
}
