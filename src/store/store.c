/* SPDX-License-Identifier: Apache-2.0 */
/* Opening the store, its locks and its directories for work in progress. Theory: store.h. */
#include "store/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include "util/err.h"
#include "util/io.h"
#include "util/linux.h"
#include "util/mem.h"
#include "util/str.h"

#define OCI_LAYOUT "{\"imageLayoutVersion\":\"1.0.0\"}"

static char *default_root(void)
{
	const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");

	if (geteuid() == 0)
		return strdup("/var/lib/proa");
	if (data && *data == '/')
		return str_printf("%s/proa", data);
	return str_printf("%s/.local/share/proa", home && *home == '/' ? home : "/tmp");
}

static char *default_run_root(void)
{
	const char *dir = getenv("XDG_RUNTIME_DIR");

	if (geteuid() == 0)
		return strdup("/run/proa");
	if (dir && *dir == '/')
		return str_printf("%s/proa", dir);
	return str_printf("/tmp/proa-%u", (unsigned)geteuid());
}

/* Overlay options and helpers need absolute paths. */
static char *absolute(const char *path)
{
	char cwd[PATH_MAX];

	if (*path == '/')
		return strdup(path);
	if (!getcwd(cwd, sizeof(cwd)))
		return NULL;
	return str_printf("%s/%s", cwd, path);
}

/* First use. Others may do the same at the same time: everything here may exist already. */
static int make_layout(int root_fd)
{
	static const char *const dirs[] = { "images",	 "images/blobs", STORE_BLOBS, STORE_LAYERS,
					    STORE_EROFS, "containers",	 STORE_TMP };
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		if (mkdirat(root_fd, dirs[i], 0711) < 0 && errno != EEXIST)
			return -errno;
	/* last: its presence says that the rest is there */
	r = io_write_file(root_fd, "images/oci-layout", OCI_LAYOUT, strlen(OCI_LAYOUT), 0644,
			  IO_EXCLUSIVE);
	return r == -EEXIST ? 0 : r;
}

int store_open(const char *root, const char *run_root, struct store *ret, struct err *err)
{
	struct store s = { .root_fd = -EBADF };
	int r = 0;

	s.root = root && *root ? absolute(root) : default_root();
	s.run_root = run_root && *run_root ? absolute(run_root) : default_run_root();
	if (!s.root || !s.run_root) {
		r = err_sys(err, ENOMEM, "open the store");
		goto fail;
	}
	s.root_fd = open(s.root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (s.root_fd < 0 && errno == ENOENT) {
		r = io_mkdir_all(AT_FDCWD, s.root, 0711);
		if (r == 0)
			s.root_fd = open(s.root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	}
	if (r < 0 || s.root_fd < 0) {
		r = err_sys(err, r < 0 ? -r : errno,
			    "open the store %s (another place: --root or PROA_ROOT)", s.root);
		goto fail;
	}
	if (faccessat(s.root_fd, "images/oci-layout", F_OK, 0) < 0) {
		r = make_layout(s.root_fd);
		if (r < 0) {
			err_sys(err, -r, "set up the store %s (another place: --root or PROA_ROOT)",
				s.root);
			goto fail;
		}
	}
	*ret = s;
	return 0;
fail:
	store_done(&s);
	return r;
}

void store_done(struct store *s)
{
	if (!s || !s->root)
		return;
	s->root_fd = fd_close(s->root_fd);
	free(s->root);
	free(s->run_root);
	*s = (struct store){ .root_fd = -EBADF };
}

static int lock_file(struct store *s, const char *name, int how, int *ret_fd, struct err *err)
{
	_cleanup_close_ int fd =
		openat(s->root_fd, name, O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	int r;

	if (fd < 0)
		return err_sys(err, errno, "lock the store %s", s->root);
	do
		r = flock(fd, how);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return err_sys(err, errno, "lock the store %s", s->root);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int store_lock(struct store *s, int *ret_fd, struct err *err)
{
	return lock_file(s, "lock", LOCK_EX, ret_fd, err);
}

int store_pin(struct store *s, int *ret_fd, struct err *err)
{
	return lock_file(s, "pin", LOCK_SH, ret_fd, err);
}

/* Another process's sweep may take the directory before we have locked it: then make another. */
int store_tmp_new(struct store *s, struct store_tmp *ret, struct err *err)
{
	for (int attempt = 0; attempt < 100; attempt++) {
		_cleanup_free_ char *name = NULL;
		_cleanup_close_ int fd = -EBADF;
		uint64_t salt = 0;
		struct stat st;

		if (getrandom(&salt, sizeof(salt), 0) != sizeof(salt))
			return err_sys(err, EIO, "make a temporary name");
		name = str_printf(STORE_TMP "/%016llx", (unsigned long long)salt);
		if (!name)
			return err_sys(err, ENOMEM, "make a temporary name");
		if (mkdirat(s->root_fd, name, 0700) < 0) {
			if (errno == EEXIST)
				continue;
			return err_sys(err, errno, "write to the store %s", s->root);
		}
		fd = openat(s->root_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 || fstat(fd, &st) < 0 ||
		    st.st_nlink == 0)
			continue;
		ret->fd = TAKE_FD(fd);
		ret->name = TAKE_PTR(name);
		return 0;
	}
	return err_set(err, EBUSY, "make a directory in %s/" STORE_TMP ": it vanishes each time",
		       s->root);
}

void store_tmp_done(struct store *s, struct store_tmp *t)
{
	if (!t || !t->name)
		return;
	io_remove_tree(s->root_fd, t->name);
	t->fd = fd_close(t->fd);
	free(t->name);
	*t = (struct store_tmp){ .fd = -EBADF };
}

void store_tmp_sweep(struct store *s)
{
	int fd = openat(s->root_fd, STORE_TMP, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!d) {
		fd_close(fd);
		return;
	}
	while ((e = readdir(d))) {
		_cleanup_close_ int one = -EBADF;

		if (e->d_name[0] == '.')
			continue;
		one = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (one >= 0 && flock(one, LOCK_EX | LOCK_NB) == 0)
			io_remove_tree(dirfd(d), e->d_name);
	}
	closedir(d);
}

char *store_path(const struct store *s, const char *fmt, ...)
{
	_cleanup_free_ char *tail = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&tail, fmt, ap);
	va_end(ap);
	if (n < 0) {
		tail = NULL;
		return NULL;
	}
	return str_printf("%s/%s", s->root, tail);
}
