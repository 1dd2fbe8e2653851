/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What both versions share: which one it is, names of groups, and the group a process is in.
 *
 * Nothing here is looked up by mount table: a controller of v1 is at /sys/fs/cgroup/NAME and v2 is
 * at /sys/fs/cgroup, where systemd, and every distribution without it, has them. That saves reading
 * mountinfo on each start, which takes longer than making all groups.
 */
#include "container/cgroup.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/statfs.h>
#include "container/cgroup_internal.h"
#include "util/err.h"
#include "util/io.h"
#include "util/mem.h"

const struct cgroup_ops *cgroup_detect(void)
{
	struct statfs fs;

	if (statfs(CGROUP_ROOT, &fs) < 0)
		return NULL;
	if (fs.f_type == CGROUP2_SUPER_MAGIC)
		return &cgroup_v2;
	/* v1, or the hybrid layout: v1 controllers beside an (almost) empty v2 hierarchy */
	if (fs.f_type == TMPFS_MAGIC)
		return &cgroup_v1;
	return NULL;
}

static const char *path_fault(const char *path)
{
	const char *part = path;

	if (!path || !*path)
		return "it is empty";
	if (strlen(path) >= CGROUP_PATH_MAX)
		return "it is too long";
	for (const char *p = path;; p++) {
		size_t n;

		if ((unsigned char)*p < ' ' && *p)
			return "it has a control character";
		if (*p != '/' && *p)
			continue;
		n = (size_t)(p - part);
		if (n == 0)
			return "it has a \"/\" too many";
		if (n > 255)
			return "a name in it is too long";
		if ((n == 1 && part[0] == '.') || (n == 2 && part[0] == '.' && part[1] == '.'))
			return "\".\" and \"..\" are no names";
		if (!*p)
			return NULL;
		part = p + 1;
	}
}

int cgroup_check_path(const char *path, struct err *err)
{
	const char *fault = path_fault(path);

	if (!fault)
		return 0;
	return err_set(err, EINVAL, "the cgroup path \"%.200s\" cannot be: %s", path ? path : "",
		       fault);
}

bool cgroup_join_path(char buf[CGROUP_DIR_MAX], const char *root, const char *path,
		      const char *file)
{
	int n = snprintf(buf, CGROUP_DIR_MAX, "%s/%s%s%s", root, path, file ? "/" : "",
			 file ? file : "");

	return n > 0 && n < CGROUP_DIR_MAX;
}

const char *cgroup_path_or_default(const char *chosen, const char *id, char buf[CGROUP_DEFAULT_MAX])
{
	if (chosen)
		return chosen;
	snprintf(buf, CGROUP_DEFAULT_MAX, CGROUP_PARENT "/%s", id);
	return buf;
}

/* A line of /proc/PID/cgroup is "number:controller,controller:/path"; v2's is "0::/path". */
static const char *path_in_line(char *line, const char *controller)
{
	char *list = strchr(line, ':'), *path = list ? strchr(list + 1, ':') : NULL, *save = NULL;

	if (!path)
		return NULL;
	*path++ = 0;
	list++;
	if (!controller)
		return *list ? NULL : path;
	for (char *c = strtok_r(list, ",", &save); c; c = strtok_r(NULL, ",", &save))
		if (!strcmp(c, controller))
			return path;
	return NULL;
}

int cgroup_path_of(pid_t pid, const char *controller, char **ret, struct err *err)
{
	_cleanup_free_ char *text = NULL;
	char file[48], *save = NULL;
	int r;

	if (pid)
		snprintf(file, sizeof(file), "/proc/%d/cgroup", pid);
	else
		snprintf(file, sizeof(file), "/proc/self/cgroup");
	r = io_read_file(AT_FDCWD, file, 1 << 20, &text, NULL);
	if (r < 0)
		return err_sys(err, -r, "read %s", file);
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		const char *path = path_in_line(line, controller);

		if (!path)
			continue;
		*ret = strdup(path + strspn(path, "/"));
		return *ret ? 0 : err_set(err, ENOMEM, "out of memory");
	}
	return err_set(err, ENOENT, "%s has no line for %s", file,
		       controller ? controller : "cgroup v2");
}

int cgroup_own_path(char **ret, struct err *err)
{
	if (cgroup_detect() != &cgroup_v1)
		return cgroup_path_of(0, NULL, ret, err);
	/* the hierarchy that no manager moves single processes about in */
	if (cgroup_path_of(0, "devices", ret, NULL) == 0)
		return 0;
	return cgroup_path_of(0, "memory", ret, err);
}

/* Whoever makes a group needs its parent; whoever moves into it, that group's cgroup.procs. */
static bool can_create_in(const char *root, const char *path)
{
	char dir[CGROUP_DIR_MAX], procs[CGROUP_DIR_MAX + 16];

	if (!cgroup_join_path(dir, root, path, NULL))
		return false;
	while (strlen(dir) > strlen(root) && faccessat(AT_FDCWD, dir, F_OK, AT_EACCESS) < 0)
		*strrchr(dir, '/') = 0;
	snprintf(procs, sizeof(procs), "%s/cgroup.procs", dir);
	return faccessat(AT_FDCWD, dir, W_OK | X_OK, AT_EACCESS) == 0 &&
	       faccessat(AT_FDCWD, procs, W_OK, AT_EACCESS) == 0;
}

bool cgroup_can_create(const char *path)
{
	const struct cgroup_ops *ops = cgroup_detect();
	bool any = false;

	if (!ops || path_fault(path))
		return false;
	if (ops == &cgroup_v2)
		return can_create_in(CGROUP_ROOT, path);
	for (const char *const *c = cgroup_v1_controllers; *c; c++) {
		char root[64];

		snprintf(root, sizeof(root), CGROUP_ROOT "/%s", *c);
		if (access(root, F_OK) < 0)
			continue;
		if (!can_create_in(root, path))
			return false;
		any = true;
	}
	return any;
}
