/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel, initrd and command line into memory.
 *
 * A small file is copied: the guest's memory is made of huge pages, and a guest that finds its
 * kernel in them needs a handful of exits where it would otherwise need one for each page of 4 KiB,
 * and another for each that it writes (measured with a kernel of 10 MB: 6,200 page faults of the
 * guest, or 20, and a fifth of a boot's time).
 *
 * Of a large file a guest touches a part only, so it is mapped into the guest's memory, privately,
 * where its offset and the guest's address allow it. Pages then come from the host's page cache
 * when they are touched, and those that are never written are shared by all machines with this
 * kernel. Memory that another process maps as well (a file server) cannot have holes like these, so
 * there the bytes are copied.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "util/err.h"
#include "util/io.h"
#include "util/mem.h"
#include "vmm/boot/boot.h"
#include "vmm/config.h"
#include "vmm/layout.h"

#define PAGE	       4096ull
#define COPY_MAX       (16ull << 20) /* files up to this size are copied */
#define INITRD_MAX_END 0x7fffffffull /* Linux's initrd_addr_max */

static int image_open(const char *path, const char *what, struct boot_image *ret, struct err *err)
{
	struct stat st;
	void *bytes;

	ret->name = path;
	ret->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (ret->fd < 0 || fstat(ret->fd, &st) < 0)
		return err_sys(err, errno, "open the %s \"%s\"", what, path);
	if (!S_ISREG(st.st_mode) || st.st_size == 0)
		return err_set(err, EINVAL, "the %s \"%s\" is %s", what, path,
			       S_ISREG(st.st_mode) ? "empty" : "not a file");
	bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, ret->fd, 0);
	if (bytes == MAP_FAILED)
		return err_sys(err, errno, "read the %s \"%s\"", what, path);
	ret->bytes = bytes;
	ret->size = (size_t)st.st_size;
	return 0;
}

static void image_close(struct boot_image *i)
{
	if (i->bytes)
		munmap((void *)(uintptr_t)i->bytes, i->size);
	fd_close(i->fd);
}

static int place_copy(const struct boot_image *image, uint64_t offset, uint64_t bytes, void *to)
{
	uint8_t *at = to;

	while (bytes) {
		ssize_t n = pread(image->fd, at, bytes, (off_t)offset);

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		at += n;
		offset += (uint64_t)n;
		bytes -= (uint64_t)n;
	}
	return 0;
}

int boot_place(const struct boot_image *image, uint64_t offset, uint64_t bytes,
	       struct vmm_memory *m, gpa_t at)
{
	uint8_t *host = memory_at(m, at, bytes);
	uint64_t whole = bytes & ~(PAGE - 1);

	if (!host || offset > image->size || bytes > image->size - offset)
		return -EFAULT;
	if (image->size <= COPY_MAX || m->fd >= 0 || offset % PAGE || at % PAGE || !whole)
		return place_copy(image, offset, bytes, host);
	/* MAP_FIXED replaces our own reservation of exactly these pages */
	if (mmap(host, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE,
		 image->fd, (off_t)offset) == MAP_FAILED)
		return -errno;
	return place_copy(image, offset + whole, bytes - whole, host + whole);
}

unsigned boot_ranges(const struct vmm_memory *m, struct boot_range ret[BOOT_RANGES_MAX])
{
	unsigned n = 0;

	ret[n++] = (struct boot_range){ 0, LAYOUT_LOW_END, BOOT_RAM };
	ret[n++] = (struct boot_range){ LAYOUT_ACPI, LAYOUT_ACPI_END - LAYOUT_ACPI, BOOT_ACPI };
	ret[n++] = (struct boot_range){ LAYOUT_KERNEL_MIN, m->regions[0].bytes - LAYOUT_KERNEL_MIN,
					BOOT_RAM };
	ret[n++] = (struct boot_range){ LAYOUT_ECAM, LAYOUT_ECAM_SIZE, BOOT_RESERVED };
	if (m->count > 1)
		ret[n++] =
			(struct boot_range){ m->regions[1].start, m->regions[1].bytes, BOOT_RAM };
	return n;
}

