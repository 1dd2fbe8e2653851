/* SPDX-License-Identifier: Apache-2.0 */
/* What a machine is made of, and the programs that can run one: proa-vmm on KVM, and QEMU. */
#ifndef PROA_VM_HYPERVISOR_H
#define PROA_VM_HYPERVISOR_H

#include <stdbool.h>
#include <stdint.h>

struct err;

struct vm_spec {
	const char *binary; /* absolute path of the hypervisor */
	const char *kernel; /* an ELF with a PVH note, or a bzImage */
	const char *initramfs;
	const char *root_disk; /* EROFS, never written, shared by machines; NULL: none */
	const char *own_disk;  /* ext4, of this machine alone; NULL: none */
	const char *image;     /* a disk with a root of any kind; NULL: none */
	bool image_read_only;
	const char *parameters; /* more words for the kernel's command line, NULL: none */
	char *const *more_args; /* more of the hypervisor's own, NULL: none */
	uint64_t memory_bytes;
	uint32_t cpus;
	bool kvm;	      /* else software emulation */
	uint64_t tsc_khz;     /* rate of the host's time stamp counter, 0: unknown */
	int agent_fd;	      /* a connected socket: the agent's port */
	int share_fd;	      /* a socket connected to virtiofsd; -1: no share */
	int config_fd;	      /* where a descriptor of command() will be in the program */
	bool verbose_console; /* the kernel says all it does */
};

struct vm_hypervisor {
	const char *name; /* as users choose it */
	/* Finds the program, or takes the one at @path if that is not NULL. -ENOENT says what to
	 * do. The caller frees *@ret. */
	int (*find)(const char *path, char **ret, struct err *err);
	/*
	 * What to execute for this spec: the argument vector, the caller's to free with
	 * strv_free(). The serial console is standard output. *@ret_fd (-1 from the caller) may
	 * become a descriptor, the caller's, that the program finds at spec->config_fd. 0 or
	 * -errno.
	 */
	int (*command)(const struct vm_spec *spec, char ***ret, int *ret_fd);
	/* Is put into a process namespace of its own, if we may. */
	bool own_pids;
};

extern const struct vm_hypervisor vm_qemu, vm_proa_vmm;

/* The kernel's parameters that both have in common (qemu/command.c says why). */
#define VM_KERNEL_WORDS                                                                            \
	"panic=-1 cryptomgr.notests tsc=reliable 8250.nr_uarts=1 audit=0 "                         \
	"lsm=landlock,yama,bpf random.trust_cpu=on rcupdate.rcu_expedited=1"

#endif
