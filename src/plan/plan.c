/* SPDX-License-Identifier: Apache-2.0 */
#include "plan/plan.h"

#include <string.h>
#include "util/mem.h"

void plan_process_done(struct plan_process *p)
{
	strv_free(p->args);
	strv_free(p->env);
	free(p->cwd);
	free(p->user);
	free(p->probe);
	strv_free(p->groups);
	free(p->rlimits);
	free(p->seccomp);
	*p = (struct plan_process){ 0 };
}

void plan_done(struct plan *p)
{
	free(p->id);
	free(p->name);
	free(p->image);
	free(p->hostname);
	strv_free(p->root.lowers);
	free(p->root.upper);
	free(p->root.work);
	plan_process_done(&p->process);
	for (size_t i = 0; i < p->mount_count; i++) {
		free(p->mounts[i].source);
		free(p->mounts[i].target);
		strv_free(p->mounts[i].options);
	}
	free(p->mounts);
	for (size_t i = 0; i < p->device_count; i++)
		free(p->devices[i].path);
	free(p->devices);
	strv_free(p->masked_paths);
	strv_free(p->read_only_paths);
	strv_free(p->sysctls);
	free(p->uid_map);
	free(p->gid_map);
	free(p->resources.cpuset_cpus);
	free(p->resources.cpuset_mems);
	free(p->resources.device_rules);
	free(p->hosts);
	free(p->resolv_conf);
	free(p->vm.kernel);
	free(p->vm.disk);
	*p = (struct plan){ 0 };
}
