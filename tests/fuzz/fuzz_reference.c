/* SPDX-License-Identifier: Apache-2.0 */
/* What reference_parse() takes it must print in a form that it takes again, to the same result. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "oci/reference.h"
#include "util/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_free_ char *text = strndup((const char *)data, n);
	struct reference r = { 0 }, again = { 0 };

	if (reference_parse(text, &r, NULL) == 0) {
		_cleanup_free_ char *full = reference_full(&r), *familiar = reference_familiar(&r);
		_cleanup_free_ char *second = NULL;

		if (reference_parse(familiar, &again, NULL) < 0)
			abort();
		second = reference_full(&again);
		if (strcmp(full, second) != 0)
			abort();
		reference_done(&r);
		reference_done(&again);
	}
	return 0;
}
