/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tar writer for what image archives need: short names, regular files and directories, all owned
 * by 0:0 with time 0, so that the same images give the same bytes.
 */
#include "image/save_tar.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "image/progress.h"
#include "image/stream.h"
#include "oci/digest.h"
#include "util/err.h"
#include "util/io.h"
#include "util/mem.h"
#include "util/str.h"

#define BLOCK	   512
#define COPY_BYTES (1u << 20)

/* POSIX.1-1988 ustar */
struct tar_header {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100];
	char magic[6], version[2], uname[32], gname[32], major[8], minor[8], prefix[155], pad[12];
};
_Static_assert(sizeof(struct tar_header) == BLOCK, "a tar header is one block");

static int put(struct sink *s, const void *bytes, size_t n, struct err *err)
{
	int r = io_write_full(s->fd, bytes, n);

	if (r == -EPIPE)
		return err_set(err, EPIPE, "the reader of the archive has gone");
	return r < 0 ? err_sys(err, -r, "write the archive") : 0;
}

static int put_header(struct sink *s, const char *name, char type, uint64_t size, struct err *err)
{
	struct tar_header h = { .magic = "ustar", .version = { '0', '0' }, .type = type };
	unsigned sum = 0;

	if (strlen(name) >= sizeof(h.name))
		return err_set(err, ENAMETOOLONG, "%s is too long a name", name);
	memcpy(h.name, name, strlen(name));
	memcpy(h.mode, type == '5' ? "0000755" : "0000644", 7);
	memcpy(h.uid, "0000000", 7);
	memcpy(h.gid, "0000000", 7);
	memcpy(h.mtime, "00000000000", 11);
	if (size < 8ull << 30) {
		char digits[16];

		snprintf(digits, sizeof(digits), "%011llo", (unsigned long long)size);
		memcpy(h.size, digits, 11);
	} else { /* GNU's base 256, which all readers know */
		h.size[0] = (char)0x80;
		for (int i = 0; i < 8; i++)
			h.size[11 - i] = (char)(size >> (8 * i));
	}
	memset(h.checksum, ' ', sizeof(h.checksum));
	for (size_t i = 0; i < BLOCK; i++)
		sum += ((const uint8_t *)&h)[i];
	snprintf(h.checksum, sizeof(h.checksum), "%06o", sum & 0777777);
	return put(s, &h, BLOCK, err);
}

static int put_padding(struct sink *s, uint64_t size, struct err *err)
{
	static const char zeros[BLOCK];
	size_t over = size % BLOCK;

	return over ? put(s, zeros, BLOCK - over, err) : 0;
}

int sink_directory(struct sink *s, const char *name, struct err *err)
{
	if (!s->is_dir)
		return put_header(s, name, '5', 0, err);
	return mkdirat(s->fd, name, 0755) < 0 ? err_sys(err, errno, "make %s", name) : 0;
}

int sink_bytes(struct sink *s, const char *name, const void *bytes, size_t n, struct err *err)
{
	int r;

	if (s->is_dir) {
		r = io_write_file(s->fd, name, bytes, n, 0644, 0);
		return r < 0 ? err_sys(err, -r, "write %s", name) : 0;
	}
	r = put_header(s, name, '0', n, err);
	if (r == 0)
		r = put(s, bytes, n, err);
	return r < 0 ? r : put_padding(s, n, err);
}

static int copy(struct sink *out, int fd, uint64_t size, EVP_MD_CTX *hash, struct err *err)
{
	_cleanup_free_ uint8_t *buf = malloc(COPY_BYTES);

	if (!buf)
		return err_sys(err, ENOMEM, "copy");
	while (size) {
		ssize_t n = io_read_full(fd, buf, (size_t)MIN(size, (uint64_t)COPY_BYTES));
		int r;

		if (stream_interrupted)
			return err_set(err, EINTR, "interrupted");
		if (n < 0)
			return err_sys(err, (int)-n, "read");
		if (n == 0)
			return err_set(err, EBADMSG, "it is shorter than it should be");
		EVP_DigestUpdate(hash, buf, (size_t)n);
		r = put(out, buf, (size_t)n, err);
		if (r < 0)
			return r;
		progress_add(out->progress, (uint64_t)n);
		size -= (uint64_t)n;
	}
	return 0;
}

static int copy_verified(struct sink *out, int fd, uint64_t size, const char *digest,
			 struct err *err)
{
	EVP_MD_CTX *hash = EVP_MD_CTX_new();
	uint8_t bytes[EVP_MAX_MD_SIZE];
	char hex[2 * EVP_MAX_MD_SIZE + 1];
	unsigned n;
	int r;

	if (!hash || !EVP_DigestInit_ex(hash, EVP_sha256(), NULL)) {
		EVP_MD_CTX_free(hash);
		return err_sys(err, ENOMEM, "copy");
	}
	r = copy(out, fd, size, hash, err);
	EVP_DigestFinal_ex(hash, bytes, &n);
	EVP_MD_CTX_free(hash);
	if (r < 0)
		return r;
	str_hex(bytes, n, hex);
	if (strcmp(hex, digest_hex(digest)) != 0)
		return err_set(err, EBADMSG, "it is damaged: its digest is sha256:%s", hex);
	return 0;
}

int sink_blob(struct sink *s, const char *name, int fd, uint64_t size, const char *digest,
	      struct err *err)
{
	int r;

	if (s->is_dir) {
		_cleanup_close_ int file = openat(
			s->fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
		struct sink one = { .fd = file, .progress = s->progress };

		if (file < 0)
			return err_sys(err, errno, "write %s", name);
		return copy_verified(&one, fd, size, digest, err);
	}
	r = put_header(s, name, '0', size, err);
	if (r == 0)
		r = copy_verified(s, fd, size, digest, err);
	return r < 0 ? r : put_padding(s, size, err);
}

int sink_end(struct sink *s, struct err *err)
{
	static const char zeros[2 * BLOCK];

	return s->is_dir ? 0 : put(s, zeros, sizeof(zeros), err);
}
