/* SPDX-License-Identifier: Apache-2.0 */
/* Image configurations from anyone; what parses survives the way to JSON and back. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "oci/image_config.h"
#include "util/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct err err = ERR_INIT;
	struct image_config c = { 0 }, again = { 0 };

	if (image_config_parse((const char *)data, n, &c, &err) == 0) {
		char *out = image_config_format(&c);

		if (!out || image_config_parse(out, strlen(out), &again, &err) < 0)
			abort();
		if (!c.cmd != !again.cmd || !c.entrypoint != !again.entrypoint)
			abort();
		free(out);
	}
	image_config_done(&c);
	image_config_done(&again);
	return 0;
}
