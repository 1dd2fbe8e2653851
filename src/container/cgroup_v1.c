/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cgroup v1: a directory "proa/ID" in each controller's own hierarchy.
 *
 * This is on the way of every start, eight hierarchies wide, so it is counted in system calls: a
 * hierarchy that has no limit to set costs one mkdir, and parents are only looked at when that
 * fails. New groups of cpuset are empty and take no process; "cgroup.clone_children", set in the
 * parents that we make, lets the kernel fill them, which also spares a rebuild of the scheduler's
 * domains.
 *
 * The other cost to know about: moving another process (a write to cgroup.procs) takes a global
 * lock that waits for an RCU grace period, some 10 ms. A thread that moves itself (a "0" written to
 * `tasks`) does not need that lock (cgroup_procs_write_start() in the kernel), so the child moves
 * itself.
 *
 * Huge pages may be the business of a v2 hierarchy beside v1 (hybrid). A group is made there only
 * for such a limit; open() gives it to the clone.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include "container/cgroup.h"
#include "container/cgroup_internal.h"
#include "plan/plan.h"
#include "util/err.h"
#include "util/io.h"
#include "util/mem.h"

const char *const cgroup_v1_controllers[] = { "cpu",	 "cpuacct", "cpuset", "memory", "devices",
					      "freezer", "blkio",   "pids",   NULL };

#define BASE_COUNT (ARRAY_SIZE(cgroup_v1_controllers) - 1)

/* Hierarchies that a group is made in only for a limit. */
static const char *const extras[] = { "hugetlb", "net_cls", "net_prio", "rdma" };

#define NO_HIERARCHY	 2 /* among results of which 0 and 1 are good, and errors are negative */
#define CONTROLLER_COUNT (BASE_COUNT + ARRAY_SIZE(extras))

enum mode {
	CREATE,
	ADOPT, /* it may be there, and have a process */
	UPDATE,
};

static const char *controller_at(size_t i)
{
	return i < BASE_COUNT ? cgroup_v1_controllers[i] : extras[i - BASE_COUNT];
}

static bool is_extra(const char *controller)
{
	for (size_t i = 0; i < ARRAY_SIZE(extras); i++)
		if (!strcmp(extras[i], controller))
			return true;
	return false;
}

static void root_of(const char *controller, char buf[64])
{
	snprintf(buf, 64, CGROUP_ROOT "/%s", controller);
}

/* ---- making --------------------------------------------------------------------------------- */

/* A new cpuset group is empty and takes no process until it has CPUs and memory nodes. */
static int inherit_cpuset(const char *parent, const char *group)
{
	/* the CPUs last: who has them has both, wherever a creation broke off */
	static const char *const files[] = { "cpuset.mems", "cpuset.cpus" };

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		char path[CGROUP_DIR_MAX], text[4096];
		int r;

		if (!cgroup_join_path(path, group, files[i], NULL))
			return -ENAMETOOLONG;
		r = cgroup_read(AT_FDCWD, path, text, sizeof(text));
		if (r < 0)
			return r;
		if (text[0] && text[0] != '\n')
			continue;
		if (!cgroup_join_path(path, parent, files[i], NULL))
			return -ENAMETOOLONG;
		r = cgroup_read(AT_FDCWD, path, text, sizeof(text));
		if (r == 0 && cgroup_join_path(path, group, files[i], NULL))
			r = io_write_knob(AT_FDCWD, path, text);
		if (r < 0)
			return r;
	}
	return 0;
}

static int inherit_from_parent(const char *group)
{
	char parent[CGROUP_DIR_MAX];

	snprintf(parent, sizeof(parent), "%s", group);
	*strrchr(parent, '/') = 0;
	return inherit_cpuset(parent, group);
}

