/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fast kernel: the distribution's own source, configured as our fragment says (and with nothing
 * else that can be off), compiled here. That keeps the kernel one that the distribution maintains,
 * and a machine boots it in a tenth of the instructions that the stock kernel takes.
 *
 * Everything happens in one directory, STORE/kernels/.build-PID or what --keep names. A lock on it
 * tells a build that goes on from one that was killed; the next build removes what those left.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include "util/err.h"
#include "util/io.h"
#include "util/mem.h"
#include "util/self.h"
#include "util/str.h"
#include "vm/kernel_build_internal.h"
#include "vm/spawn.h"

#define FRAGMENT	   "kernel-x86_64.config"
#define FRAGMENT_BYTES_MAX (1u << 20)
#define CONFIG_BYTES_MAX   (4u << 20)
#define LOG_BYTES_MAX	   (64u << 20)
#define IMAGE_BYTES_MAX	   (512u << 20)
#define TEMPORARY	   ".build-"
#define LOG_NAME	   "build.log"
#define ARGS_MAX	   24
/* measured with Linux 6.1: the package with its archive, the source, and what is compiled */
#define SOURCE_BYTES  (1200ull << 20)
#define OBJECTS_BYTES (400ull << 20)

static char *path_in(const struct kernel_build *b, const char *name)
{
	return str_printf("%s/%s", b->dir, name);
}

/* ---- running programs ----------------------------------------------------------------------- */

static int failed(const struct kernel_build *b, const char *what, struct err *err)
{
	_cleanup_free_ char *path = path_in(b, LOG_NAME), *log = NULL;
	struct str_buf lines = { 0 };

	if (path && io_read_file(AT_FDCWD, path, LOG_BYTES_MAX, &log, NULL) == 0)
		kernel_log_quote(log, &lines);
	if (b->what->keep)
		err_set(err, EIO, "%s failed (all of it is in %s):\n%s", what, path ? path : "",
			lines.data ? lines.data : "");
	else
		err_set(err, EIO, "%s failed (--keep DIR keeps all of the log):\n%s", what,
			lines.data ? lines.data : "");
	str_buf_done(&lines);
	return -EIO;
}

int kernel_build_run(struct kernel_build *b, const char *const *argv, const char *what,
		     void (*tick)(void *), struct err *err)
{
	_cleanup_free_ char *program = NULL, *path = path_in(b, LOG_NAME);
	_cleanup_close_ int log = -EBADF;
	const char *copy[ARGS_MAX];
	struct vm_spawn s = { .argv = (char *const *)(uintptr_t)copy };
	size_t n = strv_len((char *const *)(uintptr_t)argv);
	int r = n < ARGS_MAX ? 0 : err_set(err, E2BIG, "%s", what);

	if (r == 0)
		r = vm_find_program(argv[0], "a kernel is built with it", argv[0], &program, err);
	if (r < 0)
		return r;
	memcpy(copy, argv, (n + 1) * sizeof(*copy));
	copy[0] = program;
	log = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644) : -ENOMEM;
	if (log < 0)
		return err_sys(err, path ? errno : ENOMEM, "write the log of the build");
	s.stdout_fd = s.stderr_fd = log;
	r = kernel_hold_run(&b->hold, &s, tick, b, err);
	return r > 0 ? failed(b, what, err) : r;
}

/* make in the source's directory, with what is built beside it; @more: up to three arguments. */
static int run_make(struct kernel_build *b, const char *const more[3], const char *what,
		    void (*tick)(void *), struct err *err)
{
	_cleanup_free_ char *out = path_in(b, "out");
	_cleanup_free_ char *output = out ? str_printf("O=%s", out) : NULL;
	const char *argv[] = {
		"make",
		"-C",
		b->source,
		output,
		/* not what the environment of whoever called us says */
		"ARCH=x86_64",
		"CROSS_COMPILE=",
		"LOCALVERSION=",
		"KBUILD_BUILD_USER=proa",
		"KBUILD_BUILD_HOST=proa",
		more[0],
		more[1],
		more[2],
		NULL,
	};

	if (!output)
		return err_set(err, ENOMEM, "out of memory");
	if (mkdir(out, 0755) < 0 && errno != EEXIST)
		return err_sys(err, errno, "make %s", out);
	return kernel_build_run(b, argv, what, tick, err);
}

/* ---- steps ---------------------------------------------------------------------------------- */

