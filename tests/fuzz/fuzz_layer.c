/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A layer from anyone, through decompression and unpacking, into a directory beside which a file
 * must stay as it is.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "image/layer.h"
#include "util/err.h"
#include "util/io.h"
#include "util/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static char dir[] = "/tmp/proa-fuzz-layer-XXXXXX";
static int dir_fd = -1, tmp_fd;

static void tidy_up(void)
{
	io_remove_tree(AT_FDCWD, dir);
}

static void set_up(void)
{
	setenv("PROA_MAX_LAYER_BYTES", "1m", 1);
	if (!mkdtemp(dir))
		abort();
	atexit(tidy_up);
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	mkdirat(dir_fd, "tmp", 0755);
	tmp_fd = openat(dir_fd, "tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	io_write_file(dir_fd, "outside", "untouched", 9, 0600, 0);
}

static void check_outside(void)
{
	_cleanup_free_ char *text = NULL;
	struct stat st;

	if (io_read_file(dir_fd, "outside", 100, &text, NULL) < 0 || strcmp(text, "untouched") ||
	    fstatat(dir_fd, "outside", &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_nlink != 1 ||
	    (st.st_mode & 07777) != 0600)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_close_ int fd = memfd_create("layer", MFD_CLOEXEC);
	struct layer_options options = { 0 };
	struct err err = ERR_INIT;
	struct layer layer;
	struct fd_stream s;

	if (dir_fd < 0)
		set_up();
	options.tmp_fd = tmp_fd;
	if (fd < 0 || io_write_full(fd, data, n) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		abort();
	fd_stream_init(&s, fd, UINT64_MAX);
	if (layer_stage(&s.stream, &options, &layer, &err) == 0)
		layer_discard(tmp_fd, &layer);
	/* nothing may be left, after success or failure */
	if (unlinkat(dir_fd, "tmp", AT_REMOVEDIR) < 0 || mkdirat(dir_fd, "tmp", 0755) < 0)
		abort();
	close(tmp_fd);
	tmp_fd = openat(dir_fd, "tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	check_outside();
	return 0;
}