/* Makes all groups above @group that are missing. -ENOENT: there is no such hierarchy. */
static int make_parents(const char *controller, const char *group)
{
	char root[64], dir[CGROUP_DIR_MAX], clone[CGROUP_DIR_MAX];
	bool cpuset = !strcmp(controller, "cpuset");
	struct statfs fs;

	root_of(controller, root);
	if (statfs(root, &fs) < 0 || fs.f_type != CGROUP_SUPER_MAGIC)
		return -ENOENT;
	for (const char *p = strchr(group + strlen(root) + 1, '/'); p; p = strchr(p + 1, '/')) {
		int r = 0;
		bool made;

		snprintf(dir, sizeof(dir), "%.*s", (int)(p - group), group);
		made = mkdir(dir, 0755) == 0;
		if (!made && errno != EEXIST)
			return -errno;
		if (cpuset)
			r = inherit_from_parent(dir);
		if (cpuset && made && r == 0 &&
		    cgroup_join_path(clone, dir, "cgroup.clone_children", NULL))
			r = io_write_knob(AT_FDCWD, clone, "1");
		if (r < 0)
			return r;
	}
	return 0;
}

/*
 * Is the leaf, just made, usable as it is? One read of it says so. If not, neither may those above
 * it be: a creation of theirs broke off.
 */
static int prepare_cpuset(const char *group)
{
	char path[CGROUP_DIR_MAX], text[8];
	int r;

	if (!cgroup_join_path(path, group, "cpuset.cpus", NULL))
		return -ENAMETOOLONG;
	r = cgroup_read(AT_FDCWD, path, text, sizeof(text));
	if (r < 0 || (text[0] && text[0] != '\n'))
		return r;
	r = make_parents("cpuset", group);
	return r < 0 ? r : inherit_from_parent(group);
}

static int take_over(const char *controller, const char *dir, const char *path, struct err *err)
{
	char file[CGROUP_DIR_MAX], text[16];

	if (cgroup_has_processes(dir))
		return err_set(err, EBUSY,
			       "the cgroup %s:/%s has processes already; a container needs one of "
			       "its own",
			       controller, path);
	if (strcmp(controller, "freezer") != 0 ||
	    !cgroup_join_path(file, dir, "freezer.state", NULL) ||
	    cgroup_read(AT_FDCWD, file, text, sizeof(text)) < 0 || !strncmp(text, "THAWED", 6))
		return 0;
	return err_set(err, EBUSY, "the cgroup %s:/%s is frozen; nothing could start in it",
		       controller, path);
}

/* 1: made; 0: it was there; NO_HIERARCHY, and @err is as it was. */
static int make_group(const char *controller, const char *path, const char *dir, enum mode mode,
		      struct err *err)
{
	int r = mkdir(dir, 0755) < 0 ? -errno : 1;

	if (r == -ENOENT) {
		r = make_parents(controller, dir);
		if (r == -ENOENT)
			return NO_HIERARCHY;
		if (r == 0)
			r = mkdir(dir, 0755) < 0 ? -errno : 1;
	}
	if (r == -EEXIST)
		r = mode == ADOPT ? 0 : take_over(controller, dir, path, err);
	else if (r < 0)
		err_sys(err, -r, "make the cgroup %s:/%s", controller, path);
	if (r >= 0 && !strcmp(controller, "cpuset")) { /* 0 or 1 by now */
		int e = prepare_cpuset(dir);

		if (e < 0) {
			if (r > 0)
				rmdir(dir);
			return err_sys(err, -e, "give the cgroup cpuset:/%s its CPUs", path);
		}
	}
	return r;
}

/* ---- limits --------------------------------------------------------------------------------- */

static int no_controller(const char *controller, const struct cgroup_knobs *k, struct err *err)
{
	return err_set(
		err, ENOENT,
		"set the %s (%s): this host has no cgroup v1 controller \"%s\" on " CGROUP_ROOT
		"/%s",
		k->count ? k->list[0].what : "device rules",
		k->count ? k->list[0].file : "devices.allow", controller, controller);
}

static int open_group(const char *controller, const char *path, const char *dir, struct err *err)
{
	int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? err_sys(err, errno, "open the cgroup %s:/%s", controller, path) : fd;
}

/* A group of those that are not made for every container, which a process cannot join later. */
static int made_without(const char *controller, const struct cgroup_knobs *k, struct err *err)
{
	return err_set(err, ENOENT,
		       "set the %s (%s): the container was made without such a limit, and has no "
		       "cgroup in " CGROUP_ROOT "/%s",
		       k->list[0].what, k->list[0].file, controller);
}

