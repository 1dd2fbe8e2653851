/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What --verbose shows: one line per decision, to stderr. Libraries do not print results or errors
 * (they return them); this is the one exception, off unless the user asked.
 */
#ifndef PROA_UTIL_LOG_H
#define PROA_UTIL_LOG_H

#include <stdbool.h>

void log_set_verbose(bool on);
bool log_is_verbose(void);
void log_verbose(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* A warning a user must see even without --verbose: "proa: warning: …". */
void log_warning(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
