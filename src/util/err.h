/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors as values.
 *
 * A fallible function returns 0 (or a count) on success and a negative errno on failure; its last
 * parameter is a `struct err *` that it fills with one line for a person: the object, the reason
 * and, where there is one, what to try. The struct has a fixed size and owns no memory, so a child
 * process can write it down a pipe as it is, and nothing has to be freed.
 *
 * Who knows the noun adds it: err_wrap(e, "mount volume \"%s\"", name) puts it in front.
 */
#ifndef PROA_UTIL_ERR_H
#define PROA_UTIL_ERR_H

#include <stdbool.h>
#include <stdint.h>

#define ERR_MSG_MAX 768

/* Exit codes that Docker's users rely on. */
enum {
	EXIT_PROA = 125,       /* proa itself failed */
	EXIT_CANNOT_RUN = 126, /* the command was found and cannot be executed */
	EXIT_NOT_FOUND = 127,  /* the command was not found */
};

struct err {
	int32_t errnum;	   /* positive errno, 0 when nothing is set */
	int32_t exit_code; /* exit code of the command that reports it */
	char msg[ERR_MSG_MAX];
};

#define ERR_INIT                                                                                   \
	{                                                                                          \
		.errnum = 0, .exit_code = EXIT_PROA                                                \
	}

/*
 * Fills @e (may be NULL) with the formatted line, exactly as given, and returns -@errnum.
 * @errnum must be positive; 0 is taken as EIO so that a failure never looks like success.
 */
int err_set(struct err *e, int errnum, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* As err_set(), and appends ": " and the system's words for @errnum. */
int err_sys(struct err *e, int errnum, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* As err_set(), and sets the exit code (126, 127) that the command must end with. */
int err_exit(struct err *e, int errnum, int exit_code, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Puts "fmt: " in front of the message. Returns -errnum of @e, so that `return err_wrap(…)` works.
 */
int err_wrap(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static inline void err_clear(struct err *e)
{
	if (e) {
		e->errnum = 0;
		e->exit_code = EXIT_PROA;
		e->msg[0] = 0;
	}
}

#endif