/* The huge pages of a hybrid host. */
static int hybrid_hugetlb(const char *path, const struct cgroup_knobs *k, enum mode mode,
			  struct err *err)
{
	_cleanup_close_ int dir = -EBADF;
	char name[CGROUP_DIR_MAX];
	bool fresh;
	int r = mode == UPDATE ? 0
			       : cgroup_v2_make(CGROUP_UNIFIED, path, "hugetlb", mode == ADOPT,
						&fresh, err);

	if (r < 0)
		return r;
	if (!cgroup_join_path(name, CGROUP_UNIFIED, path, NULL))
		return err_set(err, ENAMETOOLONG, "the cgroup path \"%.60s…\" is too long", path);
	if (mode == UPDATE && access(name, F_OK) < 0)
		return made_without("unified", k, err);
	dir = open_group("unified", path, name, err);
	return dir < 0 ? dir : cgroup_knobs_write(k, dir, err);
}

static bool is_hybrid(void)
{
	struct statfs fs;

	return statfs(CGROUP_UNIFIED, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;
}

static int set_hybrid(const char *path, const struct plan_resources *l, enum mode mode,
		      struct err *err)
{
	struct cgroup_knobs k = { 0 };
	int r = cgroup_hugetlb_knobs(l, true, &k, err);

	if (r == 0)
		r = hybrid_hugetlb(path, &k, mode, err);
	cgroup_knobs_done(&k);
	return r;
}

/* Sets @k and, in "devices", the rules, in the group of one controller; makes it unless it is an
 * UPDATE. */
static int set_knobs(const char *controller, const char *path, const struct plan_resources *l,
		     const struct cgroup_knobs *k, enum mode mode, bool *ret_made, struct err *err)
{
	bool needed = k->count || (!strcmp(controller, "devices") && l->device_rule_count);
	_cleanup_close_ int fd = -EBADF;
	char root[64], dir[CGROUP_DIR_MAX];
	int r = 0;

	root_of(controller, root);
	if (!cgroup_join_path(dir, root, path, NULL))
		return err_set(err, ENAMETOOLONG, "the cgroup path \"%.60s…\" is too long", path);
	if (mode != UPDATE)
		r = make_group(controller, path, dir, mode, err);
	else if (access(dir, F_OK) < 0)
		r = access(root, F_OK) < 0 ? NO_HIERARCHY
		    : is_extra(controller) ? made_without(controller, k, err)
					   : 0;
	if (r == NO_HIERARCHY && needed && !strcmp(controller, "hugetlb") && is_hybrid())
		return set_hybrid(path, l, mode, err);
	if (r == NO_HIERARCHY)
		return needed ? no_controller(controller, k, err) : 0;
	*ret_made = r > 0;
	if (r < 0 || !needed)
		return r < 0 ? r : 0;
	fd = open_group(controller, path, dir, err);
	r = fd < 0 ? fd : cgroup_knobs_write(k, fd, err);
	if (r == 0 && !strcmp(controller, "devices"))
		r = cgroup_v1_devices(fd, l, *ret_made, err);
	return r;
}

/* @ret_made: the group must be removed when another controller fails. */
static int set_in(size_t index, const char *path, const struct plan_resources *l, enum mode mode,
		  bool *ret_made, struct err *err)
{
	const char *controller = controller_at(index);
	struct cgroup_knobs k = { 0 };
	int r = cgroup_v1_knobs(controller, l, &k, err);

	*ret_made = false;
	if (r == 0 && (k.count || (mode != UPDATE && index < BASE_COUNT) ||
		       (l->device_rule_count && !strcmp(controller, "devices"))))
		r = set_knobs(controller, path, l, &k, mode, ret_made, err);
	cgroup_knobs_done(&k);
	return r;
}

static int check(const char *path, const struct plan_resources *l, struct err *err)
{
	if (l->unified && l->unified[0])
		return err_set(err, EOPNOTSUPP,
			       "set \"%.60s\": this host has cgroup v1, and \"unified\" limits are "
			       "those of v2",
			       l->unified[0]);
	return cgroup_check_path(path, err);
}

/* ---- cgroup_ops ----------------------------------------------------------------------------- */

static int make_all(const char *path, const struct plan_resources *l, enum mode mode,
		    struct err *err)
{
	bool made[CONTROLLER_COUNT] = { false };
	int r = check(path, l, err);

	for (size_t i = 0; i < CONTROLLER_COUNT && r == 0; i++)
		r = set_in(i, path, l, mode, &made[i], err);
	if (r == 0)
		return 0;
	for (size_t i = 0; i < CONTROLLER_COUNT; i++) {
		char root[64], dir[CGROUP_DIR_MAX];

		root_of(controller_at(i), root);
		if (made[i] && cgroup_join_path(dir, root, path, NULL))
			(void)rmdir(dir);
	}
	return r;
}

static int v1_create(const char *path, const struct plan_resources *l, struct err *err)
{
	return make_all(path, l, CREATE, err);
}

static int v1_adopt(const char *path, const struct plan_resources *l, struct err *err)
{
	return make_all(path, l, ADOPT, err);
}

static int v1_update(const char *path, const struct plan_resources *l, struct err *err)
{
	bool made;
	int r = check(path, l, err);

	for (size_t i = 0; i < CONTROLLER_COUNT && r == 0; i++)
		r = set_in(i, path, l, UPDATE, &made, err);
	return r;
}

static int v1_join(const char *path)
{
	char root[64], file[CGROUP_DIR_MAX];

	/* one more than there are controllers: where systemd has its units, and this may be one */
	for (size_t i = 0; i <= CONTROLLER_COUNT; i++) {
		int r;

		root_of(i < CONTROLLER_COUNT ? controller_at(i) : "systemd", root);
		if (!cgroup_join_path(file, root, path, "tasks"))
			return -ENAMETOOLONG;
		r = io_write_knob(AT_FDCWD, file, "0");
		/* a controller this kernel lacks was refused by create() if anything needs it */
		if (r < 0 && r != -ENOENT)
			return r;
	}
	return 0;
}

static int v1_open(const char *path)
{
	char dir[CGROUP_DIR_MAX];
	int fd;

	if (!cgroup_join_path(dir, CGROUP_UNIFIED, path, NULL))
		return -EBADF;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -EBADF : fd;
}

static int v1_remove(const char *path, struct err *err)
{
	char root[64], dir[CGROUP_DIR_MAX];
	int first = cgroup_check_path(path, err), wait_ms = CGROUP_REMOVE_WAIT_MS;

	/* one more than there are controllers: the v2 hierarchy of a hybrid host */
	for (size_t i = 0; i <= CONTROLLER_COUNT && first != -EINVAL; i++) {
		const char *name = i < CONTROLLER_COUNT ? controller_at(i) : "unified";
		int r;

		root_of(name, root);
		r = cgroup_join_path(dir, root, path, NULL) ? cgroup_remove_dir(dir, &wait_ms) : 0;
		if (r < 0 && first == 0)
			first = err_sys(err, -r, "remove the cgroup %s:/%s%s", name, path,
					r == -EBUSY ? " (it has processes)" : "");
	}
	return first;
}

int cgroup_v1_dir(const char *path, char buf[CGROUP_DIR_MAX])
{
	static const char *const order[] = { "freezer", "pids", "devices", "memory", "cpu" };
	char root[64];

	for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
		root_of(order[i], root);
		if (cgroup_join_path(buf, root, path, NULL) && access(buf, F_OK) == 0)
			return 0;
	}
	return -ENOENT;
}

static uint64_t v1_oom_kills(const char *path)
{
	char file[CGROUP_DIR_MAX];

	return cgroup_join_path(file, CGROUP_ROOT "/memory", path, "memory.oom_control")
		       ? cgroup_read_value(file, "oom_kill")
		       : 0;
}

const struct cgroup_ops cgroup_v1 = {
	.name = "v1",
	.create = v1_create,
	.adopt = v1_adopt,
	.update = v1_update,
	.join = v1_join,
	.open = v1_open,
	.remove = v1_remove,
	.oom_kills = v1_oom_kills,
	.freeze = cgroup_v1_freeze,
	.is_frozen = cgroup_v1_is_frozen,
	.kill = cgroup_v1_kill,
	.pids = cgroup_v1_pids,
	.stats = cgroup_v1_stats,
	.delegate = cgroup_v1_delegate,
};
