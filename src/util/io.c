/* SPDX-License-Identifier: Apache-2.0 */
#include "util/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/syscall.h>
#include "util/mem.h"

ssize_t io_read_full(int fd, void *buf, size_t n)
{
	size_t done = 0;

	while (done < n) {
		ssize_t r = read(fd, (char *)buf + done, n - done);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			break;
		done += (size_t)r;
	}
	return (ssize_t)done;
}

int io_write_full(int fd, const void *buf, size_t n)
{
	const char *p = buf;

	while (n) {
		ssize_t r = write(fd, p, n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		p += r;
		n -= (size_t)r;
	}
	return 0;
}

int io_read_file(int dir_fd, const char *path, size_t max, char **ret, size_t *ret_len)
{
	_cleanup_close_ int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *buf = NULL;
	size_t cap, len = 0;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (S_ISREG(st.st_mode) && (uint64_t)st.st_size > max)
		return -EFBIG;
	/* files in /proc and /sys say 0: start with a page and grow */
	cap = S_ISREG(st.st_mode) && st.st_size ? (size_t)st.st_size + 1 : 4096;
	for (;;) {
		ssize_t r;
		char *grown = realloc(buf, cap + 1);

		if (!grown)
			return -ENOMEM;
		buf = grown;
		r = io_read_full(fd, buf + len, cap - len);
		if (r < 0)
			return (int)r;
		len += (size_t)r;
		if (len < cap)
			break;
		if (len > max)
			return -EFBIG;
		cap *= 2;
	}
	if (len > max)
		return -EFBIG;
	buf[len] = 0;
	*ret = TAKE_PTR(buf);
	if (ret_len)
		*ret_len = len;
	return 0;
}

int io_write_knob(int dir_fd, const char *path, const char *text)
{
	_cleanup_close_ int fd = openat(dir_fd, path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

static int sync_parent(int dir_fd, const char *path)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *parent =
		slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
	_cleanup_close_ int fd = -EBADF;

	if (!parent)
		return -ENOMEM;
	fd = openat(dir_fd, parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return -errno;
	return 0;
}

int io_write_file(int dir_fd, const char *path, const void *bytes, size_t n, mode_t mode,
		  unsigned flags)
{
	_cleanup_free_ char *tmp = NULL;
	_cleanup_close_ int fd = -EBADF;
	uint64_t salt = 0;
	int r;

	if (getrandom(&salt, sizeof(salt), 0) != sizeof(salt))
		return -EIO;
	if (asprintf(&tmp, "%s.tmp-%016llx", path, (unsigned long long)salt) < 0) {
		tmp = NULL;
		return -ENOMEM;
	}
	fd = openat(dir_fd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return -errno;
	r = io_write_full(fd, bytes, n);
	if (r == 0 && (flags & IO_DURABLE) && fsync(fd) < 0)
		r = -errno;
	if (r == 0 && (flags & IO_EXCLUSIVE) && linkat(dir_fd, tmp, dir_fd, path, 0) < 0)
		r = -errno;
	if (r == 0 && !(flags & IO_EXCLUSIVE) && renameat(dir_fd, tmp, dir_fd, path) < 0)
		r = -errno;
	if (r < 0 || (flags & IO_EXCLUSIVE))
		unlinkat(dir_fd, tmp, 0);
	if (r == 0 && (flags & IO_DURABLE))
		r = sync_parent(dir_fd, path);
	return r;
}

int io_mkdir_all(int dir_fd, const char *path, mode_t mode)
{
	_cleanup_free_ char *copy = strdup(path);

	if (!copy)
		return -ENOMEM;
	if (mkdirat(dir_fd, copy, mode) == 0 || errno == EEXIST)
		return 0;
	if (errno != ENOENT)
		return -errno;
	for (char *p = copy + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = 0;
		if (mkdirat(dir_fd, copy, mode) < 0 && errno != EEXIST)
			return -errno;
		*p = '/';
	}
	return mkdirat(dir_fd, copy, mode) < 0 && errno != EEXIST ? -errno : 0;
}

/*
 * A tree may be deeper than we have descriptors (an archive can make it so): below REMOVE_DEPTH a
 * directory is first renamed into the top one, and its turn comes in a later round there.
 */
#define REMOVE_DEPTH 24

struct removal {
	int top_fd;
	dev_t dev;
	unsigned long long moved; /* makes the names in the top directory unique */
	bool again;
};

static int remove_children(struct removal *rm, int fd, int depth);

static int move_up(struct removal *rm, int dir, const char *name)
{
	char up[48];

	for (;;) {
		snprintf(up, sizeof(up), ".removed-%llu", rm->moved++);
		/* not every libc has renameat2(); 1 is RENAME_NOREPLACE */
		if (syscall(SYS_renameat2, dir, name, rm->top_fd, up, 1) == 0)
			break;
		if (errno != EEXIST)
			return -errno;
	}
	rm->again = true;
	return 0;
}

static int remove_dir(struct removal *rm, int dir, const char *name, int depth)
{
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), r;
	struct stat st;

	if (fd < 0 && errno == EACCES && fchmodat(dir, name, 0700, 0) == 0)
		fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || st.st_dev != rm->dev) {
		close(fd);
		return -EXDEV;
	}
	if ((st.st_mode & 0700) != 0700 && geteuid() != 0)
		fchmod(fd, 0700);
	if (depth == REMOVE_DEPTH) {
		close(fd);
		return move_up(rm, dir, name);
	}
	r = remove_children(rm, fd, depth);
	if (r == 0 && unlinkat(dir, name, AT_REMOVEDIR) < 0)
		r = -errno;
	return r;
}

/* Takes @fd over. */
static int remove_children(struct removal *rm, int fd, int depth)
{
	DIR *d = fdopendir(fd);
	struct dirent *e;
	int first = 0;

	if (!d) {
		first = -errno;
		close(fd);
		return first;
	}
	while ((e = readdir(d))) {
		int r;

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (e->d_type != DT_DIR && unlinkat(dirfd(d), e->d_name, 0) == 0)
			continue;
		r = remove_dir(rm, dirfd(d), e->d_name, depth + 1);
		if (r < 0 && first == 0)
			first = r;
	}
	closedir(d);
	return first;
}

static int remove_rounds(int fd)
{
	struct removal rm = { .top_fd = fd };
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	rm.dev = st.st_dev;
	if ((st.st_mode & 0700) != 0700 && geteuid() != 0)
		fchmod(fd, 0700);
	do {
		/* a description of its own: the position in the directory is part of it */
		int round = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		rm.again = false;
		r = round < 0 ? -errno : remove_children(&rm, round, 0);
	} while (r == 0 && rm.again);
	return r;
}

int io_remove_tree(int dir_fd, const char *name)
{
	int fd, r;

	if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	r = remove_rounds(fd);
	close(fd);
	if (unlinkat(dir_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return r < 0 ? r : -errno;
	return 0;
}

int io_socket_address(int dir_fd, const char *name, struct sockaddr_un *ret)
{
	int n;

	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	n = snprintf(ret->sun_path, sizeof(ret->sun_path), "/proc/self/fd/%d/%s", dir_fd, name);
	if (n >= 0 && (size_t)n < sizeof(ret->sun_path))
		return 0;
	errno = ENAMETOOLONG;
	return -1;
}

int io_send_fd(int sock, const void *bytes, size_t n, int fd)
{
	struct iovec iov = { .iov_base = (void *)bytes, .iov_len = n };
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd >= 0) {
		struct cmsghdr *c;

		msg.msg_control = control.space;
		msg.msg_controllen = sizeof(control.space);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}
	for (;;) {
		ssize_t r = sendmsg(sock, &msg, MSG_NOSIGNAL);

		if (r >= 0)
			return (size_t)r == n ? 0 : -EMSGSIZE;
		if (errno != EINTR)
			return -errno;
	}
}

ssize_t io_recv_fd(int sock, void *bytes, size_t n, int *ret_fd)
{
	struct iovec iov = { .iov_base = bytes, .iov_len = n };
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.space,
			      .msg_controllen = sizeof(control.space) };
	ssize_t r;

	*ret_fd = -EBADF;
	do
		r = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
		    c->cmsg_len == CMSG_LEN(sizeof(int)))
			memcpy(ret_fd, CMSG_DATA(c), sizeof(int));
	return r;
}
