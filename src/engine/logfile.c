/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/logfile.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include "util/err.h"
#include "util/io.h"
#include "util/mem.h"
#include "util/str.h"

#define RECORD_TEXT_MAX 16384
#define RECORDS_A_WRITE 64
#define HEAD_MAX	64
#define TIME_LEN	30 /* 2026-11-23T10:00:00.123456789Z */

int log_file_open(const char *dir, struct log_file *ret, struct err *err)
{
	_cleanup_free_ char *path = str_printf("%s/" LOG_NAME, dir);
	int fd = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;

	if (fd < 0)
		return err_sys(err, errno, "open the log in %s", dir);
	*ret = (struct log_file){ .fd = fd };
	return 0;
}

void log_file_done(struct log_file *l)
{
	l->fd = fd_close(l->fd);
}

static void stamp(char out[TIME_LEN + 1])
{
	struct timespec now;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(out, 21, "%Y-%m-%dT%H:%M:%S.", &tm);
	snprintf(out + 20, TIME_LEN + 1 - 20, "%09ldZ", now.tv_nsec);
}

/* Records are put together from three pieces each and written with one writev(2) for many. */
void log_file_write(struct log_file *l, enum stream stream, const void *bytes, size_t n)
{
	char full[HEAD_MAX], partial[HEAD_MAX], time[TIME_LEN + 1];
	struct iovec iov[RECORDS_A_WRITE * 3];
	const char *p = bytes, *end = p + n, *name = stream == STREAM_STDERR ? "stderr" : "stdout";
	int head_len;

	stamp(time);
	head_len = snprintf(full, sizeof(full), "%s %s F ", time, name);
	snprintf(partial, sizeof(partial), "%s %s P ", time, name);
	while (p < end && !l->failed) {
		int count = 0;
		size_t total = 0;

		while (p < end && count < RECORDS_A_WRITE * 3) {
			size_t left = MIN((size_t)(end - p), (size_t)RECORD_TEXT_MAX);
			const char *newline = memchr(p, '\n', left);
			size_t text = newline ? (size_t)(newline - p) : left;

			iov[count++] = (struct iovec){ newline ? full : partial, (size_t)head_len };
			iov[count++] = (struct iovec){ (void *)(uintptr_t)p, text };
			iov[count++] = (struct iovec){ (void *)(uintptr_t) "\n", 1 };
			total += (size_t)head_len + text + 1;
			p += text + (newline ? 1 : 0);
		}
		if (writev(l->fd, iov, count) != (ssize_t)total)
			l->failed = true;
	}
}

/* ---- reading -------------------------------------------------------------------------------- */

struct record {
	const char *time, *text;
	size_t text_len;
	bool is_stderr, partial;
};

/* Cuts one record off; false when there is no whole line (yet) or it is not a record. */
static bool next_record(const char **p, const char *end, struct record *r)
{
	const char *newline = memchr(*p, '\n', (size_t)(end - *p));
	const char *s = *p;

	if (!newline)
		return false;
	*p = newline + 1;
	memset(r, 0, sizeof(*r));
	if (newline - s < TIME_LEN + 10 || s[TIME_LEN] != ' ')
		return true; /* damaged by a full disk: an empty record */
	r->time = s;
	r->is_stderr = !strncmp(s + TIME_LEN + 1, "stderr ", 7);
	r->partial = s[TIME_LEN + 8] == 'P';
	r->text = s + TIME_LEN + 10;
	r->text_len = (size_t)(newline - r->text);
	return true;
}

static int64_t record_seconds(const struct record *r)
{
	struct tm tm = { 0 };

	return strptime(r->time, "%Y-%m-%dT%H:%M:%S", &tm) ? (int64_t)timegm(&tm) : 0;
}

static void print_record(const struct record *r, const struct log_reading *o, bool *continues)
{
	FILE *out = r->is_stderr ? stderr : stdout;
	bool *cont = &continues[r->is_stderr];
	int64_t at;

	if (!r->time)
		return;
	if (o->since_s || o->until_s) {
		at = record_seconds(r);
		if ((o->since_s && at < o->since_s) || (o->until_s && at > o->until_s))
			return;
	}
	if (o->timestamps && !*cont)
		fprintf(out, "%.*s ", TIME_LEN, r->time);
	fwrite(r->text, 1, r->text_len, out);
	if (!r->partial)
		fputc('\n', out);
	*cont = r->partial;
}

/* Where the last @lines lines start: found from the end, a block at a time. */
static off_t find_tail(int fd, off_t size, int64_t lines)
{
	char buf[65536];
	off_t at = size;
	int64_t seen = 0;

	if (lines < 0)
		return 0;
	if (lines == 0)
		return size;
	while (at > 0) {
		size_t n = (size_t)MIN(at, (off_t)sizeof(buf));

		at -= (off_t)n;
		if (pread(fd, buf, n, at) != (ssize_t)n)
			return 0;
		for (size_t i = n; i-- > 0;)
			/* the newline that ends the last record does not count; a record "P" is no
			 * line */
			if (buf[i] == '\n' && at + (off_t)i + 1 < size && ++seen == lines)
				return at + (off_t)i + 1;
	}
	return 0;
}

/* Prints the whole records from @*at on; @*at moves past them. */
static int print_from(int fd, off_t *at, const struct log_reading *o, bool *continues,
		      struct err *err)
{
	size_t cap = 1 << 20;
	_cleanup_free_ char *buf = malloc(cap);

	if (!buf)
		return err_set(err, ENOMEM, "out of memory");
	for (;;) {
		ssize_t n = pread(fd, buf, cap, *at);
		const char *p = buf;
		struct record r;

		if (n < 0)
			return err_sys(err, errno, "read the log");
		while (next_record(&p, buf + n, &r))
			print_record(&r, o, continues);
		*at += p - buf;
		if (p == buf)
			break;
	}
	fflush(stdout);
	fflush(stderr);
	return ferror(stdout) ? err_set(err, EPIPE, "write to standard output") : 0;
}

int log_file_print(const char *dir, const struct log_reading *o, struct err *err)
{
	_cleanup_free_ char *path = str_printf("%s/" LOG_NAME, dir);
	_cleanup_close_ int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1, watch = -EBADF;
	bool continues[2] = { false, false }, alive = true;
	struct stat st;
	off_t at;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return errno == ENOENT ? 0 : err_sys(err, errno, "open the log");
	watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (o->follow && inotify_add_watch(watch, path, IN_MODIFY | IN_DELETE_SELF | IN_ATTRIB) < 0)
		return err_sys(err, errno, "follow the log");
	at = find_tail(fd, st.st_size, o->tail);
	r = print_from(fd, &at, o, continues, err);
	while (r == 0 && o->follow && alive) {
		struct pollfd p = { .fd = watch, .events = POLLIN };
		char events[4096];

		/* written to: at once; ended without a word: noticed within a second */
		if (poll(&p, 1, 1000) > 0)
			(void)!read(watch, events, sizeof(events));
		alive = o->alive(o->data);
		r = print_from(fd, &at, o, continues, err);
	}
	return r;
}
