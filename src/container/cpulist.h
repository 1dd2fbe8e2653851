/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of CPUs or memory nodes as the kernel writes them: "0-3,7". */
#ifndef PROA_CONTAINER_CPULIST_H
#define PROA_CONTAINER_CPULIST_H

#include <sched.h>

/* 0, or -EINVAL. A number that does not fit into the set is -ERANGE. */
int cpulist_parse(const char *text, cpu_set_t *ret);

#endif
