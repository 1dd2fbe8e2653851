/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --systemd-cgroup: systemd makes the group, as a transient scope (container/cgroup_systemd.h). The
 * state keeps "SLICE:NAME" of the unit, so that update and delete find it again.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "container/cgroup.h"
#include "container/cgroup_systemd.h"
#include "runtime/create.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/self.h"
#include "util/str.h"

#define HELPER "proa-systemd"

/* Who is not root has a manager of their own. */
static bool is_user(void)
{
	return geteuid() != 0;
}

int cgroups_make_scope(struct config *c, const struct cgroup_ops *ops, struct cgroup_choice *ret,
		       struct err *err)
{
	struct plan_resources limits;
	_cleanup_(cgroup_unit_done) struct cgroup_unit unit = { 0 };
	_cleanup_free_ char *helper = NULL, *path = NULL;
	int r = cgroup_unit_parse(c->cgroups_path, c->plan.id, is_user(), &unit, err);

	if (r < 0)
		return err_wrap(err, "linux.cgroupsPath");
	cgroups_limits(&c->plan, &limits);
	r = self_find_helper(HELPER, &helper, err);
	if (r == 0)
		r = cgroup_systemd_start(helper, &unit, &limits, is_user(), &ret->systemd, &path,
					 err);
	if (r < 0)
		return r;
	ret->scope = str_printf("%s:%s", unit.slice, unit.name);
	r = ret->scope ? ops->adopt(path, &limits, err) : err_set(err, ENOMEM, "out of memory");
	if (r < 0) {
		cgroup_systemd_release(&ret->systemd);
		(void)cgroup_systemd_stop(helper, &unit, is_user(), NULL);
		return r;
	}
	ret->ops = ops;
	ret->path = TAKE_PTR(path);
	return 0;
}

static int unit_of(const char *scope, struct cgroup_unit *ret)
{
	const char *colon = strchr(scope, ':');

	if (!colon)
		return -EINVAL;
	ret->slice = strndup(scope, (size_t)(colon - scope));
	ret->name = strdup(colon + 1);
	return ret->slice && ret->name ? 0 : -ENOMEM;
}

int cgroups_update_scope(const char *scope, const struct plan_resources *limits, struct err *err)
{
	_cleanup_(cgroup_unit_done) struct cgroup_unit unit = { 0 };
	_cleanup_free_ char *helper = NULL;
	int r = self_find_helper(HELPER, &helper, err);

	if (r < 0 || unit_of(scope, &unit) < 0)
		return r < 0 ? r : err_set(err, EINVAL, "the scope \"%s\" has no name", scope);
	return cgroup_systemd_set(helper, &unit, limits, is_user(), err);
}

void cgroups_stop_scope(const char *scope)
{
	_cleanup_(cgroup_unit_done) struct cgroup_unit unit = { 0 };
	_cleanup_free_ char *helper = NULL;

	/* a scope without processes goes by itself; this is for one that failed */
	if (self_find_helper(HELPER, &helper, NULL) == 0 && unit_of(scope, &unit) == 0)
		(void)cgroup_systemd_stop(helper, &unit, is_user(), NULL);
}

void cgroups_release(struct cgroup_choice *g)
{
	cgroup_systemd_release(&g->systemd);
}
