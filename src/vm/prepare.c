/* SPDX-License-Identifier: Apache-2.0 */
/* What a machine is made of before its processes start: files on disk, and KVM or emulation. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "plan/plan.h"
#include "util/err.h"
#include "util/io.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/str.h"
#include "vm/disk.h"
#include "vm/machine.h"
#include "vm/share.h"

#define EMULATION "emulation" /* QEMU, and no KVM even where there is one */

static bool is_vmm_path(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && !strcmp(slash + 1, vm_proa_vmm.name);
}

/* proa-vmm where KVM is usable, QEMU elsewhere, unless the plan says which. */
static int choose_kind(const struct plan_vm *vm, const struct vm_kvm_verdict *kvm,
		       const struct vm_hypervisor **ret, struct err *err)
{
	const char *wanted = vm->hypervisor;

	if (!wanted)
		/* arguments for a hypervisor that nobody named are QEMU's */
		*ret = kvm->usable && !vm->hypervisor_args ? &vm_proa_vmm : &vm_qemu;
	else if (!strcmp(wanted, vm_proa_vmm.name) || is_vmm_path(wanted))
		*ret = &vm_proa_vmm;
	else if (!strcmp(wanted, vm_qemu.name) || !strcmp(wanted, EMULATION) || strchr(wanted, '/'))
		*ret = &vm_qemu;
	else
		return err_set(err, EINVAL,
			       "no hypervisor \"%s\": it is %s, %s, " EMULATION
			       " (qemu without KVM), or a path of one",
			       wanted, vm_proa_vmm.name, vm_qemu.name);
	if (*ret == &vm_proa_vmm && !kvm->usable)
		return err_set(err, ENOTSUP,
			       "proa-vmm needs KVM, and here %s; qemu runs without (--hypervisor "
			       "qemu)",
			       kvm->reason);
	return 0;
}

/* By what was seen to work on this host since it was started. */
static int choose_hypervisor(struct vm_machine *m, const char *facts, struct vm_spec *spec,
			     struct err *err)
{
	const struct plan_vm *vm = &m->plan->vm;
	struct vm_kvm_verdict kvm = { 0 };
	bool path = vm->hypervisor && strchr(vm->hypervisor, '/');
	int r;

	if (vm->hypervisor && !strcmp(vm->hypervisor, EMULATION))
		snprintf(kvm.reason, sizeof(kvm.reason), "not wanted");
	else if (vm_kvm_probe(facts, &kvm) < 0)
		kvm.usable = false;
	r = choose_kind(vm, &kvm, &m->kind, err);
	if (r == 0)
		r = m->kind->find(path ? vm->hypervisor : NULL, &m->binary, err);
	if (r < 0)
		return r;
	spec->kvm = kvm.usable;
	if (!kvm.usable) {
		spec->tsc_khz = vm_tsc_khz(facts);
		/* an emulated CPU is a busy thread of this host: only those that were asked for */
		spec->cpus = vm->cpus ? vm->cpus : 1;
	}
	log_verbose("machine: %s, %s (KVM: %s), %llu MiB, %u CPU%s", m->kind->name,
		    kvm.usable ? "KVM" : "software emulation", kvm.reason,
		    (unsigned long long)(spec->memory_bytes >> 20), spec->cpus,
		    spec->cpus == 1 ? "" : "s");
	return 0;
}

static int copy_into(int to, const char *path, off_t *ret_size, struct err *err)
{
	_cleanup_close_ int from = open(path, O_RDONLY | O_CLOEXEC);
	char piece[65536];
	ssize_t n;

	if (from < 0)
		return err_sys(err, errno, "open the initrd \"%s\"", path);
	*ret_size = 0;
	while ((n = io_read_full(from, piece, sizeof(piece))) > 0) {
		int r = io_write_full(to, piece, (size_t)n);

		if (r < 0)
			return err_sys(err, -r, "write the machine's initrd");
		*ret_size += n;
	}
	return n < 0 ? err_sys(err, (int)-n, "read the initrd \"%s\"", path) : 0;
}

/*
 * The kernel unpacks one archive after the other and of two files of a name keeps the later: with
 * ours behind the plan's, /init is ours. Archives start at multiples of four.
 */
static int join_initrd(struct vm_machine *m, struct err *err)
{
	static const char zeros[4];
	_cleanup_close_ int to = -EBADF;
	off_t size, ours;
	int r;

	m->joined_initrd = str_printf("%s/" VM_INITRD_NAME, m->inst->dir);
	if (!m->joined_initrd)
		return err_set(err, ENOMEM, "out of memory");
	to = open(m->joined_initrd, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (to < 0)
		return err_sys(err, errno, "make %s", m->joined_initrd);
	r = copy_into(to, m->plan->vm.initrd, &size, err);
	if (r == 0 && size % 4) {
		r = io_write_full(to, zeros, 4 - (size_t)(size % 4));
		if (r < 0)
			err_sys(err, -r, "write the machine's initrd");
	}
	return r == 0 ? copy_into(to, m->initramfs, &ours, err) : r;
}

static int check_file(const char *path, const char *what, int mode, struct err *err)
{
	struct stat st;

	if (!path)
		return err_set(err, EINVAL, "the plan names no %s", what);
	if (stat(path, &st) < 0 || access(path, mode) < 0)
		return err_sys(err, errno, "open the %s %s", what, path);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_set(err, EINVAL, "the %s %s is neither a file nor a disk", what, path);
	return 0;
}

static int prepare_disks(struct vm_machine *m, struct vm_spec *spec, struct err *err)
{
	const struct plan *p = m->plan;
	int r;

	switch (vm_root_of(p)) {
	case VM_ROOT_SHARED: return 0;
	case VM_ROOT_IMAGE:
		spec->image = p->vm.image;
		spec->image_read_only = p->root.read_only;
		return check_file(p->vm.image, "image", p->root.read_only ? R_OK : R_OK | W_OK,
				  err);
	case VM_ROOT_DISKS: break;
	}
	r = check_file(p->vm.disk, "image's disk", R_OK, err);
	if (r == 0)
		r = vm_disk_make(m->inst->store, m->inst->dir, &m->disk, err);
	spec->root_disk = p->vm.disk;
	spec->own_disk = m->disk;
	return r;
}

int vm_machine_prepare(struct vm_machine *m, const char *facts, struct vm_spec *spec,
		       struct err *err)
{
	const struct instance *inst = m->inst;
	const struct plan *p = m->plan;
	unsigned uses = (vm_share_count(p) > 0 ? KERNEL_SHARE : 0) |
			(vm_root_of(p) == VM_ROOT_IMAGE ? KERNEL_IMAGE : 0);
	int r = choose_hypervisor(m, facts, spec, err);

	if (r == 0)
		r = vm_kernel_find(inst->store, p->vm.kernel, &m->kernel, err);
	if (r == 0)
		r = prepare_disks(m, spec, err);
	if (r == 0)
		r = vm_kernel_initramfs(inst->store, &m->kernel, inst->stage, uses, &m->initramfs,
					err);
	if (r == 0 && p->vm.initrd)
		r = join_initrd(m, err);
	if (r < 0)
		return r;
	spec->binary = m->binary;
	spec->kernel = m->kernel.image;
	spec->initramfs = m->joined_initrd ? m->joined_initrd : m->initramfs;
	spec->parameters = p->vm.parameters;
	spec->more_args = p->vm.hypervisor_args;
	log_verbose("machine: kernel %s", m->kernel.image);
	return 0;
}
