/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A running machine, in the process that owns it: its hypervisor, virtiofsd, the link to the agent,
 * the first process as a session, and the clients that exec.
 */
#ifndef PROA_VM_MACHINE_H
#define PROA_VM_MACHINE_H

#include "link.h"
#include "plan/backend.h"
#include "vm/host.h"
#include "vm/hypervisor.h"
#include "vm/kernel.h"
#include "vm/session.h"
#include "vm/spawn.h"
#include "vm/tail.h"

struct plan;
struct vm_switch;

struct vm_machine {
	struct vm_session session; /* the first process */
	struct loop *loop;
	const struct plan *plan;
	const struct instance *inst;
	struct link link; /* to the agent */
	bool greeted;	  /* the agent spoke */
	bool run_sent;	  /* it was told what to run */
	bool killed;	  /* SIGKILL was asked for */
	int seconds_left; /* of the limit that is counted now */
	const struct vm_hypervisor *kind;
	struct vm_helper hypervisor, share;
	struct loop_watch hypervisor_watch, timer_watch;
	struct vm_tail console, complaints; /* serial console; standard error of the helpers */
	struct vm_switch *clients;
	struct vm_kernel kernel;
	int dir_fd, run_dir_fd; /* of the instance: its owner may leave the host's paths behind */
	char *initramfs, *disk, *binary;
	char *joined_initrd; /* a file of this machine alone: the plan's initrd and ours */
};

#define VM_MEMORY_DEFAULT (1024ull << 20)
#define VM_MEMORY_MIN	  (128ull << 20)
#define VM_MEMORY_OVERHEAD                                                                         \
	(160ull << 20) /* of the guest's kernel, beside a limit for the command */

/*
 * Starts it. On failure nothing is left. 0 or -errno. It ends with process->ops->free() of
 * (*ret)->session.base.
 */
int vm_machine_start(struct loop *loop, const struct plan *plan, const struct instance *inst,
		     const struct process_events *events, struct vm_machine **ret, struct err *err);

/*
 * The same in two halves: the machine boots, and when it is told to, runs the plan's command. What
 * was found out about the host is kept in the directory @facts (NULL: not kept).
 */
int vm_machine_boot(struct loop *loop, const struct plan *plan, const struct instance *inst,
		    const char *facts, const struct process_events *events, struct vm_machine **ret,
		    struct err *err);
int vm_machine_run(struct vm_machine *m, struct err *err);

/* Files and accelerator, into @spec, which borrows from @m (prepare.c). */
int vm_machine_prepare(struct vm_machine *m, const char *facts, struct vm_spec *spec,
		       struct err *err);

/* Memory and CPUs of the machine for this plan (backend.c). */
uint64_t vm_machine_memory(const struct plan *plan);
uint32_t vm_machine_cpus(const struct plan *plan);

/* In run_dir: the helpers' pids and start times; where clients connect; where binds are staged. */
#define VM_STATE_NAME  "machine"
#define VM_SOCKET_NAME "agent.sock"
#define VM_BINDS_NAME  "binds"
/* In dir, while the guest boots: joined_initrd. */
#define VM_INITRD_NAME "initrd"

#endif
