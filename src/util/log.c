/* SPDX-License-Identifier: Apache-2.0 */
#include "util/log.h"

#include <stdarg.h>
#include <stdio.h>

static bool verbose; /* the one mutable global: the log level */

void log_set_verbose(bool on)
{
	verbose = on;
}

bool log_is_verbose(void)
{
	return verbose;
}

static void line(const char *prefix, const char *fmt, va_list ap)
{
	char text[1024];

	/* one write per line, so that lines of several processes do not mix */
	vsnprintf(text, sizeof(text), fmt, ap);
	fprintf(stderr, "%s%s\n", prefix, text);
}

void log_verbose(const char *fmt, ...)
{
	va_list ap;

	if (!verbose)
		return;
	va_start(ap, fmt);
	line("proa: ", fmt, ap);
	va_end(ap);
}

void log_warning(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	line("proa: warning: ", fmt, ap);
	va_end(ap);
}
