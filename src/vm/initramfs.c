/* SPDX-License-Identifier: Apache-2.0 */
#include "vm/initramfs.h"

#include <string.h>

static void pad(struct initramfs *i)
{
	static const char zero[4];

	if (i->bytes.len % 4)
		str_buf_add(&i->bytes, zero, 4 - i->bytes.len % 4);
}

static void add(struct initramfs *i, const char *path, unsigned mode, const void *bytes, size_t n)
{
	i->inode++;
	if (n > UINT32_MAX) {
		i->bytes.failed = true;
		return;
	}
	/* magic, inode, mode, uid, gid, links, mtime, size, device ×4, length of the name, checksum
	 */
	str_buf_printf(&i->bytes, "070701%08x%08x%08x%08x%08x%08x%08zx%08x%08x%08x%08x%08zx%08x",
		       i->inode, mode, 0, 0, 1, 0, n, 0, 0, 0, 0, strlen(path) + 1, 0);
	str_buf_add(&i->bytes, path, strlen(path) + 1);
	pad(i);
	str_buf_add(&i->bytes, bytes, n);
	pad(i);
}

void initramfs_add_dir(struct initramfs *i, const char *path)
{
	add(i, path, 0040755, NULL, 0);
}

void initramfs_add_file(struct initramfs *i, const char *path, unsigned mode, const void *bytes,
			size_t n)
{
	add(i, path, 0100000 | mode, bytes, n);
}

void initramfs_end(struct initramfs *i)
{
	i->inode = (uint32_t)-1;
	add(i, "TRAILER!!!", 0, NULL, 0);
}
