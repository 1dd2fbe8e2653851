/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and writing whole things: descriptors, small files, files that must be whole or absent.
 */
#ifndef PROA_UTIL_IO_H
#define PROA_UTIL_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct err;
struct sockaddr_un;

/* Reads exactly @n bytes unless the end comes first; returns the bytes read or -errno. */
ssize_t io_read_full(int fd, void *buf, size_t n);
/* Writes all @n bytes; 0 or -errno. */
int io_write_full(int fd, const void *buf, size_t n);

/*
 * Reads a whole file of at most @max bytes, relative to @dir_fd (AT_FDCWD allowed). *@ret is
 * NUL-terminated (the NUL is not counted) and the caller's to free. -EFBIG when it is larger.
 */
int io_read_file(int dir_fd, const char *path, size_t max, char **ret, size_t *ret_len);

/* Writes @text to an existing file in one write(2) (cgroup and /proc files). 0 or -errno. */
int io_write_knob(int dir_fd, const char *path, const char *text);

enum io_write_flags {
	IO_DURABLE = 1 << 0,   /* fsync the file and its directory: it must survive a power cut */
	IO_EXCLUSIVE = 1 << 1, /* -EEXIST when the name is there already */
};

/*
 * Puts a file with these bytes under @path, whole or not at all: written to a temporary name in the
 * same directory, then renamed (or linked, IO_EXCLUSIVE). 0 or -errno.
 */
int io_write_file(int dir_fd, const char *path, const void *bytes, size_t n, mode_t mode,
		  unsigned flags);

/* mkdir -p relative to @dir_fd. 0 or -errno. */
int io_mkdir_all(int dir_fd, const char *path, mode_t mode);

/*
 * Removes @name below @dir_fd with all that is in it, without following a symbolic link and without
 * crossing into another mount. Absent is success. 0 or -errno of the first thing that stayed.
 */
int io_remove_tree(int dir_fd, const char *name);

/*
 * The address of the Unix socket @name in a directory, by way of its descriptor: sun_path holds 107
 * bytes, and the state directories of some engines are longer. -1 with errno if the name is, too.
 */
int io_socket_address(int dir_fd, const char *name, struct sockaddr_un *ret);
/* Sends/receives one message with at most one descriptor (SCM_RIGHTS). Received ones are CLOEXEC.
 */
int io_send_fd(int sock, const void *bytes, size_t n, int fd);
ssize_t io_recv_fd(int sock, void *bytes, size_t n, int *ret_fd);

#endif
