/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/host.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/statfs.h>
#include <sys/utsname.h>
#include <unistd.h>
#include "container/cgroup.h"
#include "store/store.h"
#include "util/err.h"
#include "util/io.h"
#include "util/linux.h"
#include "util/mem.h"
#include "util/self.h"
#include "util/str.h"
#include "vm/host.h"
#include "vm/kernel.h"
#include "vm/qemu/qemu.h"
#include "vm/share.h"

struct look {
	struct store *store;
	struct host_fact *facts;
	size_t count;
};

/* Adds a fact; the advice stands only when it is not fine. */
static void add(struct look *l, const char *topic, const char *name, enum host_level level,
		const char *advice, const char *fmt, ...) __attribute__((format(printf, 6, 7)));

static void add(struct look *l, const char *topic, const char *name, enum host_level level,
		const char *advice, const char *fmt, ...)
{
	struct host_fact *f;
	va_list ap;

	if (l->count >= HOST_FACTS_MAX)
		return;
	f = &l->facts[l->count++];
	*f = (struct host_fact){ .topic = topic, .name = name, .level = level };
	va_start(ap, fmt);
	vsnprintf(f->value, sizeof(f->value), fmt, ap);
	va_end(ap);
	if (level != HOST_FINE)
		snprintf(f->advice, sizeof(f->advice), "%s", advice);
}

static void look_host(struct look *l)
{
	struct utsname u;
	struct statfs fs;
	char free_bytes[16];
	bool root = geteuid() == 0;

	if (uname(&u) == 0)
		add(l, "Host", "kernel", HOST_FINE, "", "%s %s", u.release, u.machine);
	add(l, "Host", "user", root ? HOST_FINE : HOST_MISSING,
	    "containers and machines need root: use sudo", root ? "root" : "uid %u", geteuid());
	if (statfs(l->store->root, &fs) == 0) {
		uint64_t bytes = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize;

		add(l, "Host", "store", bytes > (1u << 30) ? HOST_FINE : HOST_SLOWER,
		    "less than 1 GB is left; images may not fit", "%s, %s free", l->store->root,
		    str_human_bytes(bytes, free_bytes));
	}
}

static bool has_filesystem(const char *name)
{
	_cleanup_free_ char *text = NULL, *line = str_printf("\t%s\n", name);

	return line && io_read_file(AT_FDCWD, "/proc/filesystems", 65536, &text, NULL) == 0 &&
	       strstr(text, line);
}

static void look_cgroups(struct look *l)
{
	const struct cgroup_ops *ops = cgroup_detect();
	_cleanup_free_ char *v2 = NULL;
	struct str_buf v1 = { 0 };

	if (!ops) {
		add(l, "Containers", "cgroups", HOST_MISSING,
		    "mount cgroups on " CGROUP_ROOT "; without them there are no limits", "none");
		return;
	}
	if (ops == &cgroup_v2 &&
	    io_read_file(AT_FDCWD, CGROUP_ROOT "/cgroup.controllers", 4096, &v2, NULL) == 0) {
		v2[strcspn(v2, "\n")] = 0;
		add(l, "Containers", "cgroups", HOST_FINE, "", "v2: %s", v2);
		return;
	}
	for (const char *const *c = cgroup_v1_controllers; *c; c++) {
		char path[64];

		snprintf(path, sizeof(path), CGROUP_ROOT "/%s", *c);
		if (access(path, F_OK) == 0)
			str_buf_printf(&v1, " %s", *c);
	}
	add(l, "Containers", "cgroups", HOST_FINE, "", "v1:%s", v1.data ? v1.data : "");
	str_buf_done(&v1);
}

static void look_namespaces(struct look *l)
{
	_cleanup_free_ char *max = NULL;
	bool user =
		io_read_file(AT_FDCWD, "/proc/sys/user/max_user_namespaces", 64, &max, NULL) == 0 &&
		strcmp(max, "0\n") != 0;
	int fd = sys_fsopen("overlay", FSOPEN_CLOEXEC);
	bool overlay = fd >= 0 || has_filesystem("overlay");

	fd_close(fd);
	add(l, "Containers", "overlay", overlay ? HOST_FINE : HOST_MISSING,
	    "load the kernel's overlay module (modprobe overlay)",
	    overlay ? "available" : "missing");
	add(l, "Containers", "user namespaces", user ? HOST_FINE : HOST_SLOWER,
	    "set sysctl user.max_user_namespaces", user ? "available" : "switched off");
	add(l, "Containers", "seccomp", prctl(PR_GET_SECCOMP) >= 0 ? HOST_FINE : HOST_MISSING,
	    "this kernel was built without seccomp; use --security-opt seccomp=unconfined",
	    prctl(PR_GET_SECCOMP) >= 0 ? "available" : "missing");
}

