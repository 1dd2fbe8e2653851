/* SPDX-License-Identifier: Apache-2.0 */
/* What `proa kernel build` reads: fragments, configurations, the log of a build that failed. */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tap.h"
#include "util/err.h"
#include "util/io.h"
#include "util/mem.h"
#include "util/str.h"
#include "vm/kernel_internal.h"
#include "vm/spawn.h"

static void test_read(void)
{
	static const char *const bad[] = { "",
					   "# only a comment\n",
					   "CONFIG_A\n",
					   "CONFIG_=y\n",
					   "CONFIG_A=\n",
					   "A=y\n",
					   "CONFIG_A=y\n CONFIG_B=y\n",
					   "# CONFIG_A is off\n" };
	struct err err = ERR_INIT;

	ok(kernel_config_read("# x\n\nCONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=\"d e\"", "f",
			      &err) == 0,
	   "a fragment: comments, options, options that are off, text: %s", err.msg);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		ok(kernel_config_read(bad[i], "f", NULL) == -EINVAL, "no fragment: %zu", i);
	kernel_config_read("CONFIG_A=y\nwhat\n", "the/file", &err);
	ok(strstr(err.msg, "the/file, line 2: \"what\"") != NULL, "the line is named: %s", err.msg);
}

static void test_check(void)
{
	static const char config[] =
		"#\n# Linux\n#\nCONFIG_A=y\nCONFIG_AB=m\n# CONFIG_C is not set\n"
		"CONFIG_N=64\nCONFIG_S=\"a b\"\n";
	struct err err = ERR_INIT;
	struct str_buf many = { 0 };

	ok(kernel_config_check(
		   "CONFIG_A=y\n# CONFIG_C is not set\n# CONFIG_D is not set\nCONFIG_N=64\n"
		   "CONFIG_S=\"a b\"\n# CONFIG_E, of which nothing is known\n",
		   config, &err) == 0,
	   "all took effect: %s", err.msg);
	ok(kernel_config_check("CONFIG_A=y\nCONFIG_AB=y\n", config, &err) == -EINVAL &&
		   strstr(err.msg, "CONFIG_AB=y (it is m)"),
	   "another value: %s", err.msg);
	ok(kernel_config_check("CONFIG_C=y\n", config, &err) == -EINVAL &&
		   strstr(err.msg, "this option did not") &&
		   strstr(err.msg, "CONFIG_C=y (it is n)"),
	   "off: %s", err.msg);
	ok(kernel_config_check("CONFIG_NO_SUCH=y\nCONFIG_N=65\n", config, &err) == -EINVAL &&
		   strstr(err.msg, "these options did not") &&
		   strstr(err.msg, "CONFIG_NO_SUCH=y") && strstr(err.msg, "CONFIG_N=65 (it is 64)"),
	   "unknown: %s", err.msg);
	ok(kernel_config_check("# CONFIG_A is not set\n", config, &err) == -EINVAL &&
		   strstr(err.msg, "CONFIG_A=n (it is y)"),
	   "on, and asked to be off: %s", err.msg);
	for (int i = 0; i < 1000; i++)
		str_buf_printf(&many, "CONFIG_MANY_%d=y\n", i);
	ok(kernel_config_check(many.data, config, &err) == -EINVAL &&
		   str_starts(err.msg, "1000 options did not take effect: CONFIG_MANY_0=y") &&
		   strstr(err.msg, "…") && !strstr(err.msg, "CONFIG_MANY_8=y"),
	   "many: %s", err.msg);
	str_buf_done(&many);
}

static void test_quote(void)
{
	struct str_buf b = { 0 };

	kernel_log_quote("", &b);
	ok(b.len == 0, "nothing of an empty log");
	kernel_log_quote("a\nb\nc\nd\n\n", &b);
	ok(b.data && !strcmp(b.data, "b\nc\nd"), "the last lines: %s", b.data ? b.data : "");
	str_buf_done(&b);
	b = (struct str_buf){ 0 };
	kernel_log_quote("  CC x.o\nx.c:1: error: no\n  CC y.o\nmake: 1\nmake: 2\nmake: 3\n", &b);
	ok(b.data && !strcmp(b.data, "x.c:1: error: no …\nmake: 1\nmake: 2\nmake: 3"),
	   "the error that is far above: %s", b.data ? b.data : "");
	str_buf_done(&b);
}

static void send_term(int after_ms)
{
	pid_t parent = getpid();

	if (fork() == 0) {
		usleep((useconds_t)after_ms * 1000);
		kill(parent, SIGTERM);
		_exit(0);
	}
}

