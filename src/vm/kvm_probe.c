/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An open /dev/kvm proves nothing: there are KVMs (nested ones, PVM) that start a guest and then
 * cannot do what any Linux needs, or loop for ever. So a tiny guest does just that (the steps
 * below) and we look how far it gets.
 *
 * It runs in a child process, which is killed when its time is up; where it was then is seen in a
 * page both share. The guest's memory: page 0 unused, then tables, then code (kvm_probe_guest.S),
 * the shared page and a stack, all identity-mapped by one 2 MiB page that ring 3 may use as well.
 */
#include "vm/host.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include "util/linux.h"
#include "util/mem.h"
#include "util/str.h"

#if defined(__x86_64__)

#include <linux/kvm.h>

#define MEMORY	     (64u << 10)
#define GDT	     0x1000u
#define IDT	     0x2000u
#define PML4	     0x3000u
#define PDPT	     0x4000u
#define PD	     0x5000u
#define CODE	     0x6000u
#define PAGE	     0x7000u /* see kvm_probe_guest.S */
#define STACK	     0xa000u /* grows down */
#define DONE_PORT    0xf4
#define TIMER_VECTOR 0x30 /* see kvm_probe_guest.S */
#define CPUIDS_MAX   128

/* In the order of kvm_probe_guest.S; before STEP_ENTERED the host prepares. */
enum probe_step {
	STEP_NONE = 0,
	STEP_ENTERED,
	STEP_BREAKPOINT,
	STEP_POPCNT,
	STEP_XSAVE,
	STEP_CMPXCHG16B,
	STEP_SMAP,
	STEP_PRIVILEGED,
	STEP_USER,
	STEP_SYSCALL,
	STEP_TIMER,
	STEP_DONE,
};

static const char *const step_names[] = {
	[STEP_NONE] = "starting a guest in 64-bit mode",
	[STEP_ENTERED] = "cpuid",
	[STEP_BREAKPOINT] = "a breakpoint (int3)",
	[STEP_POPCNT] = "popcnt",
	[STEP_XSAVE] = "saving the FPU's state (xsave)",
	[STEP_CMPXCHG16B] = "cmpxchg16b",
	[STEP_SMAP] = "stac/clac",
	[STEP_PRIVILEGED] = "a privileged instruction (cr3, invlpg, msr, swapgs)",
	[STEP_USER] = "going to user mode (sysret)",
	[STEP_SYSCALL] = "a system call from user mode (syscall)",
	[STEP_TIMER] = "an interrupt of the timer",
};

extern const uint8_t kvm_probe_start[], kvm_probe_end[], kvm_probe_breakpoint[],
	kvm_probe_syscall[], kvm_probe_timer[];

/* What the child tells; in memory shared with it. */
struct probe {
	uint8_t memory[MEMORY]; /* of the guest; first, for it must be page-aligned */
	char failed_call[48];	/* an ioctl that failed, with errnum */
	int errnum;
	uint32_t exit_reason, suberror;
	bool done;
};

static void put64(struct probe *p, unsigned at, uint64_t value)
{
	memcpy(p->memory + at, &value, sizeof(value));
}

static uint32_t guest_address(const uint8_t *label)
{
	return CODE + (uint32_t)(label - kvm_probe_start);
}

/* An interrupt gate into kernel code; vectors without one are a triple fault. */
static void put_gate(struct probe *p, unsigned vector, const uint8_t *label)
{
	uint64_t at = guest_address(label);

	put64(p, IDT + vector * 16,
	      (at & 0xffff) | 0x08ull << 16 | 0x8e00ull << 32 | (at & 0xffff0000) << 32);
}

static void fill_memory(struct probe *p, uint8_t features)
{
	/* flat 64-bit segments: kernel code and data, (32-bit user code), user data, user code */
	put64(p, GDT + 0x08, 0x00af9b000000ffffull);
	put64(p, GDT + 0x10, 0x00cf93000000ffffull);
	put64(p, GDT + 0x18, 0x00cffb000000ffffull);
	put64(p, GDT + 0x20, 0x00cff3000000ffffull);
	put64(p, GDT + 0x28, 0x00affb000000ffffull);
	put_gate(p, 3, kvm_probe_breakpoint);
	put_gate(p, TIMER_VECTOR, kvm_probe_timer);
	put64(p, PML4, PDPT | 7);
	put64(p, PDPT, PD | 7);
	put64(p, PD, 0x87); /* 2 MiB, writable, user */
	memcpy(p->memory + CODE, kvm_probe_start, (size_t)(kvm_probe_end - kvm_probe_start));
	p->memory[PAGE + 8] = features;
}

struct vcpu {
	int kvm, vm, fd;
	struct kvm_run *run;
};

