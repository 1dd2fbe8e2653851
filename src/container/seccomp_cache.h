/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seccomp filters, compiled once. The helper proa-seccomp makes them (libseccomp is not for the hot
 * path), and a directory keeps them as BPF under names that are made of everything that goes into
 * them: the profile's text, the capabilities it may ask for, and proa's version. A file there is
 * checked for its shape and used as it is; a damaged one is made anew.
 */
#ifndef PROA_CONTAINER_SECCOMP_CACHE_H
#define PROA_CONTAINER_SECCOMP_CACHE_H

#include <stddef.h>
#include <stdint.h>

struct err;

struct seccomp_profile {
	const char *text; /* JSON; NULL: proa's default profile */
	size_t len;
	const char *name; /* for messages; NULL: "the seccomp profile" */
	uint64_t caps;	  /* for conditions on capabilities */
};

/*
 * The filter of @profile, from @dir or made. @dir is made when it is absent; NULL: nothing is kept.
 * The caller frees *@ret, struct sock_filter[] of *@ret_len bytes. Errors have the helper's words.
 */
int seccomp_cache_get(const char *dir, const struct seccomp_profile *profile, uint8_t **ret,
		      size_t *ret_len, struct err *err);

#endif