/* What runs is ended with what it started, and the signal does not end us. */
static void test_hold(void)
{
	char path[] = "/tmp/proa-hold-XXXXXX", script[128];
	char *argv[] = { (char *)(uintptr_t) "/bin/sh", (char *)(uintptr_t) "-c", script, NULL };
	struct vm_spawn s = { .argv = argv, .stdout_fd = -1, .stderr_fd = -1 };
	struct err err = ERR_INIT;
	struct kernel_hold h;
	int fd = mkstemp(path);
	struct stat st;

	ok(kernel_hold_begin(&h, &err) == 0, "signals are held");
	snprintf(script, sizeof(script), "exit 7");
	ok(kernel_hold_run(&h, &s, NULL, NULL, &err) == 7, "an exit code");
	snprintf(script, sizeof(script), "(sleep 2; echo late >%s) & wait", path);
	send_term(200);
	ok(kernel_hold_run(&h, &s, NULL, NULL, &err) == -EINTR && err.exit_code == 128 + SIGTERM,
	   "a signal ends it: %s", err.msg);
	sleep(3);
	ok(fstat(fd, &st) == 0 && st.st_size == 0, "and what it started");
	kernel_hold_end(&h);
	close(fd);
	unlink(path);
}

/* What a loader makes of an ELF, in @size bytes of memory from the physical address 0 on. */
static bool load(const uint8_t *elf, size_t n, uint8_t *memory, size_t size)
{
	const Elf64_Ehdr *h = (const Elf64_Ehdr *)(const void *)elf;
	const Elf64_Phdr *p = (const Elf64_Phdr *)(const void *)(elf + h->e_phoff);

	memset(memory, 0, size);
	for (unsigned i = 0; i < h->e_phnum; i++, p++) {
		if (p->p_offset + p->p_filesz > n || p->p_paddr + p->p_memsz > size ||
		    p->p_filesz > p->p_memsz)
			return false;
		if (p->p_type == PT_LOAD)
			memcpy(memory + p->p_paddr, elf + p->p_offset, p->p_filesz);
	}
	return true;
}

static void fill(uint8_t *elf, size_t at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		elf[at + i] = (uint8_t)(1 + (at + i) % 251);
}

static void test_pack(void)
{
	enum { SIZE = 3 << 20, A = 1 << 20, B = 2 << 20 };
	uint8_t *elf = calloc(1, SIZE), *before = malloc(SIZE), *after = malloc(SIZE);
	Elf64_Ehdr *h = (Elf64_Ehdr *)(void *)elf;
	Elf64_Phdr *p = (Elf64_Phdr *)(void *)(elf + 512);
	struct str_buf b = { 0 };
	struct err err = ERR_INIT;
	const Elf64_Phdr *note;

	memcpy(h->e_ident, ELFMAG, SELFMAG);
	h->e_ident[EI_CLASS] = ELFCLASS64;
	h->e_phoff = 512;
	h->e_phentsize = sizeof(*p);
	h->e_phnum = 3;
	/* data, a long row of zeros, data, a short one, data, int3, data, zeros to the end */
	p[0] = (Elf64_Phdr){ .p_type = PT_LOAD,
			     .p_offset = A,
			     .p_vaddr = 0xffffffff81000000,
			     .p_paddr = 0x1000,
			     .p_filesz = 0x80000,
			     .p_memsz = 0x90000 };
	fill(elf, A, 5000);
	fill(elf, A + 0x40010, 100);
	fill(elf, A + 0x43000, 0x1234);
	memset(elf + A + 0x45000, 0xcc, 0x20000);
	fill(elf, A + 0x65000, 1);
	/* one that is not whole pages, and starts in the middle of one */
	p[1] = (Elf64_Phdr){ .p_type = PT_LOAD,
			     .p_offset = B + 0x10,
			     .p_vaddr = 0x10,
			     .p_paddr = 0x100010,
			     .p_filesz = 0x12345,
			     .p_memsz = 0x12345 };
	fill(elf, B + 0x10, 0x12345);
	p[2] = (Elf64_Phdr){ .p_type = PT_NOTE,
			     .p_offset = A + 0x40010,
			     .p_vaddr = 0xffffffff81040010,
			     .p_paddr = 0x41010,
			     .p_filesz = 20,
			     .p_align = 4,
			     .p_memsz = 20 };
	ok(load(elf, SIZE, before, SIZE), "the ELF of the test loads");
	memset(before + 0x46000, 0, 0x20000);
	ok(kernel_pack(elf, SIZE, &b, &err) == 0, "packed: %s", err.msg);
	ok(b.data && b.len < 0x12345 + 0x1234 + 5000 + 12 * 4096, "smaller: %zu bytes", b.len);
	ok(b.data && load((uint8_t *)b.data, b.len, after, SIZE) && !memcmp(before, after, SIZE),
	   "and the same in memory");
	h = (Elf64_Ehdr *)(void *)b.data;
	note = (const Elf64_Phdr *)(const void *)(b.data + h->e_phoff) + h->e_phnum - 1;
	ok(note->p_type == PT_NOTE && note->p_align == 4 &&
		   !memcmp(b.data + note->p_offset, elf + A + 0x40010, 20),
	   "the note is where its header says");
	str_buf_done(&b);
	p[1].p_filesz = SIZE;
	ok(kernel_pack(elf, SIZE, &b, NULL) == -ENOEXEC, "a segment outside of the file");
	ok(kernel_pack(elf, 60, &b, NULL) == -ENOEXEC, "half a header");
	str_buf_done(&b);
	free(elf);
	free(before);
	free(after);
}

int main(void)
{
	test_pack();
	test_read();
	test_check();
	test_quote();
	test_hold();
	return tap_done();
}
