/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a build of a kernel starts from: the tools, and the source. The source is the distribution's
 * (a package with a tar archive in it), or a directory, archive or package that somebody brings. Of
 * an archive only what a build for this architecture reads is unpacked: Kconfig reads files of all
 * architectures, but device trees, documentation and the like are a third of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "util/err.h"
#include "util/io.h"
#include "util/mem.h"
#include "util/str.h"
#include "vm/kernel_build_internal.h"
#include "vm/spawn.h"

#define META_PACKAGE "linux-source"
#define PREFIX	     "linux-source-"

static const struct {
	const char *program, *package;
} tools[] = {
	{ "make", "make" },	 { "gcc", "gcc" },
	{ "ld", "binutils" },	 { "objcopy", "binutils" },
	{ "flex", "flex" },	 { "bison", "bison" },
	{ "bc", "bc" },		 { "tar", "tar" },
	{ "xz", "xz-utils" },	 { "gzip", "gzip" },
	{ "awk", "mawk" },	 { "sed", "sed" },
	{ "find", "findutils" },
};

/* objtool, which the kernel's build makes first, is built with these. */
static const struct {
	const char *header, *package;
} headers[] = {
	{ "gelf.h", "libelf-dev" },
	{ "stdlib.h", "libc6-dev" },
};

static void note_missing(const char *name, const char *package, struct str_buf *names,
			 struct str_buf *packages)
{
	str_buf_printf(names, "%s%s", names->len ? ", " : "", name);
	if (!packages->len || !strstr(packages->data, package))
		str_buf_printf(packages, " %s", package);
}

static bool has_header(const struct kernel_hold *hold, const char *gcc, const char *name)
{
	const char *argv[] = { gcc, "-E", "-x", "c", "-include", name, "/dev/null", NULL };
	struct vm_spawn s = { .argv = (char *const *)(uintptr_t)argv,
			      .stdout_fd = -1,
			      .stderr_fd = -1 };

	return kernel_hold_run(hold, &s, NULL, NULL, NULL) == 0;
}

int kernel_build_check_tools(struct kernel_build *b, struct err *err)
{
	_cleanup_free_ char *gcc = NULL;
	struct str_buf names = { 0 }, packages = { 0 };
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(tools); i++) {
		_cleanup_free_ char *path = NULL;

		if (vm_find_program(tools[i].program, "", "", &path, NULL) < 0)
			note_missing(tools[i].program, tools[i].package, &names, &packages);
		else if (!strcmp(tools[i].program, "gcc"))
			gcc = TAKE_PTR(path);
	}
	for (size_t i = 0; gcc && i < ARRAY_SIZE(headers); i++)
		if (!has_header(&b->hold, gcc, headers[i].header))
			note_missing(headers[i].header, headers[i].package, &names, &packages);
	if (names.failed || packages.failed)
		r = err_set(err, ENOMEM, "out of memory");
	else if (names.len)
		r = err_set(err, ENOENT,
			    "not installed here, and a kernel is built with it: %s (apt-get "
			    "install%s)",
			    names.data, packages.data);
	str_buf_done(&names);
	str_buf_done(&packages);
	return r;
}

/* ---- the source ----------------------------------------------------------------------------- */

static int find_one(const struct kernel_build *b, const char *pattern, char **ret, struct err *err)
{
	_cleanup_free_ char *full = str_printf("%s/%s", b->dir, pattern);
	glob_t g = { 0 };
	int r = 0;

	if (!full)
		return err_set(err, ENOMEM, "out of memory");
	if (glob(full, 0, NULL, &g) != 0 || g.gl_pathc != 1)
		r = err_set(err, ENOENT, "the package has no %s", strchr(pattern, '/') + 1);
	else if (!(*ret = strdup(g.gl_pathv[0])))
		r = err_set(err, ENOMEM, "out of memory");
	globfree(&g);
	return r;
}

