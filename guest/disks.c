/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine's disks and its share. Disks are told apart by the serial number that the host gave
 * them, not by the order in which the kernel met them. Most machines have two, which are mounted
 * while the host is not yet asked; one whose root is an image or a directory of the host has
 * neither of them, which matters only to a plan that needs them.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "guest.h"
#include "protocol.h"
#include "util/err.h"
#include "util/io.h"
#include "util/linux.h"
#include "util/mem.h"

#define MS_RDONLY  1
#define MS_NOATIME 1024

static struct err mount_error;

/* "/dev/vda" for the disk with this serial number. */
static int find_disk(const char *serial, char *ret, size_t size)
{
	_cleanup_free_ char *text = NULL;
	DIR *d = opendir("/sys/block");
	struct dirent *e;
	int found = -ENODEV;

	if (!d)
		return -errno;
	while (found < 0 && (e = readdir(d))) {
		char path[300];

		if (strncmp(e->d_name, "vd", 2) != 0)
			continue;
		snprintf(path, sizeof(path), "/sys/block/%.200s/serial", e->d_name);
		free(TAKE_PTR(text));
		if (io_read_file(AT_FDCWD, path, 4096, &text, NULL) < 0)
			continue;
		text[strcspn(text, "\n")] = 0;
		if (!strcmp(text, serial)) {
			snprintf(ret, size, "/dev/%.200s", e->d_name);
			found = 0;
		}
	}
	closedir(d);
	return found;
}

static int mount_disk(const char *serial, const char *type, const char *target, unsigned long flags,
		      struct err *err)
{
	char dev[256];
	int r = find_disk(serial, dev, sizeof(dev));

	if (r < 0)
		return err_sys(err, -r, "find the disk \"%s\"", serial);
	if (sys_mount(dev, target, type, flags, NULL) < 0)
		return err_sys(err, errno, "mount the disk \"%s\" (%s)", serial, type);
	return 0;
}

void guest_disks_mount(void)
{
	err_clear(&mount_error);
	if (mount_disk(GUEST_ROOT_LABEL, "erofs", GUEST_LOWER, MS_RDONLY, &mount_error) < 0 ||
	    mount_disk(GUEST_DISK_LABEL, "ext4", GUEST_DISK, MS_NOATIME, &mount_error) < 0)
		return;
	if ((mkdir(GUEST_UPPER, 0755) < 0 && errno != EEXIST) ||
	    (mkdir(GUEST_WORK, 0755) < 0 && errno != EEXIST))
		err_sys(&mount_error, errno, "make the writable layer");
}

int guest_disks_check(struct err *err)
{
	if (mount_error.errnum)
		*err = mount_error;
	return -mount_error.errnum;
}

int guest_share_mount(struct err *err)
{
	if (sys_mount(GUEST_SHARE_TAG, GUEST_BINDS, "virtiofs", 0, NULL) < 0)
		return err_sys(err, errno,
			       "mount the share with the host's directories (virtiofs)");
	return 0;
}

static bool is_read_only(const char *dev)
{
	_cleanup_free_ char *text = NULL;
	char path[300];

	snprintf(path, sizeof(path), "/sys/block/%.200s/ro", dev + strlen("/dev/"));
	return io_read_file(AT_FDCWD, path, 4096, &text, NULL) >= 0 && text[0] == '1';
}

int guest_image_mount(struct err *err)
{
	static const char *const types[] = { "ext4", "erofs", "squashfs", "xfs" };
	unsigned long flags = MS_NOATIME;
	char dev[256];
	int r = find_disk(GUEST_IMAGE_LABEL, dev, sizeof(dev));

	if (r < 0)
		return err_sys(err, -r, "find the disk \"%s\"", GUEST_IMAGE_LABEL);
	if (is_read_only(dev))
		flags |= MS_RDONLY;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (sys_mount(dev, GUEST_IMAGE, types[i], flags, NULL) == 0)
			return 0;
		/* EINVAL: it is of another type; ENODEV: this kernel does not know the type */
		if (errno != EINVAL && errno != ENODEV)
			return err_sys(err, errno, "mount the image (%s)", types[i]);
	}
	return err_set(
		err, EINVAL,
		"mount the image: it has no file system that the guest's kernel knows of "
		"(ext4, erofs, squashfs, xfs), or a partition table, which is not looked at");
}

/* With all processes of the container gone, so is the mount that held it. */
static void sync_and_unmount(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0)
		(void)syscall(SYS_syncfs, fd);
	fd = fd_close(fd);
	(void)sys_umount2(path, 0);
}

/* The share needs none of this: FUSE writes a file's pages back when it is closed or unmapped, and
 * what has reached the host's page cache outlives the machine. */
void guest_disks_sync(void)
{
	sync_and_unmount(GUEST_DISK);
	sync_and_unmount(GUEST_IMAGE);
}
