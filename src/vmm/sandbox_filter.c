/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system calls that each thread still needs once the guest runs; any other ends the process.
 * The programs are small enough to be written out here: architecture, then one comparison for each
 * call, and for ioctl() one for each request.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/futex.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "util/mem.h"
#include "vmm/sandbox.h"

#define PROGRAM_MAX 256

/* What both need: locks, eventfds, the end, what libc does for itself, and the devices, for a
 * vCPU's access to a register may start or stop one. */
static const int shared_calls[] = {
	SYS_futex,
	SYS_read,
	SYS_write,
	SYS_close,
	SYS_rt_sigreturn,
	SYS_rt_sigprocmask,
	SYS_exit,
	SYS_exit_group,
	SYS_epoll_ctl,
	SYS_clock_gettime,
	SYS_madvise,
	SYS_mmap,
	SYS_munmap,
	SYS_brk,
	SYS_mremap,
	SYS_readv,
	SYS_writev,
	SYS_preadv,
	SYS_pwritev,
	SYS_preadv2,
	SYS_pwritev2,
	SYS_pread64,
	SYS_pwrite64,
	SYS_fdatasync,
	SYS_fsync,
	SYS_fallocate,
	SYS_getrandom,
	SYS_sendmsg,
	SYS_recvmsg,
	SYS_sendto,
	SYS_recvfrom,
	SYS_poll,
	SYS_ppoll,
	SYS_io_uring_enter,
	SYS_shutdown,
	SYS_socket,
	SYS_connect,
	SYS_accept4,
	SYS_fcntl,
	SYS_timerfd_settime,
	SYS_tkill,
	SYS_tgkill,
	SYS_getpid,
	SYS_gettid,
	SYS_sched_yield,
	SYS_nanosleep,
	SYS_clock_nanosleep,
	SYS_restart_syscall,
	SYS_lseek,
	SYS_getsockopt,
	SYS_dup,
};
static const int main_calls[] = {
	SYS_epoll_wait,
	SYS_epoll_pwait,
	SYS_ioctl,
	SYS_set_tid_address,
	SYS_unlinkat,
	SYS_prctl,
	SYS_membarrier,
	/* threads: made once, before the first of them runs */
	SYS_clone,
	SYS_mprotect,
	SYS_set_robust_list,
	SYS_rt_sigaction,
	SYS_seccomp,
};
static const int vcpu_calls[] = { SYS_ioctl };

/* Requests of ioctl: the vCPU's own, and what a device's registers lead to. */
static const unsigned requests[] = {
	KVM_RUN,
	KVM_GET_REGS,
	KVM_GET_MP_STATE,
	KVM_KVMCLOCK_CTRL,
	KVM_SET_GSI_ROUTING,
	KVM_IRQFD,
	KVM_IOEVENTFD,
	TUNSETOFFLOAD,
	TUNSETVNETHDRSZ,
	TUNSETQUEUE,
	BLKDISCARD,
	BLKZEROOUT,
	0x5413 /* TIOCGWINSZ */,
	0x5401 /* TCGETS */,
	0x5402 /* TCSETS */,
};

struct program {
	struct sock_filter code[PROGRAM_MAX];
	unsigned n;
};

static void add(struct program *p, uint16_t op, uint32_t k, uint8_t yes, uint8_t no)
{
	if (p->n < PROGRAM_MAX)
		p->code[p->n++] = (struct sock_filter){ op, yes, no, k };
}

static void allow_if_equal(struct program *p, uint32_t value)
{
	add(p, BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1);
	add(p, BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
}

static void allow_calls(struct program *p, const int *calls, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (calls[i] != SYS_ioctl)
			allow_if_equal(p, (uint32_t)calls[i]);
}

static int install(const int *calls, size_t n)
{
	struct program p = { 0 };
	struct sock_fprog prog = { .filter = p.code };
	const uint32_t other = SECCOMP_RET_KILL_PROCESS;

	add(&p, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch), 0, 0);
	add(&p, BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0);
	add(&p, BPF_RET | BPF_K, other, 0, 0);
	add(&p, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr), 0, 0);
	/* KVM_RUN is the call that matters: ioctl comes first, its requests in order of use */
	add(&p, BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, (uint8_t)(2 + 2 * ARRAY_SIZE(requests)));
	add(&p, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1]), 0, 0);
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++)
		allow_if_equal(&p, requests[i]);
	add(&p, BPF_RET | BPF_K, other, 0, 0);
	allow_calls(&p, shared_calls, ARRAY_SIZE(shared_calls));
	allow_calls(&p, calls, n);
	add(&p, BPF_RET | BPF_K, other, 0, 0);
	if (p.n == PROGRAM_MAX)
		return -E2BIG;
	prog.len = (unsigned short)p.n;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) < 0)
		return -errno;
	return 0;
}

int sandbox_filter_main(void)
{
	return install(main_calls, ARRAY_SIZE(main_calls));
}

int sandbox_filter_vcpu(void)
{
	return install(vcpu_calls, ARRAY_SIZE(vcpu_calls));
}
