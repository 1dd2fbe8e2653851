/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control group of a machine's processes on this host: hypervisor and file server are counted
 * together there, and can be found and limited as one. The limits of the command itself are the
 * guest's to enforce. Where there are no cgroups, or they may not be made, a machine goes without.
 */
#ifndef PROA_ENGINE_MACHINE_GROUP_H
#define PROA_ENGINE_MACHINE_GROUP_H

struct instance;

/* Makes the group and lets @inst's helpers join it (instance.enter). */
void machine_group_make(struct instance *inst);
/* Removes it; absent is fine. */
void machine_group_remove(const struct instance *inst);

#endif
