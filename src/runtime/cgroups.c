/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which cgroup a container gets: the path of its bundle (cgroupsPath) or "proa/ID", made by us, or
 * "SLICE:PREFIX:NAME" as a scope that systemd makes (--systemd-cgroup).
 *
 * Who is not root may have no right to make groups. Then there is none as long as no limit asks for
 * it: a limit that cannot be kept is an error.
 */
#include <errno.h>
#include <linux/mount.h>
#include <string.h>
#include <unistd.h>
#include "container/cgroup.h"
#include "runtime/create.h"
#include "runtime/runtime.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/str.h"

/* Device rules do not count: without root, no device that matters can be made or opened. */
static int no_cgroup(const struct plan *p, const char *why, struct err *err)
{
	if (cgroup_has_limits(&p->resources))
		return err_set(err, EOPNOTSUPP, "linux.resources: limits need a cgroup, and %s",
			       why);
	return 0;
}

/* A path below each hierarchy's root: no slash in front, nothing that leads out of it. */
static int make_path(const struct config *c, char **ret, struct err *err)
{
	const char *given = c->cgroups_path;
	char buf[CGROUP_DEFAULT_MAX];

	if (str_empty(given)) {
		*ret = strdup(cgroup_path_or_default(NULL, c->plan.id, buf));
	} else {
		given += strspn(given, "/");
		*ret = strdup(given);
		for (size_t n = *ret ? strlen(*ret) : 0; n && (*ret)[n - 1] == '/'; n--)
			(*ret)[n - 1] = 0;
	}
	if (!*ret)
		return err_set(err, ENOMEM, "out of memory");
	if (cgroup_check_path(*ret, err) < 0)
		return err_wrap(err, "linux.cgroupsPath");
	return 0;
}

void cgroups_limits(const struct plan *p, struct plan_resources *ret)
{
	*ret = p->isolation == PLAN_VM ? (struct plan_resources){ 0 } : p->resources;
	/* only root of the host may load the program that decides; others have no device to open
	 * that was not theirs before */
	if (geteuid() != 0) {
		ret->device_rules = NULL;
		ret->device_rule_count = 0;
	}
}

/* config-linux.md, "Cgroup ownership": only with a cgroup namespace and a writable mount. */
static bool is_delegated(const struct plan *p)
{
	if (!(p->namespaces & ~p->joined & PLAN_NS_CGROUP) ||
	    !(p->namespaces & ~p->joined & PLAN_NS_USER))
		return false;
	for (size_t i = 0; i < p->mount_count; i++)
		if (p->mounts[i].kind == PLAN_MOUNT_CGROUP &&
		    !(p->mounts[i].attrs & MOUNT_ATTR_RDONLY) &&
		    !strcmp(p->mounts[i].target, "/sys/fs/cgroup"))
			return true;
	return false;
}

static uint32_t outside_id(const struct plan_idmap *map, size_t n, uint32_t inside)
{
	for (size_t i = 0; i < n; i++)
		if (inside >= map[i].inside && inside - map[i].inside < map[i].count)
			return map[i].outside + (inside - map[i].inside);
	return UINT32_MAX;
}

static int delegate(const struct cgroup_ops *ops, const char *path, const struct plan *p,
		    struct err *err)
{
	uint32_t uid = 0, gid = 0;

	if (!is_delegated(p) || sscanf(p->process.user, "%u:%u", &uid, &gid) != 2)
		return 0;
	uid = outside_id(p->uid_map, p->uid_map_count, uid);
	gid = outside_id(p->gid_map, p->gid_map_count, gid);
	return uid == UINT32_MAX || gid == UINT32_MAX ? 0 : ops->delegate(path, uid, gid, err);
}

int cgroups_make(const struct runtime *rt, const struct state *s, struct config *c,
		 struct cgroup_choice *ret, struct err *err)
{
	const struct cgroup_ops *ops = cgroup_detect();
	_cleanup_free_ char *path = NULL;
	struct plan_resources limits;
	int r;

	if (rt->manager == CGROUP_MANAGER_DISABLED)
		return no_cgroup(&c->plan, "--cgroup-manager is disabled", err);
	if (!ops)
		return no_cgroup(&c->plan, "none are mounted on " CGROUP_ROOT, err);
	if (rt->manager == CGROUP_MANAGER_SYSTEMD)
		return cgroups_make_scope(c, ops, ret, err);
	r = make_path(c, &path, err);
	if (r < 0)
		return r;
	if (rt->rootless && !cgroup_can_create(path))
		return no_cgroup(
			&c->plan,
			"this user may not make one (delegate one, or use --systemd-cgroup)", err);
	cgroups_limits(&c->plan, &limits);
	r = state_note_cgroup(s, path, err);
	if (r == 0)
		r = ops->create(path, &limits, err);
	if (r == 0)
		r = delegate(ops, path, &c->plan, err);
	if (r < 0)
		return r;
	ret->ops = ops;
	ret->path = TAKE_PTR(path);
	return 0;
}

int cgroups_remove(const struct state *s, struct err *err)
{
	const struct cgroup_ops *ops = state_cgroups(s);
	int r = ops ? ops->remove(s->cgroup, err) : 0;

	if (s->scope)
		cgroups_stop_scope(s->scope);
	return r;
}