static int failed(struct probe *p, const char *call)
{
	p->errnum = errno ? errno : EIO;
	snprintf(p->failed_call, sizeof(p->failed_call), "%s", call);
	return -p->errnum;
}

static int create(struct probe *p, struct vcpu *v)
{
	struct kvm_userspace_memory_region region = { .memory_size = MEMORY,
						      .userspace_addr =
							      (uint64_t)(uintptr_t)p->memory };
	int size;

	v->vm = ioctl(v->kvm, KVM_CREATE_VM, 0);
	if (v->vm < 0)
		return failed(p, "KVM_CREATE_VM");
	(void)ioctl(v->vm, KVM_SET_TSS_ADDR, 0xfffbd000ul);
	if (ioctl(v->vm, KVM_CREATE_IRQCHIP, 0) < 0)
		return failed(p, "KVM_CREATE_IRQCHIP");
	if (ioctl(v->vm, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		return failed(p, "KVM_SET_USER_MEMORY_REGION");
	v->fd = ioctl(v->vm, KVM_CREATE_VCPU, 0);
	if (v->fd < 0)
		return failed(p, "KVM_CREATE_VCPU");
	size = ioctl(v->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	v->run = size < (int)sizeof(*v->run)
			 ? MAP_FAILED
			 : mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	return v->run == MAP_FAILED ? failed(p, "mapping the vCPU") : 0;
}

/* Gives the guest the processor's own features; returns FEATURE_… bits of those it is to try. */
static int set_cpuid(struct probe *p, struct vcpu *v, uint8_t *ret_features)
{
	static uint64_t
		room[(sizeof(struct kvm_cpuid2) + CPUIDS_MAX * sizeof(struct kvm_cpuid_entry2)) /
		     sizeof(uint64_t)];
	struct kvm_cpuid2 *c = (struct kvm_cpuid2 *)room;

	c->nent = CPUIDS_MAX;
	if (ioctl(v->kvm, KVM_GET_SUPPORTED_CPUID, c) < 0)
		return failed(p, "KVM_GET_SUPPORTED_CPUID");
	if (ioctl(v->fd, KVM_SET_CPUID2, c) < 0)
		return failed(p, "KVM_SET_CPUID2");
	*ret_features = 0;
	for (uint32_t i = 0; i < c->nent && i < CPUIDS_MAX; i++) {
		const struct kvm_cpuid_entry2 *e = &c->entries[i];

		if (e->function == 1)
			*ret_features |= (e->ecx >> 23 & 1) | (e->ecx >> 26 & 1) << 1 |
					 (e->ecx >> 13 & 1) << 2;
		if (e->function == 7 && e->index == 0)
			*ret_features |= (e->ebx >> 20 & 1) << 3;
	}
	return 0;
}

static int set_registers(struct probe *p, struct vcpu *v, bool xsave)
{
	struct kvm_segment code = {
		.limit = ~0u, .selector = 0x08, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1
	};
	struct kvm_segment data = {
		.limit = ~0u, .selector = 0x10, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1
	};
	struct kvm_regs regs = { .rip = CODE, .rsp = STACK, .rbx = PAGE, .rflags = 2 };
	struct kvm_msr_entry entries[] = {
		{ .index = 0xc0000081 /* STAR */, .data = 0x08ull << 32 | 0x1bull << 48 },
		{ .index = 0xc0000082 /* LSTAR */, .data = guest_address(kvm_probe_syscall) },
		{ .index = 0xc0000084 /* SFMASK */, .data = 0x200 },
	};
	uint64_t room[(sizeof(struct kvm_msrs) + sizeof(entries)) / sizeof(uint64_t)] = { 0 };
	struct kvm_msrs *msrs = (struct kvm_msrs *)room;
	struct kvm_sregs s;

	if (ioctl(v->fd, KVM_GET_SREGS, &s) < 0)
		return failed(p, "KVM_GET_SREGS");
	s.cs = code;
	s.ds = s.es = s.fs = s.gs = s.ss = data;
	s.gdt.base = GDT;
	s.gdt.limit = 0x2f;
	s.idt.base = IDT;
	s.idt.limit = 0x3ff;
	s.cr3 = PML4;
	s.cr0 = 0x80010033;			/* PG WP NE ET MP PE */
	s.cr4 = 0x620 | (xsave ? 0x40000u : 0); /* OSXMMEXCPT OSFXSR PAE, OSXSAVE */
	s.efer = 0xd01;				/* NXE LMA LME SCE */
	if (ioctl(v->fd, KVM_SET_SREGS, &s) < 0)
		return failed(p, "KVM_SET_SREGS");
	msrs->nmsrs = ARRAY_SIZE(entries);
	memcpy(msrs->entries, entries, sizeof(entries));
	if (ioctl(v->fd, KVM_SET_MSRS, msrs) < 0)
		return failed(p, "KVM_SET_MSRS");
	return ioctl(v->fd, KVM_SET_REGS, &regs) < 0 ? failed(p, "KVM_SET_REGS") : 0;
}

static int run_guest(struct probe *p, struct vcpu *v)
{
	uint8_t features = 0;
	int r = create(p, v);

	if (r == 0)
		r = set_cpuid(p, v, &features);
	if (r < 0)
		return r;
	fill_memory(p, features);
	r = set_registers(p, v, features & 2);
	if (r < 0)
		return r;
	if (ioctl(v->fd, KVM_RUN, 0) < 0)
		return failed(p, "KVM_RUN");
	p->exit_reason = v->run->exit_reason;
	if (p->exit_reason == KVM_EXIT_INTERNAL_ERROR)
		p->suberror = v->run->internal.suberror;
	p->done = p->exit_reason == KVM_EXIT_IO && v->run->io.port == DONE_PORT &&
		  p->memory[PAGE] == STEP_DONE;
	return 0;
}

static void describe(const struct probe *p, bool in_time, struct vm_kvm_verdict *ret)
{
	unsigned step = MIN(p->memory[PAGE], (unsigned)STEP_TIMER);

	if (p->done) {
		*ret = (struct vm_kvm_verdict){ .usable = true, .reason = "usable" };
		return;
	}
	ret->usable = false;
	if (!in_time)
		snprintf(ret->reason, sizeof(ret->reason),
			 "it does not run a guest: %s does not end within %d ms", step_names[step],
			 KVM_PROBE_MS);
	else if (p->errnum)
		snprintf(ret->reason, sizeof(ret->reason), "it does not run a guest: %s failed: %s",
			 p->failed_call, strerror(p->errnum));
	else if (p->exit_reason == KVM_EXIT_INTERNAL_ERROR)
		snprintf(ret->reason, sizeof(ret->reason),
			 "it does not run a guest: %s fails (KVM internal error %u)",
			 step_names[step], p->suberror);
	else
		snprintf(ret->reason, sizeof(ret->reason),
			 "it does not run a guest: %s fails (KVM exit %u)", step_names[step],
			 p->exit_reason);
}

/* Runs the guest in a child and waits for it, not longer than its time. 0 or -errno. */
static int probe(int kvm, struct vm_kvm_verdict *ret)
{
	struct probe *p =
		mmap(NULL, sizeof(*p), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct pollfd done = { .fd = -1, .events = POLLIN };
	struct clone_args args = { .flags = CLONE_PIDFD,
				   .pidfd = (uint64_t)(uintptr_t)&done.fd,
				   .exit_signal = SIGCHLD };
	bool in_time;
	int pid;

	if (p == MAP_FAILED)
		return -errno;
	pid = sys_clone3(&args);
	if (pid == 0) {
		struct vcpu v = { .kvm = kvm };

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(run_guest(p, &v) < 0);
	}
	if (pid < 0) {
		munmap(p, sizeof(*p));
		return -errno;
	}
	in_time = poll(&done, 1, KVM_PROBE_MS) == 1;
	if (!in_time)
		sys_pidfd_send_signal(done.fd, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	close(done.fd);
	describe(p, in_time, ret);
	munmap(p, sizeof(*p));
	return 0;
}

int vm_kvm_probe(const char *run_root, struct vm_kvm_verdict *ret)
{
	_cleanup_close_ int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int r;

	*ret = (struct vm_kvm_verdict){ 0 };
	if (kvm < 0) {
		snprintf(ret->reason, sizeof(ret->reason), "/dev/kvm: %s%s", strerror(errno),
			 errno == EACCES ? " (is this user in the group kvm?)" : "");
		return 0;
	}
	if (vm_fact_get(run_root, "kvm", ret->reason, sizeof(ret->reason))) {
		ret->usable = !strcmp(ret->reason, "usable");
		return 0;
	}
	if (ioctl(kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION) {
		snprintf(ret->reason, sizeof(ret->reason), "/dev/kvm is not a KVM of version %d",
			 KVM_API_VERSION);
		return 0;
	}
	r = probe(kvm, ret);
	if (r == 0)
		vm_fact_set(run_root, "kvm", ret->reason);
	return r;
}

#else

int vm_kvm_probe(const char *run_root _unused_, struct vm_kvm_verdict *ret)
{
	*ret = (struct vm_kvm_verdict){
		.reason = "the probe knows x86-64 only, so emulation is used"
	};
	return 0;
}

#endif
