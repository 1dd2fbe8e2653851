/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The distribution's own kernel, with the distribution's own tools: apt-get knows the mirrors, the
 * proxies and the keys of this host, and checks the signatures. `apt-get download` needs no root
 * and installs nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "util/err.h"
#include "util/io.h"
#include "util/mem.h"
#include "util/str.h"
#include "vm/kernel.h"
#include "vm/kernel_internal.h"
#include "vm/spawn.h"

#define META_PACKAGE "linux-image-cloud-amd64"
#define PREFIX	     "linux-image-"

static int find_apt(const char *name, char **ret, struct err *err)
{
	return vm_find_program(name, "`proa kernel pull` uses it (elsewhere: `proa kernel import`)",
			       "apt", ret, err);
}

/* What the meta package depends on, "linux-image-6.1.0-56-cloud-amd64"; "" if it is unknown here.
 */
static int ask_package(char ret[128], struct err *err)
{
	_cleanup_free_ char *apt_cache = NULL, *text = NULL;
	_cleanup_close_ int out = -EBADF;
	char *argv[] = { NULL, (char *)(uintptr_t) "depends", (char *)(uintptr_t)META_PACKAGE,
			 NULL };
	struct vm_spawn s = { .argv = argv, .stderr_fd = -1 };
	char path[] = "/tmp/proa-apt-XXXXXX";
	const char *found;
	int r = find_apt("apt-cache", &apt_cache, err);

	if (r < 0)
		return r;
	argv[0] = apt_cache;
	out = mkostemp(path, O_CLOEXEC);
	if (out < 0)
		return err_sys(err, errno, "make a temporary file");
	s.stdout_fd = out;
	r = vm_spawn_wait(&s, err);
	if (r >= 0)
		r = io_read_file(AT_FDCWD, path, 1 << 20, &text, NULL);
	(void)unlink(path);
	if (r < 0)
		return err_sys(err, -r, "ask apt-cache for the cloud kernel");
	ret[0] = 0;
	found = strstr(text, "Depends: " PREFIX);
	if (found) {
		found += strlen("Depends: ");
		snprintf(ret, 128, "%.*s", (int)strcspn(found, " \n"), found);
	}
	return 0;
}

static int enter_dir(void *data)
{
	return chdir(data) < 0 ? errno : 0;
}

static int apt_get(const char *dir, const char *command, const char *package, struct err *err)
{
	_cleanup_free_ char *binary = NULL;
	/* the sandbox user of apt has no access to our directory, and needs none */
	const char *argv[] = {
		NULL, "-q", "-o", "APT::Sandbox::User=root", command, package, NULL
	};
	struct vm_spawn s = { .argv = (char *const *)(uintptr_t)argv,
			      .stdout_fd = -1,
			      .stderr_fd = STDERR_FILENO,
			      .prepare = enter_dir,
			      .data = (void *)(uintptr_t)dir };
	int r = find_apt("apt-get", &binary, err);

	if (r < 0)
		return r;
	argv[0] = binary;
	r = vm_spawn_wait(&s, err);
	return r > 0 ? err_set(err, EIO, "apt-get %s %s failed (exit code %d)", command,
			       package ? package : "", r)
		     : r;
}

static int find_package(char package[128], void (*progress)(const char *), struct err *err)
{
	int r = ask_package(package, err);

	if (r == 0 && !package[0]) {
		progress("updating the package lists (apt-get update)");
		r = apt_get("/", "update", NULL, err);
		if (r == 0)
			r = ask_package(package, err);
	}
	if (r == 0 && !package[0])
		r = err_set(err, ENOENT,
			    "this system's package lists have no " META_PACKAGE
			    ": bring a kernel with `proa kernel import`");
	return r;
}

static int download_and_import(const char *store, const char *dir, const char *package,
			       void (*progress)(const char *), char **ret_name, struct err *err)
{
	_cleanup_free_ char *line = str_printf("downloading %s", package);
	_cleanup_free_ char *pattern = str_printf("%s/*.deb", dir);
	struct vm_kernel_import what = { .origin = package };
	glob_t g = { 0 };
	int r;

	if (!line || !pattern)
		return err_set(err, ENOMEM, "out of memory");
	progress(line);
	r = apt_get(dir, "download", package, err);
	if (r == 0 && (glob(pattern, 0, NULL, &g) != 0 || g.gl_pathc != 1))
		r = err_set(err, ENOENT, "apt-get downloaded no package");
	if (r == 0) {
		progress("unpacking it into the kernel store");
		what.source = g.gl_pathv[0];
		what.name = package + strlen(PREFIX);
		r = vm_kernel_import(store, &what, ret_name, err);
	}
	globfree(&g);
	return r;
}

static void no_progress(const char *line _unused_) {}

int vm_kernel_pull(const char *store, void (*progress)(const char *line), char **ret_name,
		   struct err *err)
{
	_cleanup_close_ int kernels = kernel_store_open(store, true, err);
	_cleanup_free_ char *dir = NULL, *there = NULL;
	char package[128], temporary[32];
	int r;

	if (kernels < 0)
		return kernels;
	if (!progress)
		progress = no_progress;
	r = find_package(package, progress, err);
	if (r < 0)
		return r;
	there = str_printf("%s/" KERNEL_IMAGE_NAME, package + strlen(PREFIX));
	snprintf(temporary, sizeof(temporary), ".pull-%d", getpid());
	dir = str_printf("%s/" KERNEL_DIR "/%s", store, temporary);
	if (!there || !dir)
		return err_set(err, ENOMEM, "out of memory");
	if (faccessat(kernels, there, F_OK, 0) == 0) {
		*ret_name = strdup(package + strlen(PREFIX));
		return *ret_name ? 0 : err_set(err, ENOMEM, "out of memory");
	}
	(void)io_remove_tree(kernels, temporary);
	if (mkdirat(kernels, temporary, 0755) < 0)
		return err_sys(err, errno, "make %s", dir);
	r = download_and_import(store, dir, package, progress, ret_name, err);
	(void)io_remove_tree(kernels, temporary);
	return r;
}
