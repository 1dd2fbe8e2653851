/* SPDX-License-Identifier: Apache-2.0 */
/* Manifests, indexes and manifest.json from anyone. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "oci/manifest.h"
#include "util/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const char *text = (const char *)data;
	struct err err = ERR_INIT;
	struct oci_manifest m = { 0 }, again = { 0 };
	struct oci_index x = { 0 };
	struct docker_archive a = { 0 };
	size_t at;

	if (oci_manifest_parse(text, n, &m, &err) == 0) {
		char *out = oci_manifest_format(&m);

		if (!out || oci_manifest_parse(out, strlen(out), &again, &err) < 0)
			abort();
		free(out);
	}
	if (oci_index_parse(text, n, &x, &err) == 0 && oci_index_pick(&x, &at, &err) == 0 &&
	    at >= x.count)
		abort();
	docker_archive_parse(text, n, &a, &err);
	oci_manifest_done(&m);
	oci_manifest_done(&again);
	oci_index_done(&x);
	docker_archive_done(&a);
	return 0;
}
