/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system calls that each thread still needs once the guest runs; any other ends the process.
 * The programs are small enough to be written out here: architecture, then one comparison for each
 * call, and for ioctl() one for each request.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "util/mem.h"
#include "vmm/sandbox.h"

#define PROGRAM_MAX 256

/* What both need: locks, eventfds, the end, what libc does for itself, and the devices, for a
 * vCPU's access to a register may start or stop one. */
static const int shared_calls[] = {
	SYS_futex,	   SYS_read,	     SYS_write,
	SYS_close,	   SYS_rt_sigreturn, SYS_rt_sigprocmask,
	SYS_exit,	   SYS_exit_group,   SYS_restart_syscall,
	SYS_clock_gettime, SYS_epoll_ctl,    SYS_timerfd_settime,
	SYS_tkill,	   SYS_madvise,	     SYS_munmap,
	SYS_mremap,	   SYS_brk,	     SYS_readv,
	SYS_writev,	   SYS_preadv2,	     SYS_pwritev2,
	SYS_fdatasync,	   SYS_fallocate,    SYS_io_uring_enter,
	SYS_getrandom,	   SYS_sendmsg,	     SYS_sendto,
	SYS_recvmsg,	   SYS_recvfrom,     SYS_poll,
	SYS_shutdown,	   SYS_connect,	     SYS_accept4,
};
static const int main_calls[] = {
	SYS_epoll_wait,
	SYS_epoll_pwait,
	SYS_fcntl,
	SYS_unlinkat,
};

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
	TUNSETQUEUE,
	0x5402 /* TCSETS: the terminal as it was */,
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
		allow_if_equal(p, (uint32_t)calls[i]);
}

/* A call with an argument that must, or (@forbidden) must not, have these bits. */
static void allow_by_argument(struct program *p, uint32_t call, unsigned argument, uint32_t value,
			      bool forbidden)
{
	add(p, BPF_JMP | BPF_JEQ | BPF_K, call, 0, 4);
	add(p, BPF_LD | BPF_W | BPF_ABS,
	    (uint32_t)offsetof(struct seccomp_data, args) + 8 * argument, 0, 0);
	if (forbidden)
		add(p, BPF_JMP | BPF_JSET | BPF_K, value, 0, 1);
	else
		add(p, BPF_JMP | BPF_JEQ | BPF_K, value, 1, 0);
	add(p, BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS, 0, 0);
	add(p, BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
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
	allow_by_argument(&p, SYS_mmap, 2, PROT_EXEC, true);
	allow_by_argument(&p, SYS_socket, 0, AF_UNIX, false);
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
	return install(NULL, 0);
}
