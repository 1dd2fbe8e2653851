/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels good and bad, initrds, command lines, the memory map, and unpacked kernels that are kept.
 */
#include <dirent.h>
#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "tap.h"
#include "util/err.h"
#include "util/io.h"
#include "util/mem.h"
#include "vmm/boot/boot.h"
#include "vmm/config.h"
#include "vmm/layout.h"

#define MIB (1ull << 20)

static char dir[] = "/tmp/proa-boot-XXXXXX", cache[64];
static struct vmm_memory memory;
static struct vcpu_entry entry;
static struct err err;

static const char *write_file(const char *name, const void *bytes, size_t n)
{
	static char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || (n && write(fd, bytes, n) != (ssize_t)n))
		abort();
	close(fd);
	return path;
}

/* A vmlinux: a segment of code, one with a tail of zeros, and a PVH note. */
struct elf {
	Elf64_Ehdr h;
	Elf64_Phdr p[3];
	struct {
		Elf64_Nhdr other;
		char other_name[8];
		Elf64_Nhdr h;
		char name[4];
		uint32_t entry, padding;
	} note;
	char room[4096 - sizeof(Elf64_Ehdr) - 3 * sizeof(Elf64_Phdr) - 48];
	char code[8192];
	char data[100];
};

static struct elf good_elf(void)
{
	struct elf e = { .h = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, 1 },
				.e_type = ET_EXEC,
				.e_machine = EM_X86_64,
				.e_entry = 0x1000000,
				.e_phoff = sizeof(Elf64_Ehdr),
				.e_phentsize = sizeof(Elf64_Phdr),
				.e_phnum = 3 },
			 .p = { { .p_type = PT_LOAD,
				  .p_offset = offsetof(struct elf, code),
				  .p_paddr = 0x1000000,
				  .p_filesz = 8192,
				  .p_memsz = 8192 },
				{ .p_type = PT_LOAD,
				  .p_offset = offsetof(struct elf, data),
				  .p_paddr = 0x1003000,
				  .p_filesz = 100,
				  .p_memsz = 0x5000 },
				{ .p_type = PT_NOTE,
				  .p_offset = offsetof(struct elf, note),
				  .p_filesz = sizeof(e.note) - 4 } },
			 .note = { .other = { 5, 0, 18 },
				   .other_name = "None",
				   .h = { 4, 4, 18 },
				   .name = "Xen",
				   .entry = 0x1000040 } };

	memset(e.code, 'c', sizeof(e.code));
	memset(e.data, 'd', sizeof(e.data));
	return e;
}

static int load_with(struct vmm_config *c, uint64_t bytes, bool shared)
{
	int r;

	memory_done(&memory);
	err = (struct err)ERR_INIT;
	if (memory_init(&memory, bytes, shared, NULL) < 0)
		abort();
	c->memory_bytes = bytes;
	memset(&entry, 0, sizeof(entry));
	r = boot_load(c, &memory, &entry, &err);
	return r;
}

static int load_file(const char *path, enum config_boot boot)
{
	struct vmm_config c = { .kernel = path, .boot = boot };

	return load_with(&c, 64 * MIB, false);
}

static const uint8_t *at(gpa_t a)
{
	return memory_at(&memory, a, 1);
}

