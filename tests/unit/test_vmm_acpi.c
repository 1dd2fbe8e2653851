/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ACPI tables as a kernel walks them: RSDP → XSDT → FADT → DSDT, with all checksums; and a small
 * walker of AML, which knows as much of it as we write. And CPUID, which says the same of
 * processors.
 */
#include <linux/kvm.h>
#include "tap.h"
#include "util/err.h"
#include "util/mem.h"
#include "vmm/boot/acpi.h"
#include "vmm/layout.h"
#include "vmm/vcpu_state.h"

static struct vmm_memory memory;

static uint64_t get(const uint8_t *p, unsigned bytes)
{
	uint64_t v = 0;

	memcpy(&v, p, bytes);
	return v;
}

static bool sums_up(const uint8_t *p, size_t n)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum = (uint8_t)(sum + p[i]);
	return !sum;
}

/* A table with this signature: NULL unless it lies where it may and sums up. */
static const uint8_t *table(gpa_t at, const char *signature)
{
	const uint8_t *p = memory_at(&memory, at, 36);
	uint32_t n = p ? (uint32_t)get(p + 4, 4) : 0;

	if (!p || at < LAYOUT_ACPI || n < 36 || n > LAYOUT_ACPI_END - at || memcmp(p, signature, 4))
		return NULL;
	return sums_up(p, n) ? p : NULL;
}

/* ---- AML ------------------------------------------------------------------------------------ */

struct aml {
	const uint8_t *at, *end;
	unsigned devices, names, methods, resources, interrupts;
	bool bad;
};

static const uint8_t *take(struct aml *a, size_t n)
{
	static const uint8_t zeros[8];
	const uint8_t *p = a->at;

	if (a->bad || n > (size_t)(a->end - a->at)) {
		a->bad = true;
		return zeros;
	}
	a->at += n;
	return p;
}

/* PkgLength (20.2.4): the end of what it opens. */
static const uint8_t *take_end(struct aml *a)
{
	const uint8_t *start = a->at;
	uint8_t first = *take(a, 1);
	size_t n = first >> 6 ? first & 0x0f : first & 0x3f;

	for (unsigned i = 0; i < first >> 6; i++)
		n |= (size_t)*take(a, 1) << (4 + 8 * i);
	if (n > (size_t)(a->end - start))
		a->bad = true;
	return a->bad ? a->end : start + n;
}

static void take_name(struct aml *a)
{
	const uint8_t *p = take(a, 4);

	for (int i = 0; i < 4; i++)
		if (!(p[i] == '_' || (p[i] >= 'A' && p[i] <= 'Z') ||
		      (i && p[i] >= '0' && p[i] <= '9')))
			a->bad = true;
}

/* A resource template (6.4): descriptors up to the end tag, which is the last thing in it. */
static void take_resources(struct aml *a, const uint8_t *end)
{
	bool ended = false;

	a->resources++;
	while (!a->bad && a->at < end) {
		uint8_t tag = *take(a, 1);

		if (ended)
			a->bad = true;
		if (tag & 0x80)
			(void)take(a, get(take(a, 2), 2));
		else
			(void)take(a, tag & 7);
		a->interrupts += tag == 0x89;
		ended = tag == 0x79;
	}
	a->bad |= !ended || a->at != end;
}

static uint64_t take_integer(struct aml *a, uint8_t op)
{
	switch (op) {
	case 0x00: return 0;
	case 0x01: return 1;
	case 0x0a: return get(take(a, 1), 1);
	case 0x0b: return get(take(a, 2), 2);
	case 0x0c: return get(take(a, 4), 4);
	case 0x0e: return get(take(a, 8), 8);
	default: a->bad = true; return 0;
	}
}

static void take_data(struct aml *a)
{
	uint8_t op = *take(a, 1);
	const uint8_t *end;

	switch (op) {
	case 0x0d:
		while (!a->bad && *take(a, 1))
			;
		break;
	case 0x11: {
		uint64_t n;

		end = take_end(a);
		n = take_integer(a, *take(a, 1));
		a->bad |= n != (uint64_t)(end - a->at);
		take_resources(a, end);
		break;
	}
	case 0x12:
		end = take_end(a);
		for (uint8_t n = *take(a, 1); n && !a->bad; n--)
			take_data(a);
		a->bad |= a->at != end;
		break;
	default: (void)take_integer(a, op); break;
	}
}

