/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Digests as OCI writes them: "sha256:" and 64 lower-case hex digits (image-spec, descriptor.md).
 * sha512 is registered too, but no image tool writes it; it is refused by name, not misread.
 */
#ifndef PROA_OCI_DIGEST_H
#define PROA_OCI_DIGEST_H

#include <stdbool.h>
#include <stddef.h>

struct err;

#define DIGEST_HEX_LEN 64
#define DIGEST_LEN     71 /* without the NUL */

/* Is it a complete sha256 digest? NULL is not. */
bool digest_is_valid(const char *digest);
/* The hex part of a valid digest: a pointer into it. */
const char *digest_hex(const char *digest);
/* Writes the digest of these bytes. */
void digest_of(const void *bytes, size_t n, char out[DIGEST_LEN + 1]);
/* 0, or -EINVAL with a line naming @what, when @digest is none that we can check. */
int digest_require(const char *digest, const char *what, struct err *err);
/* 0, or -EBADMSG with a line naming @what, when the bytes have another digest. */
int digest_verify(const char *digest, const void *bytes, size_t n, const char *what,
		  struct err *err);

#endif
