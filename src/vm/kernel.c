/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding a kernel and the initramfs for it: what a start of a machine does. When the initramfs is
 * there, that is one readlink and two stats.
 *
 * The name of an initramfs holds a hash of all it was made from; proa-init counts by its size and
 * times, for hashing its content at every start would cost more than all the rest.
 */
#include "vm/kernel.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "protocol.h"
#include "util/err.h"
#include "util/io.h"
#include "util/mem.h"
#include "util/sha256.h"
#include "util/str.h"
#include "vm/initramfs.h"
#include "vm/kernel_internal.h"
#include "vm/module.h"

#define MODULE_BYTES_MAX (64u << 20)
#define INIT_BYTES_MAX	 (64u << 20)

/* What a guest needs; what is built into a kernel is not among its modules and skipped. */
static const char *const modules_always[] = { "virtio_mmio",	"virtio_console",
					      "virtio_blk",	"erofs",
					      "ext4",		"overlay",
					      "virtio_balloon", NULL };
static const char *const modules_binds[] = { "virtiofs", NULL };
static const char *const modules_image[] = { "squashfs", "xfs", NULL };

void vm_kernel_done(struct vm_kernel *k)
{
	free(k->dir);
	free(k->image);
	*k = (struct vm_kernel){ 0 };
}

static int missing(const char *name, struct err *err)
{
	if (str_empty(name))
		return err_set(
			err, ENOENT,
			"no guest kernel: get one with `proa kernel pull`, or bring one with "
			"`proa kernel import`");
	return err_set(err, ENOENT,
		       "no kernel \"%s\": see `proa kernel ls`, get one with `proa kernel pull`",
		       name);
}

/* A file that somebody names must be a kernel: QEMU's own words for one that is not help nobody. */
static int check_image(const char *path, struct err *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	uint8_t head[1024];
	struct kernel_payload payload;
	ssize_t n;

	if (fd < 0)
		return err_sys(err, errno, "open the kernel \"%s\"", path);
	n = io_read_full(fd, head, sizeof(head));
	if (n < 0)
		return err_sys(err, (int)-n, "read the kernel \"%s\"", path);
	if (kernel_format_of(head, (size_t)n, &payload) == KERNEL_UNKNOWN)
		return err_set(err, ENOEXEC, "\"%s\" is not a kernel: neither an ELF nor a bzImage",
			       path);
	return 0;
}

/* A path may lead into the store, and the kernel there has modules. */
static int find_own_dir(const char *store, struct vm_kernel *k, struct err *err)
{
	_cleanup_free_ char *kernels = str_printf("%s/" KERNEL_DIR, store), *real = NULL,
			    *dir = NULL;
	size_t n;

	if (!kernels)
		return err_set(err, ENOMEM, "out of memory");
	real = realpath(kernels, NULL);
	n = real ? strlen(real) : 0;
	if (!n || strncmp(k->image, real, n) != 0 || k->image[n] != '/' ||
	    !str_ends(k->image, "/" KERNEL_IMAGE_NAME))
		return 0;
	dir = strdup(k->image);
	if (!dir)
		return err_set(err, ENOMEM, "out of memory");
	dir[strlen(dir) - strlen("/" KERNEL_IMAGE_NAME)] = 0;
	if (strlen(dir) > n && !strchr(dir + n + 1, '/'))
		k->dir = TAKE_PTR(dir);
	return 0;
}

int vm_kernel_find(const char *store, const char *name, struct vm_kernel *ret, struct err *err)
{
	struct vm_kernel k = { 0 };
	char target[KERNEL_NAME_MAX + 1] = KERNEL_DEFAULT;
	struct stat st;
	int r;

	if (!str_empty(name) && strchr(name, '/')) {
		k.image = realpath(name, NULL);
		if (!k.image)
			return err_sys(err, errno, "find the kernel \"%s\"", name);
		r = check_image(k.image, err);
		if (r == 0)
			r = find_own_dir(store, &k, err);
		if (r < 0)
			vm_kernel_done(&k);
		else
			*ret = k;
		return r;
	}
	if (str_empty(name)) {
		_cleanup_free_ char *link = str_printf("%s/" KERNEL_DIR "/" KERNEL_DEFAULT, store);
		ssize_t n = link ? readlink(link, target, sizeof(target) - 1) : -1;

		if (n <= 0)
			return missing(NULL, err);
		target[n] = 0;
	}
	k.dir = str_printf("%s/" KERNEL_DIR "/%s", store, str_empty(name) ? target : name);
	k.image = str_printf("%s/" KERNEL_IMAGE_NAME, k.dir ? k.dir : "");
	if (!k.dir || !k.image) {
		vm_kernel_done(&k);
		return err_set(err, ENOMEM, "out of memory");
	}
	if (stat(k.image, &st) < 0) {
		vm_kernel_done(&k);
		return missing(str_empty(name) ? target : name, err);
	}
	*ret = k;
	return 0;
}

/* ---- the initramfs -------------------------------------------------------------------------- */

static int add_module(struct initramfs *i, int dir, const char *path, unsigned order,
		      struct err *err)
{
	_cleanup_free_ char *bytes = NULL, *full = str_printf("modules/%s", path);
	const char *base = strrchr(path, '/');
	char name[128];
	size_t n;
	int r = full ? io_read_file(dir, full, MODULE_BYTES_MAX, &bytes, &n) : -ENOMEM;

