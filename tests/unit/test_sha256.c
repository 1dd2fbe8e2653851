/* SPDX-License-Identifier: Apache-2.0 */
/* FIPS 180-4 against the vectors of its authors, and every way to cut the input. */
#include "util/sha256.h"

#include "../unit/tap.h"
#include "util/mem.h"
#include "util/str.h"

static void is(const char *text, size_t n, const char *want, const char *what)
{
	uint8_t hash[SHA256_BYTES];
	char hex[2 * SHA256_BYTES + 1];

	sha256_of(text, n, hash);
	str_hex(hash, sizeof(hash), hex);
	ok_str(hex, want, "%s", what);
}

static void test_vectors(void)
{
	static const char two_blocks[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
	_cleanup_free_ char *million = malloc(1000000);

	is("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "nothing");
	is("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "abc");
	is(two_blocks, strlen(two_blocks),
	   "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1", "56 bytes");
	memset(million, 'a', 1000000);
	is(million, 1000000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
	   "a million a");
}

static void test_pieces(void)
{
	uint8_t data[200], whole[SHA256_BYTES], pieces[SHA256_BYTES];
	bool same = true;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7);
	for (size_t n = 0; n <= sizeof(data); n++) {
		for (size_t cut = 0; cut <= n; cut += 13) {
			struct sha256 s;

			sha256_of(data, n, whole);
			sha256_init(&s);
			sha256_update(&s, data, cut);
			sha256_update(&s, data + cut, n - cut);
			sha256_final(&s, pieces);
			same &= !memcmp(whole, pieces, sizeof(whole));
		}
	}
	ok(same, "any cut of any length up to 200 gives the same");
}

int main(void)
{
	test_vectors();
	test_pieces();
	return tap_done();
}
