/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three ports, each of one or a few bytes: the keyboard controller's command register, which resets
 * (also ACPI's reset register: boot/acpi.c), ACPI's sleep registers (6.4, section 4.8.3.7), and
 * pvpanic (QEMU's docs/specs/pvpanic). They have no state, so one table serves any machine.
 */
#include "vmm/power.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "util/err.h"
#include "util/mem.h"
#include "vmm/layout.h"
#include "vmm/vmm.h"

#define RESET_COMMAND 0xfe
#define SLEEP_ENABLE  0x20
#define SLEEP_TYPE(v) ((v) >> 2 & 7)
#define SLEEP_S5      5
#define PANICKED      1
#define CRASH_LOADED  2 /* a crash kernel took over: the machine goes on */

struct port {
	struct bus_range range;
	struct vmm *vmm;
	uint8_t reads_as;
};

static void port_read(struct bus_range *r, uint64_t at _unused_, void *to, uint32_t bytes)
{
	struct port *p = container_of(r, struct port, range);

	memset(to, 0, bytes);
	*(uint8_t *)to = p->reads_as;
}

static void i8042_write(struct bus_range *r, uint64_t at, const void *from, uint32_t bytes _unused_)
{
	if (at == 0 && *(const uint8_t *)from == RESET_COMMAND)
		vmm_end(container_of(r, struct port, range)->vmm, VMM_RESET, "reset");
}

static void sleep_write(struct bus_range *r, uint64_t at, const void *from, uint32_t bytes _unused_)
{
	uint8_t value = *(const uint8_t *)from;

	if (at == 0 && value & SLEEP_ENABLE && SLEEP_TYPE(value) == SLEEP_S5)
		vmm_end(container_of(r, struct port, range)->vmm, VMM_POWER_OFF, "power off");
}

static void panic_write(struct bus_range *r, uint64_t at _unused_, const void *from,
			uint32_t bytes _unused_)
{
	if (*(const uint8_t *)from & PANICKED)
		vmm_end(container_of(r, struct port, range)->vmm, VMM_PANIC,
			"the guest's kernel panicked");
}

static const struct bus_ops i8042_ops = { .read = port_read, .write = i8042_write };
static const struct bus_ops sleep_ops = { .read = port_read, .write = sleep_write };
static const struct bus_ops panic_ops = { .read = port_read, .write = panic_write };

int power_add(struct vmm *v, struct err *err)
{
	static struct port ports[] = {
		{ .range = { LAYOUT_I8042_PORT, 1, &i8042_ops } },
		{ .range = { LAYOUT_SLEEP_PORT, 2, &sleep_ops } },
		{ .range = { LAYOUT_PANIC_PORT, 1, &panic_ops },
		  .reads_as = PANICKED | CRASH_LOADED },
	};

	for (size_t i = 0; i < ARRAY_SIZE(ports); i++) {
		ports[i].vmm = v;
		if (bus_add(&v->ports, &ports[i].range) < 0)
			return err_set(err, ENOSPC, "too many ports");
	}
	v->power_fd = vmm_irqfd(v, LAYOUT_POWER_GSI);
	return v->power_fd < 0 ? err_sys(err, -v->power_fd, "make the power button") : 0;
}
