/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What engines read: a line for each message in the file of --log, as text or (--log-format json)
 * as an object with level, msg and time. containerd's shim shows the last one whose level is
 * "error". Errors and warnings go to standard error as well, for a person who typed the command.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "runtime/runtime.h"
#include "util/err.h"
#include "util/json_write.h"
#include "util/mem.h"
#include "util/str.h"

char *runtime_time_text(int64_t seconds, long nanoseconds, char buf[40])
{
	time_t t = (time_t)seconds;
	struct tm tm;
	size_t n;

	gmtime_r(&t, &tm);
	n = strftime(buf, 40, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(buf + n, 40 - n, ".%09ldZ", nanoseconds);
	return buf;
}

static void write_line(const struct runtime *rt, const char *level, const char *message)
{
	_cleanup_close_ int fd = -EBADF;
	bool json = rt->log_format && !strcmp(rt->log_format, "json");
	struct json_write w = { 0 };
	struct timespec now;
	char when[40];

	if (!rt->log_path)
		return;
	fd = open(rt->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (fd < 0)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	runtime_time_text(now.tv_sec, now.tv_nsec, when);
	if (json) {
		json_write_object(&w);
		json_write_member(&w, "level", level);
		json_write_member(&w, "msg", message);
		json_write_member(&w, "time", when);
		json_write_close(&w, '}');
		str_buf_puts(&w.out, "\n");
	} else {
		str_buf_printf(&w.out, "time=\"%s\" level=%s msg=", when, level);
		json_write_quoted(&w.out, message);
		str_buf_puts(&w.out, "\n");
	}
	/* one write(2): lines of two processes do not mix */
	if (!w.out.failed)
		(void)!write(fd, w.out.data, w.out.len);
	str_buf_done(&w.out);
}

void runtime_error(const struct runtime *rt, const char *message)
{
	char line[ERR_MSG_MAX * 4];

	write_line(rt, "error", message);
	/* what an image said must not move the cursor */
	dprintf(STDERR_FILENO, "proa-oci: %s\n", str_quote(message, line, sizeof(line)));
}

void runtime_warning(const struct runtime *rt, const char *fmt, ...)
{
	char message[ERR_MSG_MAX], line[ERR_MSG_MAX * 4];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	write_line(rt, "warning", message);
	/* with a log file there is somebody who reads it; standard error is the container's then */
	if (!rt->log_path)
		dprintf(STDERR_FILENO, "proa-oci: warning: %s\n",
			str_quote(message, line, sizeof(line)));
}

void runtime_debug(const struct runtime *rt, const char *fmt, ...)
{
	char message[ERR_MSG_MAX];
	va_list ap;

	if (!rt->debug)
		return;
	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	write_line(rt, "debug", message);
	if (!rt->log_path)
		dprintf(STDERR_FILENO, "proa-oci: debug: %s\n", message);
}
