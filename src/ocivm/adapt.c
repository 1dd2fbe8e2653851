/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container's plan for a machine of its own kernel.
 *
 * What belongs to the container's kernel is the guest's from here on: namespaces are made there and
 * not joined, limits are those of its cgroups. What belongs to the host stays here: hooks, and the
 * directories that are shared. What is neither, because it ties the container to the host's kernel
 * (labels, devices, id maps, notifications of system calls), is refused with the reason.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include "ocivm/ocivm.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/str.h"
#include "vm/machine.h"

static int refuse(struct err *err, const char *what, const char *why)
{
	return err_set(err, EOPNOTSUPP, "%s: %s; run it as a container, or leave it out", what,
		       why);
}

int adapt_process(const struct plan_process *p, struct err *err)
{
	if (!str_empty(p->apparmor))
		return refuse(
			err, "AppArmor profile",
			"profiles are loaded into the host's kernel, and a machine has its own "
			"(engines: --security-opt apparmor=unconfined)");
	if (!str_empty(p->selinux))
		return refuse(
			err, "SELinux label",
			"labels mean something to the host's kernel, and a machine has its own "
			"(engines: --security-opt label=disable)");
	if (p->notify.listener)
		return refuse(
			err, "seccomp listenerPath (SCMP_ACT_NOTIFY)",
			"a descriptor of the guest's kernel cannot be handed out of the machine");
	return 0;
}

