/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/digest.h"

#include <errno.h>
#include <string.h>
#include "util/err.h"
#include "util/sha256.h"
#include "util/str.h"

#define PREFIX	   "sha256:"
#define PREFIX_LEN (sizeof(PREFIX) - 1)

bool digest_is_valid(const char *digest)
{
	return digest && str_starts(digest, PREFIX) && strlen(digest) == DIGEST_LEN &&
	       strspn(digest + PREFIX_LEN, "0123456789abcdef") == DIGEST_HEX_LEN;
}

const char *digest_hex(const char *digest)
{
	return digest + PREFIX_LEN;
}

void digest_of(const void *bytes, size_t n, char out[DIGEST_LEN + 1])
{
	uint8_t hash[SHA256_BYTES];

	sha256_of(bytes, n, hash);
	memcpy(out, PREFIX, PREFIX_LEN);
	str_hex(hash, sizeof(hash), out + PREFIX_LEN);
}

int digest_require(const char *digest, const char *what, struct err *err)
{
	char quoted[128];

	if (digest_is_valid(digest))
		return 0;
	if (!digest)
		return err_set(err, EINVAL, "%s has no digest", what);
	if (str_starts(digest, "sha512:"))
		return err_set(err, EINVAL, "%s has a sha512 digest: only sha256 is supported",
			       what);
	return err_set(err, EINVAL, "%s has a digest that is none: %s", what,
		       str_quote(digest, quoted, sizeof(quoted)));
}

int digest_verify(const char *digest, const void *bytes, size_t n, const char *what,
		  struct err *err)
{
	char actual[DIGEST_LEN + 1];

	digest_of(bytes, n, actual);
	if (strcmp(actual, digest))
		return err_set(err, EBADMSG, "%s is damaged: its digest is %s, expected %s", what,
			       actual, digest);
	return 0;
}
