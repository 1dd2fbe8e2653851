/* SPDX-License-Identifier: Apache-2.0 */
#include "image/unpack_path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "util/err.h"
#include "util/linux.h"
#include "util/mem.h"

void paths_init(struct paths *p, int root_fd)
{
	*p = (struct paths){ .root_fd = root_fd };
}

void paths_forget(struct paths *p)
{
	p->stale = false;
	for (size_t i = 0; i < PATHS_CACHED; i++) {
		if (!p->cache[i].path)
			continue;
		close(p->cache[i].fd);
		free(p->cache[i].path);
		p->cache[i].path = NULL;
	}
}

void paths_done(struct paths *p)
{
	paths_forget(p);
}

int path_clean(const char *name, char out[PATH_MAX], struct err *err)
{
	size_t o = 0;

	while (*name) {
		size_t n = strcspn(name, "/");

		if (n == 2 && name[0] == '.' && name[1] == '.')
			return err_set(err, EINVAL, "its name has a \"..\" in it");
		if (n > NAME_MAX)
			return err_set(err, ENAMETOOLONG,
				       "a part of its name is longer than %d bytes", NAME_MAX);
		if (n && !(n == 1 && name[0] == '.')) {
			if (o + n + 2 > PATH_MAX)
				return err_set(err, ENAMETOOLONG,
					       "its name is longer than %d bytes", PATH_MAX - 1);
			if (o)
				out[o++] = '/';
			memcpy(out + o, name, n);
			o += n;
		}
		name += n + (name[n] == '/');
	}
	out[o] = 0;
	return 0;
}

/* O_PATH of a directory; symbolic links on the way resolve inside the root. */
static int open_dir(int root_fd, const char *path)
{
	for (;;) {
		int fd = sys_openat2(root_fd, path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0,
				     RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);

		/* EAGAIN: something was renamed during the walk; not by us, so just again */
		if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
			return fd < 0 ? -errno : fd;
	}
}

/* Makes the missing directories of @dir one after the other. */
static int make_parents(struct paths *p, const char *dir)
{
	char path[PATH_MAX];
	size_t n = strlen(dir);

	memcpy(path, dir, n + 1);
	for (size_t start = 0; start < n;) {
		size_t end = start + strcspn(path + start, "/");
		_cleanup_close_ int parent = -EBADF;
		char saved = path[end];
		int r;

		path[end] = 0;
		r = open_dir(p->root_fd, path);
		if (r >= 0) {
			close(r);
		} else if (r == -ENOENT) {
			if (start)
				path[start - 1] = 0;
			parent = start ? open_dir(p->root_fd, path) : open_dir(p->root_fd, ".");
			if (start)
				path[start - 1] = '/';
			if (parent < 0)
				return parent;
			/* EEXIST: a symbolic link to nowhere; the lookup will say so */
			if (mkdirat(parent, path + start, 0755) < 0 && errno != EEXIST)
				return -errno;
		} else {
			return r;
		}
		path[end] = saved;
		start = end + 1;
	}
	return 0;
}

static int lookup(struct paths *p, const char *dir, struct err *err)
{
	int fd = open_dir(p->root_fd, dir);

	if (fd == -ENOENT) {
		int r = make_parents(p, dir);

		fd = r < 0 ? r : open_dir(p->root_fd, dir);
	}
	if (fd == -ENOTDIR)
		return err_set(err, ENOTDIR, "a part of its name is not a directory");
	if (fd == -ENOENT || fd == -ELOOP)
		return err_set(err, -fd,
			       "a part of its name is a symbolic link that leads nowhere");
	if (fd < 0)
		return err_sys(err, -fd, "its parent directory");
	return fd;
}

int paths_parent(struct paths *p, const char *path, int *ret_fd, const char **ret_name,
		 struct err *err)
{
	const char *slash = strrchr(path, '/');
	size_t n = slash ? (size_t)(slash - path) : 0;
	char *dir;
	int fd;

	*ret_name = slash ? slash + 1 : path;
	if (!slash) {
		*ret_fd = p->root_fd;
		return 0;
	}
	for (size_t i = 0; i < PATHS_CACHED; i++) {
		dir = p->cache[i].path;
		if (dir && !strncmp(dir, path, n) && !dir[n]) {
			*ret_fd = p->cache[i].fd;
			return 0;
		}
	}
	dir = strndup(path, n);
	if (!dir)
		return err_sys(err, ENOMEM, "look up its parent directory");
	fd = lookup(p, dir, err);
	if (fd < 0) {
		free(dir);
		return fd;
	}
	p->next = (p->next + 1) % PATHS_CACHED;
	if (p->cache[p->next].path) {
		close(p->cache[p->next].fd);
		free(p->cache[p->next].path);
	}
	p->cache[p->next].path = dir;
	p->cache[p->next].fd = fd;
	*ret_fd = fd;
	return 0;
}
