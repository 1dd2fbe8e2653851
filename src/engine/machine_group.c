/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/machine_group.h"

#include "container/cgroup.h"
#include "plan/backend.h"
#include "plan/plan.h"
#include "util/err.h"
#include "util/log.h"

/* In a child of the backend's, on its way to become a helper: only system calls. */
static int enter(const struct instance *inst)
{
	const struct cgroup_ops *ops = cgroup_detect();
	char buf[CGROUP_DEFAULT_MAX];

	return ops ? ops->join(cgroup_path_or_default(NULL, inst->id, buf)) : 0;
}

void machine_group_make(struct instance *inst)
{
	const struct cgroup_ops *ops = cgroup_detect();
	const struct plan_resources none = { 0 };
	struct err err = ERR_INIT;
	char buf[CGROUP_DEFAULT_MAX];

	if (!ops)
		return;
	if (ops->create(cgroup_path_or_default(NULL, inst->id, buf), &none, &err) < 0)
		log_verbose("the machine has no cgroup of its own: %s", err.msg);
	else
		inst->enter = enter;
}

void machine_group_remove(const struct instance *inst)
{
	const struct cgroup_ops *ops = cgroup_detect();
	struct err err = ERR_INIT;
	char buf[CGROUP_DEFAULT_MAX];

	if (ops && ops->remove(cgroup_path_or_default(NULL, inst->id, buf), &err) < 0)
		log_warning("%s", err.msg);
}
