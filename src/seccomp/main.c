/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proa-seccomp default|- CAPS NAME: compiles proa's own profile, or the one on standard input, for
 * a set of capabilities (in hex), and writes the program to standard output. NAME is for messages.
 * A helper of container/seccomp_cache.c.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "seccomp/profile.h"
#include "util/err.h"
#include "util/io.h"
#include "util/mem.h"

#define PROFILE_MAX (4u << 20)

/* Standard input to its end. */
static int read_profile(char **ret, size_t *ret_n, struct err *err)
{
	_cleanup_free_ char *text = malloc(PROFILE_MAX + 1);
	ssize_t n;

	if (!text)
		return err_set(err, ENOMEM, "out of memory");
	n = io_read_full(STDIN_FILENO, text, PROFILE_MAX + 1);
	if (n < 0)
		return err_sys(err, (int)-n, "read the seccomp profile");
	if (n > (ssize_t)PROFILE_MAX)
		return err_set(err, EFBIG, "the seccomp profile is larger than 4 MiB");
	*ret = TAKE_PTR(text);
	*ret_n = (size_t)n;
	return 0;
}

static int compile(const char *profile, uint64_t caps, const char *name, struct err *err)
{
	_cleanup_free_ char *text = NULL;
	size_t n = 0;
	int r;

	if (!strcmp(profile, "default"))
		return profile_compile(profile_default, profile_default_bytes,
				       "the default profile", caps, STDOUT_FILENO, err);
	r = read_profile(&text, &n, err);
	return r < 0 ? r : profile_compile(text, n, name, caps, STDOUT_FILENO, err);
}

int main(int argc, char **argv)
{
	struct err err = ERR_INIT;

	if (argc == 2 && !strcmp(argv[1], "--print-default")) {
		fwrite(profile_default, 1, profile_default_bytes, stdout);
		return fflush(stdout) ? 1 : 0;
	}
	if (argc != 4) {
		fprintf(stderr, "usage: proa-seccomp default|- CAPS-IN-HEX NAME\n"
				"       proa-seccomp --print-default\n");
		return EXIT_PROA;
	}
	if (compile(argv[1], strtoull(argv[2], NULL, 16), argv[3], &err) < 0) {
		fprintf(stderr, "%s\n", err.msg);
		return err.exit_code;
	}
	return 0;
}