static int unpack_archive(struct kernel_build *b, const char *archive, struct err *err)
{
	const char *argv[] = { "tar",
			       "-xf",
			       archive,
			       "-C",
			       b->source,
			       "--strip-components=1",
			       "--no-same-owner",
			       "--exclude=*/Documentation/[!K]*",
			       "--exclude=*/boot/dts/*",
			       "--exclude=*/drivers/gpu/drm/*/include/*",
			       "--exclude=*/tools/testing/*",
			       "--exclude=*/tools/perf/*",
			       NULL };

	if (mkdir(b->source, 0755) < 0)
		return err_sys(err, errno, "make %s", b->source);
	b->progress("unpacking the source");
	return kernel_build_run(b, argv, "unpack the kernel's source", NULL, err);
}

/* A package of a kernel's source has one archive in it. */
static int unpack_package(struct kernel_build *b, const char *package, struct err *err)
{
	_cleanup_free_ char *tree = str_printf("%s/deb", b->dir), *archive = NULL;
	const char *argv[] = { "dpkg-deb", "-x", package, tree, NULL };
	int r = tree ? 0 : err_set(err, ENOMEM, "out of memory");

	if (r == 0)
		r = kernel_build_run(b, argv, "unpack the package of the kernel's source", NULL,
				     err);
	if (r == 0)
		r = find_one(b, "deb/usr/src/linux-source-*.tar*", &archive, err);
	if (r == 0)
		r = unpack_archive(b, archive, err);
	if (tree)
		(void)io_remove_tree(AT_FDCWD, tree);
	return r;
}

static int download(struct kernel_build *b, struct err *err)
{
	const struct kernel_apt apt = {
		.meta = META_PACKAGE,
		.prefix = PREFIX,
		.command = "proa kernel build",
		.otherwise = "bring a kernel's source with --source",
		.hold = &b->hold,
	};
	_cleanup_free_ char *line = NULL, *deb = NULL;
	const char *version, *end;
	char package[KERNEL_PACKAGE_MAX];
	int r = kernel_apt_find(&apt, package, b->progress, err);

	if (r < 0)
		return r;
	line = str_printf("downloading %s", package);
	if (!line)
		return err_set(err, ENOMEM, "out of memory");
	b->progress(line);
	r = kernel_apt_get(&apt, b->dir, "download", package, err);
	if (r == 0)
		r = find_one(b, PREFIX "*.deb", &deb, err);
	if (r < 0)
		return r;
	/* linux-source-6.1_6.1.164-1_all.deb */
	version = strrchr(deb, '/') + 1;
	version += strcspn(version, "_");
	version += *version == '_';
	end = strchr(version, '_');
	b->origin = str_printf("%s %.*s", package, (int)(end ? end - version : 0), version);
	r = b->origin ? unpack_package(b, deb, err) : err_set(err, ENOMEM, "out of memory");
	(void)unlink(deb);
	return r;
}

static int check_source(const struct kernel_build *b, const char *name, struct err *err)
{
	static const char *const files[] = { "Makefile", "Kconfig", "arch/x86/Makefile",
					     "scripts/kconfig/Makefile" };

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		_cleanup_free_ char *path = str_printf("%s/%s", b->source, files[i]);

		if (path && access(path, R_OK) < 0)
			return err_set(err, EINVAL, "%s is not the source of a Linux: it has no %s",
				       name, files[i]);
	}
	return 0;
}

int kernel_build_source(struct kernel_build *b, struct err *err)
{
	const char *from = b->what->source;
	_cleanup_free_ char *path = NULL;
	struct stat st = { 0 };
	int r;

	if (from) {
		path = realpath(from, NULL);
		if (!path || stat(path, &st) < 0)
			return err_sys(err, errno, "find the kernel's source \"%s\"", from);
		b->origin = strdup(from);
	}
	b->source = path && S_ISDIR(st.st_mode) ? strdup(path) : str_printf("%s/source", b->dir);
	if (!b->source || (from && !b->origin))
		return err_set(err, ENOMEM, "out of memory");
	if (!from)
		r = download(b, err);
	else if (S_ISDIR(st.st_mode))
		r = 0;
	else
		r = str_ends(path, ".deb") ? unpack_package(b, path, err)
					   : unpack_archive(b, path, err);
	return r == 0 ? check_source(b, from ? from : "the package", err) : r;
}
