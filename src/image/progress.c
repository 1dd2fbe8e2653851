/* SPDX-License-Identifier: Apache-2.0 */
#include "image/progress.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include "util/str.h"

#define INTERVAL_MS 100

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void progress_init(struct progress *p, const char *verb, uint64_t total_bytes, bool quiet)
{
	*p = (struct progress){ .verb = verb, .total_bytes = total_bytes, .last_ms = now_ms() };
	p->on = !quiet && isatty(STDERR_FILENO);
}

void progress_add(struct progress *p, uint64_t bytes)
{
	char done[16], total[16];
	int64_t now;

	if (!p || !p->on)
		return;
	p->done_bytes += bytes;
	now = now_ms();
	if (now - p->last_ms < INTERVAL_MS)
		return;
	p->last_ms = now;
	p->shown = true;
	fprintf(stderr, "\r\033[K%s %s%s%s", p->verb, str_human_bytes(p->done_bytes, done),
		p->total_bytes ? " of " : "",
		p->total_bytes ? str_human_bytes(p->total_bytes, total) : "");
}

void progress_done(struct progress *p)
{
	if (p->shown)
		fputs("\r\033[K", stderr);
	p->shown = false;
}