static void test_elf(void)
{
	struct elf e = good_elf();
	const char *path = write_file("vmlinux", &e, sizeof(e));
	struct vmm_config c = { .kernel = path };

	ok_int(load_file(path, CONFIG_BOOT_AUTO), 0, "a vmlinux");
	ok(!entry.long_mode && entry.ip == 0x1000040 && entry.info == LAYOUT_START_INFO,
	   "starts at its PVH entry");
	ok(at(0x1000000)[0] == 'c' && at(0x1001fff)[0] == 'c' && at(0x1002000)[0] == 0 &&
		   at(0x1003063)[0] == 'd' && at(0x1003064)[0] == 0,
	   "its segments are where they belong");
	ok_int(load_file(path, CONFIG_BOOT_LINUX), 0, "by the 64-bit protocol");
	ok(entry.long_mode && entry.ip == 0x1000000 && entry.info == LAYOUT_ZERO_PAGE &&
		   !memcmp(at(LAYOUT_ZERO_PAGE + 0x202), "HdrS", 4),
	   "at the other entry, with a zero page");
	ok_int(load_with(&c, 64 * MIB, true), 0, "into memory that is shared");
	ok(at(0x1001fff)[0] == 'c', "it is copied");
	e.h.e_entry = 0;
	path = write_file("vmlinux", &e, sizeof(e));
	ok_int(load_file(path, CONFIG_BOOT_LINUX), -ENOEXEC, "no 64-bit entry: %s", err.msg);
	e.note.h.n_type = 17;
	path = write_file("vmlinux", &e, sizeof(e));
	ok_int(load_file(path, CONFIG_BOOT_PVH), -ENOEXEC, "no PVH entry: %s", err.msg);
	ok_int(load_file(path, CONFIG_BOOT_AUTO), -ENOEXEC, "neither: %s", err.msg);
}

static void bad_elf(const struct elf *e, size_t n, const char *want, const char *what)
{
	int r = load_file(write_file("vmlinux", e, n), CONFIG_BOOT_AUTO);

	ok(r < 0 && strstr(err.msg, want), "%s: %s", what, err.msg);
}

static void test_bad_elf(void)
{
	const struct elf good = good_elf();
	struct elf e;

	bad_elf(&good, 0, "is empty", "empty");
	bad_elf(&good, 60, "not a kernel", "short");
	bad_elf(&good, 100, "damaged", "cut in its headers");
	bad_elf(&good, 5000, "read the kernel", "cut in a segment");
#define BAD(change, want, what)                                                                    \
	e = good;                                                                                  \
	change;                                                                                    \
	bad_elf(&e, sizeof(e), want, what)
	BAD(e.h.e_machine = EM_AARCH64, "another kind of processor", "for ARM");
	BAD(e.h.e_ident[EI_CLASS] = ELFCLASS32, "another kind of processor", "of 32 bits");
	BAD(e.h.e_type = ET_REL, "not a kernel", "a module");
	BAD(e.h.e_phoff = UINT64_MAX - 8, "damaged", "headers nowhere");
	BAD(e.h.e_phnum = 65, "damaged", "too many segments");
	BAD(e.h.e_phnum = 0, "damaged", "no segments");
	BAD(e.h.e_phentsize = 8, "damaged", "headers of another size");
	BAD(e.p[0].p_paddr = 0x9000, "damaged", "over what we write");
	BAD(e.p[0].p_paddr = 64 * MIB - 4096, "does not fit", "partly behind the memory");
	BAD(e.p[0].p_paddr = UINT64_MAX - 4095, "does not fit", "at the end of all addresses");
	BAD(e.p[1].p_memsz = UINT64_MAX, "does not fit", "longer than everything");
	BAD(e.p[1].p_filesz = 0x5001, "damaged", "more in the file than in memory");
	BAD(e.p[1].p_offset = UINT64_MAX - 50, "read the kernel", "from nowhere in the file");
	BAD(e.p[0].p_type = e.p[1].p_type = PT_NULL, "nothing to load", "nothing to load");
#undef BAD
	e = good;
	e.note.other.n_namesz = UINT32_MAX;
	ok_int(load_file(write_file("vmlinux", &e, sizeof(e)), CONFIG_BOOT_PVH), -ENOEXEC,
	       "a note that is longer than all notes");
	e = good;
	e.p[2].p_offset = sizeof(e) - 4;
	ok_int(load_file(write_file("vmlinux", &e, sizeof(e)), CONFIG_BOOT_PVH), -ENOEXEC,
	       "notes outside of the file");
}

/* ---- bzImage -------------------------------------------------------------------------------- */

struct bzimage {
	uint8_t setup[2 * 512];
	uint8_t kernel[65536];
	size_t bytes;
};

