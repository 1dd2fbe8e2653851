/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A signal to the first process in a machine. SIGKILL ends the machine if its command cannot be
 * ended, and its owner if even that one does not answer (it may be frozen): with the owner go QEMU
 * and the share (PR_SET_PDEATHSIG). The gentle way is tried first also for SIGKILL, for it is the
 * one that leaves a disk image clean.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include "ocivm/ocivm.h"
#include "util/err.h"
#include "util/io.h"
#include "util/linux.h"
#include "util/mem.h"
#include "util/proc.h"
#include "util/str.h"
#include "vm/client.h"

#define PATIENCE_MS 1500 /* with an owner that is to be killed anyhow */

static int kill_owner(const struct instance *inst, struct err *err)
{
	_cleanup_free_ char *path = str_printf("%s/" OWNER_NAME, inst->run_dir), *text = NULL;
	_cleanup_close_ int fd = -EBADF;
	unsigned long long start;
	int pid;

	if (!path)
		return err_set(err, ENOMEM, "out of memory");
	if (io_read_file(AT_FDCWD, path, 64, &text, NULL) < 0 ||
	    sscanf(text, "%d %llu", &pid, &start) != 2)
		return err_set(err, ESRCH, "the machine is not running");
	fd = proc_open(pid, start);
	if (fd < 0 || sys_pidfd_send_signal(fd, SIGKILL) < 0)
		return err_set(err, ESRCH, "the machine is not running");
	return 0;
}

int kill_main(const struct instance *inst, const char *signo)
{
	struct err err = ERR_INIT;
	uint32_t n;
	int r;

	if (str_to_u32(signo, &n) < 0 || n == 0 || n > 64)
		r = err_set(&err, EINVAL, "\"%s\" is not the number of a signal", signo);
	else if (n != SIGKILL)
		r = vm_client_kill(inst, (int)n, VM_CLIENT_PATIENCE_MS, &err);
	else if (vm_client_kill(inst, SIGKILL, PATIENCE_MS, NULL) == 0)
		r = 0;
	else
		r = kill_owner(inst, &err);
	if (r < 0)
		fprintf(stderr, "%s\n", err.msg);
	return r < 0 ? EXIT_FAILURE : 0;
}
