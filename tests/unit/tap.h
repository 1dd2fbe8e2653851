/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A unit test is a program: main() calls functions that ok(…), and returns tap_done().
 * Output is TAP (https://testanything.org), which Meson reads.
 */
#ifndef PROA_TESTS_TAP_H
#define PROA_TESTS_TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static int tap_count, tap_failed;

__attribute__((format(printf, 4, 5))) static inline bool tap_ok(bool pass, const char *file,
								int line, const char *fmt, ...)
{
	va_list ap;

	tap_count++;
	printf("%sok %d - ", pass ? "" : "not ", tap_count);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	if (!pass) {
		tap_failed++;
		printf("# failed at %s:%d\n", file, line);
	}
	return pass;
}

#define ok(cond, ...) tap_ok((cond), __FILE__, __LINE__, __VA_ARGS__)
#define ok_str(got, want, ...)                                                                     \
	do {                                                                                       \
		const char *_g = (got), *_w = (want);                                              \
		if (!ok(_g && _w ? !strcmp(_g, _w) : _g == _w, __VA_ARGS__))                       \
			printf("# got «%s», want «%s»\n", _g ? _g : "(null)", _w ? _w : "(null)"); \
	} while (0)
#define ok_int(got, want, ...)                                                                     \
	do {                                                                                       \
		long long _g = (long long)(got), _w = (long long)(want);                           \
		if (!ok(_g == _w, __VA_ARGS__))                                                    \
			printf("# got %lld, want %lld\n", _g, _w);                                 \
	} while (0)
#define skip_one(why) (tap_count++, printf("ok %d # SKIP %s\n", tap_count, (why)))

static inline int tap_done(void)
{
	printf("1..%d\n", tap_count);
	return tap_failed ? 1 : 0;
}

#endif
