/* SPDX-License-Identifier: Apache-2.0 */
/* The last words of a machine: what came last from its serial console, or from QEMU. */
#ifndef PROA_VM_TAIL_H
#define PROA_VM_TAIL_H

#include <stddef.h>
#include "util/loop.h"

#define TAIL_BYTES 8192

struct vm_tail {
	struct loop *loop;
	struct loop_watch watch; /* the reading end of a pipe, -1 once it ended */
	char bytes[TAIL_BYTES + 1];
	size_t len;
};

/* Makes a pipe, watches its reading end, and gives away the writing end. 0 or -errno. */
int vm_tail_open(struct vm_tail *t, struct loop *loop, int *ret_write_fd);
void vm_tail_done(struct vm_tail *t);
/* Reads what is in the pipe now. */
void vm_tail_drain(struct vm_tail *t);

/* Adds bytes, which may be anything; the oldest make room. */
void vm_tail_add(struct vm_tail *t, const char *bytes, size_t n);

/* The last @lines lines that are not empty, printable, each "\n  "-prefixed, at most @size bytes.
 */
void vm_tail_lines(const struct vm_tail *t, unsigned lines, char *ret, size_t size);

/* The rest of the first line with @mark in it, after the mark; false: there is none. */
bool vm_tail_find(const struct vm_tail *t, const char *mark, char *ret, size_t size);

#endif
