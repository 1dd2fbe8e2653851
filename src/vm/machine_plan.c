/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan as the guest is to carry it out: the same, but for the host's paths. Its root is an
 * overlay of the machine's disks, a directory of the share, or a disk image; a bind's source is its
 * number in the share.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "plan/plan.h"
#include "util/err.h"
#include "util/mem.h"
#include "vm/machine.h"
#include "vm/share.h"

/* The directories of the root in the guest, and where the guest is to get them from. */
static void place_root(const struct plan *plan, struct plan_root *root, char *lowers[2],
		       struct frame_run *run)
{
	root->lowers = lowers;
	switch (vm_root_of(plan)) {
	case VM_ROOT_SHARED:
		lowers[0] = (char *)(uintptr_t)GUEST_SHARED_ROOT;
		root->upper = root->work = NULL;
		run->flags |= RUN_BINDS | RUN_ROOT_SHARED;
		break;
	case VM_ROOT_IMAGE:
		lowers[0] = (char *)(uintptr_t)GUEST_IMAGE;
		root->upper = root->work = NULL;
		run->flags |= RUN_ROOT_IMAGE;
		break;
	case VM_ROOT_DISKS:
		lowers[0] = (char *)(uintptr_t)GUEST_LOWER;
		root->upper = (char *)(uintptr_t)GUEST_UPPER;
		root->work = (char *)(uintptr_t)GUEST_WORK;
		break;
	}
}

static void place_binds(const struct plan *plan, struct plan_mount *mounts, char *name,
			struct frame_run *run)
{
	unsigned binds = 0;

	for (size_t i = 0; i < plan->mount_count; i++) {
		mounts[i] = plan->mounts[i];
		if (mounts[i].kind != PLAN_MOUNT_BIND)
			continue;
		run->flags |= RUN_BINDS;
		mounts[i].source = name;
		name += sprintf(name, GUEST_BINDS "/%u", binds++) + 1;
	}
}

int vm_machine_run(struct vm_machine *m, struct err *err)
{
	char *lowers[] = { NULL, NULL };
	struct plan p = *m->plan;
	_cleanup_free_ struct plan_mount *mounts = calloc(p.mount_count + 1, sizeof(*mounts));
	_cleanup_free_ char *names = calloc(p.mount_count + 1, sizeof(GUEST_BINDS) + 12);
	_cleanup_free_ uint8_t *bytes = NULL;
	struct frame_run run = { .flags = p.auto_remove ? 0 : RUN_SYNC };
	size_t n;
	int r;

	if (!mounts || !names)
		return err_set(err, ENOMEM, "out of memory");
	place_root(m->plan, &p.root, lowers, &run);
	place_binds(m->plan, mounts, names, &run);
	p.mounts = mounts;
	p.vm = (struct plan_vm){ 0 };
	r = plan_encode(&p, &bytes, &n);
	if (r < 0)
		return err_sys(err, -r, "encode the plan");
	if (n > PLAN_WIRE_MAX)
		return err_set(err, E2BIG, "the command line and environment are too long");
	link_send_all(&m->link, FRAME_PLAN, SESSION_FIRST, bytes, n);
	link_send(&m->link, FRAME_RUN, SESSION_FIRST, &run, sizeof(run));
	m->run_sent = true;
	return 0;
}