	if (r < 0)
		return err_sys(err, -r, "read the kernel's module %s", path);
	n = module_strip((uint8_t *)bytes, n);
	snprintf(name, sizeof(name), "%s/%02u-%.80s", &GUEST_MODULES[1], order,
		 base ? base + 1 : path);
	initramfs_add_file(i, name, 0600, bytes, n);
	return 0;
}

static int add_modules(struct initramfs *i, const struct vm_kernel *k, unsigned uses,
		       struct err *err)
{
	const char *wanted[ARRAY_SIZE(modules_always) + ARRAY_SIZE(modules_binds) +
			   ARRAY_SIZE(modules_image)] = { NULL };
	_cleanup_close_ int dir = -EBADF;
	_cleanup_strv_ char **list = NULL;
	size_t n = 0;
	int r;

	if (!k->dir)
		return 0;
	for (const char *const *m = modules_always; *m; m++)
		wanted[n++] = *m;
	for (const char *const *m = modules_binds; (uses & KERNEL_SHARE) && *m; m++)
		wanted[n++] = *m;
	for (const char *const *m = modules_image; (uses & KERNEL_IMAGE) && *m; m++)
		wanted[n++] = *m;
	dir = open(k->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_sys(err, errno, "open the kernel %s", k->dir);
	if (faccessat(dir, "modules", F_OK, 0) < 0 && errno == ENOENT)
		return 0;
	r = module_closure(dir, "modules", wanted, &list, err);
	for (unsigned order = 0; r == 0 && list && list[order]; order++)
		r = add_module(i, dir, list[order], order, err);
	return r;
}

static int build(const struct vm_kernel *k, const char *init, unsigned uses, const char *path,
		 struct err *err)
{
	_cleanup_free_ char *bytes = NULL;
	struct initramfs i = { 0 };
	size_t n;
	int r = io_read_file(AT_FDCWD, init, INIT_BYTES_MAX, &bytes, &n);

	if (r < 0)
		return err_sys(err, -r, "read proa's own helper %s", init);
	initramfs_add_dir(&i, "dev");
	initramfs_add_dir(&i, "root");
	initramfs_add_dir(&i, &GUEST_MODULES[1]);
	initramfs_add_file(&i, "init", 0755, bytes, n);
	r = add_modules(&i, k, uses, err);
	initramfs_end(&i);
	if (r == 0 && i.bytes.failed)
		r = err_set(err, ENOMEM, "out of memory");
	if (r == 0) {
		r = io_write_file(AT_FDCWD, path, i.bytes.data, i.bytes.len, 0600, 0);
		if (r < 0)
			err_sys(err, -r, "write the initramfs %s", path);
	}
	str_buf_done(&i.bytes);
	return r;
}

/* All that an initramfs is made from, in 16 hex digits. */
static int key_of(const struct vm_kernel *k, const char *init, unsigned uses, char ret[17],
		  struct err *err)
{
	uint8_t hash[SHA256_BYTES];
	struct stat st, kernel;
	char text[512];
	int n;

	if (stat(init, &st) < 0)
		return err_sys(err, errno, "find proa's own helper %s", init);
	if (stat(k->image, &kernel) < 0)
		return err_sys(err, errno, "find the kernel %s", k->image);
	n = snprintf(text, sizeof(text), PROA_VERSION " %llu %lld.%09ld %lld.%09ld %llu %lld %u",
		     (unsigned long long)st.st_size, (long long)st.st_mtim.tv_sec,
		     st.st_mtim.tv_nsec, (long long)st.st_ctim.tv_sec, st.st_ctim.tv_nsec,
		     (unsigned long long)kernel.st_ino, (long long)kernel.st_mtim.tv_sec, uses);
	sha256_of(text, (size_t)n, hash);
	str_hex(hash, 8, ret);
	return 0;
}

/* An older initramfs for the same use is of no more use. */
static void remove_older(const char *dir, const char *use, const char *keep)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (str_starts(e->d_name, "initramfs-") && str_ends(e->d_name, use) &&
		    strcmp(e->d_name, keep) != 0)
			(void)unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
}

int vm_kernel_initramfs(const char *store, const struct vm_kernel *k, const char *init,
			unsigned uses, char **ret, struct err *err)
{
	static const char *const names[] = { "-plain", "-binds", "-image", "-both" };
	const char *use = names[uses & (KERNEL_SHARE | KERNEL_IMAGE)];
	_cleanup_free_ char *dir = k->dir ? strdup(k->dir) : str_printf("%s/" KERNEL_DIR, store);
	_cleanup_free_ char *path = NULL;
	char key[17], name[48];
	int r = dir ? key_of(k, init, uses, key, err) : err_set(err, ENOMEM, "out of memory");

	if (r < 0)
		return r;
	snprintf(name, sizeof(name), "initramfs-%s%s", key, use);
	path = str_printf("%s/%s", dir, name);
	if (!path)
		return err_set(err, ENOMEM, "out of memory");
	if (access(path, R_OK) < 0) {
		r = io_mkdir_all(AT_FDCWD, dir, 0755);
		if (r < 0)
			return err_sys(err, -r, "make %s", dir);
		r = build(k, init, uses, path, err);
		if (r < 0)
			return r;
		remove_older(dir, use, name);
	}
	*ret = TAKE_PTR(path);
	return 0;
}
