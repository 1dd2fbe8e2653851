/* SPDX-License-Identifier: Apache-2.0 */
#include "image/unpack.h"

#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include "image/unpack_meta.h"
#include "image/unpack_path.h"
#include "util/err.h"
#include "util/io.h"
#include "util/linux.h"
#include "util/mem.h"
#include "util/str.h"

#define WHITEOUT	".wh."
#define WHITEOUT_META	".wh..wh."
#define WHITEOUT_OPAQUE ".wh..wh..opq"

struct unpack {
	const struct unpack_options *options;
	struct archive *archive;
	struct archive_entry *entry;
	struct paths paths;
	struct owner self; /* whom new files belong to without a chown */
	struct late_dir *dirs;
	size_t dir_count;
	struct unpack_result result;
};

struct archive *unpack_archive_new(void)
{
	struct archive *a = archive_read_new();

	if (!a)
		return NULL;
	archive_read_support_format_tar(a);
	archive_read_support_format_gnutar(a);
	archive_read_support_format_empty(a);
	return a;
}

/* Makes way for an entry that comes under a name that exists. */
static int clear_name(struct unpack *u, int dir, const char *name, bool *ret_whiteout,
		      struct err *err)
{
	struct stat st;
	int r = 0;

	*ret_whiteout = false;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_sys(err, errno, "replace it");
	*ret_whiteout = S_ISCHR(st.st_mode) && st.st_rdev == 0;
	if (S_ISDIR(st.st_mode))
		r = io_remove_tree(dir, name);
	else if (unlinkat(dir, name, 0) < 0)
		r = -errno;
	if (r < 0)
		return err_sys(err, -r, "replace an earlier entry of the same name");
	/* cached descriptors may be of what is gone; the caller's is not: it holds the name */
	if (S_ISDIR(st.st_mode) || S_ISLNK(st.st_mode))
		u->paths.stale = true;
	return 0;
}

static int make_dir(struct unpack *u, int dir, const char *name, struct err *err)
{
	mode_t mode = archive_entry_perm(u->entry);
	mode_t now = mode & 01777;
	bool existed = false, whiteout = false;
	int r;

	if (!u->options->privileged)
		now |= 0700; /* to be able to fill it */
	while (mkdirat(dir, name, now) < 0) {
		struct stat st;

		if (errno != EEXIST)
			return err_sys(err, errno, "make the directory");
		if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode)) {
			existed = true;
			break;
		}
		r = clear_name(u, dir, name, &whiteout, err);
		if (r < 0)
			return r;
	}
	if (whiteout) { /* the layer below had one too, which this layer removed */
		r = meta_set_opaque(dir, name, u->options->privileged, err);
		if (r < 0)
			return r;
	}
	return meta_apply_dir(u->entry, dir, name, &u->self, existed ? (int)now : -1, err);
}

/* The times of a directory, and its setgid bit, come when all of its files are made. */
static int remember_dir(struct unpack *u, const char *path, struct err *err)
{
	struct late_dir d = { .path = strdup(path), .mode = archive_entry_perm(u->entry) };

	meta_times(u->entry, d.times);
	d.set_mode = (d.mode & 06000) || !u->options->privileged || !*path;
	if (!d.path || mem_grow(&u->dirs, u->dir_count, sizeof(d)) < 0) {
		free(d.path);
		return err_sys(err, ENOMEM, "remember the directory");
	}
	u->dirs[u->dir_count++] = d;
	return 0;
}

static int write_data(struct unpack *u, int fd, int64_t size, struct err *err)
{
	int64_t at = 0;

	for (;;) {
		const void *bytes;
		size_t n;
		la_int64_t offset;
		int r = archive_read_data_block(u->archive, &bytes, &n, &offset);

		if (r == ARCHIVE_EOF)
			break;
		if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
			return err_set(err, EBADMSG, "%s", archive_error_string(u->archive));
		if (!n)
			continue;
		if (offset < at || offset > size || (int64_t)n > size - offset)
			return err_set(err, EBADMSG, "its data are not where they should be");
		if (offset > at && lseek(fd, offset, SEEK_SET) < 0)
			return err_sys(err, errno, "write");
		r = io_write_full(fd, bytes, n);
		if (r < 0)
			return err_sys(err, -r, "write");
		at = offset + (int64_t)n;
	}
	if (at < size && ftruncate(fd, size) < 0)
		return err_sys(err, errno, "write");
	return 0;
}

