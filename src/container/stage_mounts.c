/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan's mounts in the new root.
 *
 * Every mount is made detached (fsopen/fsmount, or the clone of a bind's source) and moved onto a
 * descriptor that was resolved inside the root.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include "container/stage_internal.h"
#include "util/linux.h"
#include "util/mem.h"
#include "util/str.h"

int stage_new_fs(const char *type, const char *source, const char *const *options, uint64_t attrs,
		 struct err *err)
{
	_cleanup_close_ int fs = sys_fsopen(type, FSOPEN_CLOEXEC);
	int fd;

	if (fs < 0)
		return err_sys(err, errno, "mount a %s", type);
	/* what mount(8) shows, or the device */
	(void)sys_fsconfig(fs, FSCONFIG_SET_STRING, "source", source ? source : type, 0);
	for (; options && *options; options++) {
		_cleanup_free_ char *key = strdup(*options);
		char *eq = key ? strchr(key, '=') : NULL;
		int r;

		if (!key)
			return err_set(err, ENOMEM, "out of memory");
		if (eq)
			*eq = 0;
		r = eq ? sys_fsconfig(fs, FSCONFIG_SET_STRING, key, eq + 1, 0)
		       : sys_fsconfig(fs, FSCONFIG_SET_FLAG, key, NULL, 0);
		if (r < 0)
			return err_sys(err, errno, "mount a %s with the option \"%s\"", type,
				       *options);
	}
	if (sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return err_sys(err, errno, "mount a %s", type);
	fd = sys_fsmount(fs, FSMOUNT_CLOEXEC, (unsigned)attrs);
	return fd < 0 ? err_sys(err, errno, "mount a %s", type) : fd;
}

static bool is_procfs(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC;
}

/*
 * What protects a container is in part written through its /proc, which therefore has to be the
 * kernel's (CVE-2019-16884): nothing else may cover it, nor a file in it but those that programs
 * like lxcfs give a container's own view of.
 */
static int check_proc(int at, int fd, const char *target, struct err *err)
{
	static const char *const allowed[] = {
		"/proc/cpuinfo",
		"/proc/diskstats",
		"/proc/meminfo",
		"/proc/stat",
		"/proc/swaps",
		"/proc/uptime",
		"/proc/loadavg",
		"/proc/slabinfo",
		"/proc/net/dev",
		"/proc/sys/kernel/ns_last_pid",
		"/proc/sys/crypto/fips_enabled",
	};
	const char *end = target + strlen(target);

	while (end > target + 1 && end[-1] == '/')
		end--;
	for (size_t i = 0; i < ARRAY_SIZE(allowed); i++)
		if (!strcmp(allowed[i], target))
			return 0;
	if (!is_procfs(at) && !((size_t)(end - target) == 5 && !strncmp(target, "/proc", 5)))
		return 0;
	if (is_procfs(fd))
		return 0;
	return err_set(err, EPERM, "mount on %s: only a procfs may be there", target);
}

int stage_attach(struct stage *s, int fd, const char *target, bool directory, struct err *err)
{
	_cleanup_close_ int at = stage_root_target(s->root_fd, target, directory, err);

	if (at < 0)
		return at;
	if (str_starts(target, "/proc") || is_procfs(at)) {
		int r = check_proc(at, fd, target, err);

		if (r < 0)
			return r;
	}
	if (sys_move_mount(fd, "", at, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return err_sys(err, errno, "mount on %s", target);
	return 0;
}

static bool is_directory(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
}

/*
 * Copies the owner and mode of the image's directory, which the tmpfs covers, to the tmpfs's root.
 * Its content stays hidden, as with docker's --tmpfs.
 */
static void take_over_mode(struct stage *s, const char *target, int tmpfs)
{
	struct stat st;
	_cleanup_close_ int fd = sys_openat2(s->root_fd, target, O_PATH | O_DIRECTORY | O_CLOEXEC,
					     0, RESOLVE_IN_ROOT);

	if (fd >= 0 && fstat(fd, &st) == 0) {
		(void)!fchownat(tmpfs, "", st.st_uid, st.st_gid, AT_EMPTY_PATH);
		(void)!fchmodat(tmpfs, ".", st.st_mode & 07777, 0);
	}
}

static const char *fs_type(const struct plan_mount *m)
{
	switch (m->kind) {
	case PLAN_MOUNT_TMPFS: return "tmpfs";
	case PLAN_MOUNT_PROC: return "proc";
	case PLAN_MOUNT_SYSFS: return "sysfs";
	case PLAN_MOUNT_DEVPTS: return "devpts";
	case PLAN_MOUNT_MQUEUE: return "mqueue";
	default: return m->fs;
	}
}

/* tmpcopyup: what the tmpfs covers is in it as well. */
static int copy_up(struct stage *s, const struct plan_mount *m, int tmpfs, struct err *err)
{
	_cleanup_close_ int from = sys_openat2(
		s->root_fd, m->target, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0, RESOLVE_IN_ROOT);
	_cleanup_close_ int to = openat(tmpfs, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (from < 0)
		return errno == ENOENT ? 0
				       : err_sys(err, errno, "copy %s into the tmpfs", m->target);
	if (to < 0)
		return err_sys(err, errno, "open the tmpfs for %s", m->target);
	r = stage_copy_up(from, to, err);
	return r < 0 ? err_wrap(err, "copy %s into the tmpfs", m->target) : 0;
}

/* More than what a new mount has anyway: it is private, and fsmount() gave it its attributes. */
static bool wants_more(const struct plan_mount *m)
{
	return m->flags & (PLAN_MOUNT_SHARED | PLAN_MOUNT_UNBINDABLE) || m->below.set ||
	       m->below.clear;
}

static int mount_new_fs(struct stage *s, const struct plan_mount *m, struct err *err)
{
	/* what is to be copied into it must be written first */
	bool copies = m->flags & PLAN_MOUNT_COPY_UP;
	_cleanup_close_ int fd = stage_new_fs(
		fs_type(m), m->source, (const char *const *)m->options, copies ? 0 : m->attrs, err);
	int r = 0;

	if (fd < 0)
		return err_wrap(err, "mount on %s", m->target);
	if (m->kind == PLAN_MOUNT_TMPFS && (m->flags & PLAN_MOUNT_KEEP_MODE))
		take_over_mode(s, m->target, fd);
	if (copies)
		r = copy_up(s, m, fd, err);
	if (r == 0 && (copies || wants_more(m)))
		r = root_sources_set_attrs(fd, m, err);
	return r < 0 ? r : stage_attach(s, fd, m->target, true, err);
}

static int mount_bind(struct stage *s, const struct plan_mount *m, int source, struct err *err)
{
	_cleanup_close_ int at = -EBADF;

	if (!(m->flags & PLAN_MOUNT_TARGET_NOFOLLOW))
		return stage_attach(s, source, m->target, is_directory(source), err);
	at = stage_root_target_link(s->root_fd, m->target, err);
	if (at < 0)
		return at;
	if (sys_move_mount(source, "", at, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) <
	    0)
		return err_sys(err, errno, "mount on %s", m->target);
	return 0;
}

static int mount_one(struct stage *s, size_t i, struct err *err)
{
	const struct plan_mount *m = &s->plan.mounts[i];
	int r;

	if (m->kind == PLAN_MOUNT_BIND)
		r = mount_bind(s, m, s->sources.binds[i], err);
	else if (m->kind == PLAN_MOUNT_CGROUP)
		r = stage_mount_cgroup(s, m, err);
	else
		r = mount_new_fs(s, m, err);
	if (r < 0 && (m->flags & PLAN_MOUNT_OPTIONAL)) {
		stage_warn(s, err);
		err_clear(err);
		return 0;
	}
	return r;
}

int stage_mounts(struct stage *s, struct err *err)
{
	for (size_t i = 0; i < s->plan.mount_count; i++) {
		int r = mount_one(s, i, err);

		if (s->sources.binds[i] >= 0)
			s->sources.binds[i] = fd_close(s->sources.binds[i]);
		if (r < 0)
			return r;
	}
	return 0;
}
