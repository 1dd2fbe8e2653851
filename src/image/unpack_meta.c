/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything goes through a descriptor where the thing has one. What has none (links, devices) is
 * reached through /proc/self/fd/PARENT/NAME with calls that do not follow the last component.
 */
#include "image/unpack_meta.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include "util/err.h"
#include "util/linux.h"
#include "util/mem.h"
#include "util/str.h"

int meta_check(struct archive_entry *e, struct err *err)
{
	int64_t uid = archive_entry_uid(e), gid = archive_entry_gid(e);

	if (uid < 0 || gid < 0 || uid >= UINT32_MAX || gid >= UINT32_MAX)
		return err_set(err, EINVAL, "its owner %lld:%lld is out of range", (long long)uid,
			       (long long)gid);
	return 0;
}

void meta_times(struct archive_entry *e, struct timespec times[2])
{
	long nsec = archive_entry_mtime_nsec(e);

	times[1].tv_sec = archive_entry_mtime(e);
	times[1].tv_nsec = nsec >= 0 && nsec < 1000000000 ? nsec : 0;
	times[0] = times[1];
}

static bool needs_chown(struct archive_entry *e, const struct owner *self)
{
	return self->can_chown && ((uid_t)archive_entry_uid(e) != self->uid ||
				   (gid_t)archive_entry_gid(e) != self->gid);
}

/* overlayfs's own attributes redirect lookups: an archive must not bring them */
static bool xattr_is_wanted(const char *name)
{
	return !str_starts(name, "trusted.overlay.") && !str_starts(name, "user.overlay.");
}

/* @fd, or with @link_path (not followed) what has no descriptor */
static int set_xattrs(struct archive_entry *e, int fd, const char *link_path,
		      const struct owner *self, struct err *err)
{
	const char *name;
	const void *value;
	size_t n;

	archive_entry_xattr_reset(e);
	while (archive_entry_xattr_next(e, &name, &value, &n) == ARCHIVE_OK) {
		char quoted[128];
		int r;

		if (!name || !xattr_is_wanted(name))
			continue;
		r = link_path ? lsetxattr(link_path, name, value, n, 0)
			      : fsetxattr(fd, name, value, n, 0);
		/* a file system or kernel without them, or an ordinary user: as tar does */
		if (r == 0 || errno == EOPNOTSUPP || (errno == EPERM && !self->can_chown))
			continue;
		if (errno == EPERM && link_path && str_starts(name, "user."))
			continue; /* links and devices cannot have these */
		return err_sys(err, errno, "set its attribute %s",
			       str_quote(name, quoted, sizeof(quoted)));
	}
	return 0;
}

int meta_apply_file(struct archive_entry *e, int fd, const struct owner *self, struct err *err)
{
	mode_t mode = archive_entry_perm(e);
	struct timespec times[2];
	int r = 0;

	if (needs_chown(e, self) &&
	    fchown(fd, (uid_t)archive_entry_uid(e), (gid_t)archive_entry_gid(e)) < 0)
		return err_sys(err, errno, "set its owner");
	if ((mode & 07000) && fchmod(fd, mode & 07777) < 0) /* after chown, which clears them */
		return err_sys(err, errno, "set its mode");
	if (archive_entry_xattr_count(e))
		r = set_xattrs(e, fd, NULL, self, err);
	meta_times(e, times);
	if (r == 0 && futimens(fd, times) < 0)
		return err_sys(err, errno, "set its times");
	return r;
}

int meta_apply_dir(struct archive_entry *e, int dir, const char *name, const struct owner *self,
		   int mode, struct err *err)
{
	_cleanup_close_ int fd = -EBADF;

	if (mode < 0 && !needs_chown(e, self) && !archive_entry_xattr_count(e))
		return 0;
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, errno, "open the directory");
	if (needs_chown(e, self) &&
	    fchown(fd, (uid_t)archive_entry_uid(e), (gid_t)archive_entry_gid(e)) < 0)
		return err_sys(err, errno, "set its owner");
	if (mode >= 0 && fchmod(fd, (mode_t)mode) < 0)
		return err_sys(err, errno, "set its mode");
	return set_xattrs(e, fd, NULL, self, err);
}

int meta_apply_special(struct archive_entry *e, int dir, const char *name, const struct owner *self,
		       struct err *err)
{
	struct timespec times[2];

	if (needs_chown(e, self) && fchownat(dir, name, (uid_t)archive_entry_uid(e),
					     (gid_t)archive_entry_gid(e), AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, errno, "set its owner");
	if (archive_entry_xattr_count(e)) {
		char path[NAME_MAX + 40];
		int r;

		snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", dir, name);
		r = set_xattrs(e, -1, path, self, err);
		if (r < 0)
			return r;
	}
	meta_times(e, times);
	if (utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, errno, "set its times");
	return 0;
}

int meta_set_opaque(int dir, const char *name, bool privileged, struct err *err)
{
	const char *attribute = privileged ? "trusted.overlay.opaque" : "user.overlay.opaque";
	_cleanup_close_ int fd =
		openat(dir, name ? name : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 || fsetxattr(fd, attribute, "y", 1, 0) < 0)
		return err_sys(err, errno, "mark the directory as opaque");
	return 0;
}

static int by_path(const void *a, const void *b)
{
	const struct late_dir *x = a, *y = b;
	int r = strcmp(x->path, y->path);

	return r ? r : x->order < y->order ? -1 : 1;
}

static int finish_dir(int root_fd, const struct late_dir *d, struct err *err)
{
	_cleanup_close_ int fd = sys_openat2(root_fd, *d->path ? d->path : ".",
					     O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0,
					     RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);

	/* a later entry may have put something else there */
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
		return 0;
	if (fd < 0 || (d->set_mode && fchmod(fd, d->mode & 07777) < 0) ||
	    futimens(fd, d->times) < 0)
		return err_sys(err, errno, "set mode and times of directory \"%.200s\"",
			       *d->path ? d->path : "/");
	return 0;
}

int meta_finish_dirs(int root_fd, struct late_dir *dirs, size_t count, struct err *err)
{
	if (!count)
		return 0;
	/*
	 * Backwards in the order of names: children come before a parent that becomes unreadable,
	 * and of several entries of one directory the last counts.
	 */
	for (size_t i = 0; i < count; i++)
		dirs[i].order = i;
	qsort(dirs, count, sizeof(*dirs), by_path);
	for (size_t i = count; i-- > 0;) {
		int r;

		if (i + 1 < count && !strcmp(dirs[i].path, dirs[i + 1].path))
			continue;
		r = finish_dir(root_fd, &dirs[i], err);
		if (r < 0)
			return r;
	}
	return 0;
}
