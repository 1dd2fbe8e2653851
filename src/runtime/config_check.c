/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What no single member of config.json shows: what is missing, what contradicts, and what the
 * runtime-spec adds by itself (default devices and rules).
 */
#include "runtime/config_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>
#include "util/err.h"
#include "util/mem.h"
#include "util/str.h"

static bool is_new(const struct plan *p, uint32_t ns)
{
	return (p->namespaces & ~p->joined & ns) != 0;
}

static int check_required(const struct config *c, struct err *err)
{
	const struct plan *p = &c->plan;

	if (!c->oci_version)
		return err_set(err, EINVAL, CONFIG_NAME ": ociVersion is missing");
	if (!p->process.args)
		return err_set(err, EINVAL, CONFIG_NAME ": process is missing");
	if (!p->root.lowers && !p->vm.image)
		return err_set(err, EINVAL, CONFIG_NAME ": root.path is missing");
	if (!(p->namespaces & PLAN_NS_MOUNT))
		return err_set(err, EOPNOTSUPP,
			       CONFIG_NAME
			       ": linux.namespaces has no mount namespace: the container's "
			       "mounts would be the host's");
	return 0;
}

static int check_namespaces(const struct plan *p, struct err *err)
{
	if (p->hostname && p->hostname[0] && !is_new(p, PLAN_NS_UTS))
		return err_set(err, EINVAL,
			       CONFIG_NAME
			       ": hostname: it would be changed outside of the container; "
			       "this needs a new uts namespace");
	if (p->domainname && p->domainname[0] && !is_new(p, PLAN_NS_UTS))
		return err_set(err, EINVAL, CONFIG_NAME ": domainname needs a new uts namespace");
	if ((p->monotonic_offset_ns || p->boottime_offset_ns) && !is_new(p, PLAN_NS_TIME))
		return err_set(err, EINVAL,
			       CONFIG_NAME ": linux.timeOffsets needs a new time namespace");
	if (p->net_device_count && !(p->namespaces & PLAN_NS_NET))
		return err_set(err, EINVAL,
			       CONFIG_NAME
			       ": linux.netDevices needs a network namespace of its own");
	if (is_new(p, PLAN_NS_USER) && (!p->uid_map_count || !p->gid_map_count))
		return err_set(err, EINVAL,
			       CONFIG_NAME
			       ": linux.uidMappings and gidMappings are missing: a user "
			       "namespace needs both");
	if (!is_new(p, PLAN_NS_USER) && (p->uid_map_count || p->gid_map_count) &&
	    !(p->joined & PLAN_NS_USER))
		return err_set(err, EINVAL,
			       CONFIG_NAME
			       ": linux.uidMappings and gidMappings need a user namespace");
	return 0;
}

/* A setting that has no namespace would be the host's (sysctl(8), and the kernel's own lists). */
static int check_sysctl(const struct plan *p, const char *assignment, struct err *err)
{
	static const char *const ipc[] = {
		"kernel.msgmax=", "kernel.msgmnb=", "kernel.msgmni=", "kernel.sem=",
		"kernel.shmall=", "kernel.shmmax=", "kernel.shmmni=", "kernel.shm_rmid_forced="
	};
	_cleanup_free_ char *name = strdup(assignment);
	uint32_t needs = 0;

	if (!name)
		return err_set(err, ENOMEM, "out of memory");
	name[strcspn(name, "=")] = 0;
	if (strchr(name, '/') && strstr(name, ".."))
		return err_set(err, EINVAL, CONFIG_NAME ": linux.sysctl: \"%s\" is not a name",
			       name);
	memcpy(name, assignment, strlen(assignment));
	for (char *c = name; *c && *c != '='; c++)
		if (*c == '/')
			*c = '.';
	for (size_t i = 0; i < ARRAY_SIZE(ipc); i++)
		if (str_starts(name, ipc[i]))
			needs = PLAN_NS_IPC;
	if (str_starts(name, "fs.mqueue."))
		needs = PLAN_NS_IPC;
	else if (str_starts(name, "net."))
		needs = PLAN_NS_NET;
	else if (str_starts(name, "kernel.domainname="))
		needs = PLAN_NS_UTS;
	else if (str_starts(name, "user."))
		needs = PLAN_NS_USER;
	else if (str_starts(name, "kernel.hostname="))
		return err_set(err, EINVAL,
			       CONFIG_NAME
			       ": linux.sysctl: kernel.hostname: use the member hostname");
	name[strcspn(name, "=")] = 0;
	if (!needs)
		return err_set(err, EINVAL,
			       CONFIG_NAME ": linux.sysctl: %s is not in a namespace: it would be "
					   "changed for the whole host",
			       name);
	if (!(p->namespaces & needs))
		return err_set(err, EINVAL,
			       CONFIG_NAME
			       ": linux.sysctl: %s would be changed for the whole host: the "
			       "container shares that namespace with it",
			       name);
	return 0;
}

