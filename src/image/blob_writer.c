/* SPDX-License-Identifier: Apache-2.0 */
#include "image/blob_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include "util/io.h"
#include "util/mem.h"

#define BUFFER_BYTES (1u << 20)
#define ALIGNMENT    4096

int blob_writer_open(struct blob_writer *w, int dir_fd, const char *name)
{
	int flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;

	*w = (struct blob_writer){ .fd = openat(dir_fd, name, flags, 0644) };
	if (w->fd < 0)
		return -errno;
	/* the first full buffer decides: what is smaller is cheaper the usual way */
	w->buf = aligned_alloc(ALIGNMENT, BUFFER_BYTES);
	return w->buf ? 0 : -ENOMEM;
}

static void set_direct(struct blob_writer *w, bool on)
{
	int flags = fcntl(w->fd, F_GETFL);

	flags = on ? flags | O_DIRECT : flags & ~O_DIRECT;
	w->direct = flags >= 0 && fcntl(w->fd, F_SETFL, flags) == 0 && on;
}

/* A full buffer, at an aligned offset. */
static int flush_full(struct blob_writer *w)
{
	int r;

	if (!w->direct && lseek(w->fd, 0, SEEK_CUR) == 0)
		set_direct(w, true);
	r = io_write_full(w->fd, w->buf, w->len);
	if (r == -EINVAL && w->direct) { /* the file system took the flag and not the write */
		set_direct(w, false);
		r = io_write_full(w->fd, w->buf, w->len);
	}
	w->len = 0;
	return r;
}

int blob_writer_add(struct blob_writer *w, const void *bytes, size_t n)
{
	const uint8_t *p = bytes;

	while (n) {
		size_t take = MIN(n, BUFFER_BYTES - w->len);

		memcpy(w->buf + w->len, p, take);
		w->len += take;
		p += take;
		n -= take;
		if (w->len == BUFFER_BYTES) {
			int r = flush_full(w);

			if (r < 0)
				return r;
		}
	}
	return 0;
}

int blob_writer_finish(struct blob_writer *w)
{
	if (w->direct)
		set_direct(w, false);
	return w->len ? io_write_full(w->fd, w->buf, w->len) : 0;
}

void blob_writer_done(struct blob_writer *w)
{
	fd_close(w->fd);
	free(w->buf);
	*w = (struct blob_writer){ .fd = -EBADF };
}
