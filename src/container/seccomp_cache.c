/* SPDX-License-Identifier: Apache-2.0 */
#include "container/seccomp_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "util/err.h"
#include "util/io.h"
#include "util/linux.h"
#include "util/mem.h"
#include "util/self.h"
#include "util/sha256.h"
#include "util/str.h"

#define HELPER	    "proa-seccomp"
#define PROGRAM_MAX (4096u * 8) /* BPF_MAXINSNS */
#define FORMAT	    "2"		/* counts what proa-seccomp makes differently */

/* A file in memory with these bytes. */
static int memory_file(const char *bytes, size_t n)
{
	_cleanup_close_ int fd = sys_memfd_create(HELPER, MFD_CLOEXEC);
	int r = fd < 0 ? -errno : io_write_full(fd, bytes, n);

	return r < 0 ? r : TAKE_FD(fd);
}

/* `proa-seccomp default|- CAPS NAME`, from @text to @output; its errors are one line, passed on. */
static _Noreturn void helper_main(const char *helper, const struct seccomp_profile *p, int text,
				  int output, int complaints)
{
	char caps[24];

	snprintf(caps, sizeof(caps), "%llx", (unsigned long long)p->caps);
	if (text >= 0)
		dup2(text, STDIN_FILENO);
	dup2(output, STDOUT_FILENO);
	dup2(complaints, STDERR_FILENO);
	execl(helper, helper, p->text ? "-" : "default", caps,
	      p->name ? p->name : "the seccomp profile", (char *)NULL);
	_exit(EXIT_NOT_FOUND);
}

static int compile(const struct seccomp_profile *p, int output, struct err *err)
{
	_cleanup_close_ int text = p->text ? memory_file(p->text, p->len) : -EBADF;
	_cleanup_free_ char *helper = NULL;
	char line[ERR_MSG_MAX] = "";
	int ends[2], status = -1, r = self_find_helper(HELPER, &helper, err);
	ssize_t n;
	pid_t pid;

	if (r < 0)
		return r;
	if ((p->text && (text < 0 || lseek(text, 0, SEEK_SET) < 0)) || pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(err, errno, "start " HELPER);
	pid = fork();
	if (pid == 0)
		helper_main(helper, p, text, output, ends[1]);
	close(ends[1]);
	n = pid < 0 ? -1 : io_read_full(ends[0], line, sizeof(line) - 1);
	close(ends[0]);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (status == 0)
		return 0;
	line[n > 0 ? strcspn(line, "\n") : 0] = 0;
	return err_set(err, EINVAL, "%s",
		       line[0] ? line : "the seccomp profile cannot be compiled");
}

static char *cache_name(const struct seccomp_profile *p)
{
	struct sha256 hash;
	uint8_t digest[SHA256_BYTES];
	char hex[2 * SHA256_BYTES + 1], head[64];
	int n = snprintf(head, sizeof(head), "proa " PROA_VERSION " " FORMAT " %llx\n",
			 (unsigned long long)p->caps);

	sha256_init(&hash);
	sha256_update(&hash, head, (size_t)n);
	if (p->text)
		sha256_update(&hash, p->text, p->len);
	sha256_final(&hash, digest);
	str_hex(digest, sizeof(digest), hex);
	return str_printf("%s.bpf", hex);
}

static int check_program(const char *bytes, size_t n)
{
	return !bytes || n == 0 || n % 8 || n > PROGRAM_MAX ? -EBADMSG : 0;
}

static int read_program(int dir, const char *name, uint8_t **ret, size_t *ret_len)
{
	_cleanup_free_ char *bytes = NULL;
	size_t n;
	int r = io_read_file(dir, name, PROGRAM_MAX, &bytes, &n);

	if (r == 0)
		r = check_program(bytes, n);
	if (r < 0)
		return r;
	*ret = (uint8_t *)TAKE_PTR(bytes);
	*ret_len = n;
	return 0;
}

static int make_program(const struct seccomp_profile *p, uint8_t **ret, size_t *ret_len,
			struct err *err)
{
	_cleanup_close_ int fd = sys_memfd_create(HELPER, MFD_CLOEXEC);
	_cleanup_free_ char *bytes = malloc(PROGRAM_MAX + 1);
	ssize_t n;
	int r;

	if (fd < 0 || !bytes)
		return err_set(err, ENOMEM, "out of memory");
	r = compile(p, fd, err);
	if (r < 0)
		return r;
	n = lseek(fd, 0, SEEK_SET) < 0 ? -1 : io_read_full(fd, bytes, PROGRAM_MAX + 1);
	if (n < 0 || check_program(bytes, (size_t)n) < 0)
		return err_set(err, EBADMSG, "proa-seccomp made no filter");
	*ret = (uint8_t *)TAKE_PTR(bytes);
	*ret_len = (size_t)n;
	return 0;
}

int seccomp_cache_get(const char *dir, const struct seccomp_profile *p, uint8_t **ret,
		      size_t *ret_len, struct err *err)
{
	_cleanup_free_ char *name = cache_name(p);
	_cleanup_close_ int fd = -EBADF;
	int r;

	if (!name)
		return err_set(err, ENOMEM, "out of memory");
	if (dir && (fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 && errno == ENOENT &&
	    io_mkdir_all(AT_FDCWD, dir, 0700) == 0)
		fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0 && read_program(fd, name, ret, ret_len) == 0)
		return 0;
	r = make_program(p, ret, ret_len, err);
	/* not kept is not an error: it is made again */
	if (r == 0 && fd >= 0)
		(void)io_write_file(fd, name, *ret, *ret_len, 0600, 0);
	return r;
}
