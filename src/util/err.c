/* SPDX-License-Identifier: Apache-2.0 */
#include "util/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void fill(struct err *e, int errnum, int exit_code, const char *fmt, va_list ap)
{
	if (!e)
		return;
	e->errnum = errnum;
	e->exit_code = exit_code;
	vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
}

int err_set(struct err *e, int errnum, const char *fmt, ...)
{
	va_list ap;

	if (errnum <= 0)
		errnum = EIO;
	va_start(ap, fmt);
	fill(e, errnum, EXIT_PROA, fmt, ap);
	va_end(ap);
	return -errnum;
}

int err_sys(struct err *e, int errnum, const char *fmt, ...)
{
	va_list ap;
	size_t n;

	if (errnum <= 0)
		errnum = EIO;
	va_start(ap, fmt);
	fill(e, errnum, EXIT_PROA, fmt, ap);
	va_end(ap);
	if (e) {
		n = strlen(e->msg);
		snprintf(e->msg + n, sizeof(e->msg) - n, ": %s", strerror(errnum));
	}
	return -errnum;
}

int err_exit(struct err *e, int errnum, int exit_code, const char *fmt, ...)
{
	va_list ap;

	if (errnum <= 0)
		errnum = EIO;
	va_start(ap, fmt);
	fill(e, errnum, exit_code, fmt, ap);
	va_end(ap);
	return -errnum;
}

int err_wrap(struct err *e, const char *fmt, ...)
{
	char tail[ERR_MSG_MAX];
	va_list ap;
	size_t at;
	int n;

	if (!e)
		return -EIO;
	memcpy(tail, e->msg, sizeof(tail));
	va_start(ap, fmt);
	n = vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n + sizeof(": ") > sizeof(e->msg))
		return e->errnum > 0 ? -e->errnum : -EIO;
	/* what does not fit is cut at the end: the start of a message says most */
	memcpy(e->msg + n, ": ", 2);
	at = (size_t)n + 2;
	tail[sizeof(e->msg) - at - 1] = 0;
	memcpy(e->msg + at, tail, strlen(tail) + 1);
	return e->errnum > 0 ? -e->errnum : -EIO;
}