static void put(uint8_t *to, size_t where, uint64_t value, size_t n)
{
	memcpy(to + where, &value, n);
}

static struct bzimage *good_bzimage(const void *payload, size_t n)
{
	static struct bzimage b;

	memset(&b, 0, sizeof(b));
	b.setup[0x1f1] = 1;
	put(b.setup, 0x1fe, 0xaa55, 2);
	b.setup[0x201] = 0x6a;
	memcpy(b.setup + 0x202, "HdrS", 4);
	put(b.setup, 0x206, 0x20f, 2);
	put(b.setup, 0x236, 1, 2);
	put(b.setup, 0x248, 1024, 4);
	put(b.setup, 0x24c, n, 4);
	put(b.setup, 0x258, 0x1000000, 8);
	put(b.setup, 0x260, 2 * MIB, 4);
	memset(b.kernel, 'k', sizeof(b.kernel));
	if (n > sizeof(b.kernel) - 1024)
		abort();
	memcpy(b.kernel + 1024, payload, n);
	b.bytes = sizeof(b.setup) + sizeof(b.kernel);
	return &b;
}

static void bad_bzimage(size_t field, uint64_t value, size_t n, const char *want, const char *what)
{
	struct bzimage *b = good_bzimage("", 0);

	put(b->setup, field, value, n);
	ok(load_file(write_file("bzImage", b, b->bytes), CONFIG_BOOT_AUTO) < 0 &&
		   strstr(err.msg, want),
	   "%s: %s", what, err.msg);
}

static void test_bzimage(void)
{
	struct bzimage *b = good_bzimage("", 0);
	const char *path = write_file("bzImage", b, b->bytes);

	ok_int(load_file(path, CONFIG_BOOT_AUTO), 0, "a bzImage of no packer that we know");
	ok(entry.long_mode && entry.ip == 0x1000200 && at(0x1000000)[0] == 'k' &&
		   at(0x100ffff)[0] == 'k' && at(0x1010000)[0] == 0,
	   "unpacks itself in the guest");
	ok(!memcmp(at(LAYOUT_ZERO_PAGE + 0x1f1), b->setup + 0x1f1, 0x10),
	   "which finds its own header");
	ok_int(load_file(path, CONFIG_BOOT_PVH), -ENOEXEC, "but not by PVH: %s", err.msg);
	bad_bzimage(0x206, 0x20b, 2, "boot protocol 2.11", "an old protocol");
	bad_bzimage(0x236, 0, 2, "no 64-bit entry", "a kernel of 32 bits");
	bad_bzimage(0x1f1, 255, 1, "points out", "more setup than file");
	bad_bzimage(0x258, 0x8000, 8, "points out", "to be put where we write");
	bad_bzimage(0x258, 64 * MIB, 8, "does not fit", "behind the memory");
	bad_bzimage(0x258, UINT64_MAX - 100, 8, "does not fit", "at the end of all addresses");
	bad_bzimage(0x260, UINT32_MAX, 4, "does not fit", "that needs 4 GiB");
	b = good_bzimage("", 0);
	ok_int(load_file(write_file("bzImage", b, 0x300), CONFIG_BOOT_AUTO), -ENOEXEC,
	       "cut off: %s", err.msg);
	b->setup[0x201] = 255;
	ok_int(load_file(write_file("bzImage", b, b->bytes), CONFIG_BOOT_AUTO), 0,
	       "a header that claims to be long");
}

/* ---- unpacking, and what is kept ------------------------------------------------------------- */

/* Packs @from with a tool as Kbuild does; -1: the tool is not here. */
static ssize_t pack(const char *tool, const char *from, void *to, size_t max, bool size_behind)
{
	char command[256];
	ssize_t n;
	FILE *p;

	snprintf(command, sizeof(command), "%s -c '%s' 2>/dev/null", tool, from);
	p = popen(command, "r");
	n = p ? (ssize_t)fread(to, 1, max - 4, p) : -1;
	if (!p || pclose(p) != 0)
		return -1;
	if (size_behind) {
		put(to, (size_t)n, sizeof(struct elf), 4);
		n += 4;
	}
	return n;
}