/* There is no host namespace to share. */
static int check_namespaces(const struct plan *p, struct err *err)
{
	static const struct {
		uint32_t ns;
		const char *what;
	} needed[] = {
		{ PLAN_NS_NET, "network namespace (--network host)" },
		{ PLAN_NS_PID, "pid namespace (--pid host)" },
		{ PLAN_NS_IPC, "ipc namespace (--ipc host)" },
		{ PLAN_NS_UTS, "uts namespace (--uts host)" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(needed); i++)
		if (!(p->namespaces & needed[i].ns))
			return err_set(err, EOPNOTSUPP,
				       "no %s: a machine has its own kernel and cannot share that "
				       "of the host; leave it out, or run it as a container",
				       needed[i].what);
	if (p->namespaces & PLAN_NS_USER)
		return refuse(err, "user namespace", "a machine has users of its own");
	return 0;
}

int adapt_update(const struct plan_resources *r, struct err *err)
{
	if (r->throttle_count || r->block_weight_count)
		return refuse(err, "blockIO limits of a device",
			      "a machine does not have the host's devices");
	if (r->rdma_count || r->net_priority_count)
		return refuse(err, "limits of RDMA devices and priorities of interfaces",
			      "a machine does not have the host's devices");
	return 0;
}

static int check_host_things(const struct plan *p, struct err *err)
{
	if (!str_empty(p->root.label))
		return refuse(
			err, "mountLabel",
			"labels mean something to the host's kernel, and a machine has its own "
			"(engines: --security-opt label=disable)");
	if (p->net_device_count)
		return refuse(err, "linux.netDevices",
			      "an interface of the host cannot be moved into a machine");
	if (p->rdt.set)
		return refuse(err, "linux.intelRdt", "a machine has no cache allocation");
	return adapt_update(&p->resources, err);
}

/* ---- devices and mounts
 * -------------------------------------------------------------------------------------
 */

static bool is_standard_device(dev_t d)
{
	return (major(d) == 1 && minor(d) >= 3 && minor(d) <= 9) ||
	       (major(d) == 5 && minor(d) <= 2);
}

/* May it use every device there is (--privileged)? */
static bool all_devices_allowed(const struct plan_resources *r)
{
	const struct plan_device_rule *last =
		r->device_rule_count ? &r->device_rules[r->device_rule_count - 1] : NULL;

	return last && last->allow && last->type == 'a' && last->access == 7;
}

/* What is listed are the host's; who may use all of them gets all that the guest's kernel has. */
static int adapt_devices(struct plan *p, struct err *err)
{
	bool all = all_devices_allowed(&p->resources);
	size_t kept = 0;
	int r = 0;

	for (size_t i = 0; i < p->device_count; i++) {
		struct plan_device d = p->devices[i];
		bool own = d.type == 'p' ||
			   (d.type == 'c' && is_standard_device(makedev(d.major, d.minor)));

		if (!own && !all && r == 0)
			r = err_set(err, EOPNOTSUPP,
				    "device %s: a machine does not have the host's devices; leave "
				    "it out, or run it as a container",
				    d.path);
		if (!own && all)
			free(d.path);
		else
			p->devices[kept++] = d;
	}
	p->device_count = kept;
	p->privileged = all;
	return r;
}

static int check_bind(const struct plan_mount *m, struct err *err)
{
	bool follow = !(m->flags & PLAN_MOUNT_SOURCE_NOFOLLOW);
	struct stat st;

	if (m->uid_map_count || (m->flags & PLAN_MOUNT_IDMAP_CONTAINER))
		return err_set(err, EOPNOTSUPP,
			       "mount \"%s\" on %s with mapped ids: a machine has users of its own",
			       m->source, m->target);
	if (fstatat(AT_FDCWD, m->source, &st, follow ? 0 : AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, errno, "mount \"%s\" on %s", m->source, m->target);
	if (S_ISLNK(st.st_mode))
		return err_set(err, EOPNOTSUPP,
			       "mount \"%s\" on %s: a symbolic link itself cannot be shared with a "
			       "machine",
			       m->source, m->target);
	if (S_ISSOCK(st.st_mode))
		return err_set(
			err, EOPNOTSUPP,
			"mount \"%s\" on %s: a socket of the host's kernel cannot be reached "
			"from a machine",
			m->source, m->target);
	if ((S_ISCHR(st.st_mode) && !is_standard_device(st.st_rdev)) || S_ISBLK(st.st_mode))
		return err_set(err, EOPNOTSUPP,
			       "mount \"%s\" on %s: a machine does not have the host's devices",
			       m->source, m->target);
	return 0;
}

/* File systems that are a window to the guest's kernel need nothing of the host. */
static int check_fs(const struct plan_mount *m, struct err *err)
{
	static const char *const windows[] = { "binfmt_misc", "bpf",	  "cgroup2",	"configfs",
					       "debugfs",     "efivarfs", "fusectl",	"hugetlbfs",
					       "pstore",      "ramfs",	  "securityfs", "tracefs" };

	for (size_t i = 0; m->fs && i < ARRAY_SIZE(windows); i++)
		if (!strcmp(m->fs, windows[i]))
			return 0;
	return err_set(err, EOPNOTSUPP,
		       "mount \"%s\" (%s) on %s: a machine has neither the host's devices nor its "
		       "paths; mount it on the host and bind the directory",
		       m->source ? m->source : "", m->fs ? m->fs : "", m->target);
}

static int check_mount(const struct plan_mount *m, struct err *err)
{
	switch (m->kind) {
	case PLAN_MOUNT_BIND: return check_bind(m, err);
	case PLAN_MOUNT_FS: return check_fs(m, err);
	default: return 0;
	}
}

static int adapt_mounts(struct plan *p, void (*warn)(void *data, const struct err *warning),
			void *data, struct err *err)
{
	size_t kept = 0;
	int r = 0;

	for (size_t i = 0; i < p->mount_count; i++) {
		struct plan_mount m = p->mounts[i];

		if (r == 0)
			r = check_mount(&m, err);
		if (r < 0 && (m.flags & PLAN_MOUNT_OPTIONAL)) {
			warn(data, err);
			err_clear(err);
			plan_mount_done(&m);
			r = 0;
			continue;
		}
		p->mounts[kept++] = m;
	}
	p->mount_count = kept;
	return r;
}

/* ---- the whole ----------------------------------------------------------------------------------
 */

/* "No limit" is a number to the backends that count a machine's size from it. */
static void adapt_limits(struct plan_resources *r)
{
	uint64_t *const limits[] = { &r->memory_bytes, &r->memory_reservation_bytes,
				     &r->cpu_quota_us };

	for (size_t i = 0; i < ARRAY_SIZE(limits); i++)
		if (*limits[i] == PLAN_UNLIMITED)
			*limits[i] = 0;
	/* no limit of memory: then none of both together */
	if (!r->memory_bytes && r->memory_swap_bytes == PLAN_UNLIMITED)
		r->memory_swap_bytes = 0;
}

static void adapt_namespaces(struct plan *p)
{
	for (unsigned i = 0; i < PLAN_NS_COUNT; i++) {
		free(p->joined_paths[i]);
		p->joined_paths[i] = NULL;
	}
	p->joined = 0;
}

int adapt_plan(struct plan *p, struct plan_hooks ret_hooks[PLAN_HOOK_POINTS],
	       void (*warn)(void *data, const struct err *warning), void *data, struct err *err)
{
	int r = check_namespaces(p, err);

	if (r == 0)
		r = check_host_things(p, err);
	if (r == 0)
		r = adapt_process(&p->process, err);
	if (r == 0)
		r = adapt_devices(p, err);
	if (r == 0)
		r = adapt_mounts(p, warn, data, err);
	if (r < 0)
		return r;
	adapt_limits(&p->resources);
	/* a limit is enforced in the guest to the byte, as a container's; the machine is not made
	 * small for it, for then the kernel would refuse what a container is killed for */
	if (!p->vm.memory_bytes)
		p->vm.memory_bytes = VM_MEMORY_DEFAULT;
	adapt_namespaces(p);
	for (unsigned i = 0; i < PLAN_HOOK_POINTS; i++) {
		/* their paths are those of the root, which the guest has */
		if (i == PLAN_HOOK_START_CONTAINER)
			continue;
		ret_hooks[i] = p->hooks[i];
		p->hooks[i] = (struct plan_hooks){ 0 };
	}
	/* the guest's own: nobody else is there */
	free(p->cgroup);
	p->cgroup = NULL;
	p->root.at_path = p->root.no_pivot = false;
	p->auto_remove = false;
	return 0;
}
