/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of process 1 of a guest. Each prints what went wrong to the console, for the host shows
 * the console's last lines when a machine ends without a word from the agent. */
#ifndef PROA_GUEST_GUEST_H
#define PROA_GUEST_GUEST_H

#include <stdint.h>

struct err;

/* Writes a line to the console and ends the machine. */
_Noreturn void guest_fatal(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Ends the machine at once; nothing is flushed. */
_Noreturn void guest_power_off(void);

/* boot.c: kernel file systems, modules, a root that can be pivoted from, settings. */
void guest_boot(void);
/* For a command that uses the guest's own network; one with a namespace of its own has its own. */
int guest_loopback_up(struct err *err);

/* disks.c: finds the disks by their serial numbers and mounts them below GUEST_DIR. What fails is
 * remembered and told by guest_disks_check(). */
void guest_disks_mount(void);
int guest_disks_check(struct err *err);
int guest_share_mount(struct err *err);
/* Mounts the disk that is the root as it is, of whatever type its file system is. */
int guest_image_mount(struct err *err);
/* What was written is on the disk when this returns, and the disk is clean if nothing holds it. */
void guest_disks_sync(void);

/* port.c: waits at most @timeout_ms for the agent's port; its descriptor, or -errno. */
int guest_port_open(int timeout_ms);

/* main.c of process 1: all of the above, then the agent. */
_Noreturn void guest_main(void);

#endif
