/* SPDX-License-Identifier: Apache-2.0 */
/* A proa process that does not own a machine, talking to the one that does. */
#ifndef PROA_VM_CLIENT_H
#define PROA_VM_CLIENT_H

#include "plan/backend.h"

struct plan_process;

/* What backend_ops.exec and .kill do of the machine at inst->run_dir; see plan/backend.h. */
enum vm_client_flags {
	VM_CLIENT_TIED = 1 << 0, /* the process in the machine ends with the connection */
};
int vm_client_exec(struct loop *loop, const struct instance *inst, const struct plan_process *what,
		   unsigned flags, const struct process_events *events, struct process **ret,
		   struct err *err);
/* @patience_ms: how long the owner may take to answer. */
int vm_client_kill(const struct instance *inst, int signo, int patience_ms, struct err *err);
#define VM_CLIENT_PATIENCE_MS 5000
/* Other limits for the first process: those of an encoded plan. */
int vm_client_update(const struct instance *inst, const void *plan, size_t n, struct err *err);

#endif
