/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seccomp profiles: Docker's JSON format (and the runtime-spec's `linux.seccomp`, which is the same
 * without conditions) to a BPF program, through libseccomp.
 */
#ifndef PROA_SECCOMP_PROFILE_H
#define PROA_SECCOMP_PROFILE_H

#include <stddef.h>
#include <stdint.h>

struct err;

/* The built-in profile: Docker's default set of system calls. */
extern const char profile_default[];
extern const size_t profile_default_bytes;

/*
 * Compiles @n bytes of JSON for a process with the capabilities @caps (bit N is capability N), on
 * which includes/excludes conditions depend, and writes the program to @out_fd. @what names the
 * profile in errors.
 */
int profile_compile(const char *json, size_t n, const char *what, uint64_t caps, int out_fd,
		    struct err *err);

#endif
