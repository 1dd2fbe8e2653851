/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-256 (FIPS 180-4) for small documents: manifests and image configurations, a few kilobytes.
 *
 * Layers are hashed with OpenSSL in proa-image. Here we hash ourselves because the dynamic linker
 * needs more time for libcrypto (5 MB, thousands of relocations) than a whole container start
 * takes.
 */
#ifndef PROA_UTIL_SHA256_H
#define PROA_UTIL_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define SHA256_BYTES 32

struct sha256 {
	uint32_t state[8];
	uint64_t length; /* bytes taken so far */
	uint8_t block[64];
};

void sha256_init(struct sha256 *s);
void sha256_update(struct sha256 *s, const void *bytes, size_t n);
void sha256_final(struct sha256 *s, uint8_t out[SHA256_BYTES]);

/* All three in one. */
void sha256_of(const void *bytes, size_t n, uint8_t out[SHA256_BYTES]);

#endif
