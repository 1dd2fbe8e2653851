/* SPDX-License-Identifier: Apache-2.0 */
/* What is in the kernel store: list, choose, remove. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "util/err.h"
#include "util/io.h"
#include "util/json.h"
#include "util/mem.h"
#include "util/str.h"
#include "vm/kernel.h"
#include "vm/kernel_internal.h"

int kernel_store_open(const char *store, bool make, struct err *err)
{
	_cleanup_free_ char *path = str_printf("%s/" KERNEL_DIR, store);
	int fd, r = path ? 0 : -ENOMEM;

	if (r == 0 && make)
		r = io_mkdir_all(AT_FDCWD, path, 0755);
	if (r < 0)
		return err_sys(err, -r, "make the kernel store in %s", store);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? err_sys(err, errno, "open the kernel store %s", path) : fd;
}

int kernel_name_check(const char *name, struct err *err)
{
	size_t n =
		strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-");

	if (!n || name[n] || n > KERNEL_NAME_MAX || name[0] == '.' || name[0] == '-' ||
	    !strcmp(name, KERNEL_DEFAULT))
		return err_set(
			err, EINVAL,
			"\"%s\" cannot be the name of a kernel: letters, digits, \".\", \"_\", "
			"\"+\" and \"-\", at most %d, and not \"" KERNEL_DEFAULT "\"",
			name, KERNEL_NAME_MAX);
	return 0;
}

static bool is_kernel(int dir, const char *name)
{
	char path[KERNEL_NAME_MAX + 1 + sizeof(KERNEL_IMAGE_NAME)];

	if (kernel_name_check(name, NULL) < 0)
		return false;
	snprintf(path, sizeof(path), "%.*s/" KERNEL_IMAGE_NAME, KERNEL_NAME_MAX, name);
	return faccessat(dir, path, F_OK, 0) == 0;
}

/* The store, if the kernel is in it. */
static int open_store_with(const char *store, const char *name, struct err *err)
{
	_cleanup_close_ int dir = kernel_store_open(store, false, NULL);
	int r = kernel_name_check(name, err);

	if (r < 0)
		return r;
	if (dir < 0 || !is_kernel(dir, name))
		return err_set(err, ENOENT, "no kernel \"%s\": see `proa kernel ls`", name);
	return TAKE_FD(dir);
}

int vm_kernel_set_default(const char *store, const char *name, struct err *err)
{
	_cleanup_close_ int dir = open_store_with(store, name, err);
	char temporary[32];

	if (dir < 0)
		return dir;
	snprintf(temporary, sizeof(temporary), ".default-%d", getpid());
	(void)unlinkat(dir, temporary, 0);
	if (symlinkat(name, dir, temporary) < 0 ||
	    renameat(dir, temporary, dir, KERNEL_DEFAULT) < 0)
		return err_sys(err, errno, "make \"%s\" the default kernel", name);
	return 0;
}

static bool is_default(int dir, const char *name)
{
	char target[KERNEL_NAME_MAX + 1];
	ssize_t n = readlinkat(dir, KERNEL_DEFAULT, target, sizeof(target) - 1);

	if (n < 0)
		return false;
	target[n] = 0;
	return !strcmp(target, name);
}

int vm_kernel_remove(const char *store, const char *name, struct err *err)
{
	_cleanup_close_ int dir = open_store_with(store, name, err);
	char gone[KERNEL_NAME_MAX + 32];
	int r;

	if (dir < 0)
		return dir;
	if (is_default(dir, name))
		(void)unlinkat(dir, KERNEL_DEFAULT, 0);
	/* out of sight first: what is half removed must not look like a kernel */
	snprintf(gone, sizeof(gone), ".gone-%d-%s", getpid(), name);
	if (renameat(dir, name, dir, gone) < 0)
		return err_sys(err, errno, "remove the kernel \"%s\"", name);
	r = io_remove_tree(dir, gone);
	return r < 0 ? err_sys(err, -r, "remove the kernel \"%s\"", name) : 0;
}

static json_t *describe(int dir, const char *name)
{
	_cleanup_json_ json_t *info = NULL;
	char path[300];
	const char *version, *source, *created;

	snprintf(path, sizeof(path), "%.255s/info.json", name);
	if (json_read_file(dir, path, &info, NULL) < 0)
		info = json_object();
	version = json_get_str(info, "Version");
	source = json_get_str(info, "Source");
	created = json_get_str(info, "Created");
	return json_pack("{s:s, s:s, s:s, s:s, s:I, s:b}", "Name", name, "Version",
			 version ? version : "", "Source", source ? source : "", "Created",
			 created ? created : "", "Size", (json_int_t)json_get_int(info, "Size", 0),
			 "Default", is_default(dir, name));
}

static int may_be_kernel(const struct dirent *d)
{
	return kernel_name_check(d->d_name, NULL) == 0;
}

int vm_kernel_list(const char *store, json_t **ret, struct err *err)
{
	_cleanup_close_ int dir = kernel_store_open(store, false, NULL);
	_cleanup_json_ json_t *rows = json_array();
	struct dirent **names = NULL;
	int n = dir < 0 ? 0 : scandirat(dir, ".", &names, may_be_kernel, alphasort),
	    r = rows ? 0 : -ENOMEM;

	for (int i = 0; i < n; i++) {
		if (r == 0 && is_kernel(dir, names[i]->d_name) &&
		    json_array_append_new(rows, describe(dir, names[i]->d_name)) < 0)
			r = -ENOMEM;
		free(names[i]);
	}
	free(names);
	if (r < 0 || n < 0)
		return err_sys(err, n < 0 ? errno : -r, "list the kernels in %s", store);
	*ret = TAKE_PTR(rows);
	return 0;
}
