/* SPDX-License-Identifier: Apache-2.0 */
/* An image archive from anyone: `proa load` of the bytes, as a file and as a pipe would bring them.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "image/tool.h"
#include "store/store.h"
#include "util/err.h"
#include "util/io.h"
#include "util/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static char dir[] = "/tmp/proa-fuzz-archive-XXXXXX";

static void tidy_up(void)
{
	io_remove_tree(AT_FDCWD, dir);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_close_ int fd = memfd_create("archive", MFD_CLOEXEC);
	static bool ready;
	_cleanup_free_ char *report = NULL;
	struct err err = ERR_INIT;
	struct store store;
	char path[32], root[64];

	if (!ready) {
		setenv("PROA_MAX_LAYER_BYTES", "1m", 1);
		if (!mkdtemp(dir) || !freopen("/dev/null", "w", stderr))
			abort();
		atexit(tidy_up);
		ready = true;
	}
	snprintf(root, sizeof(root), "%s/store", dir);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (fd < 0 || io_write_full(fd, data, n) < 0 || lseek(fd, 0, SEEK_SET) < 0 ||
	    store_open(root, dir, &store, &err) < 0)
		abort();
	image_load(&store, path, true, &report, &err);
	store_done(&store);
	io_remove_tree(AT_FDCWD, root);
	return 0;
}