static void take_terms(struct aml *a, const uint8_t *end);

static void take_term(struct aml *a)
{
	uint8_t op = *take(a, 1);
	const uint8_t *end;

	switch (op) {
	case 0x08:
		a->names++;
		take_name(a);
		take_data(a);
		break;
	case 0x10:
		end = take_end(a);
		take_name(a);
		take_terms(a, end);
		break;
	case 0x14:
		a->methods++;
		end = take_end(a);
		take_name(a);
		(void)take(a, 1);
		take_terms(a, end);
		break;
	case 0x86: /* Notify */
		take_name(a);
		take_data(a);
		break;
	case 0x5b:
		a->devices++;
		a->bad |= *take(a, 1) != 0x82;
		end = take_end(a);
		take_name(a);
		take_terms(a, end);
		break;
	default: a->bad = true; break;
	}
}

static void take_terms(struct aml *a, const uint8_t *end)
{
	while (!a->bad && a->at < end)
		take_term(a);
	a->bad |= a->at != end;
}

/* ---- the tables ----------------------------------------------------------------------------- */

static void check_dsdt(const uint8_t *dsdt, const struct acpi_machine *m)
{
	struct aml a = { .at = dsdt + 36, .end = dsdt + get(dsdt + 4, 4) };
	unsigned devices = 3 + m->serial + m->mmio_devices + (m->pci ? 2 : 0);

	take_terms(&a, a.end);
	ok(!a.bad, "the DSDT parses to its end");
	ok_int(a.devices, devices, "with all devices");
	ok_int(a.interrupts, m->serial + 1 + m->mmio_devices, "and their interrupts");
	ok_int(a.methods, 1, "and what a pressed button does");
}

static void check_madt(const uint8_t *madt, unsigned cpus)
{
	uint32_t n = (uint32_t)get(madt + 4, 4);
	unsigned found = 0, controllers = 0;
	bool in_order = true;

	for (uint32_t at = 44; at + 2 <= n && madt[at + 1] >= 2; at += madt[at + 1])
		if (madt[at] == 0)
			in_order &= madt[at + 3] == found++ && get(madt + at + 4, 4) == 1;
		else if (madt[at] == 1)
			controllers += get(madt + at + 4, 4) == LAYOUT_IOAPIC;
	ok(found == cpus && in_order && controllers == 1, "the MADT has %u CPUs, one I/O APIC",
	   cpus);
	ok_int(get(madt + 36, 4), LAYOUT_LAPIC, "and says where the local ones are");
}

static void test_tables(struct acpi_machine m)
{
	const uint8_t *rsdp, *xsdt, *fadt, *dsdt = NULL, *madt, *mcfg;
	unsigned entries;

	if (memory_init(&memory, MEMORY_MIN_BYTES, false, NULL) < 0)
		abort();
	ok_int(acpi_write(&m, &memory, NULL), 0, "tables of %u CPUs, %u devices, %s", m.cpus,
	       m.mmio_devices, m.pci ? "PCI" : "no PCI");
	rsdp = memory_at(&memory, LAYOUT_ACPI, 36);
	ok(!memcmp(rsdp, "RSD PTR ", 8) && sums_up(rsdp, 20) && sums_up(rsdp, 36) && rsdp[15] == 2,
	   "the RSDP");
	xsdt = table(get(rsdp + 24, 8), "XSDT");
	entries = xsdt ? (unsigned)(get(xsdt + 4, 4) - 36) / 8 : 0;
	ok_int(entries, m.pci ? 3 : 2, "the XSDT and its tables");
	fadt = entries > 1 ? table(get(xsdt + 36, 8), "FACP") : NULL;
	madt = entries > 1 ? table(get(xsdt + 44, 8), "APIC") : NULL;
	mcfg = entries > 2 ? table(get(xsdt + 52, 8), "MCFG") : NULL;
	ok(fadt && get(fadt + 4, 4) == 276 && get(fadt + 112, 4) >> 20 & 1 && fadt[128] == 0xfe &&
		   get(fadt + 120, 8) == LAYOUT_I8042_PORT,
	   "the FADT: hardware-reduced, with a reset register");
	ok(fadt && fadt[116] == 1 && fadt[117] == 8 && get(fadt + 248, 8) == LAYOUT_SLEEP_PORT,
	   "and one to sleep");
	if (fadt)
		dsdt = table(get(fadt + 140, 8), "DSDT");
	ok(dsdt && get(fadt + 40, 4) == get(fadt + 140, 8), "which leads to the DSDT");
	if (dsdt)
		check_dsdt(dsdt, &m);
	if (madt)
		check_madt(madt, m.cpus);
	ok(!mcfg == !m.pci && (!mcfg || get(mcfg + 44, 8) == LAYOUT_ECAM),
	   "the MCFG, if it is needed");
	memory_done(&memory);
}

