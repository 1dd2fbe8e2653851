/* SPDX-License-Identifier: Apache-2.0 */
#include "image/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "image/bundle_archive.h"
#include "image/unpack_path.h"
#include "util/err.h"
#include "util/io.h"
#include "util/linux.h"
#include "util/mem.h"
#include "util/str.h"

#define LINKS_MAX 16

struct bundle_entry *bundle_find(struct bundle *b, const char *name)
{
	/* from the end: of two entries of one name the later counts, as in any tar */
	for (int hops = 0; hops < LINKS_MAX; hops++) {
		struct bundle_entry *e = NULL;

		for (size_t i = b->count; i-- > 0 && !e;)
			if (!strcmp(b->entries[i].name, name))
				e = &b->entries[i];
		if (!e || !e->link)
			return e;
		name = e->link;
	}
	return NULL;
}

struct bundle_entry *bundle_add(struct bundle *b, const char *name)
{
	struct bundle_entry e = { .name = strdup(name) };

	if (!e.name || mem_grow(&b->entries, b->count, sizeof(e)) < 0) {
		free(e.name);
		return NULL;
	}
	b->entries[b->count] = e;
	return &b->entries[b->count++];
}

static int open_in_dir(struct bundle *b, const char *name)
{
	int fd = sys_openat2(b->fd, name, O_RDONLY | O_CLOEXEC, 0,
			     RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);

	return fd < 0 ? -errno : fd;
}

bool bundle_has(struct bundle *b, const char *name)
{
	int fd;

	if (!b->is_dir)
		return bundle_find(b, name);
	fd = open_in_dir(b, name);
	if (fd < 0)
		return false;
	close(fd);
	return true;
}

static int absent(const char *name, struct err *err)
{
	char quoted[200];

	return err_set(err, ENOENT, "%s is not in it", str_quote(name, quoted, sizeof(quoted)));
}

static int read_document(int fd, uint64_t offset, uint64_t size, size_t max, char **ret,
			 size_t *ret_len)
{
	_cleanup_free_ char *bytes = NULL;
	size_t done = 0;

	if (size > max)
		return -EFBIG;
	bytes = malloc((size_t)size + 1);
	if (!bytes)
		return -ENOMEM;
	while (done < size) {
		ssize_t r = pread(fd, bytes + done, (size_t)size - done, (off_t)(offset + done));

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			return -EBADMSG;
		done += (size_t)r;
	}
	bytes[done] = 0;
	*ret = TAKE_PTR(bytes);
	*ret_len = done;
	return 0;
}

int bundle_document(struct bundle *b, const char *name, size_t max, char **ret, size_t *ret_len,
		    struct err *err)
{
	_cleanup_close_ int file = -EBADF;
	char clean[PATH_MAX];
	struct bundle_entry *e = NULL;
	struct stat st;
	int r = path_clean(name, clean, err);

	if (r < 0)
		return r;
	if (b->is_dir) {
		file = open_in_dir(b, clean);
		if (file == -ENOENT)
			return absent(name, err);
		if (file < 0 || fstat(file, &st) < 0)
			return err_sys(err, file < 0 ? -file : errno, "open %s", name);
		r = S_ISREG(st.st_mode)
			    ? read_document(file, 0, (uint64_t)st.st_size, max, ret, ret_len)
			    : -EINVAL;
	} else {
		e = bundle_find(b, clean);
		if (!e)
			return absent(name, err);
		if (!b->one_pass) {
			r = read_document(b->fd, e->offset, e->size_bytes, max, ret, ret_len);
		} else if (!e->bytes || e->bytes_len > max) {
			r = -EFBIG;
		} else {
			*ret = memcpy(malloc(e->bytes_len + 1), e->bytes, e->bytes_len + 1);
			*ret_len = e->bytes_len;
		}
	}
	if (r == -EFBIG)
		return err_set(err, EFBIG, "%s is larger than %zu bytes", name, max);
	return r < 0 ? err_sys(err, -r, "read %s", name) : 0;
}

/* Stages from where a file or a part of the archive begins. */
static int stage_range(struct bundle *b, int fd, uint64_t offset, uint64_t size, struct layer *ret,
		       struct err *err)
{
	struct layer_options options = { b->tmp_fd, b->next_layer++, &b->progress };
	struct fd_stream s;

	if (lseek(fd, (off_t)offset, SEEK_SET) < 0)
		return err_sys(err, errno, "seek");
	fd_stream_init(&s, fd, size);
	posix_fadvise(fd, (off_t)offset, (off_t)MIN(size, (uint64_t)INT64_MAX),
		      POSIX_FADV_SEQUENTIAL);
	return layer_stage(&s.stream, &options, ret, err);
}

int bundle_layer(struct bundle *b, const char *name, struct layer *ret, struct err *err)
{
	_cleanup_close_ int file = -EBADF;
	char clean[PATH_MAX];
	struct bundle_entry *e;
	int r = path_clean(name, clean, err);

	if (r < 0)
		return r;
	e = bundle_find(b, clean);
	if (e && e->is_staged) {
		*ret = e->layer;
		return 0;
	}
	if (e && e->why) {
		*err = *e->why;
		return err_wrap(err, "layer %s", name);
	}
	if (b->is_dir) {
		file = open_in_dir(b, clean);
		if (file == -ENOENT)
			return absent(name, err);
		e = file < 0 ? NULL : bundle_add(b, clean);
		if (!e)
			return err_sys(err, file < 0 ? -file : ENOMEM, "open %s", name);
		r = stage_range(b, file, 0, UINT64_MAX, &e->layer, err);
	} else if (!e) {
		return absent(name, err);
	} else if (b->one_pass) {
		return err_set(err, EBADMSG, "layer %s is not a tar archive", name);
	} else {
		r = stage_range(b, b->fd, e->offset, e->size_bytes, &e->layer, err);
	}
	if (r < 0)
		return err_wrap(err, "layer %s", name);
	e->is_staged = true;
	*ret = e->layer;
	return 0;
}

int bundle_open(const char *path, int tmp_fd, bool quiet, struct bundle *ret, struct err *err)
{
	struct bundle *b = ret;
	struct stat st;
	int r;

	*b = (struct bundle){ .fd = -EBADF, .tmp_fd = tmp_fd };
	b->name = strdup(path ? path : "standard input");
	if (!b->name)
		return err_sys(err, ENOMEM, "open");
	if (!path && isatty(STDIN_FILENO))
		return err_set(err, EINVAL,
			       "standard input is a terminal: give an archive with -i FILE or "
			       "through a pipe");
	b->fd = path ? open(path, O_RDONLY | O_CLOEXEC) : fcntl(0, F_DUPFD_CLOEXEC, 3);
	if (b->fd < 0 || fstat(b->fd, &st) < 0)
		return err_sys(err, errno, "open %s", b->name);
	progress_init(&b->progress, "Loading", S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0,
		      quiet);
	b->is_dir = S_ISDIR(st.st_mode);
	if (b->is_dir)
		return 0;
	r = bundle_archive_read(b, S_ISREG(st.st_mode), err);
	return r < 0 ? err_wrap(err, "%s", b->name) : 0;
}

void bundle_done(struct bundle *b)
{
	for (size_t i = 0; i < b->count; i++) {
		free(b->entries[i].name);
		free(b->entries[i].link);
		free(b->entries[i].bytes);
		free(b->entries[i].why);
	}
	free(b->entries);
	free(b->name);
	progress_done(&b->progress);
	fd_close(b->fd);
	*b = (struct bundle){ .fd = -EBADF };
}
