/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mkfs.ext4 takes some 20 ms and forks; a copy of what it wrote takes a fraction of one. The
 * template is 64 GiB in size and a few hundred kilobytes on disk: only written blocks are copied
 * (SEEK_DATA), the rest stays holes.
 *
 * No journal: a machine that ends in order syncs and unmounts; after a crash ext4 without a journal
 * is checked (e2fsck) before its next use, which is the engine's to ask for.
 */
#include "vm/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "util/err.h"
#include "util/io.h"
#include "util/mem.h"
#include "util/str.h"
#include "vm/spawn.h"

#define DISK_BYTES    (64ull << 30)
#define TEMPLATE_DIR  "machines"
#define TEMPLATE_NAME "disk-v1.ext4"

static int run_mkfs(const char *path, struct err *err)
{
	_cleanup_free_ char *binary = NULL;
	int r = vm_find_program("mkfs.ext4", "machines need it for their disks", "e2fsprogs",
				&binary, err);
	/* few inode tables and no reserve: what is not written needs not be copied */
	const char *argv[] = { binary,
			       "-q",
			       "-F",
			       "-m",
			       "0",
			       "-L",
			       "proa",
			       "-O",
			       "^has_journal,^resize_inode,sparse_super2,uninit_bg,metadata_csum",
			       "-E",
			       "lazy_itable_init=1,nodiscard,num_backup_sb=0",
			       "-i",
			       "65536",
			       path,
			       NULL };
	struct vm_spawn s = { .argv = (char *const *)(uintptr_t)argv,
			      .stdout_fd = -1,
			      .stderr_fd = -1 };

	if (r < 0)
		return r;
	r = vm_spawn_wait(&s, err);
	if (r > 0)
		return err_set(err, EIO,
			       "mkfs.ext4 could not make a disk in %s (exit code %d); is the "
			       "store's file system full?",
			       path, r);
	return r;
}

static int make_template(const char *dir, const char *path, struct err *err)
{
	_cleanup_free_ char *temporary = str_printf("%s/.disk-%d", dir, getpid());
	_cleanup_close_ int fd = -EBADF;
	int r = temporary ? io_mkdir_all(AT_FDCWD, dir, 0700) : -ENOMEM;

	if (r < 0)
		return err_sys(err, -r, "make %s", dir);
	fd = open(temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, DISK_BYTES) < 0)
		return err_sys(err, errno, "make the machines' disk template in %s", dir);
	r = run_mkfs(temporary, err);
	if (r == 0 && rename(temporary, path) < 0)
		r = err_sys(err, errno, "make %s", path);
	if (r < 0)
		unlink(temporary);
	return r;
}

static int copy_range(int from, int to, off_t at, off_t end)
{
	loff_t in = at, out = at;

	while (in < end) {
		ssize_t n = copy_file_range(from, &in, to, &out, (size_t)(end - in), 0);

		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO;
	}
	return 0;
}

/* Copies what is data and leaves the holes. */
static int copy_sparse(int from, int to)
{
	struct stat st;
	off_t at = 0;

	if (fstat(from, &st) < 0 || ftruncate(to, st.st_size) < 0)
		return -errno;
	while ((at = lseek(from, at, SEEK_DATA)) >= 0) {
		off_t end = lseek(from, at, SEEK_HOLE);
		int r = end < 0 ? -errno : copy_range(from, to, at, end);

		if (r < 0)
			return r;
		at = end;
	}
	return errno == ENXIO ? 0 : -errno;
}

int vm_disk_make(const char *store, const char *dir, char **ret, struct err *err)
{
	_cleanup_free_ char *path = str_printf("%s/disk.ext4", dir),
			    *templates = str_printf("%s/" TEMPLATE_DIR, store),
			    *template = str_printf("%s/" TEMPLATE_DIR "/" TEMPLATE_NAME, store);
	_cleanup_close_ int from = -EBADF, to = -EBADF;
	int r;

	if (!path || !templates || !template)
		return err_set(err, ENOMEM, "out of memory");
	from = open(template, O_RDONLY | O_CLOEXEC);
	if (from < 0 && errno == ENOENT) {
		r = make_template(templates, template, err);
		if (r < 0)
			return r;
		from = open(template, O_RDONLY | O_CLOEXEC);
	}
	if (from < 0)
		return err_sys(err, errno, "open %s", template);
	to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (to < 0 && errno != EEXIST)
		return err_sys(err, errno, "make the machine's disk %s", path);
	r = to < 0 ? 0 : copy_sparse(from, to);
	if (r < 0) {
		unlink(path);
		return err_sys(err, -r, "make the machine's disk %s", path);
	}
	*ret = TAKE_PTR(path);
	return 0;
}
