/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket: lines of text in, lines of text out (docs/vmm.md has them). Each request is
 * answered by "ok", "ok TEXT" or "error TEXT"; what happens by itself is told as "event TEXT".
 */
#ifndef PROA_VMM_CONTROL_H
#define PROA_VMM_CONTROL_H

struct err;
struct vmm;
struct vmm_control;

/* *@ret is NULL when none is configured. 0 or -errno. */
int control_new(struct vmm *v, struct vmm_control **ret, struct err *err);
/* Tells all who are connected. @c may be NULL. */
void control_event(struct vmm_control *c, const char *text);
void control_free(struct vmm_control *c);

#endif
