/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cgroup v2: one directory "proa/ID" in the one hierarchy. The first process is cloned straight
 * into the group, which costs no migration. Devices are decided by an eBPF program
 * (cgroup_devices_bpf.c).
 *
 * A group has the controllers that every group above it passes on (cgroup.subtree_control). One
 * read of the new group's cgroup.controllers says whether all is there; only when it is not, they
 * are switched on from the root down, as far as the kernel lets us (a group with processes of its
 * own cannot). The groups above the container's therefore hold no processes, and those of a
 * container are in the leaf.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "container/cgroup.h"
#include "container/cgroup_internal.h"
#include "plan/plan.h"
#include "util/err.h"
#include "util/io.h"
#include "util/mem.h"

#define WANTED "cpu cpuset memory pids io"

/* Is @name a word of the list @words? */
static bool has_word(const char *words, const char *name, size_t n)
{
	for (const char *w = words; *w; w += strcspn(w, " \n"), w += strspn(w, " \n"))
		if (strcspn(w, " \n") == n && !strncmp(w, name, n))
			return true;
	return false;
}

/* Are all of @wanted in @have, but for those that the root has not either? */
static bool is_complete(const char *wanted, const char *have, const char *root)
{
	for (const char *w = wanted; *w; w += strcspn(w, " "), w += strspn(w, " ")) {
		size_t n = strcspn(w, " ");

		if (!has_word(have, w, n) && (!root || has_word(root, w, n)))
			return false;
	}
	return true;
}

/*
 * Passing a controller on from a group with processes is for the root alone. With some controllers
 * the kernel lets us, and makes the group a threaded one, whose children then take no processes.
 */
static bool has_internal_processes(const char *dir)
{
	char file[CGROUP_DIR_MAX];

	return cgroup_join_path(file, dir, "cgroup.type", NULL) && access(file, F_OK) == 0 &&
	       cgroup_has_processes(dir);
}

/* "+cpu +memory" of "cpu memory", without what is not in @have. */
static void list_to_enable(const char *wanted, const char *have, char *buf, size_t size)
{
	size_t len = 0;

	buf[0] = 0;
	for (const char *w = wanted; *w; w += strcspn(w, " "), w += strspn(w, " ")) {
		size_t n = strcspn(w, " ");

		if (!has_word(have, w, n) || len + n + 3 > size)
			continue;
		if (len)
			buf[len++] = ' ';
		buf[len++] = '+';
		memcpy(buf + len, w, n);
		len += n;
		buf[len] = 0;
	}
}

static void enable_in(const char *dir, const char *list)
{
	char file[CGROUP_DIR_MAX], words[256], *save = NULL;

	if (!cgroup_join_path(file, dir, "cgroup.subtree_control", NULL) ||
	    has_internal_processes(dir) || io_write_knob(AT_FDCWD, file, list) == 0)
		return;
	/* one by one: a single one that cannot be had fails all of them */
	snprintf(words, sizeof(words), "%s", list);
	for (char *w = strtok_r(words, " ", &save); w; w = strtok_r(NULL, " ", &save))
		(void)io_write_knob(AT_FDCWD, file, w);
}

static void enable_controllers(const char *root, const char *group, const char *wanted)
{
	char dir[CGROUP_DIR_MAX], file[CGROUP_DIR_MAX], have[512], all[512], list[256];

	if (!cgroup_join_path(file, group, "cgroup.controllers", NULL) ||
	    cgroup_read(AT_FDCWD, file, have, sizeof(have)) < 0 || is_complete(wanted, have, NULL))
		return;
	if (!cgroup_join_path(file, root, "cgroup.controllers", NULL) ||
	    cgroup_read(AT_FDCWD, file, all, sizeof(all)) < 0 || is_complete(wanted, have, all))
		return;
	list_to_enable(wanted, all, list, sizeof(list));
	for (const char *p = group + strlen(root); p; p = strchr(p + 1, '/')) {
		snprintf(dir, sizeof(dir), "%.*s", (int)(p - group), group);
		enable_in(dir, list);
	}
}

static int make_parents(const char *root, const char *group)
{
	char dir[CGROUP_DIR_MAX];

	for (const char *p = strchr(group + strlen(root) + 1, '/'); p; p = strchr(p + 1, '/')) {
		snprintf(dir, sizeof(dir), "%.*s", (int)(p - group), group);
		if (mkdir(dir, 0755) < 0 && errno != EEXIST)
			return -errno;
	}
	return 0;
}

