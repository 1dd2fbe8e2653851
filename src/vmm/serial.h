/* SPDX-License-Identifier: Apache-2.0 */
/* The first serial port of a PC (16550A), as far as a console needs it. */
#ifndef PROA_VMM_SERIAL_H
#define PROA_VMM_SERIAL_H

struct err;
struct vmm;
struct vmm_serial;

/*
 * Adds it at LAYOUT_SERIAL_PORT. @in (-1: none) and @out (-1: thrown away) stay the caller's and
 * are made non-blocking. 0 or -errno.
 */
int serial_new(struct vmm *v, int in, int out, struct vmm_serial **ret, struct err *err);
/* Writes what it still holds, if that can be done without waiting. */
void serial_drain(struct vmm_serial *s);
void serial_free(struct vmm_serial *s);

#endif
