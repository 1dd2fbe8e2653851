/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Staging a layer: every compression gives the same diffID and files, damage of any kind is
 * noticed, and a failure leaves nothing in the temporary directory.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../unit/tap.h"
#include "../unit/tarball.h"
#include "image/layer.h"
#include "util/err.h"
#include "util/io.h"
#include "util/mem.h"

static char dir[] = "/tmp/proa-test-layer-XXXXXX";
static int tmp_fd;
static char want_diff_id[DIGEST_LEN + 1];

/* The archive, in the file "tar"; a megabyte, so that buffers wrap. */
static void write_tar(void)
{
	struct str_buf b = { 0 };
	static char text[100001];
	uint32_t random = 1;

	for (int i = 0; i < 10; i++) {
		char name[16];

		for (size_t j = 0; j < sizeof(text) - 1; j++)
			text[j] = (char)('a' + (random = random * 1103515245 + 12345) / 65536 % 26);
		snprintf(name, sizeof(name), "file-%d", i);
		tarball_file(&b, name, text);
	}
	tarball_end(&b);
	io_write_file(AT_FDCWD, "tar", b.data, b.len, 0644, 0);
	digest_of(b.data, b.len, want_diff_id);
	str_buf_done(&b);
}

static bool is_empty(void)
{
	DIR *d = opendir("tmp");
	int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n == 2;
}

static int stage(const char *file, struct layer *layer, struct err *err)
{
	_cleanup_close_ int fd = open(file, O_RDONLY);
	struct layer_options options = { .tmp_fd = tmp_fd };
	struct fd_stream s;

	fd_stream_init(&s, fd, UINT64_MAX);
	return layer_stage(&s.stream, &options, layer, err);
}

static void good(const char *command, enum compression c)
{
	struct err err = ERR_INIT;
	struct layer layer = { 0 };
	struct stat st;

	if (system(command) != 0) {
		skip_one(command);
		return;
	}
	ok_int(stage("packed", &layer, &err), 0, "%s: %s", command, err.msg);
	ok_int(layer.compression, c, "… its compression");
	ok_str(layer.diff_id, want_diff_id, "… its diffID");
	ok_int(layer.unpacked_bytes, 1000000, "… its size");
	ok(stat("tmp/layer-0/diff/file-9", &st) == 0 && st.st_size == 100000, "… its files");
	ok(stat("tmp/blob-0", &st) == 0 && (uint64_t)st.st_size == layer.blob_bytes, "… its blob");
	layer_discard(tmp_fd, &layer);
	ok(is_empty(), "… and away");
}

static void bad(const char *command, const char *says)
{
	struct err err = ERR_INIT;
	struct layer layer;
	int r;

	if (system(command) != 0) {
		skip_one(command);
		return;
	}
	r = stage("packed", &layer, &err);
	ok(r < 0 && strstr(err.msg, says), "%s: %s", command, r < 0 ? err.msg : "accepted");
	ok(is_empty(), "… leaves nothing");
}

static void test_interruption(void)
{
	struct err err = ERR_INIT;
	struct layer layer;

	stream_interrupted = 1;
	ok_int(stage("tar", &layer, &err), -EINTR, "an interruption: %s", err.msg);
	ok(is_empty(), "… leaves nothing");
	stream_interrupted = 0;
}

static void test_limit(void)
{
	setenv("PROA_MAX_LAYER_BYTES", "64k", 1);
	bad("gzip -9c tar >packed", "limit");
	bad("head -c 100M /dev/zero | gzip -9c >packed", "limit");
	setenv("PROA_MAX_LAYER_BYTES", "lots", 1);
	bad("cp tar packed", "PROA_MAX_LAYER_BYTES=lots");
	unsetenv("PROA_MAX_LAYER_BYTES");
}

int main(void)
{
	if (!mkdtemp(dir) || chdir(dir) < 0 || mkdir("tmp", 0755) < 0)
		return 1;
	tmp_fd = open("tmp", O_RDONLY | O_DIRECTORY);
	write_tar();
	good("cp tar packed", COMPRESSION_NONE);
	good("gzip -c tar >packed", COMPRESSION_GZIP);
	good("(head -c 5000 tar | gzip -c; tail -c +5001 tar | gzip -c) >packed", COMPRESSION_GZIP);
	good("(gzip -c tar; gzip -c </dev/null) >packed", COMPRESSION_GZIP);
	good("zstd -qc tar >packed", COMPRESSION_ZSTD);
	good("(head -c 5000 tar | zstd -qc; tail -c +5001 tar | zstd -qc) >packed",
	     COMPRESSION_ZSTD);
	good("xz -c tar >packed", COMPRESSION_OTHER);
	good("bzip2 -c tar >packed", COMPRESSION_OTHER);
	bad("gzip -c tar | head -c 20000 >packed", "gzip stream ends too early");
	bad("(gzip -c tar; echo garbage) >packed", "gzip");
	bad("(gzip -c tar | head -c -8; printf 12345678) >packed", "gzip stream is damaged");
	bad("zstd -qc tar | head -c 500 >packed", "zstd stream ends too early");
	bad("(zstd -qc tar; echo garbage) >packed", "zstd");
	bad("xz -c tar | head -c 2000 >packed", "");
	bad("head -c 300000 tar >packed", "file-2");
	bad("head -c 3000 /dev/urandom >packed", "");
	test_limit();
	test_interruption();
	close(tmp_fd);
	io_remove_tree(AT_FDCWD, dir);
	return tap_done();
}
