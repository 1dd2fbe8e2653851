/* SPDX-License-Identifier: Apache-2.0 */
/* util: strings, sizes, errors, files, processes, signals, the loop. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tap.h"
#include "util/err.h"
#include "util/io.h"
#include "util/loop.h"
#include "util/mem.h"
#include "util/proc.h"
#include "util/signal.h"
#include "util/str.h"

static void test_err(void)
{
	struct err e = ERR_INIT;
	char longer[ERR_MSG_MAX * 2];

	ok_int(err_set(&e, ENOENT, "file \"%s\"", "x"), -ENOENT, "err_set returns -errno");
	ok_str(e.msg, "file \"x\"", "and formats");
	ok_int(err_wrap(&e, "open %d", 7), -ENOENT, "err_wrap keeps the number");
	ok_str(e.msg, "open 7: file \"x\"", "and puts words in front");
	err_sys(&e, EACCES, "read it");
	ok_str(e.msg, "read it: Permission denied", "err_sys adds the system's words");
	ok_int(e.exit_code, 125, "the exit code is proa's own");
	err_exit(&e, ENOENT, EXIT_NOT_FOUND, "no");
	ok_int(e.exit_code, 127, "err_exit sets it");
	memset(longer, 'a', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = 0;
	err_set(&e, EIO, "%s", longer);
	err_wrap(&e, "%s", longer);
	ok_int(strlen(e.msg), ERR_MSG_MAX - 1, "a message too long is cut, not overrun");
	err_set(&e, EIO, "%s", longer);
	err_wrap(&e, "short");
	ok(str_starts(e.msg, "short: aaa") && strlen(e.msg) == ERR_MSG_MAX - 1, "also by err_wrap");
	ok_int(err_set(NULL, 0, "x"), -EIO, "no struct and errno 0 still mean failure");
}

static void test_bytes(void)
{
	static const struct {
		const char *text;
		int result;
		uint64_t bytes;
	} cases[] = {
		{ "0", 0, 0 },
		{ "512", 0, 512 },
		{ "1k", 0, 1024 },
		{ "1K", 0, 1024 },
		{ "2m", 0, 2u << 20 },
		{ "1.5g", 0, 3ull << 29 },
		{ "10mb", 0, 10u << 20 },
		{ "10MiB", 0, 10u << 20 },
		{ "7b", 0, 7 },
		{ "0.5k", 0, 512 },
		{ "1p", 0, 1ull << 50 },
		{ "", -EINVAL, 0 },
		{ "x", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 },
		{ "1x", -EINVAL, 0 },
		{ "1mm", -EINVAL, 0 },
		{ "99999999999g", -ERANGE, 0 },
		{ "18446744073709551616", -ERANGE, 0 },
		{ "16384p", -ERANGE, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t v = 0;
		int r = str_to_bytes(cases[i].text, &v);

		ok(r == cases[i].result && (r < 0 || v == cases[i].bytes), "size \"%s\"",
		   cases[i].text);
	}
}

static void test_human(void)
{
	char b[48];

	ok_str(str_human_bytes(999, b), "999B", "bytes");
	ok_str(str_human_bytes(180400000, b), "180MB", "megabytes as docker prints them");
	ok_str(str_human_bytes(2050000, b), "2.05MB", "few megabytes");
	ok_str(str_human_mib(20u << 20, b), "20.0MiB", "mebibytes");
	ok_str(str_human_ago(100, 100, b), "Less than a second ago", "now");
	ok_str(str_human_ago(100, 101, b), "1 second ago", "one second");
	ok_str(str_human_ago(0, 60, b), "1 minute ago", "a minute");
	ok_str(str_human_ago(0, 86400, b), "24 hours ago", "a day");
	ok_str(str_human_ago(0, 2 * 86400, b), "2 days ago", "days");
	ok_str(str_human_ago(0, 366 * 86400LL, b), "12 months ago", "a year");
}

static void test_strings(void)
{
	const char *const words[] = { "images", "inspect", "import", NULL };
	_cleanup_strv_ char **v = NULL;
	char q[32];
	uint32_t n;

	ok_int(strv_env_set(&v, "A=1"), 0, "set a variable");
	strv_env_set(&v, "AB=2");
	strv_env_set(&v, "A=3");
	ok_int(strv_len(v), 2, "setting it again replaces it");
	ok_str(strv_env_get(v, "A"), "3", "by its whole name");
	ok(!strv_env_get(v, "B"), "an absent one is NULL");
	ok_str(str_nearest("imagse", words), "images", "did you mean");
	ok(!str_nearest("zzzzzzzz", words), "nothing near");
	ok_str(str_quote("a\033[31mb\n", q, sizeof(q)), "a\\x1b[31mb\\x0a",
	       "control characters are shown");
	ok_int(str_to_u32("4294967296", &n), -ERANGE, "a number too large");
	ok_int(str_to_u32("1 ", &n), -EINVAL, "a number with a blank");
	ok_int(signal_parse("SIGTERM"), 15, "a signal by name");
	ok_int(signal_parse("rtmin+3"), 37, "a real-time signal");
	ok_int(signal_parse("65"), -EINVAL, "no such signal");
}

static void test_files(const char *dir)
{
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *text = NULL;
	size_t n;

	ok_int(io_write_file(fd, "f", "one", 3, 0600, 0), 0, "write a file");
	ok_int(io_write_file(fd, "f", "two", 3, 0600, IO_EXCLUSIVE), -EEXIST,
	       "exclusively: it is there");
	ok_int(io_write_file(fd, "f", "three", 5, 0600, IO_DURABLE), 0, "replace it, durably");
	ok_int(io_read_file(fd, "f", 100, &text, &n), 0, "read it");
	ok_str(text, "three", "what was written");
	ok_int(io_read_file(fd, "f", 4, &text, &n), -EFBIG, "larger than the limit");
	ok_int(io_read_file(fd, "absent", 4, &text, &n), -ENOENT, "absent");
	ok_int(io_read_file(fd, ".", 4, &text, &n), -EISDIR, "a directory");
	ok_int(io_mkdir_all(fd, "a/b/c", 0755), 0, "mkdir -p");
	ok_int(io_mkdir_all(fd, "a/b/c", 0755), 0, "again");
	ok_int(io_mkdir_all(fd, "f/x", 0755), -ENOTDIR, "below a file");
	ok_int(symlinkat("/etc", fd, "a/b/out"), 0, "a link out of it");
	ok_int(io_remove_tree(fd, "a"), 0, "remove a tree");
	ok(access("/etc/passwd", F_OK) == 0, "a link in it was not followed");
	ok_int(io_remove_tree(fd, "a"), 0, "removing what is absent is fine");
	ok_int(io_remove_tree(fd, "f"), 0, "remove a file");
}

/* A tree deeper than descriptors and stack would allow for a naive walk. */
static void test_deep_tree(const char *dir)
{
	_cleanup_close_ int top = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int fd = fcntl(top, F_DUPFD_CLOEXEC, 3), made = 0;

	for (; made < 5000; made++) {
		int next;

		if (mkdirat(fd, "d", 0755) < 0)
			break;
		next = openat(fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		close(fd);
		fd = next;
		if (fd < 0)
			break;
	}
	fd_close(fd);
	ok_int(made, 5000, "a tree of 5000 levels");
	ok_int(io_remove_tree(top, "d"), 0, "is removed");
}

struct counter {
	struct loop_watch watch;
	int calls;
	struct loop *loop;
	struct loop_watch *other;
};

static void on_ready(struct loop_watch *w, uint32_t events _unused_)
{
	struct counter *c = container_of(w, struct counter, watch);

	c->calls++;
	loop_remove(c->loop, c->other);
	loop_remove(c->loop, w);
}

static void test_loop(void)
{
	struct loop l;
	struct counter a = { 0 }, b = { 0 };
	int pipe_fds[2];
	_cleanup_close_ int other = -EBADF;

	if (pipe(pipe_fds) < 0 || write(pipe_fds[1], "x", 1) != 1)
		return;
	ok_int(loop_init(&l, NULL), 0, "a loop");
	other = dup(pipe_fds[0]);
	a = (struct counter){ { pipe_fds[0], EPOLLIN, on_ready, false }, 0, &l, &b.watch };
	b = (struct counter){ { other, EPOLLIN, on_ready, false }, 0, &l, &a.watch };
	ok(loop_add(&l, &a.watch) == 0 && loop_add(&l, &b.watch) == 0, "with two watches");
	loop_once(&l, 1000);
	ok_int(a.calls + b.calls, 1, "one that is removed in a round is not called in it");
	loop_done(&l);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}

static void test_proc(void)
{
	uint64_t start = 0;
	int fd;

	ok_int(proc_start_time(getpid(), &start), 0, "our own start time");
	fd = proc_open(getpid(), start);
	ok(fd >= 0, "opens by pid and start time");
	fd_close(fd);
	ok_int(proc_open(getpid(), start + 1), -ESRCH, "another start time is another process");
}

int main(void)
{
	char dir[] = "/tmp/proa-test-XXXXXX";

	if (!mkdtemp(dir))
		return 1;
	test_err();
	test_bytes();
	test_human();
	test_strings();
	test_files(dir);
	test_deep_tree(dir);
	test_loop();
	test_proc();
	rmdir(dir);
	return tap_done();
}