static int make_file(struct unpack *u, int dir, const char *name, struct err *err)
{
	mode_t mode = archive_entry_perm(u->entry);
	int64_t size = archive_entry_size(u->entry);
	_cleanup_close_ int fd = -EBADF;
	int r = 0;

	if (size < 0)
		return err_set(err, EBADMSG, "its size is negative");
	if (__builtin_add_overflow(u->result.bytes, (uint64_t)size, &u->result.bytes) ||
	    u->result.bytes > u->options->max_bytes)
		return err_set(err, EFBIG,
			       "the layer unpacks to more than the limit of %llu bytes "
			       "(PROA_MAX_LAYER_BYTES)",
			       (unsigned long long)u->options->max_bytes);
	for (;;) {
		bool whiteout;

		fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			    mode & 0777);
		if (fd >= 0)
			break;
		if (errno != EEXIST)
			return err_sys(err, errno, "make the file");
		r = clear_name(u, dir, name, &whiteout, err);
		if (r < 0)
			return r;
	}
	if (size)
		r = write_data(u, fd, size, err);
	if (r == 0)
		r = meta_apply_file(u->entry, fd, &u->self, err);
	return r;
}

/* Symbolic links, devices and fifos: made by one call, described by name. */
static int make_special(struct unpack *u, int dir, const char *name, mode_t type, struct err *err)
{
	const char *target = archive_entry_symlink(u->entry);
	mode_t mode = type | (archive_entry_perm(u->entry) & 0777);
	dev_t dev = makedev((unsigned)archive_entry_rdevmajor(u->entry),
			    (unsigned)archive_entry_rdevminor(u->entry));

	if (type == S_IFLNK && (!target || !*target))
		return err_set(err, EINVAL, "it is a symbolic link without a target");
	for (;;) {
		bool whiteout;
		int r = type == S_IFLNK ? symlinkat(target, dir, name)
					: mknodat(dir, name, mode, type == S_IFIFO ? 0 : dev);

		if (r == 0)
			break;
		if (errno == EPERM && type != S_IFLNK && !u->options->privileged)
			return 0; /* the container gets its devices from proa */
		if (errno != EEXIST)
			return err_sys(err, errno, "make it");
		r = clear_name(u, dir, name, &whiteout, err);
		if (r < 0)
			return r;
	}
	return meta_apply_special(u->entry, dir, name, &u->self, err);
}

static int make_hardlink(struct unpack *u, const char *path, const char *target_name,
			 struct err *err)
{
	char target[PATH_MAX];
	const char *name, *from_name;
	_cleanup_close_ int from = -EBADF;
	struct stat st, there;
	int dir, r = path_clean(target_name, target, err);

