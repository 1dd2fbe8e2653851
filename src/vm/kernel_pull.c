/* SPDX-License-Identifier: Apache-2.0 */
/* The distribution's own kernel for virtual machines, downloaded as any package of it
 * (kernel_apt.c). */
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

#define PREFIX "linux-image-"

static const struct kernel_apt apt = {
	.meta = "linux-image-cloud-amd64",
	.prefix = PREFIX,
	.command = "proa kernel pull",
	.otherwise = "bring a kernel with `proa kernel import`",
};

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
	r = kernel_apt_get(&apt, dir, "download", package, err);
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
	char package[KERNEL_PACKAGE_MAX], temporary[32];
	int r;

	if (kernels < 0)
		return kernels;
	if (!progress)
		progress = no_progress;
	r = kernel_apt_find(&apt, package, progress, err);
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
