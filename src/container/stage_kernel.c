/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel keeps for a namespace (names, settings, clocks) or for a process (scheduling,
 * keys, labels). */
#include <errno.h>
#include <fcntl.h>
#include <linux/ioprio.h>
#include <linux/keyctl.h>
#include <linux/magic.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include "container/cpulist.h"
#include "container/stage_internal.h"
#include "util/io.h"
#include "util/linux.h"
#include "util/mem.h"
#include "util/str.h"

/* Kernel settings of the plan's namespaces; the root has a writable /proc/sys until paths are
 * hidden. */
int stage_sysctls(struct stage *s, struct err *err)
{
	for (char **v = s->plan.sysctls; v && *v; v++) {
		_cleanup_free_ char *path = str_printf("proc/sys/%s", *v);
		_cleanup_close_ int fd = -EBADF;
		char *eq = path ? strchr(path, '=') : NULL;
		const char *value;
		struct statfs fs;

		if (!eq)
			return err_set(err, EINVAL, "sysctl \"%s\" is not NAME=VALUE", *v);
		*eq = 0;
		value = strchr(*v, '=') + 1;
		/* with slashes the dots are part of a name: net/ipv4/conf/eth0.100/forwarding */
		for (char *p = path + strlen("proc/sys/"); *p && !strchr(*v, '/'); p++)
			if (*p == '.')
				*p = '/';
		if (strstr(path, "/../"))
			return err_set(err, EINVAL, "sysctl \"%s\" is not a name", *v);
		fd = sys_openat2(s->root_fd, path, O_WRONLY | O_CLOEXEC, 0,
				 RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS);
		/* CVE-2025-52881: the value must go to the kernel, not into a file that looks like
		 * it */
		if (fd >= 0 && (fstatfs(fd, &fs) < 0 || fs.f_type != PROC_SUPER_MAGIC))
			return err_set(err, EPERM, "set sysctl %s: /proc is not the kernel's", *v);
		if (fd < 0 || write(fd, value, strlen(value)) < 0)
			return err_sys(err, errno, "set sysctl %s", *v);
	}
	return 0;
}

/* New names are for a new namespace; one that was joined keeps its own. */
int stage_names(struct stage *s, struct err *err)
{
	const struct plan *p = &s->plan;

	if (!(p->namespaces & ~p->joined & PLAN_NS_UTS))
		return 0;
	if (!str_empty(p->hostname) && sethostname(p->hostname, strlen(p->hostname)) < 0)
		return err_sys(err, errno, "set the host name \"%s\"", p->hostname);
	if (!str_empty(p->domainname) && setdomainname(p->domainname, strlen(p->domainname)) < 0)
		return err_sys(err, errno, "set the domain name \"%s\"", p->domainname);
	return 0;
}

/* A new network namespace has a loopback interface, and it is down. */
int stage_loopback(struct stage *s, struct err *err)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	_cleanup_close_ int fd = -EBADF;

	if (!(s->plan.namespaces & ~s->plan.joined & PLAN_NS_NET))
		return 0;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		return err_sys(err, errno, "switch the loopback interface on");
	return 0;
}

/* time_namespaces(7): the offsets are set before any process is in it. */
static int set_time_offsets(const struct plan *p, struct err *err)
{
	const struct {
		const char *clock;
		int64_t offset_ns;
	} clocks[] = { { "monotonic", p->monotonic_offset_ns },
		       { "boottime", p->boottime_offset_ns } };

	for (size_t i = 0; i < ARRAY_SIZE(clocks); i++) {
		int64_t seconds = clocks[i].offset_ns / 1000000000,
			rest = clocks[i].offset_ns % 1000000000;
		char line[64];
		int r;

		if (!clocks[i].offset_ns)
			continue;
		if (rest < 0) {
			rest += 1000000000;
			seconds--;
		}
		snprintf(line, sizeof(line), "%s %lld %lld", clocks[i].clock, (long long)seconds,
			 (long long)rest);
		r = io_write_knob(AT_FDCWD, "/proc/self/timens_offsets", line);
		if (r < 0)
			return err_sys(err, -r, "set the time offset \"%s\"", line);
	}
	return 0;
}

/*
 * Namespaces that cannot be made when the process is: the cgroup namespace shows the group that the
 * process is in when it is made, and the time namespace is entered at exec.
 */
int stage_late_namespaces(struct stage *s, struct err *err)
{
	uint32_t ns = s->plan.namespaces & ~s->plan.joined;

	if ((ns & PLAN_NS_CGROUP) && s->cgroup_version && sys_unshare(CLONE_NEWCGROUP) < 0)
		return err_sys(err, errno, "make a cgroup namespace");
	if (!(ns & PLAN_NS_TIME))
		return 0;
	if (sys_unshare(CLONE_NEWTIME) < 0)
		return err_sys(err, errno, "make a time namespace");
	return set_time_offsets(&s->plan, err);
}

