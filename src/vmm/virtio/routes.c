/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/virtio/routes.h"

#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include "util/mem.h"
#include "vmm/layout.h"
#include "vmm/vmm.h"

#define PINS	LAYOUT_GSI_END
#define VECTORS (ROUTES_DEVICES * ROUTES_PER_DEVICE)

static struct route all[ROUTES_DEVICES][ROUTES_PER_DEVICE];

unsigned routes_gsi(unsigned device, unsigned vector)
{
	return PINS + device * ROUTES_PER_DEVICE + vector;
}

int routes_set(struct vmm *v, unsigned device, const struct route *routes, unsigned count)
{
	/* one machine is one process: the table may be static, it is too large for a stack */
	static struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entries[PINS + VECTORS];
	} table;
	unsigned n = 0;

	if (device >= ROUTES_DEVICES || count > ROUTES_PER_DEVICE)
		return -EINVAL;
	memcpy(all[device], routes, count * sizeof(*routes));
	memset(&table, 0, sizeof(table));
	for (unsigned pin = 0; pin < PINS; pin++)
		table.entries[n++] = (struct kvm_irq_routing_entry){
			.gsi = pin,
			.type = KVM_IRQ_ROUTING_IRQCHIP,
			.u.irqchip = { .irqchip = KVM_IRQCHIP_IOAPIC, .pin = pin },
		};
	for (unsigned d = 0; d < ROUTES_DEVICES; d++)
		for (unsigned i = 0; i < ROUTES_PER_DEVICE; i++)
			if (all[d][i].on)
				table.entries[n++] = (struct kvm_irq_routing_entry){
					.gsi = routes_gsi(d, i),
					.type = KVM_IRQ_ROUTING_MSI,
					.u.msi = { .address_lo = all[d][i].address_low,
						   .address_hi = all[d][i].address_high,
						   .data = all[d][i].data },
				};
	table.head.nr = n;
	return ioctl(v->fd, KVM_SET_GSI_ROUTING, &table) < 0 ? -errno : 0;
}
