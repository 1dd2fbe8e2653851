/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line of a microvm: no firmware menus, no PCI, no video, a handful of virtio-mmio
 * devices that the guest finds through ACPI.
 *
 * Why each kernel option is there (numbers: software emulation, stock Debian cloud kernel;
 * docs/performance.md):
 *   cryptomgr.notests      70 % of the boot's instructions are self-tests of ciphers.
 *   tsc_early_khz=         without it the kernel measures the time stamp counter against an
 * emulated timer chip: some 50 ms, and on a busy host it fails now and then, and with the counter
 * the only clock of a microvm, the guest then hangs for ever. tsc=reliable           no other clock
 * is there to watch it. 8250.nr_uarts=1        no search for three more serial ports, each by
 * emulated port accesses. audit=0, lsm=          nothing in the guest uses AppArmor, TOMOYO or IMA;
 * a container gets none of them from proa either. Landlock and Yama stay, for programs use them.
 *   random.trust_cpu       RDRAND, emulated by a good generator: nothing waits for entropy.
 *   panic=-1 reboot=t      a panic restarts at once, and -no-reboot turns that into QEMU's end.
 *   mitigations=off        only in emulation, where there is no speculation to guard against.
 *   init_on_alloc=0        only in emulation: a tenth of the boot's time goes into clearing kernel
 *                          memory that is overwritten next (pages for programs are always cleared).
 *                          Not with a share: virtiofsd writes a program's pages into the guest's
 *                          memory behind QEMU's back, which then goes on with the translation of
 *                          what was in them before. Clearing a page first makes QEMU forget that.
 *   noreplace-smp          only with one emulated processor: the kernel takes the lock prefix from
 *                          8,000 instructions, by mapping each once more; QEMU ignores the prefix
 *                          then anyway.
 */
#include "vm/qemu/qemu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "protocol.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/str.h"
#include "vm/spawn.h"

#define QEMU_BINARY "qemu-system-x86_64"

/*
 * All that QEMU can emulate, but for three things: without ERMS the kernel clears and copies pages
 * by eight bytes and not by one, which emulated is a fifth of a boot's time; page tables of five
 * levels are walked for nothing; and "max" calls itself a processor of 2005, one of whose errata
 * (AMD's number 400) makes the kernel believe that the local APIC's timer stops when it idles. It
 * then relies on the old timer chip, whose interrupts get lost when a guest of this guest runs.
 */
#define EMULATED_CPU "max,-erms,-la57,family=23,model=49,stepping=0"

int qemu_find(char **ret, struct err *err)
{
	return vm_find_program(QEMU_BINARY, "machines run on it", "qemu-system-x86", ret, err);
}

int qemu_choose(const char *path, char **ret, struct err *err)
{
	if (!path)
		return qemu_find(ret, err);
	if (access(path, X_OK) < 0)
		return err_sys(err, errno, "execute the hypervisor \"%s\"", path);
	*ret = strdup(path);
	return *ret ? 0 : err_set(err, ENOMEM, "out of memory");
}

char *qemu_kernel_command_line(const struct vm_spec *s)
{
	struct str_buf b = { 0 };

	str_buf_printf(&b, "console=ttyS0 %s reboot=t " VM_KERNEL_WORDS,
		       s->verbose_console ? "ignore_loglevel" : "quiet");
	if (s->tsc_khz && !s->kvm)
		str_buf_printf(&b, " tsc_early_khz=%llu", (unsigned long long)s->tsc_khz);
	if (!s->kvm)
		str_buf_printf(&b, " mitigations=off init_on_alloc=%d no_timer_check",
			       s->share_fd >= 0);
	if (!s->kvm && s->cpus == 1)
		str_buf_printf(&b, " noreplace-smp");
	/* last: of two values of one parameter the kernel takes the later */
	if (!str_empty(s->parameters))
		str_buf_printf(&b, " %s", s->parameters);
	if (b.failed)
		str_buf_done(&b);
	return b.data;
}

/* Commas end a value in QEMU's options and are doubled to stand for themselves. */
static void add_value(struct str_buf *b, const char *value)
{
	for (; *value; value++) {
		if (*value == ',')
			str_buf_add(b, ",", 1);
		str_buf_add(b, value, 1);
	}
}

struct args {
	char **v;
	bool failed;
};

static void add(struct args *a, const char *word)
{
	if (strv_add(&a->v, word) < 0)
		a->failed = true;
}

