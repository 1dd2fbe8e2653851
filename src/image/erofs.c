/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image as one EROFS file, the read-only disk of its virtual machines.
 *
 * mkfs.erofs reads a directory: the layer's own when there is one, else an overlay of the layers,
 * mounted read-only in a mount namespace of this process alone, so that nothing is left mounted
 * however we end. Not compressed: the guest would pay at each read for disk space that the host
 * shares between all machines of the image. The file is written under a temporary name, synced and
 * renamed; those who want the same one at the same time wait for a lock and find it made.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "image/stream.h"
#include "image/tool.h"
#include "oci/digest.h"
#include "store/image.h"
#include "store/store.h"
#include "util/err.h"
#include "util/io.h"
#include "util/linux.h"
#include "util/mem.h"
#include "util/str.h"

/*
 * Mounts the layers on tmp/mnt. Option strings are limited to a page: the layers get short names,
 * symbolic links in the temporary directory, which is the working directory for the call.
 */
static int mount_layers(struct store *s, const struct store_tmp *tmp, char *const *layer_dirs,
			struct err *err)
{
	_cleanup_free_ char *dir = store_path(s, "%s", tmp->name);
	_cleanup_(str_buf_done) struct str_buf options = { 0 };

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_sys(err, errno, "make a mount namespace (this needs root)");
	/* by name: descriptors are of the old namespace, where this process may not mount */
	if (!dir || chdir(dir) < 0 || mkdirat(tmp->fd, "mnt", 0700) < 0)
		return err_sys(err, errno, "write to the store");
	str_buf_puts(&options, "lowerdir=");
	for (size_t i = 0; layer_dirs[i]; i++) {
		char name[24];

		snprintf(name, sizeof(name), "%zu", i);
		if (symlinkat(layer_dirs[i], tmp->fd, name) < 0)
			return err_sys(err, errno, "write to the store");
		str_buf_printf(&options, "%s%s", i ? ":" : "", name);
	}
	if (options.failed)
		return err_sys(err, ENOMEM, "mount the layers");
	if (mount("overlay", "mnt", "overlay", MS_RDONLY, options.data) < 0)
		return err_sys(err, errno, "mount an overlay of the image's layers");
	return 0;
}

/* Runs it; what it says goes to a file of which the last line is in the error. */
static int run_mkfs(const struct store_tmp *tmp, const char *out, const char *dir, struct err *err)
{
	/* a fixed UUID: equal images are equal bytes */
	const char *argv[] = { "mkfs.erofs", "--quiet", "-U00000000-0000-4000-8000-000000000000",
			       out,	     dir,	NULL };
	_cleanup_close_ int log = openat(tmp->fd, "log", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	_cleanup_free_ char *text = NULL;
	pid_t pid = log < 0 ? -1 : fork();
	int status;

	if (pid < 0)
		return err_sys(err, errno, "run mkfs.erofs");
	if (pid == 0) {
		dup2(log, 1);
		dup2(log, 2);
		execvp(argv[0], (char *const *)argv);
		_exit(errno == ENOENT ? 127 : 126);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_sys(err, errno, "wait for mkfs.erofs");
	if (status == 0)
		return 0;
	if (stream_interrupted)
		return err_set(err, EINTR, "interrupted");
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return err_set(err, ENOENT,
			       "mkfs.erofs is not installed: install the package erofs-utils");
	if (io_read_file(tmp->fd, "log", 65536, &text, NULL) == 0)
		for (char *nl; (nl = strrchr(text, '\n'));) {
			if (nl[1]) {
				memmove(text, nl + 1, strlen(nl + 1) + 1);
				break;
			}
			*nl = 0;
		}
	return err_set(err, EIO, "mkfs.erofs failed: %.300s",
		       text && *text ? text : "no reason given");
}

static int make(struct store *s, const struct store_image *image, const char *path,
		struct store_tmp *tmp, struct err *err)
{
	_cleanup_free_ char *out = store_path(s, "%s/image", tmp->name);
	_cleanup_free_ char *mnt = store_path(s, "%s/mnt", tmp->name);
	_cleanup_close_ int fd = -EBADF;
	bool one = !image->layer_dirs[1];
	int r = 0;

	if (!out || !mnt)
		return err_sys(err, ENOMEM, "make an EROFS file");
	if (!one)
		r = mount_layers(s, tmp, image->layer_dirs, err);
	if (r == 0)
		r = run_mkfs(tmp, out, one ? image->layer_dirs[0] : mnt, err);
	if (r < 0)
		return r;
	fd = open(out, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fchmod(fd, 0600) < 0 || fsync(fd) < 0 || rename(out, path) < 0)
		return err_sys(err, errno, "write %s", path);
	return 0;
}

int image_erofs(struct store *s, const char *name, char **ret_path, struct err *err)
{
	_cleanup_(store_image_done) struct store_image image = { 0 };
	_cleanup_close_ int pin = -EBADF, lock = -EBADF;
	_cleanup_free_ char *path = NULL;
	struct store_tmp tmp = { .fd = -EBADF };
	int r = store_pin(s, &pin, err);

	if (r == 0)
		r = store_image_find(s, name, &image, err);
	if (r < 0)
		return r;
	if (store_image_erofs_path(s, &image, &path) < 0)
		return err_sys(err, ENOMEM, "make an EROFS file");
	lock = openat(s->root_fd, STORE_EROFS "/.lock", O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
	if (lock < 0 || flock(lock, LOCK_EX) < 0)
		return err_sys(err, errno, "lock %s/" STORE_EROFS, s->root);
	if (access(path, F_OK) < 0) {
		store_tmp_sweep(s);
		r = store_tmp_new(s, &tmp, err);
		if (r == 0)
			r = make(s, &image, path, &tmp, err);
		umount2("mnt",
			MNT_DETACH); /* in our namespace, where it would hold the directory */
		store_tmp_done(s, &tmp);
		if (r < 0)
			return err_wrap(err, "EROFS file of image %s", name);
	}
	*ret_path = TAKE_PTR(path);
	return 0;
}
