/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's parts that are pure: archive, modules, kernel images, command line, last words. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "tap.h"
#include "util/err.h"
#include "util/io.h"
#include "util/mem.h"
#include "util/str.h"
#include "vm/initramfs.h"
#include "vm/kernel_internal.h"
#include "vm/module.h"
#include "vm/qemu/qemu.h"
#include "vm/report.h"
#include "vm/tail.h"

/* A module with .modinfo and .BTF, and perhaps a signature behind it. */
static size_t make_module(uint8_t *b, const char *info, size_t info_len, bool signature)
{
	static const char names[] = "\0.modinfo\0.BTF\0.shstrtab";
	Elf64_Ehdr h = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, 1 },
			 .e_shoff = 1024,
			 .e_shentsize = sizeof(Elf64_Shdr),
			 .e_shnum = 4,
			 .e_shstrndx = 3 };
	Elf64_Shdr s[4] = {
		{ 0 },
		{ .sh_name = 1, .sh_type = SHT_PROGBITS, .sh_offset = 128, .sh_size = info_len },
		{ .sh_name = 10,
		  .sh_type = SHT_PROGBITS,
		  .sh_flags = SHF_ALLOC,
		  .sh_offset = 512,
		  .sh_size = 100 },
		{ .sh_name = 15, .sh_type = SHT_STRTAB, .sh_offset = 768, .sh_size = sizeof(names) }
	};
	size_t n = 1024 + sizeof(s);

	memset(b, 0, 4096);
	memcpy(b, &h, sizeof(h));
	memcpy(b + 128, info, info_len);
	memcpy(b + 768, names, sizeof(names));
	memcpy(b + 1024, s, sizeof(s));
	if (signature) {
		static const uint8_t tail[12] = { [11] = 40 };

		memset(b + n, 0xaa, 40);
		memcpy(b + n + 40, tail, sizeof(tail));
		memcpy(b + n + 52, "~Module signature appended~\n", 28);
		n += 80;
	}
	return n;
}

#define INFO(text) text, sizeof(text)

static void test_module(void)
{
	uint8_t b[4096];
	size_t n = make_module(b, INFO("license=GPL\0depends=virtio,virtio_ring\0name=x"), true),
	       stripped;

	ok_str(module_info(b, n, "depends"), "virtio,virtio_ring", "depends");
	ok_str(module_info(b, n, "name"), "x", "name");
	ok(!module_info(b, n, "nam"), "a key is compared whole");
	stripped = module_strip(b, n);
	ok_int(n - stripped, 80, "the signature is cut off");
	ok(module_strip(b, stripped) == stripped, "once");
	ok_str(module_info(b, stripped, "depends"), "virtio,virtio_ring", "the rest stays");
	ok(!memcmp(b + 1024 + 2 * sizeof(Elf64_Shdr),
		   (Elf64_Shdr[1]){ { .sh_offset = 512, .sh_size = 100 } }, sizeof(Elf64_Shdr)),
	   ".BTF is nothing any more");
	n = make_module(b, INFO("depends=a"), false);
	for (size_t cut = 0; cut < n; cut++)
		(void)module_info(b, cut, "depends");
	ok(!module_info(b, n - 1, "depends"), "a table that is cut off");
	b[128 + 9] = 'x';
	ok(!module_info(b, n, "depends"), "strings without an end");
}

static int put_module(int dir, const char *path, const char *info, size_t len)
{
	uint8_t b[4096];
	size_t n = make_module(b, info, len, false);

	return io_write_file(dir, path, b, n, 0644, 0);
}

static void test_closure(void)
{
	static const char *const wanted[] = { "virtio-fs", "builtin_one", "c", NULL };
	char path[] = "/tmp/proa-test-XXXXXX";
	_cleanup_strv_ char **list = NULL;
	struct err err = ERR_INIT;
	int dir;

	if (!mkdtemp(path) || (dir = open(path, O_RDONLY | O_DIRECTORY)) < 0)
		abort();
	mkdirat(dir, "kernel", 0755);
	put_module(dir, "kernel/virtio_fs.ko", INFO("depends=b,a"));
	put_module(dir, "kernel/a.ko", INFO("depends="));
	put_module(dir, "kernel/b.ko", INFO("depends=c"));
	put_module(dir, "kernel/c.ko", INFO("license=GPL"));
	ok(module_write_deps(AT_FDCWD, path, &err) == 0, "modules.dep: %s", err.msg);
	ok(module_closure(AT_FDCWD, path, wanted, &list, &err) == 0, "closure: %s", err.msg);
	ok(strv_len(list) == 4 && strstr(list[0], "c.ko") && strstr(list[1], "b.ko") &&
		   strstr(list[2], "a.ko") && strstr(list[3], "virtio_fs.ko"),
	   "each once, after what it needs");
	/* a circle ends */
	put_module(dir, "kernel/c.ko", INFO("depends=virtio-fs"));
	ok(module_write_deps(AT_FDCWD, path, &err) == -ELOOP, "a circle: %s", err.msg);
	close(dir);
	io_remove_tree(AT_FDCWD, path);
}

static void test_initramfs(void)
{
	struct initramfs i = { 0 };
	char path[] = "/tmp/proa-test-XXXXXX";
	_cleanup_free_ char *command = NULL;
	int fd = mkstemp(path);

	initramfs_add_dir(&i, "d");
	initramfs_add_file(&i, "d/file", 0755, "12345", 5);
	initramfs_end(&i);
	ok(!i.bytes.failed && i.bytes.len % 4 == 0, "an archive");
	io_write_full(fd, i.bytes.data, i.bytes.len);
	close(fd);
	command = str_printf("cpio -it --quiet < %s | tr '\\n' ' ' | grep -qx 'd d/file '", path);
	if (system("command -v cpio >/dev/null") == 0)
		ok(system(command) == 0, "that cpio reads");
	else
		skip_one("cpio is not installed");
	unlink(path);
	str_buf_done(&i.bytes);
}