static int load_initrd(const struct vmm_config *c, struct vmm_memory *m,
		       const struct boot_kernel *k, struct boot_files *ret, struct err *err)
{
	struct boot_image image = { .fd = -EBADF };
	uint64_t end = MIN(m->regions[0].bytes, INITRD_MAX_END + 1);
	int r;

	if (!c->initrd)
		return 0;
	r = image_open(c->initrd, "initrd", &image, err);
	if (r == 0 && (image.size > end || end - image.size < k->end + PAGE))
		r = err_set(err, EFBIG,
			    "the initrd \"%s\" (%zu MiB) does not fit into %llu MiB of memory "
			    "beside the kernel",
			    c->initrd, image.size >> 20,
			    (unsigned long long)(c->memory_bytes >> 20));
	if (r == 0) {
		ret->initrd = (end - image.size) & ~(PAGE - 1);
		ret->initrd_bytes = image.size;
		r = boot_place(&image, 0, image.size, m, ret->initrd);
		if (r < 0)
			r = err_sys(err, -r, "read the initrd \"%s\"", c->initrd);
	}
	image_close(&image);
	return r;
}

/* An unpacked kernel starts at once; a packed one unpacks itself, in the guest. */
static int load_bzimage(const struct vmm_config *c, struct boot_image *image, struct vmm_memory *m,
			struct boot_kernel *ret, struct err *err)
{
	struct boot_image elf = { .fd = -EBADF, .name = image->name };
	struct stat st;
	int r;

	if (c->boot != CONFIG_BOOT_LINUX && boot_unpack(image, &elf.fd, err) == 0) {
		void *bytes = MAP_FAILED;

		if (fstat(elf.fd, &st) == 0)
			bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, elf.fd, 0);
		if (bytes == MAP_FAILED) {
			r = err_sys(err, errno, "read the unpacked kernel");
		} else {
			elf.bytes = bytes;
			elf.size = (size_t)st.st_size;
			r = boot_load_elf(&elf, m, ret, err);
		}
		image_close(&elf);
		return r;
	}
	err_clear(err);
	return boot_load_bzimage(image, m, ret, err);
}

static int load_kernel(const struct vmm_config *c, struct vmm_memory *m, struct boot_kernel *ret,
		       struct err *err)
{
	struct boot_image image = { .fd = -EBADF };
	int r = image_open(c->kernel, "kernel", &image, err);

	if (r == 0) {
		if (image.size > 64 && !memcmp(image.bytes, "\177ELF", 4))
			r = boot_load_elf(&image, m, ret, err);
		else if (image.size > 0x268 && !memcmp(image.bytes + 0x202, "HdrS", 4))
			r = load_bzimage(c, &image, m, ret, err);
		else
			r = err_set(err, ENOEXEC,
				    "\"%s\" is not a kernel: neither an ELF nor a bzImage",
				    c->kernel);
	}
	image_close(&image);
	return r;
}

static int write_cmdline(const struct vmm_config *c, struct vmm_memory *m, struct boot_files *ret,
			 struct err *err)
{
	const char *text = c->cmdline ? c->cmdline : "";
	size_t n = strlen(text) + 1;

	if (n > LAYOUT_CMDLINE_MAX)
		return err_set(err, E2BIG, "the kernel's command line is longer than %d bytes",
			       LAYOUT_CMDLINE_MAX - 1);
	memory_write(m, LAYOUT_CMDLINE, text, n);
	ret->cmdline_bytes = (uint32_t)n;
	return 0;
}

int boot_load(const struct vmm_config *config, struct vmm_memory *m, struct vcpu_entry *ret,
	      struct err *err)
{
	struct boot_kernel k = { 0 };
	struct boot_files f = { 0 };
	int r = load_kernel(config, m, &k, err);

	if (r == 0)
		r = load_initrd(config, m, &k, &f, err);
	if (r == 0)
		r = write_cmdline(config, m, &f, err);
	if (r < 0)
		return r;
	if (config->boot == CONFIG_BOOT_PVH && !k.pvh_entry)
		return err_set(err, ENOEXEC, "the kernel \"%s\" has no PVH entry (CONFIG_PVH)",
			       config->kernel);
	if (config->boot == CONFIG_BOOT_LINUX && !k.linux_entry)
		return err_set(err, ENOEXEC, "the kernel \"%s\" has no 64-bit entry",
			       config->kernel);
	if (!k.pvh_entry && !k.linux_entry)
		return err_set(err, ENOEXEC,
			       "the kernel \"%s\" can be started in neither way: it has no PVH "
			       "note and no 64-bit entry",
			       config->kernel);
	if (config->boot != CONFIG_BOOT_LINUX && k.pvh_entry)
		return boot_write_pvh(&k, &f, m, ret);
	return boot_write_linux(&k, &f, m, ret);
}
