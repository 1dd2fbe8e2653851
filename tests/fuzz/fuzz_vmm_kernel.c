/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a kernel: an ELF or a bzImage. The first says how it is loaded. */
#include <string.h>
#include <sys/mman.h>
#include "util/err.h"
#include "util/mem.h"
#include "vmm/boot/boot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void start(const struct boot_kernel *k, struct vmm_memory *m)
{
	const struct boot_files files = { .initrd = 0x800000, .initrd_bytes = 4096 };
	struct vcpu_entry entry;

	if (k->pvh_entry && boot_write_pvh(k, &files, m, &entry) < 0)
		abort();
	if (k->linux_entry && boot_write_linux(k, &files, m, &entry) < 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct boot_image image = { .name = "fuzz" };
	struct boot_kernel k = { 0 };
	struct vmm_memory memory;
	struct err err = ERR_INIT;
	int r = -ENOEXEC;

	if (size < 1)
		return 0;
	image.bytes = data + 1;
	image.size = size - 1;
	image.fd = memfd_create("kernel", MFD_CLOEXEC);
	if (image.fd < 0 || write(image.fd, image.bytes, image.size) != (ssize_t)image.size ||
	    memory_init(&memory, MEMORY_MIN_BYTES, data[0] & 2, NULL) < 0)
		abort();
	/* as load.c does */
	if (image.size > 64 && !memcmp(image.bytes, "\177ELF", 4))
		r = boot_load_elf(&image, &memory, &k, &err);
	else if (image.size > 0x268 && !memcmp(image.bytes + 0x202, "HdrS", 4))
		r = boot_load_bzimage(&image, &memory, &k, &err);
	if (r == 0)
		start(&k, &memory);
	else if (r != -ENOEXEC && !err.msg[0])
		abort();
	memory_done(&memory);
	close(image.fd);
	return 0;
}
