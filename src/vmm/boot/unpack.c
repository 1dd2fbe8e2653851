/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ELF that is packed in a bzImage, unpacked once: by the packer's own tool (gzip, lz4, zstd,
 * xz), which is a child that reads a copy of the payload and writes the result to a file. The file
 * is kept under the payload's SHA-256, in $XDG_CACHE_HOME/proa or /var/cache/proa, for the next
 * time. It gets its name when it is whole and on the disk; until then it has none, where the file
 * system can do that, so that nothing is left of one that was interrupted. Where nothing can be
 * kept it is a file in memory.
 *
 * All of it happens before the sandbox closes. proa itself unpacks kernels at import and never
 * comes here.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "util/err.h"
#include "util/io.h"
#include "util/linux.h"
#include "util/mem.h"
#include "util/sha256.h"
#include "util/str.h"
#include "vmm/boot/boot.h"

extern char **environ;

#define HASH_TEXT 65

struct payload {
	const uint8_t *bytes;
	size_t length;
	const char *tool;
};

static uint32_t u32_at(const struct boot_image *i, size_t at)
{
	uint32_t v;

	memcpy(&v, i->bytes + at, sizeof(v));
	return v;
}

/* Documentation/x86/boot.rst: payload_offset and payload_length, since protocol 2.08. */
static int find_payload(const struct boot_image *image, struct payload *ret)
{
	static const struct {
		const char *magic;
		size_t magic_bytes, size_bytes; /* Kbuild puts the unpacked size behind */
		const char *tool;
	} kinds[] = { { "\x02\x21\x4c\x18", 4, 4, "lz4" },
		      { "\x28\xb5\x2f\xfd", 4, 4, "zstd" },
		      { "\xfd\x37zXZ", 5, 4, "xz" },
		      { "\x1f\x8b", 2, 0, "gzip" } };
	size_t start, sectors = image->bytes[0x1f1];

	start = ((sectors ? sectors : 4) + 1) * 512 + u32_at(image, 0x248);
	ret->length = u32_at(image, 0x24c);
	if ((u32_at(image, 0x206) & 0xffff) < 0x208 || start > image->size ||
	    ret->length > image->size - start || ret->length < 16)
		return -EINVAL;
	ret->bytes = image->bytes + start;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (!memcmp(ret->bytes, kinds[i].magic, kinds[i].magic_bytes)) {
			ret->length -= kinds[i].size_bytes;
			ret->tool = kinds[i].tool;
			return 0;
		}
	return -ENOENT;
}

static int run_tool(const struct payload *p, int to)
{
	_cleanup_close_ int from = sys_memfd_create("payload", 1 /* MFD_CLOEXEC */);
	char *const argv[] = { (char *)(uintptr_t)p->tool, (char *)(uintptr_t) "-dc", NULL };
	posix_spawn_file_actions_t actions;
	int status = -1, r;
	pid_t pid;

	if (from < 0)
		return -errno;
	r = io_write_full(from, p->bytes, p->length);
	if (r < 0 || lseek(from, 0, SEEK_SET) < 0)
		return r < 0 ? r : -errno;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, from, STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&actions, to, STDOUT_FILENO);
	posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	r = posix_spawnp(&pid, p->tool, &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (r)
		return -ENOENT;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status == 0 ? 0 : -ENOENT;
}

/* The directory of unpacked kernels, made; -errno when there is none that we may write to. */
static int open_cache(void)
{
	const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	_cleanup_free_ char *path = NULL;
	int r;

	if (!str_empty(xdg))
		path = str_printf("%s/proa/kernels", xdg);
	else if (geteuid() == 0)
		path = strdup("/var/cache/proa/kernels");
	else if (!str_empty(home))
		path = str_printf("%s/.cache/proa/kernels", home);
	if (!path)
		return -ENOENT;
	r = io_mkdir_all(AT_FDCWD, path, 0700);
	if (r < 0)
		return r;
	r = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return r < 0 ? -errno : r;
}

static void name_of(const struct payload *p, char ret[HASH_TEXT])
{
	uint8_t hash[SHA256_BYTES];

	sha256_of(p->bytes, p->length, hash);
	str_hex(hash, sizeof(hash), ret);
}

/*
 * A file system without files that have no name (an overlay before Linux 6.3): one that has a name
 * of its own, whose lock tells whether anybody is at it. One that was left behind is used again.
 */
static int open_named(int cache, const char *temporary)
{
	_cleanup_close_ int fd =
		openat(cache, temporary, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct stat ours, named;

	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
		return -errno;
	/* it may have got its final name before we had the lock */
	if (fstat(fd, &ours) < 0 || fstatat(cache, temporary, &named, AT_SYMLINK_NOFOLLOW) < 0 ||
	    ours.st_ino != named.st_ino || ftruncate(fd, 0) < 0)
		return -EAGAIN;
	return TAKE_FD(fd);
}

/* Gives it its name; if another was faster, that one stays. */
static void keep(int fd, int cache, const char *temporary, const char *name)
{
	char self[40];

	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	if (fdatasync(fd) < 0)
		return;
	if (*temporary)
		(void)!renameat(cache, temporary, cache, name);
	else
		(void)!linkat(AT_FDCWD, self, cache, name, AT_SYMLINK_FOLLOW);
}

int boot_unpack(const struct boot_image *image, int *ret_fd, struct err *err)
{
	_cleanup_close_ int cache = -EBADF, fd = -EBADF;
	char name[HASH_TEXT], temporary[HASH_TEXT + 1] = "";
	struct payload p = { 0 };
	int r = find_payload(image, &p);

	if (r < 0)
		return err_set(err, -r, "the packing of \"%s\" is not known", image->name);
	name_of(&p, name);
	cache = open_cache();
	fd = cache >= 0 ? openat(cache, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
	if (fd >= 0) {
		*ret_fd = TAKE_FD(fd);
		return 0;
	}
	fd = cache >= 0 ? openat(cache, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) : -1;
	if (fd < 0 && cache >= 0) {
		snprintf(temporary, sizeof(temporary), ".%s", name);
		fd = open_named(cache, temporary);
	}
	if (fd < 0) {
		cache = fd_close(cache);
		fd = sys_memfd_create("kernel", 1 /* MFD_CLOEXEC */);
	}
	if (fd < 0)
		return err_sys(err, errno, "make a file for the unpacked kernel");
	r = run_tool(&p, fd);
	if (r == 0 && cache >= 0)
		keep(fd, cache, temporary, name);
	else if (*temporary && cache >= 0)
		(void)!unlinkat(cache, temporary, 0);
	if (r < 0)
		return err_set(err, -r, "\"%s\" cannot be unpacked: is %s installed?", image->name,
			       p.tool);
	*ret_fd = TAKE_FD(fd);
	return 0;
}
