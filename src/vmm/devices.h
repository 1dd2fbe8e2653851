/* SPDX-License-Identifier: Apache-2.0 */
/* From a configuration to devices, in the order in which the guest numbers them. */
#ifndef PROA_VMM_DEVICES_H
#define PROA_VMM_DEVICES_H

struct err;
struct vmm;

/* 0 or -errno; devices_free() in any case. */
int devices_make(struct vmm *v, struct err *err);
void devices_free(struct vmm *v);

#endif
