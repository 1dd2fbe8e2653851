/* SPDX-License-Identifier: Apache-2.0 */
/* A proa process that does not own a machine, talking to the one that does. */
#ifndef PROA_VM_CLIENT_H
#define PROA_VM_CLIENT_H

#include "plan/backend.h"

struct plan_process;

/* backend_ops.exec and .kill of the machine at inst->run_dir; see plan/backend.h. */
int vm_client_exec(struct loop *loop, const struct instance *inst, const struct plan_process *what,
		   const struct process_events *events, struct process **ret, struct err *err);
int vm_client_kill(const struct instance *inst, int signo, struct err *err);

#endif