/* An option and its value, made by printf. */
static void __attribute__((format(printf, 3, 4)))
option(struct args *a, const char *name, const char *fmt, ...)
{
	char *value = NULL;
	va_list ap;

	add(a, name);
	va_start(ap, fmt);
	if (vasprintf(&value, fmt, ap) < 0)
		value = NULL;
	va_end(ap);
	if (!value || strv_take(&a->v, value) < 0)
		a->failed = true;
}

static void add_disk(struct args *a, const char *path, const char *node, const char *serial,
		     bool read_only, bool lock)
{
	struct str_buf b = { 0 };

	if (!path)
		return;
	/*
	 * no-flush: who reports what, and when it is on the disk, is decided by the guest's sync
	 * and the page cache of this host, which outlives both QEMU and proa.
	 */
	str_buf_printf(&b, "driver=file,node-name=%s,locking=%s,aio=threads,cache.no-flush=on,%s",
		       node, lock ? "on" : "off",
		       read_only ? "read-only=on,filename=" : "discard=unmap,filename=");
	add_value(&b, path);
	if (b.failed)
		a->failed = true;
	else
		option(a, "-blockdev", "%s", b.data);
	option(a, "-device", "virtio-blk-device,drive=%s,serial=%s%s", node, serial,
	       read_only ? ",discard=off,write-zeroes=off" : "");
	str_buf_done(&b);
}

static void add_machine(struct args *a, const struct vm_spec *s)
{
	unsigned long long mib = s->memory_bytes >> 20;
	const char *memory = s->share_fd >= 0 ? ",memory-backend=mem" : "";

	/*
	 * Emulation needs the PIC and the PIT (without them it has no clock); under KVM the kernel
	 * has its own. Without the real-time clock the kernel looks for one during a second; the
	 * time itself is set by the agent.
	 */
	option(a, "-M", "microvm,x-option-roms=off,rtc=on,auto-kernel-cmdline=off%s%s",
	       s->kvm ? ",pit=off,pic=off" : "", memory);
	option(a, "-accel", "%s", s->kvm ? "kvm" : "tcg,thread=multi");
	option(a, "-cpu", "%s", s->kvm ? "host" : EMULATED_CPU);
	option(a, "-smp", "%u", s->cpus);
	option(a, "-m", "%lluM", mib);
	if (s->share_fd >= 0)
		option(a, "-object", "memory-backend-memfd,id=mem,size=%lluM,share=on", mib);
	option(a, "-global", "virtio-mmio.force-legacy=false");
}

static int qemu_command(const struct vm_spec *s, char ***ret, int *ret_fd _unused_)
{
	_cleanup_free_ char *append = qemu_kernel_command_line(s);
	struct args a = { 0 };

	if (!append)
		return -ENOMEM;
	add(&a, s->binary);
	option(&a, "-name", "proa");
	add(&a, "-nodefaults");
	add(&a, "-no-user-config");
	add(&a, "-no-reboot");
	option(&a, "-display", "none");
	option(&a, "-sandbox",
	       "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
	add_machine(&a, s);
	option(&a, "-kernel", "%s", s->kernel);
	option(&a, "-initrd", "%s", s->initramfs);
	option(&a, "-append", "%s", append);
	option(&a, "-chardev", "stdio,id=console,signal=off");
	option(&a, "-serial", "chardev:console");
	option(&a, "-device", "virtio-serial-device,max_ports=2");
	option(&a, "-chardev", "socket,id=agent,fd=%d", s->agent_fd);
	option(&a, "-device", "virtserialport,chardev=agent,name=" GUEST_PORT_NAME);
	add_disk(&a, s->root_disk, "root", GUEST_ROOT_LABEL, true, false);
	add_disk(&a, s->own_disk, "own", GUEST_DISK_LABEL, false, false);
	/* somebody's own file: two machines that write to it would ruin it */
	add_disk(&a, s->image, "image", GUEST_IMAGE_LABEL, s->image_read_only, true);
	if (s->share_fd >= 0) {
		option(&a, "-chardev", "socket,id=share,fd=%d", s->share_fd);
		option(&a, "-device", "vhost-user-fs-device,chardev=share,tag=" GUEST_SHARE_TAG);
	}
	for (char *const *arg = s->more_args; arg && *arg; arg++)
		add(&a, *arg);
	if (a.failed) {
		strv_free(a.v);
		return -ENOMEM;
	}
	*ret = a.v;
	return 0;
}

const struct vm_hypervisor vm_qemu = { .name = "qemu",
				       .find = qemu_choose,
				       .command = qemu_command };
