/* SPDX-License-Identifier: Apache-2.0 */
/* What is left of a container whose first process has ended, or is to end now. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include "container/cgroup.h"
#include "runtime/create.h"
#include "runtime/runtime.h"
#include "util/err.h"
#include "util/linux.h"
#include "util/mem.h"

#define RESCTRL	    "/sys/fs/resctrl"
#define END_WAIT_MS 10000

/* Its end takes a frozen group's processes only when it is thawed (v1). */
static void end_first_process(const struct state *s)
{
	_cleanup_close_ int fd = state_process(s);
	const struct cgroup_ops *cgroups = state_cgroups(s);
	struct pollfd ended = { .fd = fd, .events = POLLIN };

	if (fd < 0)
		return;
	(void)sys_pidfd_send_signal(fd, SIGKILL);
	if (cgroups && cgroups->is_frozen(s->cgroup) > 0)
		(void)cgroups->freeze(s->cgroup, false, NULL);
	(void)poll(&ended, 1, END_WAIT_MS);
}

int destroy(const struct runtime *rt, const struct state *s, const struct plan *plan,
	    struct err *err)
{
	const struct cgroup_ops *cgroups = state_cgroups(s);
	struct err warning = ERR_INIT;
	int r;

	end_first_process(s);
	/* without a pid namespace of its own the others go on, and with one they may hang in the
	 * kernel a moment longer */
	if (cgroups && !s->own_pids)
		(void)cgroups->kill(s->cgroup, SIGKILL, NULL);
	if (cgroups_remove(s, &warning) < 0)
		runtime_warning(rt, "%s", warning.msg);
	if (plan && plan->rdt.set)
		rdt_remove(plan, RESCTRL);
	r = state_remove(rt, s->id, err);
	if (plan && s->pid)
		hooks_run_poststop(rt, plan, s);
	return r;
}
