/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest sees the host's processor as far as KVM supports it, less virtualisation itself (who
 * wants machines in machines can ask KVM for it on the outside), plus a timer by deadline, which
 * KVM's local APIC always has. How many processors there are, and which one this is, is written
 * into the leaves that say so (Intel SDM vol. 2A, CPUID; AMD APM vol. 3, appendix E).
 */
#include "vmm/vcpu_state.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include "util/err.h"
#include "util/mem.h"
#include "vmm/layout.h"
#include "vmm/vmm.h"

#define LEAVES_MAX	256
#define MSR_MISC_ENABLE 0x1a0
#define MSR_MTRR_TYPE	0x2ff
#define FAST_STRINGS	1
#define MTRR_WRITE_BACK (1u << 11 | 6)

struct cpuid {
	struct kvm_cpuid2 head;
	struct kvm_cpuid_entry2 leaves[LEAVES_MAX];
};

/* Bits that the number of a processor takes. */
static uint32_t id_bits(unsigned cpus)
{
	return cpus > 1 ? 32 - (uint32_t)__builtin_clz(cpus - 1) : 0;
}

void vcpu_state_topology(struct kvm_cpuid_entry2 *e, unsigned index, unsigned cpus)
{
	uint32_t bits = id_bits(cpus);

	switch (e->function) {
	case 1:
		e->ebx = (e->ebx & 0xffff) | index << 24 | MIN(cpus, 255u) << 16;
		e->edx = cpus > 1 ? e->edx | 1u << 28 : e->edx & ~(1u << 28);
		break;
	case 4:
		/* cores of this package, and who shares this cache: the third level is everybody's
		 */
		e->eax &= 0x3fff;
		if (e->eax & 0x1f)
			e->eax |= ((1u << bits) - 1) << 26 |
				  ((e->eax >> 5 & 7) == 3 ? (1u << bits) - 1 : 0) << 14;
		break;
	case 0xb:
	case 0x1f:
		e->edx = index;
		e->eax = e->index == 1 ? bits : 0;
		e->ebx = e->index == 0 ? 1 : e->index == 1 ? cpus : 0;
		e->ecx = e->index | (e->index == 0 ? 0x100u : e->index == 1 ? 0x200u : 0);
		break;
	case 0x80000008: e->ecx = bits << 12 | (cpus - 1); break;
	case 0x8000001e:
		e->eax = index;
		e->ebx = index;
		e->ecx = 0;
		break;
	default: break;
	}
}

static int read_cpuid(struct vmm *v, struct cpuid *c, struct err *err)
{
	c->head.nent = LEAVES_MAX;
	if (ioctl(v->kvm, KVM_GET_SUPPORTED_CPUID, c) < 0)
		return err_sys(err, errno, "read what KVM's processors can do");
	for (uint32_t i = 0; i < c->head.nent; i++) {
		struct kvm_cpuid_entry2 *e = &c->leaves[i];

		if (e->function == 1) {
			e->ecx &= ~(1u << 5);	       /* VMX */
			e->ecx |= 1u << 24 | 1u << 31; /* TSC deadline, hypervisor */
		}
		if (e->function == 0x80000001)
			e->ecx &= ~(1u << 2); /* SVM */
	}
	return 0;
}

static int set_cpuid(struct vmm *v, unsigned index, struct cpuid *c, struct err *err)
{
	for (uint32_t i = 0; i < c->head.nent; i++)
		vcpu_state_topology(&c->leaves[i], index, v->vcpu_count);
	if (ioctl(v->vcpus[index].fd, KVM_SET_CPUID2, c) < 0)
		return err_sys(err, errno, "set what virtual processor %u can do", index);
	return 0;
}

static int set_msrs(struct vcpu *c, struct err *err)
{
	/* without firmware nobody else says that memory may be cached */
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entries[2];
	} m = { .head.nmsrs = 2,
		.entries = { { .index = MSR_MTRR_TYPE, .data = MTRR_WRITE_BACK },
			     { .index = MSR_MISC_ENABLE, .data = FAST_STRINGS } } };

	/* it returns how many it took; a processor of AMD may have the first only */
	if (ioctl(c->fd, KVM_SET_MSRS, &m) < 1)
		return err_sys(err, errno, "set up virtual processor %u", c->index);
	return 0;
}

/* Descriptors as KVM wants them, and as they stand in a table in memory. */
static struct kvm_segment segment(uint16_t selector, uint8_t type, bool code, bool long_mode)
{
	return (struct kvm_segment){ .limit = 0xffffffff,
				     .selector = selector,
				     .type = type,
				     .present = 1,
				     .s = 1,
				     .g = 1,
				     .db = !(code && long_mode),
				     .l = code && long_mode };
}

static uint64_t descriptor(const struct kvm_segment *s)
{
	return 0x000000000000ffffull | 0x000f000000000000ull |
	       (uint64_t)(s->type | s->s << 4 | s->present << 7) << 40 |
	       (uint64_t)(s->l << 1 | s->db << 2 | s->g << 3) << 52;
}

static int set_segments(struct vcpu *c, const struct vcpu_entry *entry, struct err *err)
{
	bool lm = entry->long_mode;
	/* 0x10 and 0x18 are __BOOT_CS and __BOOT_DS of the Linux boot protocol */
	struct kvm_segment code = segment(0x10, 11, true, lm), data = segment(0x18, 3, false, lm);
	uint64_t table[4] = { 0, 0, descriptor(&code), descriptor(&data) };
	struct kvm_sregs s;

	if (ioctl(c->fd, KVM_GET_SREGS, &s) < 0)
		return err_sys(err, errno, "read the first processor's state");
	memory_write(&c->vmm->memory, LAYOUT_GDT, table, sizeof(table));
	s.gdt.base = LAYOUT_GDT;
	s.gdt.limit = sizeof(table) - 1;
	s.cs = code;
	s.ds = s.es = s.fs = s.gs = s.ss = data;
	s.tr = (struct kvm_segment){ .limit = 0x67, .type = 11, .present = 1 };
	s.cr0 = 0x11; /* PE, ET */
	if (lm) {
		s.cr0 |= 1u << 31;
		s.cr4 = 1u << 5; /* PAE */
		s.cr3 = LAYOUT_PAGE_TABLES;
		s.efer = 0x500; /* LME, LMA */
	}
	if (ioctl(c->fd, KVM_SET_SREGS, &s) < 0)
		return err_sys(err, errno, "set the first processor's state");
	return 0;
}

static int set_registers(struct vcpu *c, const struct vcpu_entry *entry, struct err *err)
{
	struct kvm_regs r = { .rip = entry->ip, .rflags = 2 };

	if (entry->long_mode)
		r.rsi = entry->info;
	else
		r.rbx = entry->info;
	if (ioctl(c->fd, KVM_SET_REGS, &r) < 0)
		return err_sys(err, errno, "set the first processor's registers");
	return 0;
}

int vcpu_state_set_all(struct vmm *v, const struct vcpu_entry *entry, struct err *err)
{
	_cleanup_free_ struct cpuid *c = calloc(1, sizeof(*c));
	int r = c ? read_cpuid(v, c, err) : err_set(err, ENOMEM, "out of memory");

	for (unsigned i = 0; r == 0 && i < v->vcpu_count; i++) {
		r = set_cpuid(v, i, c, err);
		if (r == 0)
			r = set_msrs(&v->vcpus[i], err);
	}
	if (r == 0)
		r = set_segments(&v->vcpus[0], entry, err);
	return r == 0 ? set_registers(&v->vcpus[0], entry, err) : r;
}
