/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel images and modules that somebody gave us: what is looked up in them, and what is cut away.
 */
#include <stdlib.h>
#include <string.h>
#include "vm/kernel_internal.h"
#include "vm/module.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kernel_payload p;
	char version[64];
	const char *value;
	uint8_t *copy = malloc(size + 1);
	size_t n;

	if (!copy)
		return 0;
	memcpy(copy, data, size);
	if (kernel_format_of(copy, size, &p) == KERNEL_BZIMAGE &&
	    (p.offset > size || p.length > size - p.offset))
		abort();
	(void)kernel_version_of(copy, size, version, sizeof(version));
	value = module_info(copy, size, "depends");
	if (value && strlen(value) > size)
		abort();
	n = module_strip(copy, size);
	if (n > size)
		abort();
	(void)module_info(copy, n, "name");
	free(copy);
	return 0;
}
