/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ownership in C: cleanup attributes, and TAKE_* to hand a thing over.
 *
 *     _cleanup_free_ char *path = NULL;
 *     _cleanup_close_ int fd = -EBADF;
 *     ...
 *     *ret_fd = TAKE_FD(fd);
 */
#ifndef PROA_UTIL_MEM_H
#define PROA_UTIL_MEM_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)     ((a) < (b) ? (a) : (b))
#define MAX(a, b)     ((a) > (b) ? (a) : (b))

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#define _cleanup_(f) __attribute__((cleanup(f)))
#define _unused_     __attribute__((unused))

static inline void mem_freep(void *p)
{
	void *v;

	memcpy(&v, p, sizeof(v));
	free(v);
}

static inline void fd_closep(const int *fd)
{
	if (*fd >= 0) {
		int saved = errno;

		close(*fd);
		errno = saved;
	}
}

static inline void file_closep(FILE **f)
{
	if (*f)
		fclose(*f);
}

#define _cleanup_free_	_cleanup_(mem_freep)
#define _cleanup_close_ _cleanup_(fd_closep)
#define _cleanup_file_	_cleanup_(file_closep)

#define TAKE_PTR(p)                                                                                \
	({                                                                                         \
		__typeof__(p) _taken = (p);                                                        \
		(p) = NULL;                                                                        \
		_taken;                                                                            \
	})

#define TAKE_FD(fd)                                                                                \
	({                                                                                         \
		int _taken = (fd);                                                                 \
		(fd) = -EBADF;                                                                     \
		_taken;                                                                            \
	})

/* Closes @fd if it is open and returns -EBADF: `fd = fd_close(fd);`. errno is kept. */
static inline int fd_close(int fd)
{
	fd_closep(&fd);
	return -EBADF;
}

/* Grows *array (elements of @size bytes, @count in use) so that one more fits. Returns 0 or
 * -ENOMEM. */
static inline int mem_grow(void *array, size_t count, size_t size)
{
	void *old, *grown;

	/* capacities are the powers of two: a count that is one is a full array */
	if (count && (count & (count - 1)))
		return 0;
	memcpy(&old, array, sizeof(old));
	grown = reallocarray(old, count ? count * 2 : 1, size);
	if (!grown)
		return -ENOMEM;
	memcpy(array, &grown, sizeof(grown));
	return 0;
}

/* Frees a NULL-terminated vector and its strings. */
static inline void strv_free(char **v)
{
	if (!v)
		return;
	for (char **p = v; *p; p++)
		free(*p);
	free(v);
}

static inline void strv_freep(char ***v)
{
	strv_free(*v);
}
#define _cleanup_strv_ _cleanup_(strv_freep)

#endif
