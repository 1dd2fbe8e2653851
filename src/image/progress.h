/* SPDX-License-Identifier: Apache-2.0 */
/* "Loading … 120MB of 180MB" on a terminal, ten times a second at most; nothing elsewhere. */
#ifndef PROA_IMAGE_PROGRESS_H
#define PROA_IMAGE_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
	const char *verb;     /* "Loading" */
	uint64_t total_bytes; /* 0: unknown */
	uint64_t done_bytes;
	int64_t last_ms;
	bool on, shown;
};

/* Shows itself if standard error is a terminal and not @quiet. */
void progress_init(struct progress *p, const char *verb, uint64_t total_bytes, bool quiet);
/* NULL is allowed. */
void progress_add(struct progress *p, uint64_t bytes);
/* Clears the line. */
void progress_done(struct progress *p);

#endif