/* A machine has settings of its own, all of them. */
static int check_sysctls(const struct plan *p, struct err *err)
{
	int r = 0;

	for (char **v = p->sysctls; r == 0 && p->isolation == PLAN_CONTAINER && v && *v; v++)
		r = check_sysctl(p, *v, err);
	return r;
}

static int check_seccomp(struct config *c, struct err *err)
{
	struct plan_seccomp_notify *n = &c->plan.process.notify;

	if (n->metadata && !n->listener)
		return err_set(err, EINVAL,
			       CONFIG_NAME ": linux.seccomp.listenerMetadata needs listenerPath");
	if (c->seccomp.notifies && !n->listener)
		return err_set(err, EINVAL,
			       CONFIG_NAME ": linux.seccomp: SCMP_ACT_NOTIFY needs listenerPath");
	if (!c->seccomp.notifies) {
		free(n->listener);
		free(n->metadata);
		*n = (struct plan_seccomp_notify){ 0 };
	}
	return 0;
}

static int check_labels(const struct plan *p, struct err *err)
{
	bool wanted = (p->process.selinux && p->process.selinux[0]) ||
		      (p->root.label && p->root.label[0]);

	if (wanted && access("/sys/fs/selinux/enforce", F_OK) < 0)
		return err_set(err, EOPNOTSUPP,
			       CONFIG_NAME
			       ": selinuxLabel, mountLabel: SELinux is not enabled in this "
			       "kernel");
	return 0;
}

static const struct plan_device default_devices[] = {
	{ (char *)(uintptr_t) "/dev/null", 'c', 1, 3, 0666, 0, 0 },
	{ (char *)(uintptr_t) "/dev/zero", 'c', 1, 5, 0666, 0, 0 },
	{ (char *)(uintptr_t) "/dev/full", 'c', 1, 7, 0666, 0, 0 },
	{ (char *)(uintptr_t) "/dev/random", 'c', 1, 8, 0666, 0, 0 },
	{ (char *)(uintptr_t) "/dev/urandom", 'c', 1, 9, 0666, 0, 0 },
	{ (char *)(uintptr_t) "/dev/tty", 'c', 5, 0, 0666, 0, 0 },
};

static bool has_device(const struct plan *p, const char *path)
{
	for (size_t i = 0; i < p->device_count; i++)
		if (!strcmp(p->devices[i].path, path))
			return true;
	return false;
}

/* config-linux.md, "Default Devices" */
static int add_devices(struct plan *p)
{
	for (size_t i = 0; i < ARRAY_SIZE(default_devices); i++) {
		if (has_device(p, default_devices[i].path))
			continue;
		if (mem_grow(&p->devices, p->device_count, sizeof(*p->devices)) < 0)
			return -ENOMEM;
		p->devices[p->device_count] = default_devices[i];
		p->devices[p->device_count].path = strdup(default_devices[i].path);
		if (!p->devices[p->device_count++].path)
			return -ENOMEM;
	}
	return 0;
}

/*
 * The rules of runc, which engines rely on: nothing but what is listed, then the default devices,
 * terminals, and the making of any node.
 */