static int configure(struct kernel_build *b, struct err *err)
{
	_cleanup_free_ char *all = str_printf("KCONFIG_ALLCONFIG=%s", b->fragment);
	_cleanup_free_ char *path = path_in(b, "out/.config"), *wanted = NULL, *have = NULL;
	const char *const more[] = { all, "allnoconfig", NULL };
	int r = all && path ? 0 : err_set(err, ENOMEM, "out of memory");

	b->progress("configuring");
	if (r == 0)
		r = run_make(b, more, "configuring the kernel", NULL, err);
	if (r < 0)
		return r;
	r = io_read_file(AT_FDCWD, b->fragment, FRAGMENT_BYTES_MAX, &wanted, NULL);
	if (r == 0)
		r = io_read_file(AT_FDCWD, path, CONFIG_BYTES_MAX, &have, NULL);
	if (r < 0)
		return err_sys(err, -r, "read the kernel's configuration");
	r = kernel_config_check(wanted, have, err);
	return r < 0 ? err_wrap(err, "%s", b->fragment) : 0;
}

static void tell_progress(void *data)
{
	struct kernel_build *b = data;
	_cleanup_free_ char *path = path_in(b, LOG_NAME), *log = NULL, *line = NULL;
	unsigned files = 0;

	if (!path || io_read_file(AT_FDCWD, path, LOG_BYTES_MAX, &log, NULL) < 0)
		return;
	for (const char *at = log; (at = strstr(at, "\n  CC ")); at++)
		files++;
	line = str_printf("compiling: %u files", files);
	if (line)
		b->progress(line);
}

static int compile(struct kernel_build *b, struct err *err)
{
	_cleanup_free_ char *jobs = NULL, *line = NULL;
	unsigned n = b->what->jobs;
	cpu_set_t cpus;

	if (!n)
		n = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? (unsigned)CPU_COUNT(&cpus) : 1;
	jobs = str_printf("-j%u", n);
	line = str_printf("compiling with %u job%s; this takes some minutes", n, n > 1 ? "s" : "");
	if (!jobs || !line)
		return err_set(err, ENOMEM, "out of memory");
	b->progress(line);
	return run_make(b, (const char *const[]){ jobs, "vmlinux", NULL }, "compiling the kernel",
			tell_progress, err);
}

/* What a machine loads of it, and nothing else. */
static int pack(struct kernel_build *b, char **ret_image, struct err *err)
{
	_cleanup_free_ char *vmlinux = path_in(b, "out/vmlinux"), *image = path_in(b, "vmlinux");
	_cleanup_free_ char *bytes = NULL;
	struct str_buf packed = { 0 };
	size_t n;
	int r = vmlinux && image ? 0 : -ENOMEM;

	if (r == 0)
		r = io_read_file(AT_FDCWD, vmlinux, IMAGE_BYTES_MAX, &bytes, &n);
	if (r < 0)
		return err_sys(err, -r, "read the kernel that was built");
	r = kernel_pack((const uint8_t *)bytes, n, &packed, err);
	if (r == 0) {
		r = io_write_file(AT_FDCWD, image, packed.data, packed.len, 0644, 0);
		if (r < 0)
			err_sys(err, -r, "write %s", image);
	}
	str_buf_done(&packed);
	if (r == 0)
		*ret_image = TAKE_PTR(image);
	return r;
}

static int check_room(const struct kernel_build *b, struct err *err)
{
	uint64_t needed = OBJECTS_BYTES, free_bytes;
	struct stat st;
	struct statvfs fs;
	char need[16], have[16];

	if (!b->what->source || (stat(b->what->source, &st) == 0 && !S_ISDIR(st.st_mode)))
		needed += SOURCE_BYTES;
	if (statvfs(b->dir, &fs) < 0)
		return err_sys(err, errno, "look at the room in %s", b->dir);
	free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (free_bytes >= needed)
		return 0;
	return err_set(err, ENOSPC,
		       "building a kernel takes %s in %s, and %s are free: make room, or build "
		       "elsewhere with --keep DIR",
		       str_human_bytes(needed, need), b->dir, str_human_bytes(free_bytes, have));
}