static void test_kernel_format(void)
{
	uint8_t b[4096] = { 0 };
	struct kernel_payload p;
	char version[64];

	ok(kernel_format_of(b, sizeof(b), &p) == KERNEL_UNKNOWN, "zeros are no kernel");
	memcpy(b + 0x202, "HdrS", 4);
	b[0x1f1] = 1; /* set-up code: two sectors */
	b[0x206] = 0x0f;
	b[0x207] = 2;
	memcpy(b + 0x20e, (uint16_t[]){ 0x100 }, 2);
	memcpy(b + 0x300, "6.1.0-9-test (x)", 16);
	memcpy(b + 0x248, (uint32_t[]){ 16, 1000 }, 8);
	memcpy(b + 1024 + 16, (uint8_t[]){ 0x02, 0x21, 0x4c, 0x18 }, 4);
	ok(kernel_format_of(b, sizeof(b), &p) == KERNEL_BZIMAGE, "a bzImage");
	ok(p.offset == 1040 && p.length == 996, "its payload without the size behind it");
	ok_str(p.tool, "lz4", "and what unpacks it");
	ok(kernel_version_of(b, sizeof(b), version, sizeof(version)), "a version");
	ok_str(version, "6.1.0-9-test", "up to the space");
	memcpy(b + 0x248, (uint32_t[]){ 16, 0xffffffff }, 8);
	ok(kernel_format_of(b, sizeof(b), &p) == KERNEL_BZIMAGE && !p.tool,
	   "a payload beyond the end");
}

static bool has_pair(char *const *v, const char *name, const char *part)
{
	for (; *v && v[1]; v++)
		if (!strcmp(*v, name) && strstr(v[1], part))
			return true;
	return false;
}

static void test_command(void)
{
	struct vm_spec s = { .binary = "/q",
			     .kernel = "/k",
			     .initramfs = "/i",
			     .root_disk = "/a,b",
			     .own_disk = "/d",
			     .memory_bytes = 256 << 20,
			     .cpus = 2,
			     .tsc_khz = 1000,
			     .agent_fd = 3,
			     .share_fd = -1 };
	_cleanup_strv_ char **v = NULL;
	int none = -1;

	ok(vm_qemu.command(&s, &v, &none) == 0, "a command line");
	ok(has_pair(v, "-blockdev", "filename=/a,,b"), "a comma in a path");
	ok(has_pair(v, "-append", "tsc_early_khz=1000"),
	   "the counter's rate is told, not measured");
	ok(has_pair(v, "-accel", "tcg") && !has_pair(v, "-M", "pit=off"),
	   "emulation keeps its timer");
	ok(!has_pair(v, "-append", "noreplace-smp"), "several processors keep their locks");
	strv_free(TAKE_PTR(v));
	s.kvm = true;
	s.share_fd = 4;
	ok(vm_qemu.command(&s, &v, &none) == 0 && has_pair(v, "-accel", "kvm"), "KVM");
	ok(has_pair(v, "-object", "share=on"), "shared memory where a share needs it");
	ok(!has_pair(v, "-append", "mitigations=off"), "mitigations stay on real hardware");
	strv_free(TAKE_PTR(v));
	s.root_disk = s.own_disk = NULL;
	s.kvm = false;
	s.cpus = 1;
	s.parameters = "a.b=c";
	s.more_args = (char *const[]){ (char *)(uintptr_t) "-more", NULL };
	ok(vm_qemu.command(&s, &v, &none) == 0 && !has_pair(v, "-blockdev", "node-name"),
	   "no disks");
	ok(has_pair(v, "-append", " a.b=c"), "more words for the kernel");
	ok(has_pair(v, "-append", "noreplace-smp"), "one emulated processor is not patched for it");
	ok(has_pair(v, "-append", "init_on_alloc=1"),
	   "emulation with a share: pages are cleared before virtiofsd fills them");
	ok(!strcmp(v[strv_len(v) - 1], "-more"), "more arguments for QEMU");
	strv_free(TAKE_PTR(v));
	s.image = "/image";
	s.image_read_only = true;
	ok(vm_qemu.command(&s, &v, &none) == 0 &&
		   has_pair(v, "-blockdev", "read-only=on,filename=/image") &&
		   has_pair(v, "-blockdev", "locking=on"),
	   "an image as root, locked");
}

static void test_tail(void)
{
	static struct vm_tail t, none;
	struct err why = ERR_INIT;
	char lines[64];

	for (int i = 0; i < 2000; i++)
		vm_tail_add(&t, "some line\r\n", 11);
	vm_tail_add(&t, "a\033[2Jb\n\n", 8);
	vm_tail_lines(&t, 2, lines, sizeof(lines));
	ok_str(lines, "\n  some line\n  a?[2Jb", "the last two lines, harmless");
	vm_tail_add(&t, "Kernel panic - not syncing: no luck\n", 36);
	vm_report_end("QEMU", &t, &none, 0, &why);
	ok(strstr(why.msg, "the guest's kernel panicked: no luck"), "a panic");
	vm_report_end("QEMU", &none, &none, SIGKILL, &why);
	ok(strstr(why.msg, "QEMU was killed"), "killed: %s", why.msg);
	vm_tail_add(&none, "proa-init: load the module x: bad\n", 34);
	vm_report_end("QEMU", &none, &none, 0, &why);
	ok_str(why.msg, "the guest could not be set up: load the module x: bad", "its own words");
}

int main(void)
{
	test_module();
	test_closure();
	test_initramfs();
	test_kernel_format();
	test_command();
	test_tail();
	return tap_done();
}