static int add_device_rules(struct plan_resources *r)
{
	static const struct plan_device_rule first = { false, 'a', -1, -1, 7 };
	static const struct plan_device_rule defaults[] = {
		{ true, 'c', -1, -1, 4 }, { true, 'b', -1, -1, 4 }, { true, 'c', 1, 3, 7 },
		{ true, 'c', 1, 8, 7 },	  { true, 'c', 1, 7, 7 },   { true, 'c', 5, 0, 7 },
		{ true, 'c', 1, 5, 7 },	  { true, 'c', 1, 9, 7 },   { true, 'c', 136, -1, 7 },
		{ true, 'c', 5, 2, 7 },
	};
	size_t n = r->device_rule_count, more = ARRAY_SIZE(defaults), skip = 1;
	struct plan_device_rule *rules = calloc(n + more + 1, sizeof(*rules));

	if (!rules)
		return -ENOMEM;
	rules[0] = first;
	if (n && r->device_rules[0].type == 'a')
		skip = 0;
	if (n)
		memcpy(rules + skip, r->device_rules, n * sizeof(*rules));
	n += skip;
	/* after "allow all" the defaults could only take nothing away */
	if (rules[n - 1].type != 'a' || !rules[n - 1].allow) {
		memcpy(rules + n, defaults, sizeof(defaults));
		n += more;
	}
	free(r->device_rules);
	r->device_rules = rules;
	r->device_rule_count = n;
	return 0;
}

/* A mount without a propagation of its own has that of the root; what the root's is by default,
 * receives what is mounted on the host. */
static void default_propagation(struct plan *p)
{
	uint32_t root = p->root.propagation ? p->root.propagation : MS_SLAVE;
	uint32_t flags = root == MS_SLAVE    ? PLAN_MOUNT_SLAVE
			 : root == MS_SHARED ? PLAN_MOUNT_SHARED
					     : PLAN_MOUNT_PRIVATE;

	for (size_t i = 0; i < p->mount_count; i++)
		if (!(p->mounts[i].flags & (PLAN_MOUNT_PRIVATE | PLAN_MOUNT_SLAVE |
					    PLAN_MOUNT_SHARED | PLAN_MOUNT_UNBINDABLE)))
			p->mounts[i].flags |= flags | PLAN_MOUNT_PROPAGATION_RECURSIVE;
	if (!p->root.propagation)
		p->root.propagation = MS_SLAVE;
}

/* mountLabel: the context of the file systems made for the container. */
static int add_mount_labels(struct plan *p)
{
	for (size_t i = 0; i < p->mount_count; i++) {
		struct plan_mount *m = &p->mounts[i];

		if (str_empty(p->root.label) ||
		    (m->kind != PLAN_MOUNT_TMPFS && m->kind != PLAN_MOUNT_DEVPTS &&
		     m->kind != PLAN_MOUNT_MQUEUE))
			continue;
		if (strv_take(&m->options, str_printf("context=%s", p->root.label)) < 0)
			return -ENOMEM;
	}
	return 0;
}

static bool hooks_look_at_root(const struct plan *p)
{
	return p->hooks[PLAN_HOOK_PRESTART].count || p->hooks[PLAN_HOOK_CREATE_RUNTIME].count ||
	       p->hooks[PLAN_HOOK_CREATE_CONTAINER].count;
}

int config_check(struct config *c, struct err *err)
{
	struct plan *p = &c->plan;
	int r = check_required(c, err);

	if (r == 0)
		r = check_namespaces(p, err);
	if (r == 0)
		r = check_sysctls(p, err);
	if (r == 0)
		r = check_seccomp(c, err);
	if (r == 0)
		r = check_labels(p, err);
	if (r < 0)
		return r;
	for (char **a = p->annotations; a && *a; a++)
		if (!strcmp(*a, "run.oci.handler=vm"))
			p->isolation = PLAN_VM;
	p->root.at_path = hooks_look_at_root(p);
	default_propagation(p);
	if (add_devices(p) < 0 || add_device_rules(&p->resources) < 0 || add_mount_labels(p) < 0)
		return err_set(err, ENOMEM, "out of memory");
	return 0;
}
