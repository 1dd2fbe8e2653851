/* SPDX-License-Identifier: Apache-2.0 */
/* Processes by more than their number: a pid is reused, a pid with its start time is not. */
#ifndef PROA_UTIL_PROC_H
#define PROA_UTIL_PROC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* When @pid started, in clock ticks since boot (field 22 of /proc/PID/stat, proc(5)). 0 or -errno.
 */
int proc_start_time(pid_t pid, uint64_t *ret_ticks);

/* Does the process that had this number and started then still run? One that has ended and was not
 * waited for does not. One open, read and close. */
bool proc_is_running(pid_t pid, uint64_t start_ticks);

/* A pidfd of the process that had this number and started then; -ESRCH when it is gone. */
int proc_open(pid_t pid, uint64_t start_ticks);

#endif
