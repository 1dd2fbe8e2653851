/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /etc/hostname, /etc/hosts and /etc/resolv.conf: three files on a small tmpfs, each mounted over
 * the image's (as Docker does from a host directory; here nothing of the host is involved). They
 * can be written in the container and end with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include "container/stage_internal.h"
#include "util/io.h"
#include "util/linux.h"
#include "util/mem.h"
#include "util/str.h"

/* Puts @text under @name into the tmpfs mounted at @dir_fd and mounts it on @target. */
static int mount_file(struct stage *s, int dir_fd, const char *name, const char *target,
		      const char *text, struct err *err)
{
	_cleanup_close_ int file =
		openat(dir_fd, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
	_cleanup_close_ int clone = -EBADF, at = -EBADF;
	int r;

	if (file < 0)
		return err_sys(err, errno, "make %s", target);
	r = io_write_full(file, text, strlen(text));
	if (r < 0)
		return err_sys(err, -r, "write %s", target);
	clone = sys_open_tree(dir_fd, name, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (clone < 0)
		return err_sys(err, errno, "mount %s", target);
	at = stage_root_target(s->root_fd, target, false, err);
	if (at < 0)
		return at;
	if (sys_move_mount(clone, "", at, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) <
	    0)
		return err_sys(err, errno, "mount %s", target);
	return 0;
}

/* Has the user put something of their own on @target? Then that stays. */
static bool is_mounted_by_plan(const struct stage *s, const char *target)
{
	for (size_t i = 0; i < s->plan.mount_count; i++)
		if (!strcmp(s->plan.mounts[i].target, target))
			return true;
	return false;
}

int stage_files(struct stage *s, struct err *err)
{
	static const char *const options[] = { "mode=755", "size=1m", NULL };
	_cleanup_free_ char *hostname =
		str_printf("%s\n", s->plan.hostname ? s->plan.hostname : "");
	const struct {
		const char *name, *target, *text;
	} files[] = {
		{ "hostname", "/etc/hostname", str_empty(s->plan.hostname) ? NULL : hostname },
		{ "hosts", "/etc/hosts", s->plan.hosts },
		{ "resolv.conf", "/etc/resolv.conf", s->plan.resolv_conf },
	};
	_cleanup_close_ int tmpfs = -EBADF;
	int r = 0;

	if (!s->plan.hosts && !s->plan.resolv_conf)
		return 0;
	tmpfs = stage_new_fs("tmpfs", NULL, options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, err);
	if (tmpfs < 0)
		return tmpfs;
	/*
	 * A file is cloned from an attached mount: a detached one cannot be cloned from before
	 * Linux 6.15. Our own "/" is covered by the new root, so /proc of the host serves as a
	 * place that nobody sees; it goes with the old root.
	 */
	if (sys_move_mount(tmpfs, "", AT_FDCWD, "/proc", MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_sys(err, errno, "mount the container's own files");
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(files); i++)
		if (files[i].text && !is_mounted_by_plan(s, files[i].target))
			r = mount_file(s, tmpfs, files[i].name, files[i].target, files[i].text,
				       err);
	return r;
}