/* A name that is taken is told before the work, not after it. */
static int check_name(int kernels, const char *name, struct err *err)
{
	int r = kernel_name_check(name, err);

	if (r == 0 && faccessat(kernels, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		r = err_set(err, EEXIST,
			    "there is a kernel \"%s\" already: remove it first (`proa kernel rm "
			    "%s`), or give this one another name (--name)",
			    name, name);
	return r;
}

/* The version is known once the source is configured. */
static int check_release(struct kernel_build *b, int kernels, struct err *err)
{
	_cleanup_free_ char *path = path_in(b, "out/include/config/kernel.release"), *text = NULL;
	const char *const more[] = { "include/config/kernel.release", NULL, NULL };
	int r = run_make(b, more, "asking for the kernel's version", NULL, err);

	if (r < 0)
		return r;
	if (!path || io_read_file(AT_FDCWD, path, 4096, &text, NULL) < 0)
		return 0; /* the import will tell */
	text[strcspn(text, "\n")] = 0;
	return check_name(kernels, text, err);
}

static int build(struct kernel_build *b, const char *store, int kernels, char **ret_name,
		 struct err *err)
{
	struct vm_kernel_import import = { .name = b->what->name };
	_cleanup_free_ char *image = NULL;
	int r = kernel_build_check_tools(b, err);

	if (r == 0)
		r = check_room(b, err);
	if (r == 0)
		r = kernel_build_source(b, err);
	if (r == 0)
		r = configure(b, err);
	if (r == 0 && !b->what->name)
		r = check_release(b, kernels, err);
	if (r == 0)
		r = compile(b, err);
	if (r == 0)
		r = pack(b, &image, err);
	if (r < 0)
		return r;
	b->progress("putting it into the kernel store");
	import.source = image;
	import.origin = b->origin;
	return vm_kernel_import(store, &import, ret_name, err);
}

/* ---- the directory -------------------------------------------------------------------------- */

/* What builds left that were killed: nobody holds their locks. */
static void remove_abandoned(int kernels)
{
	_cleanup_close_ int copy = openat(kernels, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *e;

	if (!d)
		return;
	(void)TAKE_FD(copy);
	while ((e = readdir(d))) {
		_cleanup_close_ int fd = -EBADF;

		if (!str_starts(e->d_name, TEMPORARY))
			continue;
		fd = openat(kernels, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
			(void)io_remove_tree(kernels, e->d_name);
	}
	closedir(d);
}

static int make_temporary(const char *store, int kernels, char **ret, int *ret_lock,
			  struct err *err)
{
	_cleanup_free_ char *path = NULL, *real = NULL;
	char name[32];
	int r;

	remove_abandoned(kernels);
	snprintf(name, sizeof(name), TEMPORARY "%d", getpid());
	path = str_printf("%s/" KERNEL_DIR "/%s", store, name);
	if (!path || mkdirat(kernels, name, 0755) < 0)
		return err_sys(err, path ? errno : ENOMEM, "make a directory in the kernel store");
	real = realpath(path, NULL);
	*ret_lock = openat(kernels, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (!real || *ret_lock < 0 || flock(*ret_lock, LOCK_EX | LOCK_NB) < 0) {
		r = err_sys(err, errno, "lock %s", path);
		(void)io_remove_tree(kernels, name);
		return r;
	}
	*ret = TAKE_PTR(real);
	return 0;
}

/* --keep: a new directory or an empty one, so that nothing of somebody's is written over. */
static int make_kept(const char *dir, char **ret, struct err *err)
{
	int r;

	if (mkdir(dir, 0755) < 0 && errno != EEXIST)
		return err_sys(err, errno, "make the directory \"%s\"", dir);
	/* an empty directory is the only one that can be removed */
	if (rmdir(dir) < 0)
		return err_sys(err, errno,
			       "build in \"%s\" (--keep takes a new or an empty directory)", dir);
	r = mkdir(dir, 0755) < 0 ? -errno : 0;
	if (r == 0 && !(*ret = realpath(dir, NULL)))
		r = -errno;
	return r < 0 ? err_sys(err, -r, "make the directory \"%s\"", dir) : 0;
}

static int find_fragment(struct kernel_build *b, struct err *err)
{
	_cleanup_free_ char *text = NULL;
	int r;

	if (b->what->fragment) {
		b->fragment = realpath(b->what->fragment, NULL);
		r = b->fragment
			    ? 0
			    : err_sys(err, errno, "find the fragment \"%s\"", b->what->fragment);
	} else {
		r = self_find_file(FRAGMENT, &b->fragment, err);
	}
	if (r < 0)
		return r;
	r = io_read_file(AT_FDCWD, b->fragment, FRAGMENT_BYTES_MAX, &text, NULL);
	if (r < 0)
		return err_sys(err, -r, "read the fragment \"%s\"", b->fragment);
	return kernel_config_read(text, b->fragment, err);
}

static void no_progress(const char *line _unused_) {}

int vm_kernel_build(const char *store, const struct vm_kernel_build *what,
		    void (*progress)(const char *line), char **ret_name, struct err *err)
{
	_cleanup_close_ int kernels = kernel_store_open(store, true, err), lock = -EBADF;
	struct kernel_build b = { .what = what,
				  .progress = progress ? progress : no_progress,
				  .hold = { .fd = -EBADF } };
	int r = kernels < 0 ? kernels : find_fragment(&b, err);

	if (r == 0 && what->name)
		r = check_name(kernels, what->name, err);
	if (r == 0)
		r = kernel_hold_begin(&b.hold, err);
	if (r == 0)
		r = what->keep ? make_kept(what->keep, &b.dir, err)
			       : make_temporary(store, kernels, &b.dir, &lock, err);
	if (r == 0)
		r = build(&b, store, kernels, ret_name, err);
	if (b.dir && !what->keep)
		(void)io_remove_tree(AT_FDCWD, b.dir);
	kernel_hold_end(&b.hold);
	free(b.dir);
	free(b.source);
	free(b.fragment);
	free(b.origin);
	return r;
}
