/* SPDX-License-Identifier: Apache-2.0 */
/* Signals by name and number, as kill(1) and docker take them. */
#ifndef PROA_UTIL_SIGNAL_H
#define PROA_UTIL_SIGNAL_H

#include <signal.h>

/* "TERM", "SIGTERM", "sigterm", "15", "RTMIN+3". The number, or -EINVAL. */
int signal_parse(const char *text);
/* All signals but those that a process's own mistakes raise. */
void signal_set_foreign(sigset_t *ret);

#endif
