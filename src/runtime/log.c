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

static void format_line(const struct runtime *rt, const char *level, const char *message,
			struct str_buf *ret)
{
	struct json_write w = { 0 };
	struct timespec now;
	char when[40];

	clock_gettime(CLOCK_REALTIME, &now);
	runtime_time_text(now.tv_sec, now.tv_nsec, when);
	if (rt->log_format && !strcmp(rt->log_format, "json")) {
		json_write_object(&w);
		json_write_member(&w, "level", level);
		json_write_member(&w, "msg", message);
		json_write_member(&w, "time", when);
		json_write_close(&w, '}');
	} else {
		str_buf_printf(&w.out, "time=\"%s\" level=%s msg=", when, level);
		json_write_quoted(&w.out, message);
	}
	str_buf_puts(&w.out, "\n");
	*ret = w.out;
}

/*
 * With a log file the line goes there. Errors go to standard error in any case, as a sentence for a
 * person; without a log file, in the format that was asked for.
 */
static void tell(const struct runtime *rt, const char *level, const char *message)
{
	bool json = rt->log_format && !strcmp(rt->log_format, "json");
	char line[ERR_MSG_MAX * 4];
	struct str_buf text = { 0 };
	int fd = -EBADF;

	if (rt->log_path)
		fd = open(rt->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	format_line(rt, level, message, &text);
	/* one write(2): lines of two processes do not mix */
	if (!text.failed && (fd >= 0 || (json && !rt->log_path)))
		(void)!write(fd >= 0 ? fd : STDERR_FILENO, text.data, text.len);
	str_buf_done(&text);
	fd_close(fd);
	/* standard error is the container's as well: with a log file only what ends the command;
	 * what an image said must not move the cursor */
	if (!strcmp(level, "error") ? rt->log_path || !json : !rt->log_path && !json)
		dprintf(STDERR_FILENO, "proa-oci: %s%s%s\n", strcmp(level, "error") ? level : "",
			strcmp(level, "error") ? ": " : "", str_quote(message, line, sizeof(line)));
}

int runtime_log_open(const struct runtime *rt, struct err *err)
{
	_cleanup_close_ int fd = -EBADF;

	if (!rt->log_path)
		return 0;
	fd = open(rt->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	return fd < 0 ? err_sys(err, errno, "--log %s", rt->log_path) : 0;
}

void runtime_error(const struct runtime *rt, const char *message)
{
	tell(rt, "error", message);
}

void runtime_warning(const struct runtime *rt, const char *fmt, ...)
{
	char message[ERR_MSG_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	tell(rt, "warning", message);
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
	tell(rt, "debug", message);
}