int cgroup_v2_make(const char *root, const char *path, const char *wanted, bool adopt,
		   bool *ret_fresh, struct err *err)
{
	char dir[CGROUP_DIR_MAX];
	int r;

	if (!cgroup_join_path(dir, root, path, NULL))
		return err_set(err, ENAMETOOLONG, "the cgroup path \"%.60s…\" is too long", path);
	r = mkdir(dir, 0755) < 0 ? -errno : 0;
	if (r == -ENOENT) {
		r = make_parents(root, dir);
		if (r == 0)
			r = mkdir(dir, 0755) < 0 ? -errno : 0;
	}
	*ret_fresh = r == 0;
	if (r == -EEXIST && !adopt && cgroup_has_processes(dir))
		return err_set(err, EBUSY,
			       "the cgroup /%s has processes already; a container needs one of its "
			       "own",
			       path);
	if (r < 0 && r != -EEXIST)
		return err_sys(err, -r, "make the cgroup /%s", path);
	if (r == -EEXIST && cgroup_v2_is_frozen(path) == 1)
		return err_set(err, EBUSY, "the cgroup /%s is frozen; nothing could start in it",
			       path);
	enable_controllers(root, dir, wanted);
	return 0;
}

static int set_limits(const char *path, const struct plan_resources *l, bool fresh, struct err *err)
{
	struct cgroup_knobs k = { 0 };
	_cleanup_close_ int dir = -EBADF;
	char name[CGROUP_DIR_MAX];
	int r;

	if (!cgroup_join_path(name, CGROUP_ROOT, path, NULL))
		return err_set(err, ENAMETOOLONG, "the cgroup path \"%.60s…\" is too long", path);
	dir = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_sys(err, errno, "open the cgroup /%s", path);
	r = cgroup_v2_knobs(l, dir, &k, err);
	if (r == 0)
		r = cgroup_knobs_write(&k, dir, err);
	cgroup_knobs_done(&k);
	return r == 0 ? cgroup_v2_devices(dir, l, fresh, err) : r;
}

/* The controllers of a container, and those that only a limit makes necessary. */
static void list_wanted(const struct plan_resources *l, char *buf, size_t size)
{
	bool hugetlb = l->hugepage_count;

	for (char *const *u = l->unified; u && *u; u++)
		hugetlb |= !strncmp(*u, "hugetlb.", 8);
	snprintf(buf, size, WANTED "%s%s", hugetlb ? " hugetlb" : "", l->rdma_count ? " rdma" : "");
}

/* ---- cgroup_ops ----------------------------------------------------------------------------- */

static int make(const char *path, const struct plan_resources *l, bool adopt, struct err *err)
{
	bool fresh = false;
	char wanted[64];
	int r = cgroup_check_path(path, err);

	if (r < 0)
		return r;
	list_wanted(l, wanted, sizeof(wanted));
	r = cgroup_v2_make(CGROUP_ROOT, path, wanted, adopt, &fresh, err);
	if (r == 0)
		r = set_limits(path, l, fresh, err);
	if (r < 0 && fresh) {
		char dir[CGROUP_DIR_MAX];

		if (cgroup_join_path(dir, CGROUP_ROOT, path, NULL))
			(void)rmdir(dir);
	}
	return r;
}

static int v2_create(const char *path, const struct plan_resources *l, struct err *err)
{
	return make(path, l, false, err);
}

static int v2_adopt(const char *path, const struct plan_resources *l, struct err *err)
{
	return make(path, l, true, err);
}

static int v2_update(const char *path, const struct plan_resources *l, struct err *err)
{
	int r = cgroup_check_path(path, err);

	return r < 0 ? r : set_limits(path, l, false, err);
}

static int v2_join(const char *path _unused_)
{
	return 0; /* it was cloned into the group */
}

static int v2_open(const char *path)
{
	char dir[CGROUP_DIR_MAX];
	int fd;

	if (!cgroup_join_path(dir, CGROUP_ROOT, path, NULL))
		return -ENAMETOOLONG;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int v2_remove(const char *path, struct err *err)
{
	char dir[CGROUP_DIR_MAX];
	int r = cgroup_check_path(path, err), wait_ms = CGROUP_REMOVE_WAIT_MS;

	if (r < 0 || !cgroup_join_path(dir, CGROUP_ROOT, path, NULL))
		return r;
	r = cgroup_remove_dir(dir, &wait_ms);
	return r < 0 ? err_sys(err, -r, "remove the cgroup /%s%s", path,
			       r == -EBUSY ? " (it has processes)" : "")
		     : 0;
}

static uint64_t v2_oom_kills(const char *path)
{
	char file[CGROUP_DIR_MAX];

	return cgroup_join_path(file, CGROUP_ROOT, path, "memory.events")
		       ? cgroup_read_value(file, "oom_kill")
		       : 0;
}

const struct cgroup_ops cgroup_v2 = {
	.name = "v2",
	.create = v2_create,
	.adopt = v2_adopt,
	.update = v2_update,
	.join = v2_join,
	.open = v2_open,
	.remove = v2_remove,
	.oom_kills = v2_oom_kills,
	.freeze = cgroup_v2_freeze,
	.is_frozen = cgroup_v2_is_frozen,
	.kill = cgroup_v2_kill,
	.pids = cgroup_v2_pids,
	.stats = cgroup_v2_stats,
	.delegate = cgroup_v2_delegate,
};