/* ---- the process ---------------------------------------------------------------------------- */

/* struct sched_attr of sched_setattr(2), version 0. */
struct sched_attributes {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

static int set_scheduler(const struct plan_scheduler *p, struct err *err)
{
	struct sched_attributes a = { .size = sizeof(a),
				      .policy = p->policy,
				      .flags = p->flags,
				      .nice = p->nice,
				      .priority = p->priority,
				      .runtime = p->runtime_ns,
				      .deadline = p->deadline_ns,
				      .period = p->period_ns };

	if (p->set && syscall(SYS_sched_setattr, 0, &a, 0) < 0)
		return err_sys(err, errno, "set the scheduling policy");
	return 0;
}

static int set_memory_policy(const struct plan_memory_policy *p, struct err *err)
{
	cpu_set_t nodes; /* a set of nodes has the same shape as one of CPUs */

	if (!p->set)
		return 0;
	CPU_ZERO(&nodes);
	if (!str_empty(p->nodes) && cpulist_parse(p->nodes, &nodes) < 0)
		return err_set(err, EINVAL, "memoryPolicy: \"%s\" is not a list of nodes",
			       p->nodes);
	if (syscall(SYS_set_mempolicy, p->mode | p->flags, str_empty(p->nodes) ? NULL : &nodes,
		    str_empty(p->nodes) ? 0ul : (unsigned long)CPU_SETSIZE) < 0)
		return err_sys(err, errno, "set the memory policy%s",
			       errno == ENOSYS ? " (this kernel has no NUMA support)" : "");
	return 0;
}

int stage_scheduling(struct stage *s, struct err *err)
{
	const struct plan_process *p = &s->plan.process;
	cpu_set_t cpus;
	int r = set_scheduler(&p->scheduler, err);

	if (r == 0)
		r = set_memory_policy(&p->memory_policy, err);
	if (r < 0)
		return r;
	if (p->io_priority && syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, p->io_priority) < 0)
		return err_sys(err, errno, "set the I/O priority");
	if (p->cpus_final && cpulist_parse(p->cpus_final, &cpus) < 0)
		return err_set(err, EINVAL, "execCPUAffinity: \"%s\" is not a list of CPUs",
			       p->cpus_final);
	if (p->cpus_final && sched_setaffinity(0, sizeof(cpus), &cpus) < 0)
		return err_sys(err, errno, "run on the CPUs \"%s\" (execCPUAffinity)",
			       p->cpus_final);
	if (p->has_personality && personality(p->personality) < 0)
		return err_sys(err, errno, "set the personality");
	return 0;
}

/* Keys of the host's session must not be found inside (keyrings(7)). An exec joins the container's.
 */
int stage_keyring(struct stage *s, struct err *err)
{
	_cleanup_free_ char *name = NULL;

	if (!(s->flags & STAGE_KEYRING))
		return 0;
	name = str_printf("_ses.%s", s->plan.id ? s->plan.id : "proa");
	if (!name)
		return err_set(err, ENOMEM, "out of memory");
	/* ENOSYS: a kernel without keys has none to hide; EDQUOT and others are told */
	if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name) < 0 && errno != ENOSYS)
		return err_sys(err, errno,
			       "make a session keyring (--no-new-keyring does without)");
	return 0;
}

/*
 * The label of the command (SELinux) or its profile (AppArmor): taken on at exec. The attribute
 * file is looked for below the task of our own thread, on what is surely procfs (CVE-2019-16884).
 */
static int set_exec_label(const char *file, const char *text, const char *what, struct err *err)
{
	_cleanup_close_ int fd = open(file, O_WRONLY | O_CLOEXEC);
	struct statfs fs;

	if (fd < 0)
		return err_sys(err, errno, "%s \"%s\" (is it enabled in this kernel?)", what, text);
	if (fstatfs(fd, &fs) < 0 || fs.f_type != PROC_SUPER_MAGIC)
		return err_set(err, EPERM, "%s: /proc is not the kernel's", what);
	if (write(fd, text, strlen(text)) < 0)
		return err_sys(err, errno, "%s \"%s\"", what, text);
	return 0;
}

int stage_labels(struct stage *s, struct err *err)
{
	const struct plan_process *p = &s->plan.process;
	_cleanup_free_ char *exec = NULL;
	int r = 0;

	if (!str_empty(p->selinux))
		r = set_exec_label("/proc/thread-self/attr/exec", p->selinux, "SELinux label", err);
	if (r < 0 || str_empty(p->apparmor))
		return r;
	exec = str_printf("exec %s", p->apparmor);
	if (!exec)
		return err_set(err, ENOMEM, "out of memory");
	return set_exec_label(access("/proc/thread-self/attr/apparmor/exec", F_OK) == 0
				      ? "/proc/thread-self/attr/apparmor/exec"
				      : "/proc/thread-self/attr/exec",
			      exec, "AppArmor profile", err);
}
