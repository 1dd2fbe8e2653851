/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tmpcopyup: a tmpfs begins with a copy of the directory it covers.
 *
 * What is copied is the image's and stays inside it: names are opened one by one with O_NOFOLLOW,
 * and links are copied as links.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>
#include "container/stage_internal.h"
#include "util/mem.h"

#define COPY_DEPTH_MAX 64
#define COPY_PIECE     (1u << 20)

static int copy_tree(int from, int to, unsigned depth);

static int copy_file(int from, int to, const char *name, const struct stat *st)
{
	_cleanup_close_ int in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	_cleanup_close_ int out =
		openat(to, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600);
	ssize_t n;

	if (in < 0 || out < 0)
		return -errno;
	do
		n = sendfile(out, in, NULL, COPY_PIECE);
	while (n > 0 || (n < 0 && errno == EINTR));
	if (n < 0 || fchown(out, st->st_uid, st->st_gid) < 0 ||
	    fchmod(out, st->st_mode & 07777) < 0)
		return -errno;
	return 0;
}

static int copy_link(int from, int to, const char *name, const struct stat *st)
{
	char target[4096];
	ssize_t n = readlinkat(from, name, target, sizeof(target) - 1);

	if (n < 0)
		return -errno;
	target[n] = 0;
	if (symlinkat(target, to, name) < 0 ||
	    fchownat(to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return 0;
}

static int copy_directory(int from, int to, const char *name, const struct stat *st, unsigned depth)
{
	int in = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_close_ int out = -EBADF;
	int r;

	if (in < 0)
		return -errno;
	if (mkdirat(to, name, 0700) == 0)
		out = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (out < 0) {
		r = -errno;
		close(in);
		return r;
	}
	r = copy_tree(in, out, depth + 1);
	if (r == 0 &&
	    (fchown(out, st->st_uid, st->st_gid) < 0 || fchmod(out, st->st_mode & 07777) < 0))
		r = -errno;
	return r;
}

static int copy_entry(int from, int to, const char *name, unsigned depth)
{
	struct stat st;

	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	switch (st.st_mode & S_IFMT) {
	case S_IFREG: return copy_file(from, to, name, &st);
	case S_IFLNK: return copy_link(from, to, name, &st);
	case S_IFDIR: return copy_directory(from, to, name, &st, depth);
	default: /* devices, sockets, pipes */
		if (mknodat(to, name, st.st_mode, st.st_rdev) < 0 ||
		    fchownat(to, name, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) < 0)
			return -errno;
		return 0;
	}
}

/* Takes @from over, as fdopendir() does. */
static int copy_tree(int from, int to, unsigned depth)
{
	DIR *d = depth > COPY_DEPTH_MAX ? NULL : fdopendir(from);
	struct dirent *e;
	int r = 0;

	if (!d) {
		close(from);
		return depth > COPY_DEPTH_MAX ? -ELOOP : -errno;
	}
	while (r == 0 && (errno = 0, e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			r = copy_entry(dirfd(d), to, e->d_name, depth);
	if (r == 0 && errno)
		r = -errno;
	closedir(d);
	return r;
}

int stage_copy_up(int from, int to, struct err *err)
{
	int copy = fcntl(from, F_DUPFD_CLOEXEC, 3), r = copy < 0 ? -errno : copy_tree(copy, to, 0);
	struct stat st;

	/* the root of the tmpfs is like what it covers, unless its options say otherwise (mode=) */
	if (r == 0 && fstat(from, &st) == 0)
		(void)!fchown(to, st.st_uid, st.st_gid);
	return r < 0 ? err_sys(err, -r, "copy") : 0;
}
