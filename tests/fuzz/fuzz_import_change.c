/* SPDX-License-Identifier: Apache-2.0 */
/* proa import --change TEXT */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "image/import_change.h"
#include "oci/image_config.h"
#include "util/err.h"
#include "util/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_free_ char *text = strndup((const char *)data, n);
	struct image_config c = { 0 };
	struct err err = ERR_INIT;

	import_change_apply(text, &c, &err);
	image_config_done(&c);
	return 0;
}