static unsigned count_cache(void)
{
	char path[128];
	unsigned n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "%s/proa/kernels", cache);
	d = opendir(path);
	for (struct dirent *e; d && (e = readdir(d));)
		n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
	if (d)
		closedir(d);
	return n;
}

static void test_packed(const char *tool, bool size_behind, unsigned level)
{
	static uint8_t packed[60000];
	struct elf e = good_elf();
	char plain[128], options[64];
	unsigned before = count_cache();
	ssize_t n;
	const char *path;

	e.data[0] = tool[0];
	snprintf(plain, sizeof(plain), "%s", write_file("plain", &e, sizeof(e)));
	snprintf(options, sizeof(options), "%s %s-%u", tool, level == 12 ? "-l " : "", level % 10);
	n = pack(options, plain, packed, sizeof(packed), size_behind);
	if (n < 0) {
		skip_one("the packer is not installed");
		return;
	}
	path = write_file("bzImage", good_bzimage(packed, (size_t)n), sizeof(struct bzimage));
	ok(load_file(path, CONFIG_BOOT_AUTO) == 0 && !entry.long_mode && entry.ip == 0x1000040,
	   "a bzImage by %s is unpacked, and starts by PVH", tool);
	ok_int(count_cache(), before + 1, "and kept");
	ok(load_file(path, CONFIG_BOOT_AUTO) == 0 && !entry.long_mode &&
		   count_cache() == before + 1,
	   "for the next time");
	ok(load_file(path, CONFIG_BOOT_LINUX) == 0 && entry.ip == 0x1000200,
	   "unless another protocol is asked for");
}

static void test_bad_payload(void)
{
	unsigned before = count_cache();
	struct bzimage *b = good_bzimage((const uint8_t[64]){ 0x1f, 0x8b, 8, 1, 2, 3 }, 64);

	ok(load_file(write_file("bzImage", b, b->bytes), CONFIG_BOOT_AUTO) == 0 && entry.long_mode,
	   "what cannot be unpacked here unpacks itself in the guest");
	ok_int(count_cache(), before, "nothing is kept of it");
	put(b->setup, 0x24c, UINT32_MAX, 4);
	ok_int(load_file(write_file("bzImage", b, b->bytes), CONFIG_BOOT_AUTO), 0,
	       "a payload that is longer than the file");
	put(b->setup, 0x248, UINT32_MAX, 4);
	ok_int(load_file(write_file("bzImage", b, b->bytes), CONFIG_BOOT_AUTO), 0, "or outside");
}

/* A gzip that never ends stands for any interruption: what is killed leaves no file. */
static void test_killed(void)
{
	struct bzimage *b = good_bzimage((const uint8_t[64]){ 0x1f, 0x8b, 8, 4, 5, 6 }, 64);
	static const char gzip[] = "#!/bin/sh\necho half\n: >\"$MARK\"\nexec sleep 3\n";
	char path[128], script[128], tools[64];
	unsigned before = count_cache();
	pid_t pid;

	snprintf(tools, sizeof(tools), "%s/bin", dir);
	if (mkdir(tools, 0700) < 0)
		abort();
	snprintf(path, sizeof(path), "%s", write_file("bzImage", b, b->bytes));
	snprintf(script, sizeof(script), "%s", write_file("bin/gzip", gzip, sizeof(gzip) - 1));
	chmod(script, 0700);
	snprintf(script, sizeof(script), "%s/mark", dir);
	pid = fork();
	if (pid == 0) {
		setenv("PATH", tools, 1);
		setenv("MARK", script, 1);
		_exit(load_file(path, CONFIG_BOOT_AUTO) != 0);
	}
	for (int i = 0; i < 500 && access(script, F_OK) < 0; i++)
		usleep(10000);
	ok(access(script, F_OK) == 0, "somebody unpacks");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	ok_int(count_cache(), before, "and is killed: nothing is left");
}

