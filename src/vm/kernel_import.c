/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A kernel into the store. What unpacks things is run as a program (dpkg-deb, lz4, zstd, xz): this
 * happens once per kernel, and proa needs to link none of it.
 *
 * All is done in STORE/kernels/.new-PID and renamed at the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include "util/err.h"
#include "util/io.h"
#include "util/json.h"
#include "util/mem.h"
#include "util/str.h"
#include "vm/kernel.h"
#include "vm/kernel_internal.h"
#include "vm/module.h"
#include "vm/spawn.h"

#define IMAGE_BYTES_MAX (512u << 20)

struct import {
	const struct vm_kernel_import *what;
	const char *dir; /* the temporary directory */
	int dir_fd;
	char *image;   /* path of the image as it came */
	char *modules; /* path of its modules, NULL: none */
	bool copy;     /* the modules are somebody else's: copy, do not move */
	char version[KERNEL_NAME_MAX + 1];
};

/* Runs a program to its end; @what names the step in the error. */
static int run(char *const *argv, const char *package, int stdout_fd, const char *what,
	       struct err *err)
{
	_cleanup_free_ char *program = NULL;
	char *copy[16];
	struct vm_spawn s = { .argv = copy, .stdout_fd = stdout_fd, .stderr_fd = STDERR_FILENO };
	size_t n = strv_len(argv);
	int r = n < ARRAY_SIZE(copy) ? 0 : err_set(err, E2BIG, "%s", what);

	if (r == 0)
		r = vm_find_program(argv[0], "it is needed here", package, &program, err);
	if (r < 0)
		return err_wrap(err, "%s", what);
	memcpy(copy, argv, (n + 1) * sizeof(*copy));
	copy[0] = program;
	r = vm_spawn_wait(&s, err);
	return r > 0 ? err_set(err, EIO, "%s: %s failed (exit code %d)", what, argv[0], r) : r;
}

/* The one match of a pattern below the temporary directory; *@ret is the caller's. */
static int find_one(const char *dir, const char *pattern, char **ret)
{
	_cleanup_free_ char *full = str_printf("%s/%s", dir, pattern);
	glob_t g = { 0 };
	int r = full && glob(full, 0, NULL, &g) == 0 && g.gl_pathc > 0 ? 0 : -ENOENT;

	if (r == 0) {
		*ret = strdup(g.gl_pathv[0]);
		r = *ret ? 0 : -ENOMEM;
	}
	globfree(&g);
	return r;
}

static int unpack_deb(struct import *i, struct err *err)
{
	_cleanup_free_ char *tree = str_printf("%s/deb", i->dir);
	char *argv[] = { (char *)(uintptr_t) "dpkg-deb", (char *)(uintptr_t) "-x",
			 (char *)(uintptr_t)i->what->source, tree, NULL };
	int r;

	if (!tree)
		return err_set(err, ENOMEM, "out of memory");
	r = run(argv, "dpkg", -1, "unpack the package", err);
	if (r < 0)
		return r;
	if (find_one(tree, "boot/vmlinuz-*", &i->image) < 0)
		return err_set(
			err, ENOENT,
			"%s has no /boot/vmlinuz-…: is it a linux-image package (and not the empty "
			"one that only depends on it)?",
			i->what->source);
	if (find_one(tree, "lib/modules/*", &i->modules) < 0)
		(void)find_one(tree, "usr/lib/modules/*", &i->modules);
	return 0;
}

static int write_bytes(int dir, const char *name, const uint8_t *bytes, size_t n, struct err *err)
{
	int r = io_write_file(dir, name, bytes, n, 0644, 0);

	return r < 0 ? err_sys(err, -r, "write the kernel into the store") : 0;
}

