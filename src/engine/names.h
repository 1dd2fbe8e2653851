/* SPDX-License-Identifier: Apache-2.0 */
/* Names for containers that were given none. */
#ifndef PROA_ENGINE_NAMES_H
#define PROA_ENGINE_NAMES_H

#include <stddef.h>

/* "brisk_outrigger": two words, one of a few hundred thousand combinations with its number. */
void names_generate(char *buf, size_t size);

#endif