static void test_no_cache(void)
{
	static uint8_t packed[60000];
	struct elf e = good_elf();
	ssize_t n =
		pack("gzip -5", write_file("plain", &e, sizeof(e)), packed, sizeof(packed), false);

	setenv("XDG_CACHE_HOME", "/proc/nowhere", 1);
	ok(n > 0 &&
		   load_file(write_file("bzImage", good_bzimage(packed, (size_t)n),
					sizeof(struct bzimage)),
			     CONFIG_BOOT_AUTO) == 0 &&
		   !entry.long_mode,
	   "where nothing can be kept it is unpacked all the same");
	setenv("XDG_CACHE_HOME", cache, 1);
}

/* ---- the rest ------------------------------------------------------------------------------- */

static void test_initrd(void)
{
	struct elf e = good_elf();
	char kernel[128], initrd[128], *big = calloc(1, 40 * MIB);
	struct vmm_config c = { .kernel = kernel, .initrd = initrd };
	uint64_t module[2];
	uint32_t info[4];

	memset(big, 'i', 40 * MIB);
	snprintf(kernel, sizeof(kernel), "%s", write_file("vmlinux", &e, sizeof(e)));
	snprintf(initrd, sizeof(initrd), "%s", write_file("initrd", big, 5000));
	ok_int(load_with(&c, 64 * MIB, false), 0, "an initrd");
	memcpy(info, at(LAYOUT_START_INFO), sizeof(info));
	memcpy(module, at(LAYOUT_START_INFO + 56), sizeof(module));
	ok(info[3] == 1 && module[0] == 64 * MIB - 8192 && module[1] == 5000 &&
		   at(module[0])[4999] == 'i' && at(module[0])[5000] == 0,
	   "lies at the end of the memory");
	c.boot = CONFIG_BOOT_LINUX;
	ok_int(load_with(&c, 64 * MIB, true), 0, "by the other protocol");
	memcpy(info, at(LAYOUT_ZERO_PAGE + 0x218), 8);
	ok(info[0] == 64 * MIB - 8192 && info[1] == 5000, "likewise");
	(void)write_file("initrd", big, 40 * MIB);
	ok(load_with(&c, 64 * MIB, false) == 0, "one that just fits");
	ok(load_with(&c, 56 * MIB, false) == -EFBIG && strstr(err.msg, "does not fit"),
	   "one that does not: %s", err.msg);
	ok_int(load_with(&c, 32 * MIB, false), -EFBIG, "one that is larger than the memory");
	snprintf(initrd, sizeof(initrd), "%s/none", dir);
	ok(load_with(&c, 64 * MIB, false) == -ENOENT && strstr(err.msg, "open the initrd"),
	   "one that is not there: %s", err.msg);
	snprintf(initrd, sizeof(initrd), "%s", dir);
	ok(load_with(&c, 64 * MIB, false) < 0 && strstr(err.msg, "not a file"),
	   "one that is a directory: %s", err.msg);
	free(big);
}

static void test_cmdline(void)
{
	struct elf e = good_elf();
	char *text = calloc(1, LAYOUT_CMDLINE_MAX + 2);
	struct vmm_config c = { .kernel = write_file("vmlinux", &e, sizeof(e)), .cmdline = text };

	strcpy(text, "console=ttyS0 quiet");
	ok_int(load_with(&c, 64 * MIB, false), 0, "a command line");
	ok_str((const char *)at(LAYOUT_CMDLINE), text, "is where the kernel looks for it");
	memset(text, 'x', LAYOUT_CMDLINE_MAX - 1);
	ok_int(load_with(&c, 64 * MIB, false), 0, "the longest");
	text[LAYOUT_CMDLINE_MAX - 1] = 'x';
	ok(load_with(&c, 64 * MIB, false) == -E2BIG, "longer: %s", err.msg);
	c.cmdline = NULL;
	ok(load_with(&c, 64 * MIB, false) == 0 && !*at(LAYOUT_CMDLINE), "none");
	free(text);
}