static int unpack_payload(struct import *i, const uint8_t *bytes, const struct kernel_payload *p,
			  struct err *err)
{
	_cleanup_free_ char *packed = str_printf("%s/payload", i->dir);
	char *argv[] = { (char *)(uintptr_t)p->tool, (char *)(uintptr_t) "-dc", packed, NULL };
	_cleanup_close_ int out = openat(i->dir_fd, KERNEL_IMAGE_NAME,
					 O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	uint8_t magic[4] = { 0 };
	int r;

	if (!packed || out < 0)
		return err_sys(err, packed ? errno : ENOMEM, "write the kernel into the store");
	r = write_bytes(i->dir_fd, "payload", bytes + p->offset, p->length, err);
	if (r == 0)
		r = run(argv, p->package, out, "unpack the kernel", err);
	(void)unlinkat(i->dir_fd, "payload", 0);
	if (r < 0)
		return r;
	out = fd_close(out);
	out = openat(i->dir_fd, KERNEL_IMAGE_NAME, O_RDONLY | O_CLOEXEC);
	if (out < 0 || io_read_full(out, magic, sizeof(magic)) != sizeof(magic) ||
	    memcmp(magic, "\177ELF", sizeof(magic)) != 0)
		return err_set(err, EINVAL, "what is packed in the kernel %s is not a kernel",
			       i->image);
	return 0;
}

static int take_image(struct import *i, struct err *err)
{
	_cleanup_free_ char *bytes = NULL;
	struct kernel_payload p;
	const uint8_t *b;
	size_t n;
	int r = io_read_file(AT_FDCWD, i->image, IMAGE_BYTES_MAX, &bytes, &n);

	if (r < 0)
		return err_sys(err, -r, "read the kernel %s", i->image);
	b = (const uint8_t *)bytes;
	if (!kernel_version_of(b, n, i->version, sizeof(i->version)))
		i->version[0] = 0;
	switch (kernel_format_of(b, n, &p)) {
	case KERNEL_ELF: return write_bytes(i->dir_fd, KERNEL_IMAGE_NAME, b, n, err);
	case KERNEL_BZIMAGE:
		/* one that cannot be unpacked here unpacks itself, at each start */
		return p.tool ? unpack_payload(i, b, &p, err)
			      : write_bytes(i->dir_fd, KERNEL_IMAGE_NAME, b, n, err);
	default:
		return err_set(err, EINVAL,
			       "%s is neither a kernel (vmlinuz, vmlinux) nor a .deb package",
			       i->image);
	}
}

/* Debian 13 and others pack modules; the guest is to load them without a library for that. */
static int unpack_modules(const char *dir, struct err *err)
{
	static const struct {
		const char *pattern, *tool, *package;
	} kinds[] = {
		{ "*.ko.xz", "xz", "xz-utils" },
		{ "*.ko.zst", "zstd", "zstd" },
		{ "*.ko.gz", "gzip", "gzip" },
	};
	int r = 0;

	for (size_t k = 0; r == 0 && k < ARRAY_SIZE(kinds); k++) {
		/* --rm is what xz and gzip do by themselves */
		bool rm = !strcmp(kinds[k].tool, "zstd");
		const char *argv[] = { "find",
				       dir,
				       "-name",
				       kinds[k].pattern,
				       "-exec",
				       kinds[k].tool,
				       rm ? "-dq" : "-d",
				       rm ? "--rm" : "-f",
				       "{}",
				       "+",
				       NULL };

		r = run((char *const *)(uintptr_t)argv, "findutils", -1, "unpack the modules", err);
	}
	return r;
}

static int take_modules(struct import *i, struct err *err)
{
	_cleanup_free_ char *target = str_printf("%s/modules", i->dir);
	const char *argv[] = { "cp", "-a", "--", i->modules, target, NULL };
	int r = 0;

	if (!i->modules)
		return 0;
	if (!target)
		return err_set(err, ENOMEM, "out of memory");
	if (i->copy)
		r = run((char *const *)(uintptr_t)argv, "coreutils", -1, "copy the modules", err);
	else if (rename(i->modules, target) < 0)
		r = err_sys(err, errno, "take the modules from the package");
	if (r == 0)
		r = unpack_modules(target, err);
	return r == 0 ? module_write_deps(i->dir_fd, "modules", err) : r;
}

static __thread uint64_t tree_bytes;

static int add_size(const char *path _unused_, const struct stat *st, int type _unused_,
		    struct FTW *ftw _unused_)
{
	tree_bytes += (uint64_t)st->st_blocks * 512;
	return 0;
}

static int write_info(struct import *i, struct err *err)
{
	_cleanup_json_ json_t *info = NULL;
	_cleanup_free_ char *text = NULL;
	time_t now = time(NULL);
	struct tm tm;
	char created[32];

	tree_bytes = 0;
	(void)nftw(i->dir, add_size, 16, FTW_PHYS);
	gmtime_r(&now, &tm);
	strftime(created, sizeof(created), "%Y-%m-%dT%H:%M:%SZ", &tm);
	info = json_pack("{s:s, s:s, s:s, s:I}", "Version", i->version, "Source",
			 i->what->origin ? i->what->origin : i->what->source, "Created", created,
			 "Size", (json_int_t)tree_bytes);
	text = info ? json_dumps(info, JSON_INDENT(4)) : NULL;
	if (!text)
		return err_set(err, ENOMEM, "out of memory");
	return write_bytes(i->dir_fd, "info.json", (const uint8_t *)text, strlen(text), err);
}

static int fill(struct import *i, struct err *err)
{
	const char *source = i->what->source;
	struct stat st;
	int r;

	if (stat(source, &st) < 0)
		return err_sys(err, errno, "import the kernel \"%s\"", source);
	if (str_ends(source, ".deb")) {
		r = unpack_deb(i, err);
	} else {
		i->image = strdup(source);
		i->modules = i->what->modules ? strdup(i->what->modules) : NULL;
		i->copy = true;
		r = i->image ? 0 : err_set(err, ENOMEM, "out of memory");
	}
	if (r == 0)
		r = take_image(i, err);
	if (r == 0)
		r = take_modules(i, err);
	(void)io_remove_tree(i->dir_fd, "deb");
	return r == 0 ? write_info(i, err) : r;
}

static int choose_name(const struct import *i, char ret[KERNEL_NAME_MAX + 1], struct err *err)
{
	const char *name = i->what->name ? i->what->name : i->version;

	if (str_empty(name))
		return err_set(err, EINVAL, "%s does not tell its version: give it a name (--name)",
			       i->what->source);
	snprintf(ret, KERNEL_NAME_MAX + 1, "%s", name);
	return kernel_name_check(name, err);
}

int vm_kernel_import(const char *store, const struct vm_kernel_import *what, char **ret_name,
		     struct err *err)
{
	_cleanup_close_ int kernels = kernel_store_open(store, true, err);
	_cleanup_free_ char *dir = NULL;
	struct import i = { .what = what, .dir_fd = -EBADF };
	char temporary[32], name[KERNEL_NAME_MAX + 1];
	int r;

