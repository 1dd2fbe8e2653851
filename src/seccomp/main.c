/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proa-seccomp PROFILE|default CAPS OUTPUT: compiles a profile for a set of capabilities (in hex)
 * and puts the program under OUTPUT, whole or not at all. A helper of the engine
 * (engine/seccomp.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "seccomp/profile.h"
#include "util/err.h"
#include "util/io.h"
#include "util/mem.h"

#define PROFILE_MAX (4u << 20)

static int compile(const char *profile, uint64_t caps, const char *output, struct err *err)
{
	_cleanup_close_ int fd = memfd_create("filter", MFD_CLOEXEC);
	_cleanup_free_ char *text = NULL, *program = NULL;
	struct stat st;
	size_t n;
	int r;

	if (fd < 0)
		return err_sys(err, errno, "make a file in memory");
	if (!strcmp(profile, "default")) {
		r = profile_compile(profile_default, profile_default_bytes, "the default profile",
				    caps, fd, err);
	} else {
		r = io_read_file(AT_FDCWD, profile, PROFILE_MAX, &text, &n);
		if (r < 0)
			return err_sys(err, -r, "%s", profile);
		r = profile_compile(text, n, profile, caps, fd, err);
	}
	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0 || !(program = malloc((size_t)st.st_size)) ||
	    pread(fd, program, (size_t)st.st_size, 0) != st.st_size)
		return err_sys(err, errno, "read the filter");
	r = io_write_file(AT_FDCWD, output, program, (size_t)st.st_size, 0600, 0);
	return r < 0 ? err_sys(err, -r, "write %s", output) : 0;
}

int main(int argc, char **argv)
{
	struct err err = ERR_INIT;

	if (argc == 2 && !strcmp(argv[1], "--print-default")) {
		fwrite(profile_default, 1, profile_default_bytes, stdout);
		return fflush(stdout) ? 1 : 0;
	}
	if (argc != 4) {
		fprintf(stderr, "usage: proa-seccomp PROFILE|default CAPS-IN-HEX OUTPUT\n"
				"       proa-seccomp --print-default\n");
		return EXIT_PROA;
	}
	if (compile(argv[1], strtoull(argv[2], NULL, 16), argv[3], &err) < 0) {
		fprintf(stderr, "%s\n", err.msg);
		return err.exit_code;
	}
	return 0;
}
