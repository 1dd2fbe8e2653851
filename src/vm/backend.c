/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtual machine backend: struct backend_ops, carried out by a machine of its own kernel whose
 * agent uses the container backend inside (docs/design/agent-protocol.md).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "plan/plan.h"
#include "util/err.h"
#include "util/io.h"
#include "util/linux.h"
#include "util/mem.h"
#include "util/proc.h"
#include "util/str.h"
#include "vm/client.h"
#include "vm/machine.h"
#include "vm/qemu/qemu.h"
#include "vm/share.h"

#define CPUS_MAX 8 /* of a machine that nobody sized: more cost start time, and boot uses one */

uint64_t vm_machine_memory(const struct plan *plan)
{
	uint64_t bytes = plan->vm.memory_bytes, limit = plan->resources.memory_bytes;

	/*
	 * -m is the command's limit, as in a container: its cgroup in the guest enforces it to the
	 * byte, and the machine is larger by what its kernel needs.
	 */
	if (limit)
		bytes = MAX(bytes, limit + VM_MEMORY_OVERHEAD);
	if (!bytes)
		bytes = VM_MEMORY_DEFAULT;
	/* whole mebibytes, upwards */
	return (bytes + (1u << 20) - 1) & ~(uint64_t)((1u << 20) - 1);
}

uint32_t vm_machine_cpus(const struct plan *plan)
{
	cpu_set_t set;
	uint64_t wanted = plan->resources.cpu_quota_us, period = plan->resources.cpu_period_us;
	uint32_t have =
		sched_getaffinity(0, sizeof(set), &set) == 0 ? (uint32_t)CPU_COUNT(&set) : 1;

	if (plan->vm.cpus)
		return plan->vm.cpus;
	/* --cpus 1.5 is two, of which the guest's cgroup gives one and a half */
	if (wanted && period && (wanted + period - 1) / period < have)
		have = (uint32_t)((wanted + period - 1) / period);
	return MIN(have, (uint32_t)CPUS_MAX);
}

static int check_namespaces(const struct plan *plan, struct err *err)
{
	static const struct {
		uint32_t ns;
		const char *what;
	} needed[] = {
		{ PLAN_NS_NET, "--network host" },
		{ PLAN_NS_PID, "--pid host" },
		{ PLAN_NS_IPC, "--ipc host" },
		{ PLAN_NS_UTS, "--uts host" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(needed); i++)
		if (!(plan->namespaces & needed[i].ns))
			return err_set(
				err, EOPNOTSUPP,
				"%s: a machine has its own kernel and cannot share that with the "
				"host; leave it out, or run as a container (--isolation container)",
				needed[i].what);
	if (plan->namespaces & PLAN_NS_USER)
		return err_set(err, EOPNOTSUPP,
			       "user namespaces: a machine has its own users already; "
			       "leave --userns out");
	return 0;
}

static int check_devices(const struct plan *plan, struct err *err)
{
	/* what every container has: null, zero, full, tty, random, urandom (devices.txt) */
	for (size_t i = 0; i < plan->device_count; i++) {
		const struct plan_device *d = &plan->devices[i];
		bool standard =
			d->type == 'c' && ((d->major == 1 && d->minor >= 3 && d->minor <= 9) ||
					   (d->major == 5 && d->minor <= 2) || d->major == 136);

		if (!standard && !plan->privileged)
			return err_set(
				err, EOPNOTSUPP,
				"--device %s: a machine does not have the host's devices; run as a "
				"container (--isolation container)",
				d->path);
	}
	return 0;
}

static int check_size(const struct plan *plan, struct err *err)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	uint64_t bytes = vm_machine_memory(plan);
	char have[16], least[16];

	if (bytes < VM_MEMORY_MIN)
		return err_set(
			err, EINVAL, "%s is too little memory for a machine: at least %s (-m %s)",
			str_human_mib(bytes, have), str_human_mib(VM_MEMORY_MIN, least), "128m");
	if (cpus > 0 && plan->vm.cpus > (uint32_t)cpus)
		return err_set(err, EINVAL, "%u CPUs are more than this host has (%ld): --cpus %ld",
			       plan->vm.cpus, cpus, cpus);
	return 0;
}

static int vm_check(const struct plan *plan, struct err *err)
{
	_cleanup_free_ char *qemu = NULL, *virtiofsd = NULL;
	int r = 0;

	/* which one it will be is found out when it starts; without KVM it is QEMU */
	if (!plan->vm.hypervisor && access("/dev/kvm", R_OK | W_OK) < 0)
		r = qemu_find(&qemu, err);

	if (r == 0 && vm_share_count(plan) > 0)
		r = vm_share_find(&virtiofsd, err);
	/* the binds are staged in a mount namespace */
	if (r == 0 && vm_share_count(plan) > 0 && geteuid() != 0)
		r = err_set(err, EPERM,
			    "binds (-v, --mount) into a machine need root; run proa as root");
	if (r == 0)
		r = check_namespaces(plan, err);
	if (r == 0)
		r = check_devices(plan, err);
	return r == 0 ? check_size(plan, err) : r;
}

static int vm_run(struct loop *loop, const struct plan *plan, const struct instance *inst,
		  const struct process_events *events, struct process **ret, struct err *err)
{
	struct vm_machine *m;
	int r = vm_machine_start(loop, plan, inst, events, &m, err);

	if (r == 0)
		*ret = &m->session.base;
	return r;
}

static int vm_exec(struct loop *loop, const struct plan *plan _unused_, const struct instance *inst,
		   const struct plan_process *what, const struct process_events *events,
		   struct process **ret, struct err *err)
{
	return vm_client_exec(loop, inst, what, 0, events, ret, err);
}

static int vm_kill(const struct instance *inst, int signo, struct err *err)
{
	return vm_client_kill(inst, signo, VM_CLIENT_PATIENCE_MS, err);
}

/* Kills the process of one line of the state file, if it still is that one. */
static void end_leftover(const char *line)
{
	unsigned long long start;
	int pid;

	if (sscanf(line, "%d %llu", &pid, &start) == 2 && pid > 1) {
		_cleanup_close_ int fd = proc_open(pid, start);
		struct pollfd p = { .fd = fd, .events = POLLIN };

		if (fd >= 0 && sys_pidfd_send_signal(fd, SIGKILL) == 0)
			(void)poll(&p, 1, 5000);
	}
}

static int vm_cleanup(const struct instance *inst, struct err *err)
{
	_cleanup_close_ int dir = open(inst->run_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *text = NULL;
	int r;

	if (dir < 0)
		return errno == ENOENT ? 0 : err_sys(err, errno, "open %s", inst->run_dir);
	r = io_read_file(dir, VM_STATE_NAME, 4096, &text, NULL);
	if (r < 0 && r != -ENOENT)
		return err_sys(err, -r, "read the machine's state in %s", inst->run_dir);
	for (char *line = text; line && *line; line += strcspn(line, "\n") + 1) {
		end_leftover(line);
		if (!strchr(line, '\n'))
			break;
	}
	(void)unlinkat(dir, VM_STATE_NAME, 0);
	(void)unlinkat(dir, VM_SOCKET_NAME, 0);
	(void)unlinkat(dir, VM_BINDS_NAME, AT_REMOVEDIR);
	return 0;
}

const struct backend_ops vm_backend = {
	.name = "vm",
	.check = vm_check,
	.run = vm_run,
	.exec = vm_exec,
	.kill = vm_kill,
	.cleanup = vm_cleanup,
};