/* ---- CPUID ---------------------------------------------------------------------------------- */

static struct kvm_cpuid_entry2 leaf(uint32_t function, uint32_t index, unsigned cpu, unsigned cpus)
{
	struct kvm_cpuid_entry2 e = { .function = function, .index = index };

	if (function == 4)
		e.eax = (index < 2 ? 1 : index) << 5 | (index ? 3 : 1);
	e.ebx = 0x0800;
	/* for each processor anew, as is done */
	for (unsigned i = 0; i <= cpu; i++)
		vcpu_state_topology(&e, i, cpus);
	return e;
}

static void test_topology(unsigned cpus, unsigned bits)
{
	struct kvm_cpuid_entry2 e;
	bool good = true;

	for (unsigned i = 0; i < cpus; i++) {
		e = leaf(1, 0, i, cpus);
		good &= e.ebx >> 24 == i && (e.ebx >> 16 & 0xff) == cpus &&
			(e.ebx & 0xffff) == 0x0800 && (e.edx >> 28 & 1) == (cpus > 1);
		e = leaf(0xb, 0, i, cpus);
		good &= e.eax == 0 && e.ebx == 1 && e.ecx == 0x100 && e.edx == i;
		e = leaf(0xb, 1, i, cpus);
		good &= e.eax == bits && e.ebx == cpus && e.ecx == 0x201 && e.edx == i;
		e = leaf(0xb, 2, i, cpus);
		good &= e.eax == 0 && e.ebx == 0 && e.ecx == 2 && e.edx == i;
		e = leaf(0x8000001e, 0, i, cpus);
		good &= e.eax == i && e.ebx == i && e.ecx == 0;
		/* numbers of two processors must differ above the bits of one, and fit below */
		good &= i >> bits == 0;
	}
	ok(good, "%u CPUs: each knows which it is", cpus);
	e = leaf(4, 0, 0, cpus);
	ok(e.eax >> 26 == (1u << bits) - 1 && (e.eax >> 14 & 0xfff) == 0,
	   "its first cache is its own");
	e = leaf(4, 3, 0, cpus);
	ok(e.eax >> 26 == (1u << bits) - 1 && (e.eax >> 14 & 0xfff) == (1u << bits) - 1,
	   "the third is everybody's");
	e = leaf(0x80000008, 0, 0, cpus);
	ok(e.ecx == (bits << 12 | (cpus - 1)), "and there are %u", cpus);
}

int main(void)
{
	test_tables((struct acpi_machine){ .cpus = 1, .mmio_devices = 0, .serial = true });
	test_tables((struct acpi_machine){ .cpus = 2, .mmio_devices = 3, .serial = true });
	test_tables((struct acpi_machine){ .cpus = 64, .mmio_devices = LAYOUT_VIRTIO_MAX });
	test_tables((struct acpi_machine){ .cpus = 3, .pci = true, .serial = true });
	test_topology(1, 0);
	test_topology(2, 1);
	test_topology(3, 2);
	test_topology(8, 3);
	test_topology(64, 6);
	return tap_done();
}
