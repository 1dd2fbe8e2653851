/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filters are compiled by the helper proa-seccomp (libseccomp is not for the hot path) and kept as
 * BPF in ROOT/seccomp, named by everything that goes into them: the profile's text, the capability
 * set, and the version of proa and of the kernel interface. A file there is read, checked for its
 * shape, and used as it is; a damaged one is made anew.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "engine/engine.h"
#include "util/err.h"
#include "util/io.h"
#include "util/mem.h"
#include "util/self.h"
#include "util/sha256.h"
#include "util/str.h"

#define PROFILE_MAX (4u << 20)
#define PROGRAM_MAX (4096u * 8) /* BPF_MAXINSNS */
#define DEFAULT_KEY "default profile of proa " PROA_VERSION

/* Runs `proa-seccomp PROFILE CAPS OUTPUT`; its errors are one line on standard error, passed on. */
static int compile(const char *profile, uint64_t caps, const char *output, struct err *err)
{
	_cleanup_free_ char *helper = NULL,
			    *caps_text = str_printf("%llx", (unsigned long long)caps);
	char line[ERR_MSG_MAX] = "";
	int pipe_fds[2], status, r;
	ssize_t n;
	pid_t pid;

	r = self_find_helper("proa-seccomp", &helper, err);
	if (r < 0)
		return r;
	if (!caps_text || pipe2(pipe_fds, O_CLOEXEC) < 0)
		return err_sys(err, errno, "start proa-seccomp");
	pid = fork();
	if (pid == 0) {
		dup2(pipe_fds[1], STDERR_FILENO);
		execl(helper, helper, profile ? profile : "default", caps_text, output,
		      (char *)NULL);
		_exit(EXIT_NOT_FOUND);
	}
	close(pipe_fds[1]);
	n = pid < 0 ? -1 : io_read_full(pipe_fds[0], line, sizeof(line) - 1);
	close(pipe_fds[0]);
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return err_sys(err, errno, "start proa-seccomp");
	if (status == 0)
		return 0;
	line[n > 0 ? strcspn(line, "\n") : 0] = 0;
	return err_set(err, EINVAL, "--security-opt seccomp: %s",
		       line[0] ? line : "cannot be compiled");
}

static int cache_path(struct store *s, const char *profile, uint64_t caps, char **ret,
		      struct err *err)
{
	_cleanup_free_ char *text = NULL, *key = NULL;
	uint8_t digest[SHA256_BYTES];
	char hex[2 * SHA256_BYTES + 1];
	size_t n = 0;
	int r;

	if (profile) {
		r = io_read_file(AT_FDCWD, profile, PROFILE_MAX, &text, &n);
		if (r < 0)
			return err_sys(err, -r, "--security-opt seccomp=%s", profile);
	}
	key = str_printf("%llx %s\n%s", (unsigned long long)caps, DEFAULT_KEY, text ? text : "");
	if (!key)
		return err_set(err, ENOMEM, "out of memory");
	sha256_of(key, strlen(key), digest);
	str_hex(digest, sizeof(digest), hex);
	*ret = str_printf("%s/seccomp/%s.bpf", s->root, hex);
	return *ret ? 0 : err_set(err, ENOMEM, "out of memory");
}

static int read_program(const char *path, uint8_t **ret, size_t *ret_len)
{
	_cleanup_free_ char *bytes = NULL;
	size_t n;
	int r = io_read_file(AT_FDCWD, path, PROGRAM_MAX, &bytes, &n);

	if (r < 0)
		return r;
	if (n == 0 || n % 8)
		return -EBADMSG;
	*ret = (uint8_t *)TAKE_PTR(bytes);
	*ret_len = n;
	return 0;
}

int engine_seccomp(struct store *s, const char *profile, uint64_t caps, uint8_t **ret,
		   size_t *ret_len, struct err *err)
{
	_cleanup_free_ char *path = NULL;
	int r;

	if (profile && !strcmp(profile, "unconfined")) {
		*ret = NULL;
		*ret_len = 0;
		return 0;
	}
	r = cache_path(s, profile, caps, &path, err);
	if (r < 0 || read_program(path, ret, ret_len) == 0)
		return r;
	r = io_mkdir_all(s->root_fd, "seccomp", 0700);
	if (r < 0)
		return err_sys(err, -r, "make %s/seccomp", s->root);
	r = compile(profile, caps, path, err);
	if (r < 0)
		return r;
	r = read_program(path, ret, ret_len);
	return r < 0 ? err_sys(err, -r, "read the seccomp filter %s", path) : 0;
}
