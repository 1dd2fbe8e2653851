/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which module needs which, and hence their order. A distribution's package leaves that to depmod
 * at installation, which a host need not have; the facts are in the modules themselves
 * ("depends=").
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "util/err.h"
#include "util/io.h"
#include "util/mem.h"
#include "util/str.h"
#include "vm/module.h"

#define MODULE_BYTES_MAX (64u << 20)
#define DEPS_BYTES_MAX	 (16u << 20)
#define DEPTH_MAX	 16 /* of directories, and of dependencies */

struct module {
	char *name;    /* with '_' */
	char *path;    /* below the modules' directory */
	char *depends; /* "a,b" */
};

struct modules {
	struct module *v;
	size_t n;
};

static void modules_done(struct modules *m)
{
	for (size_t i = 0; i < m->n; i++) {
		free(m->v[i].name);
		free(m->v[i].path);
		free(m->v[i].depends);
	}
	free(m->v);
}

/* "kernel/drivers/block/virtio-blk.ko" to "virtio_blk"; NULL: not the name of a module. */
static char *name_of(const char *path)
{
	const char *base = strrchr(path, '/');
	char *name, *dot;

	base = base ? base + 1 : path;
	if (!str_ends(base, ".ko"))
		return NULL;
	name = strdup(base);
	dot = name ? strrchr(name, '.') : NULL;
	if (dot)
		*dot = 0;
	for (char *c = name; c && *c; c++)
		if (*c == '-')
			*c = '_';
	return name;
}

static int add_module(struct modules *all, int dir, const char *path, struct err *err)
{
	_cleanup_free_ char *bytes = NULL, *name = name_of(path);
	const char *depends;
	struct module *m;
	size_t n;
	int r;

	if (!name)
		return 0;
	r = io_read_file(dir, path, MODULE_BYTES_MAX, &bytes, &n);
	if (r < 0)
		return err_sys(err, -r, "read the module %s", path);
	depends = module_info((const uint8_t *)bytes, n, "depends");
	if (mem_grow(&all->v, all->n, sizeof(*all->v)) < 0)
		return err_set(err, ENOMEM, "out of memory");
	m = &all->v[all->n++];
	*m = (struct module){ .name = TAKE_PTR(name),
			      .path = strdup(path),
			      .depends = strdup(depends ? depends : "") };
	return m->path && m->depends ? 0 : err_set(err, ENOMEM, "out of memory");
}