static void test_ranges(void)
{
	struct boot_range r[BOOT_RANGES_MAX];
	unsigned n;
	bool apart = true;

	memory_done(&memory);
	if (memory_init(&memory, 6 * 1024 * MIB, false, NULL) < 0)
		abort();
	n = boot_ranges(&memory, r);
	ok(n == 5 && r[4].start == MEMORY_HIGH_START && r[4].bytes == 3 * 1024 * MIB &&
		   r[4].type == BOOT_RAM,
	   "memory above 4 GiB");
	ok(r[2].start + r[2].bytes == MEMORY_LOW_END, "and below, up to the devices");
	for (unsigned i = 1; i < n; i++)
		apart &= r[i - 1].start + r[i - 1].bytes <= r[i].start;
	ok(apart, "in order, none over another");
	memory_done(&memory);
	if (memory_init(&memory, MEMORY_LOW_END, false, NULL) < 0)
		abort();
	ok_int(boot_ranges(&memory, r), 4, "exactly up to the devices: nothing above");
}

static void edge(gpa_t a, uint64_t bytes, bool want, const char *what)
{
	ok(!memory_at(&memory, a, bytes) == !want, "%s", what);
}

static void test_memory(void)
{
	memory_done(&memory);
	ok(memory_init(&memory, MEMORY_LOW_END + 4096, false, NULL) == 0 && memory.count == 2,
	   "a page above 4 GiB");
	edge(0, 1, true, "the first byte");
	edge(0, MEMORY_LOW_END, true, "all that is low");
	edge(0, MEMORY_LOW_END + 1, false, "and one more");
	edge(MEMORY_LOW_END - 1, 1, true, "the last below the devices");
	edge(MEMORY_LOW_END - 1, 2, false, "and one more");
	edge(MEMORY_LOW_END, 1, false, "a device");
	edge(MEMORY_HIGH_START - 1, 1, false, "the last byte of 4 GiB");
	edge(MEMORY_HIGH_START - 1, 2, false, "and into the memory");
	edge(MEMORY_HIGH_START, 4096, true, "the page above");
	edge(MEMORY_HIGH_START, 4097, false, "and one more");
	edge(MEMORY_HIGH_START + 4096, 0, true, "nothing at its end");
	edge(MEMORY_HIGH_START + 4096, 1, false, "something there");
	edge(UINT64_MAX, 1, false, "the last byte of all");
	edge(UINT64_MAX, UINT64_MAX, false, "everything from there");
	edge(1, UINT64_MAX, false, "everything but the first");
	memory_done(&memory);
	ok(memory_init(&memory, MEMORY_MIN_BYTES - 4096, false, &err) < 0, "too little: %s",
	   err.msg);
	ok(memory_init(&memory, MEMORY_MIN_BYTES + 1, false, NULL) < 0, "no whole pages");
	ok(memory_init(&memory, MEMORY_MAX_BYTES + 4096, false, NULL) < 0, "too much");
	ok(memory_init(&memory, 0, false, NULL) < 0, "none");
}

static int remove_all(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	return system(command);
}

int main(void)
{
	memory.fd = -EBADF;
	if (!mkdtemp(dir))
		return 1;
	snprintf(cache, sizeof(cache), "%s/cache", dir);
	setenv("XDG_CACHE_HOME", cache, 1);
	test_elf();
	test_bad_elf();
	test_bzimage();
	test_packed("gzip", false, 9);
	test_packed("xz --check=crc32", true, 6);
	test_packed("zstd -q", true, 9);
	test_packed("lz4", true, 12);
	test_bad_payload();
	test_killed();
	test_no_cache();
	test_initrd();
	test_cmdline();
	test_ranges();
	test_memory();
	memory_done(&memory);
	return remove_all() ? 1 : tap_done();
}
