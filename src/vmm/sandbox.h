/* SPDX-License-Identifier: Apache-2.0 */
/* What proa-vmm gives up before the first instruction of the guest. docs/vmm.md has the list. */
#ifndef PROA_VMM_SANDBOX_H
#define PROA_VMM_SANDBOX_H

struct err;
struct vmm_config;

/*
 * Becomes process 1 of a process namespace, if it is not yet: then the caller's process stays as a
 * waiter that hands on signals and the exit code, and never returns from here. 0 or -errno.
 */
int sandbox_enter_pids(struct err *err);
/* User, mount, network, IPC and UTS namespaces, an empty root, no capabilities, limits. Everything
 * that has a path is open by now, but the directory of @vsock_path, which stays as /vsock. */
int sandbox_close(const struct vmm_config *config, struct err *err);
/* The filters of system calls: of the calling thread. 0 or -errno. */
int sandbox_filter_main(void);
int sandbox_filter_vcpu(void);

#define SANDBOX_VSOCK_DIR "/vsock"

#endif