static int walk(struct modules *all, int dir, const char *below, int depth, struct err *err)
{
	_cleanup_close_ int fd =
		openat(dir, *below ? below : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	int r = 0;

	if (!d)
		return err_sys(err, errno, "list the modules in %s", below);
	(void)TAKE_FD(fd);
	while (r == 0 && (e = readdir(d))) {
		_cleanup_free_ char *path =
			str_printf("%s%s%s", below, *below ? "/" : "", e->d_name);
		struct stat st;

		if (!path)
			r = err_set(err, ENOMEM, "out of memory");
		else if (e->d_name[0] == '.')
			continue;
		else if (fstatat(dir, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
			r = err_sys(err, errno, "look at %s", path);
		else if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX)
			r = walk(all, dir, path, depth + 1, err);
		else if (S_ISREG(st.st_mode))
			r = add_module(all, dir, path, err);
	}
	closedir(d);
	return r;
}

/* @have is written with '_'; the @len bytes of @name may have '-' instead. */
static bool same_name(const char *have, const char *name, size_t len)
{
	size_t k = 0;

	while (k < len && have[k] == (name[k] == '-' ? '_' : name[k]))
		k++;
	return k == len && !have[k];
}

static const struct module *find(const struct modules *all, const char *name, size_t len)
{
	for (size_t i = 0; i < all->n; i++)
		if (same_name(all->v[i].name, name, len))
			return &all->v[i];
	return NULL;
}

/* Adds @m after what it needs; what is in the list already stays where it is. */
static int add_in_order(const struct modules *all, const struct module *m, char ***list, int depth)
{
	if (depth > DEPTH_MAX)
		return -ELOOP;
	for (char **p = *list; p && *p; p++)
		if (!strcmp(*p, m->path))
			return 0;
	for (const char *d = m->depends; *d;) {
		size_t len = strcspn(d, ",");
		const struct module *needed = find(all, d, len);
		int r = needed ? add_in_order(all, needed, list, depth + 1) : 0;

		if (r < 0)
			return r;
		d += len + (d[len] == ',');
	}
	return strv_add(list, m->path);
}

int module_write_deps(int dir_fd, const char *dir, struct err *err)
{
	_cleanup_close_ int fd = openat(dir_fd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct modules all = { 0 };
	struct str_buf b = { 0 };
	int r = fd < 0 ? err_sys(err, errno, "open the modules in %s", dir)
		       : walk(&all, fd, "", 0, err);

	for (size_t i = 0; r == 0 && i < all.n; i++) {
		char **needed = NULL;

		r = add_in_order(&all, &all.v[i], &needed, 0);
		if (r < 0)
			err_sys(err, -r, "order what %s depends on", all.v[i].path);
		str_buf_printf(&b, "%s:", all.v[i].path);
		/* the nearest first and the deepest last, as depmod writes them; itself is left out
		 */
		for (size_t k = strv_len(needed); k > 1; k--)
			str_buf_printf(&b, " %s", needed[k - 2]);
		str_buf_puts(&b, "\n");
		strv_free(needed);
	}
	if (r == 0 && b.failed)
		r = err_set(err, ENOMEM, "out of memory");
	if (r == 0)
		r = io_write_file(fd, "modules.dep", b.data ? b.data : "", b.len, 0644, 0);
	if (r < 0 && !(err && err->errnum))
		err_sys(err, -r, "write modules.dep");
	str_buf_done(&b);
	modules_done(&all);
	return r;
}

/* A copy of the line of modules.dep for the module of this name; NULL: there is none. */
static char *find_line(char *deps, const char *name)
{
	for (char *line = deps; line && *line;) {
		char *end = strchr(line, '\n'), *colon;
		_cleanup_free_ char *have = NULL;
		bool same;

		if (end)
			*end = 0;
		colon = strchr(line, ':');
		if (colon) {
			*colon = 0;
			have = name_of(line);
			*colon = ':';
		}
		same = have && same_name(have, name, strlen(name));
		if (same)
			return strdup(line);
		if (end)
			*end = '\n';
		line = end ? end + 1 : NULL;
	}
	return NULL;
}

static int add_once(char ***list, const char *path)
{
	for (char **p = *list; p && *p; p++)
		if (!strcmp(*p, path))
			return 0;
	return strv_add(list, path);
}

static int add_line(char *line, char ***list)
{
	char *path = line, *deps = strchr(line, ':'), *last;
	int r;

	*deps++ = 0;
	/* from the end: the deepest dependency is written last */
	while ((last = strrchr(deps, ' '))) {
		if (last[1]) {
			r = add_once(list, last + 1);
			if (r < 0)
				return r;
		}
		*last = 0;
	}
	return add_once(list, path);
}

int module_closure(int dir_fd, const char *dir, const char *const *names, char ***ret,
		   struct err *err)
{
	_cleanup_close_ int fd = openat(dir_fd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *text = NULL;
	_cleanup_strv_ char **list = NULL;
	int r = fd < 0 ? -errno : io_read_file(fd, "modules.dep", DEPS_BYTES_MAX, &text, NULL);

	/* a kernel without modules has all it needs built in */
	if (r < 0 && r != -ENOENT)
		return err_sys(err, -r, "read the kernel's modules.dep");
	for (; r == 0 && *names; names++) {
		_cleanup_free_ char *copy = strdup(text);
		_cleanup_free_ char *line = copy ? find_line(copy, *names) : NULL;

		if (!copy || (line && add_line(line, &list) < 0))
			return err_set(err, ENOMEM, "out of memory");
	}
	*ret = TAKE_PTR(list);
	return 0;
}