	if (r < 0 || !*target)
		return r < 0 ? err_wrap(err, "hard link target")
			     : err_set(err, EINVAL, "it is a hard link to the root");
	r = paths_parent(&u->paths, target, &dir, &from_name, err);
	if (r < 0)
		return err_wrap(err, "hard link target");
	from = fcntl(dir, F_DUPFD_CLOEXEC, 3); /* the second lookup may close it */
	if (from < 0)
		return err_sys(err, errno, "make the link");
	r = paths_parent(&u->paths, path, &dir, &name, err);
	if (r < 0)
		return r;
	if (fstatat(from, from_name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		char quoted[200];

		return err_sys(err, errno, "hard link to \"%s\"",
			       str_quote(target, quoted, sizeof(quoted)));
	}
	if (S_ISDIR(st.st_mode))
		return err_set(err, EINVAL, "it is a hard link to a directory");
	while (linkat(from, from_name, dir, name, 0) < 0) {
		bool whiteout;

		if (errno != EEXIST)
			return err_sys(err, errno, "make the link");
		if (fstatat(dir, name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
		    there.st_ino == st.st_ino && there.st_dev == st.st_dev)
			return 0;
		r = clear_name(u, dir, name, &whiteout, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* @name begins with ".wh."; @dir is its parent */
static int make_whiteout(struct unpack *u, int dir, const char *name, struct err *err)
{
	struct stat st;

	if (!strcmp(name, WHITEOUT_OPAQUE))
		return meta_set_opaque(dir, NULL, u->options->privileged, err);
	name += strlen(WHITEOUT);
	if (!*name || !strcmp(name, ".") || !strcmp(name, ".."))
		return err_set(err, EINVAL, "it is a whiteout of nothing that has a name");
	if (mknodat(dir, name, S_IFCHR, 0) == 0)
		return 0;
	if (errno != EEXIST || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, errno, "make the whiteout");
	/* it concerns the layers below: a directory of this layer stays, and hides theirs */
	return S_ISDIR(st.st_mode) ? meta_set_opaque(dir, name, u->options->privileged, err) : 0;
}

/* 1: an entry of aufs's own bookkeeping, to be skipped */
static int check_reserved(const char *path, struct err *err)
{
	for (const char *p = path; p; p = strchr(p, '/')) {
		p += *p == '/';
		if (str_starts(p, WHITEOUT_META) && strcmp(p, WHITEOUT_OPAQUE) != 0)
			return 1;
		if (str_starts(p, WHITEOUT) && strchr(p, '/'))
			return err_set(err, EINVAL, "a whiteout cannot be a directory");
	}
	return 0;
}

static int make_by_type(struct unpack *u, const char *path, int dir, const char *name,
			struct err *err)
{
	mode_t type = archive_entry_filetype(u->entry);
	int r;

	switch (type) {
	case AE_IFREG: return make_file(u, dir, name, err);
	case AE_IFDIR:
		r = make_dir(u, dir, name, err);
		return r < 0 ? r : remember_dir(u, path, err);
	case AE_IFLNK: return make_special(u, dir, name, S_IFLNK, err);
	case AE_IFCHR: return make_special(u, dir, name, S_IFCHR, err);
	case AE_IFBLK: return make_special(u, dir, name, S_IFBLK, err);
	case AE_IFIFO: return make_special(u, dir, name, S_IFIFO, err);
	default: return err_set(err, EINVAL, "its type is unknown");
	}
}

static int make_entry(struct unpack *u, const char *raw, struct err *err)
{
	const char *hardlink = archive_entry_hardlink(u->entry), *name;
	char path[PATH_MAX];
	int dir, r;

	if (u->paths.stale)
		paths_forget(&u->paths);
	r = path_clean(raw, path, err);
	if (r < 0)
		return r;
	if (!*path) { /* the root directory: made by the caller, described here */
		if (archive_entry_filetype(u->entry) != AE_IFDIR || hardlink)
			return err_set(err, EINVAL, "the root is not a directory");
		r = meta_apply_dir(u->entry, u->options->root_fd, ".", &u->self, -1, err);
		return r < 0 ? r : remember_dir(u, path, err);
	}
	r = check_reserved(path, err);
	if (r != 0)
		return r < 0 ? r : 0;
	r = meta_check(u->entry, err);
	if (r < 0)
		return r;
	if (hardlink)
		return make_hardlink(u, path, hardlink, err);
	r = paths_parent(&u->paths, path, &dir, &name, err);
	if (r < 0)
		return r;
	if (str_starts(name, WHITEOUT))
		return make_whiteout(u, dir, name, err);
	return make_by_type(u, path, dir, name, err);
}

static int unpack_all(struct unpack *u, struct err *err)
{
	for (;;) {
		int r = archive_read_next_header(u->archive, &u->entry);
		const char *name;
		char quoted[240];

		if (r == ARCHIVE_EOF)
			return 0;
		if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
			return err_set(err, EBADMSG, "after %llu entries: %s",
				       (unsigned long long)u->result.entries,
				       archive_error_string(u->archive));
		if (++u->result.entries > u->options->max_entries)
			return err_set(err, EFBIG, "the layer has more than %llu entries",
				       (unsigned long long)u->options->max_entries);
		name = archive_entry_pathname(u->entry);
		if (!name)
			return err_set(err, EBADMSG, "entry %llu has no readable name",
				       (unsigned long long)u->result.entries);
		r = make_entry(u, name, err);
		if (r < 0)
			return err_wrap(err, "entry \"%s\"",
					str_quote(name, quoted, sizeof(quoted)));
	}
}

int unpack_archive(struct archive *a, const struct unpack_options *options,
		   struct unpack_result *ret, struct err *err)
{
	struct unpack u = { .options = options,
			    .archive = a,
			    .self = { geteuid(), getegid(), options->privileged } };
	int r;

	paths_init(&u.paths, options->root_fd);
	r = unpack_all(&u, err);
	if (r == 0)
		r = meta_finish_dirs(options->root_fd, u.dirs, u.dir_count, err);
	paths_done(&u.paths);
	for (size_t i = 0; i < u.dir_count; i++)
		free(u.dirs[i].path);
	free(u.dirs);
	if (r == 0)
		*ret = u.result;
	return r;
}