static void look_kvm(struct look *l)
{
	struct vm_kvm_verdict kvm = { 0 };
	int r = vm_kvm_probe(l->store->run_root, &kvm);

	if (r < 0)
		add(l, "Machines", "KVM", HOST_SLOWER, "machines run on software emulation",
		    "not probed: %s", strerror(-r));
	else
		add(l, "Machines", "KVM", kvm.usable ? HOST_FINE : HOST_SLOWER,
		    "machines run on software emulation, which is slower; on a host of your own, "
		    "switch "
		    "virtualisation on in the firmware and load kvm_intel or kvm_amd",
		    "%s", kvm.reason);
	add(l, "Machines", "hypervisor", HOST_FINE, "", "%s",
	    kvm.usable ? "proa-vmm, on KVM" : "QEMU, by software emulation");
}

static void look_machines(struct look *l)
{
	_cleanup_free_ char *qemu = NULL, *virtiofsd = NULL;
	struct err err = ERR_INIT;
	struct vm_kernel kernel = { 0 };

	look_kvm(l);
	if (qemu_find(&qemu, &err) == 0)
		add(l, "Machines", "QEMU", HOST_FINE, "", "%s", qemu);
	else
		add(l, "Machines", "QEMU", HOST_MISSING, "apt install qemu-system-x86", "missing");
	if (vm_share_find(&virtiofsd, &err) == 0)
		add(l, "Machines", "virtiofsd", HOST_FINE, "", "%s", virtiofsd);
	else
		add(l, "Machines", "virtiofsd", HOST_MISSING,
		    "apt install qemu-system-common; without it machines have no -v", "missing");
	if (vm_kernel_find(l->store->root, NULL, &kernel, &err) == 0)
		add(l, "Machines", "guest kernel", HOST_FINE, "", "%s",
		    kernel.dir ? kernel.dir : kernel.image);
	else
		add(l, "Machines", "guest kernel", HOST_MISSING, "proa kernel pull", "none");
	vm_kernel_done(&kernel);
}

static void look_helper(struct look *l, const char *topic, const char *name)
{
	_cleanup_free_ char *path = NULL;
	bool found = self_find_helper(name, &path, NULL) == 0;

	add(l, topic, name, found ? HOST_FINE : HOST_MISSING,
	    "this installation of proa is incomplete: make install", "%s",
	    found ? path : "missing");
}

static bool in_path(const char *name)
{
	static const char *const dirs[] = { "/usr/local/sbin", "/usr/local/bin", "/usr/sbin",
					    "/usr/bin",	       "/sbin",		 "/bin" };

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		_cleanup_free_ char *path = str_printf("%s/%s", dirs[i], name);

		if (path && access(path, X_OK) == 0)
			return true;
	}
	return false;
}

size_t host_look(struct store *s, struct host_fact facts[HOST_FACTS_MAX])
{
	struct look l = { .store = s, .facts = facts };
	bool mkfs = in_path("mkfs.erofs"), ext4 = in_path("mkfs.ext4");

	look_host(&l);
	look_cgroups(&l);
	look_namespaces(&l);
	look_helper(&l, "Containers", "proa-init");
	look_helper(&l, "Containers", "proa-seccomp");
	look_helper(&l, "Images", "proa-image");
	look_machines(&l);
	add(&l, "Machines", "mkfs.erofs", mkfs ? HOST_FINE : HOST_MISSING,
	    "apt install erofs-utils", mkfs ? "available" : "missing");
	add(&l, "Machines", "mkfs.ext4", ext4 ? HOST_FINE : HOST_MISSING, "apt install e2fsprogs",
	    ext4 ? "available" : "missing");
	return l.count;
}
