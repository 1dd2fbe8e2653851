/* SPDX-License-Identifier: Apache-2.0 */
#include "plan/plan.h"

#include <string.h>
#include "util/mem.h"

const char *const plan_hook_names[PLAN_HOOK_POINTS + 1] = {
	[PLAN_HOOK_PRESTART] = "prestart",
	[PLAN_HOOK_CREATE_RUNTIME] = "createRuntime",
	[PLAN_HOOK_CREATE_CONTAINER] = "createContainer",
	[PLAN_HOOK_START_CONTAINER] = "startContainer",
	[PLAN_HOOK_POSTSTART] = "poststart",
	[PLAN_HOOK_POSTSTOP] = "poststop",
};

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
	free(p->notify.listener);
	free(p->notify.metadata);
	free(p->apparmor);
	free(p->selinux);
	free(p->memory_policy.nodes);
	free(p->cpus_initial);
	free(p->cpus_final);
	*p = (struct plan_process){ 0 };
}

void plan_mount_done(struct plan_mount *m)
{
	free(m->source);
	free(m->target);
	free(m->fs);
	strv_free(m->options);
	free(m->uid_map);
	free(m->gid_map);
	*m = (struct plan_mount){ 0 };
}

void plan_resources_done(struct plan_resources *r)
{
	free(r->cpuset_cpus);
	free(r->cpuset_mems);
	free(r->device_rules);
	free(r->block_weights);
	free(r->throttles);
	for (size_t i = 0; i < r->hugepage_count; i++)
		free(r->hugepages[i].size);
	free(r->hugepages);
	for (size_t i = 0; i < r->net_priority_count; i++)
		free(r->net_priorities[i].interface);
	free(r->net_priorities);
	for (size_t i = 0; i < r->rdma_count; i++)
		free(r->rdma[i].device);
	free(r->rdma);
	strv_free(r->unified);
	*r = (struct plan_resources){ 0 };
}

static void hooks_done(struct plan_hooks *h)
{
	for (size_t i = 0; i < h->count; i++) {
		free(h->list[i].path);
		strv_free(h->list[i].args);
		strv_free(h->list[i].env);
	}
	free(h->list);
}

static void vm_done(struct plan_vm *v)
{
	free(v->kernel);
	free(v->disk);
	free(v->image);
	free(v->image_format);
	free(v->initrd);
	free(v->parameters);
	free(v->hypervisor);
	strv_free(v->hypervisor_args);
}

void plan_done(struct plan *p)
{
	free(p->id);
	free(p->name);
	free(p->image);
	free(p->hostname);
	free(p->domainname);
	for (size_t i = 0; i < PLAN_NS_COUNT; i++)
		free(p->joined_paths[i]);
	free(p->root.label);
	strv_free(p->root.lowers);
	free(p->root.upper);
	free(p->root.work);
	plan_process_done(&p->process);
	for (size_t i = 0; i < p->mount_count; i++)
		plan_mount_done(&p->mounts[i]);
	free(p->mounts);
	for (size_t i = 0; i < p->device_count; i++)
		free(p->devices[i].path);
	free(p->devices);
	strv_free(p->masked_paths);
	strv_free(p->read_only_paths);
	strv_free(p->sysctls);
	free(p->uid_map);
	free(p->gid_map);
	free(p->cgroup);
	plan_resources_done(&p->resources);
	for (size_t i = 0; i < PLAN_HOOK_POINTS; i++)
		hooks_done(&p->hooks[i]);
	strv_free(p->annotations);
	free(p->bundle);
	for (size_t i = 0; i < p->net_device_count; i++) {
		free(p->net_devices[i].host_name);
		free(p->net_devices[i].name);
	}
	free(p->net_devices);
	free(p->rdt.clos_id);
	free(p->rdt.l3_schema);
	free(p->rdt.mb_schema);
	strv_free(p->rdt.schemata);
	free(p->hosts);
	free(p->resolv_conf);
	vm_done(&p->vm);
	*p = (struct plan){ 0 };
}