	if (kernels < 0)
		return kernels;
	snprintf(temporary, sizeof(temporary), ".new-%d", getpid());
	i.dir = dir = str_printf("%s/" KERNEL_DIR "/%s", store, temporary);
	(void)io_remove_tree(kernels, temporary);
	if (!dir || mkdirat(kernels, temporary, 0755) < 0)
		return err_sys(err, dir ? errno : ENOMEM, "make a directory in the kernel store");
	i.dir_fd = openat(kernels, temporary, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = i.dir_fd < 0 ? err_sys(err, errno, "open %s", dir) : fill(&i, err);
	if (r == 0)
		r = choose_name(&i, name, err);
	if (r == 0 && renameat2(kernels, temporary, kernels, name, RENAME_NOREPLACE) < 0)
		r = errno == EEXIST
			    ? err_set(err, EEXIST,
				      "there is a kernel \"%s\" already: remove it first (`proa "
				      "kernel rm %s`), or give this one another name (--name)",
				      name, name)
			    : err_sys(err, errno, "put the kernel \"%s\" into the store", name);
	if (r < 0)
		(void)io_remove_tree(kernels, temporary);
	else if (faccessat(kernels, KERNEL_DEFAULT, F_OK, 0) < 0)
		r = vm_kernel_set_default(store, name, err);
	fd_close(i.dir_fd);
	free(i.image);
	free(i.modules);
	if (r == 0 && ret_name && !(*ret_name = strdup(name)))
		r = err_set(err, ENOMEM, "out of memory");
	return r;
}
