/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio over PCI (virtio 1.2, section 4.1), modern devices only: one BAR of memory with the common
 * configuration, the ISR, the device's configuration, a notification register for each queue, and
 * the MSI-X table. Legacy interrupts there are none: a driver without MSI-X gets none.
 *
 * Each MSI-X vector is a route of KVM's (KVM_SET_GSI_ROUTING) and an irqfd; the table is the
 * guest's to write, and each unmasked entry becomes a route when it is written. An interrupt raised
 * while its entry is masked (drivers mask one to move it to another processor) waits for the
 * unmasking. Notification registers are ioeventfds, registered anew when the BAR moves. All of it
 * happens with the machine's lock held.
 *
 * A device whose queues another process serves interrupts by that process writing to our irqfd,
 * which nobody sees while the entry is masked: for such a device each unmasking interrupts.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include "util/err.h"
#include "util/mem.h"
#include "vmm/layout.h"
#include "vmm/pci.h"
#include "vmm/virtio/device.h"
#include "vmm/virtio/kick.h"
#include "vmm/virtio/routes.h"
#include "vmm/virtio/transport.h"
#include "vmm/vmm.h"

#define VENDOR	     0x1af4
#define DEVICE_BASE  0x1040
#define COMMON	     0x0000
#define ISR	     0x1000
#define DEVICE	     0x2000
#define NOTIFY	     0x3000
#define TABLE	     0x4000
#define PENDING	     0x5000
#define BAR_BYTES    0x8000
#define PART_BYTES   0x1000
#define NOTIFY_STEP  4
#define CAPS_START   0x40
#define VECTORS_MAX  ROUTES_PER_DEVICE
#define ENTRY_BYTES  16
#define ENTRY_MASKED 1u
#define COMMON_BYTES 0x38 /* struct virtio_pci_common_cfg of virtio 1.0 */
#define BAR0	     PCI_BASE_ADDRESS_0

struct vector {
	uint32_t address_low, address_high, data, control;
	int irq_fd;
};

struct virtio_pci {
	struct pci_function function;
	struct bus_range range;
	bool mapped; /* the range is on the bus, the notification registers are KVM's */
	struct vmm *vmm;
	struct virtio_device *device;
	unsigned slot, vector_count;
	uint8_t msix_cap; /* where its capability is */
	struct vector vectors[VECTORS_MAX];
	uint16_t queue_vectors[KICK_QUEUES_MAX], config_vector;
	uint32_t device_word, driver_word;
	uint16_t queue;
	uint8_t isr;
	uint32_t unmasked,
		pending; /* vectors, as bits: those with a route, those that wait for one */
	bool external;	 /* another process serves the queues */
	struct virtio_kick kicks[KICK_QUEUES_MAX];
	uint8_t cfg_at; /* the capability by which registers are reached through configuration space
			 */
};

/* ---- interrupts ----------------------------------------------------------------------------- */

static bool msix_enabled(const struct virtio_pci *t)
{
	return t->function.config[t->msix_cap + 3] & 0x80;
}

static bool msix_masked(const struct virtio_pci *t)
{
	return t->function.config[t->msix_cap + 3] & 0x40;
}

static void interrupt_now(const struct virtio_pci *t, unsigned vector)
{
	static const uint64_t one = 1;

	(void)!write(t->vectors[vector].irq_fd, &one, sizeof(one));
}

static void raise(struct virtio_device *d, int n)
{
	struct virtio_pci *t = d->transport;
	uint16_t vector = n < 0 ? t->config_vector : t->queue_vectors[n];

	t->isr |= n < 0 ? 2 : 1;
	if (vector >= t->vector_count)
		return;
	if (t->unmasked >> vector & 1)
		interrupt_now(t, vector);
	else if (msix_enabled(t))
		t->pending |= 1u << vector;
}

/* The routes of this device follow its table. */
static void update_routes(struct virtio_pci *t)
{
	struct route routes[VECTORS_MAX];
	uint32_t before = t->unmasked, now = 0;

	for (unsigned i = 0; i < t->vector_count; i++) {
		const struct vector *v = &t->vectors[i];

		routes[i] = (struct route){ .address_low = v->address_low,
					    .address_high = v->address_high,
					    .data = v->data,
					    .on = msix_enabled(t) && !msix_masked(t) &&
						  !(v->control & ENTRY_MASKED) };
		now |= (uint32_t)routes[i].on << i;
	}
	(void)routes_set(t->vmm, t->slot, routes, t->vector_count);
	t->unmasked = now;
	for (unsigned i = 0; i < t->vector_count; i++)
		if (now & (t->pending | (t->external ? ~before : 0)) & 1u << i)
			interrupt_now(t, i);
	t->pending &= ~now;
}

static void table_read(struct virtio_pci *t, uint32_t at, void *to, uint32_t bytes)
{
	const uint8_t *entry;

	memset(to, 0, bytes);
	if (at / ENTRY_BYTES >= t->vector_count || bytes > ENTRY_BYTES - at % ENTRY_BYTES)
		return;
	entry = (const uint8_t *)&t->vectors[at / ENTRY_BYTES];
	memcpy(to, entry + at % ENTRY_BYTES, bytes);
}

static void table_write(struct virtio_pci *t, uint32_t at, const void *from, uint32_t bytes)
{
	uint8_t *entry;

	if (at / ENTRY_BYTES >= t->vector_count || bytes > ENTRY_BYTES - at % ENTRY_BYTES)
		return;
	entry = (uint8_t *)&t->vectors[at / ENTRY_BYTES];
	memcpy(entry + at % ENTRY_BYTES, from, bytes);
	/* drivers write address and data first, then take the mask away */
	if (at % ENTRY_BYTES + bytes > 12)
		update_routes(t);
}

/* ---- the common configuration (section 4.1.4.3) ---------------------------------------------- */

static struct virtq *selected(struct virtio_pci *t)
{
	return t->queue < t->device->queue_count ? &t->device->queues[t->queue] : NULL;
}

static uint64_t read_queue_register(struct virtio_pci *t, uint32_t at)
{
	struct virtq *q = selected(t);

	if (!q)
		return 0;
	switch (at) {
	case VIRTIO_PCI_COMMON_Q_SIZE: return q->size;
	case VIRTIO_PCI_COMMON_Q_MSIX: return t->queue_vectors[t->queue];
	case VIRTIO_PCI_COMMON_Q_ENABLE: return q->ready;
	case VIRTIO_PCI_COMMON_Q_NOFF: return t->queue;
	case VIRTIO_PCI_COMMON_Q_DESCLO: return (uint32_t)q->desc_at;
	case VIRTIO_PCI_COMMON_Q_DESCHI: return q->desc_at >> 32;
	case VIRTIO_PCI_COMMON_Q_AVAILLO: return (uint32_t)q->avail_at;
	case VIRTIO_PCI_COMMON_Q_AVAILHI: return q->avail_at >> 32;
	case VIRTIO_PCI_COMMON_Q_USEDLO: return (uint32_t)q->used_at;
	case VIRTIO_PCI_COMMON_Q_USEDHI: return q->used_at >> 32;
	default: return 0;
	}
}

static uint64_t read_common(struct virtio_pci *t, uint32_t at)
{
	struct virtio_device *d = t->device;

	switch (at) {
	case VIRTIO_PCI_COMMON_DFSELECT: return t->device_word;
	case VIRTIO_PCI_COMMON_DF: return virtio_offered_features(d, t->device_word);
	case VIRTIO_PCI_COMMON_GFSELECT: return t->driver_word;
	case VIRTIO_PCI_COMMON_GF:
		return t->driver_word < 2 ? (uint32_t)(d->driver_features >> 32 * t->driver_word)
					  : 0;
	case VIRTIO_PCI_COMMON_MSIX: return t->config_vector;
	case VIRTIO_PCI_COMMON_NUMQ: return d->queue_count;
	case VIRTIO_PCI_COMMON_STATUS: return d->status;
	case VIRTIO_PCI_COMMON_CFGGENERATION: return d->generation;
	case VIRTIO_PCI_COMMON_Q_SELECT: return t->queue;
	default: return read_queue_register(t, at);
	}
}

static uint16_t vector_or_none(const struct virtio_pci *t, uint64_t value)
{
	return value < t->vector_count ? (uint16_t)value : VIRTIO_MSI_NO_VECTOR;
}

static void write_queue_register(struct virtio_pci *t, uint32_t at, uint64_t value)
{
	struct virtq *q = selected(t);

	if (!q)
		return;
	if (at == VIRTIO_PCI_COMMON_Q_MSIX) {
		t->queue_vectors[t->queue] = vector_or_none(t, value);
		return;
	}
	if (at == VIRTIO_PCI_COMMON_Q_ENABLE) {
		if (value == 1)
			virtio_set_queue_ready(t->device, t->queue, true);
		return;
	}
	if (q->ready)
		return;
	switch (at) {
	case VIRTIO_PCI_COMMON_Q_SIZE: q->size = (uint16_t)value; break;
	case VIRTIO_PCI_COMMON_Q_DESCLO: virtq_set_half(&q->desc_at, (uint32_t)value, false); break;
	case VIRTIO_PCI_COMMON_Q_DESCHI: virtq_set_half(&q->desc_at, (uint32_t)value, true); break;
	case VIRTIO_PCI_COMMON_Q_AVAILLO:
		virtq_set_half(&q->avail_at, (uint32_t)value, false);
		break;
	case VIRTIO_PCI_COMMON_Q_AVAILHI:
		virtq_set_half(&q->avail_at, (uint32_t)value, true);
		break;
	case VIRTIO_PCI_COMMON_Q_USEDLO: virtq_set_half(&q->used_at, (uint32_t)value, false); break;
	case VIRTIO_PCI_COMMON_Q_USEDHI: virtq_set_half(&q->used_at, (uint32_t)value, true); break;
	default: break;
	}
}

static void reset_vectors(struct virtio_pci *t)
{
	t->config_vector = VIRTIO_MSI_NO_VECTOR;
	for (unsigned i = 0; i < KICK_QUEUES_MAX; i++)
		t->queue_vectors[i] = VIRTIO_MSI_NO_VECTOR;
	t->isr = 0;
	t->pending = 0;
}

static void write_common(struct virtio_pci *t, uint32_t at, uint64_t value)
{
	struct virtio_device *d = t->device;

	switch (at) {
	case VIRTIO_PCI_COMMON_DFSELECT: t->device_word = (uint32_t)value; break;
	case VIRTIO_PCI_COMMON_GFSELECT: t->driver_word = (uint32_t)value; break;
	case VIRTIO_PCI_COMMON_GF:
		virtio_accept_features(d, t->driver_word, (uint32_t)value);
		break;
	case VIRTIO_PCI_COMMON_MSIX: t->config_vector = vector_or_none(t, value); break;
	case VIRTIO_PCI_COMMON_STATUS:
		virtio_set_status(d, (uint8_t)value);
		if (!(uint8_t)value)
			reset_vectors(t);
		break;
	case VIRTIO_PCI_COMMON_Q_SELECT: t->queue = (uint16_t)value; break;
	default: write_queue_register(t, at, value); break;
	}
}

/* ---- the BAR -------------------------------------------------------------------------------- */

static void bar_read(struct bus_range *r, uint64_t at, void *to, uint32_t bytes)
{
	struct virtio_pci *t = container_of(r, struct virtio_pci, range);
	uint32_t in = (uint32_t)at % PART_BYTES;
	uint64_t value = 0;

	switch (at / PART_BYTES * PART_BYTES) {
	case DEVICE: virtio_read_config(t->device, in, to, bytes); return;
	case TABLE: table_read(t, in, to, bytes); return;
	case COMMON: value = in < COMMON_BYTES ? read_common(t, in) : 0; break;
	case PENDING: value = in == 0 ? t->pending : 0; break;
	case ISR:
		/* reading takes it away (section 4.1.4.5) */
		value = t->isr;
		t->isr = 0;
		break;
	default: break;
	}
	memcpy(to, &value, bytes);
}

static void bar_write(struct bus_range *r, uint64_t at, const void *from, uint32_t bytes)
{
	struct virtio_pci *t = container_of(r, struct virtio_pci, range);
	uint32_t in = (uint32_t)at % PART_BYTES;
	uint64_t value = 0;

	memcpy(&value, from, bytes);
	switch (at / PART_BYTES * PART_BYTES) {
	case COMMON:
		if (in < COMMON_BYTES)
			write_common(t, in, value);
		break;
	case DEVICE: virtio_write_config(t->device, in, from, bytes); break;
	case NOTIFY: kick_by_hand(t->kicks, t->device, in / NOTIFY_STEP); break;
	case TABLE: table_write(t, in, from, bytes); break;
	default: break;
	}
}

static const struct bus_ops bar_ops = { .read = bar_read, .write = bar_write };

static void set_kicks(struct virtio_pci *t, bool on)
{
	/* of any length: drivers write 16 bits */
	for (unsigned i = 0; i < t->device->queue_count; i++)
		(void)vmm_ioeventfd_set(t->vmm, t->kicks[i].watch.fd,
					t->range.start + NOTIFY + i * NOTIFY_STEP, 2, i, on);
}

/* The BAR is where the guest put it, if memory decoding is on. */
static void place_bar(struct virtio_pci *t)
{
	uint32_t at;
	bool on = t->function.config[PCI_COMMAND] & PCI_COMMAND_MEMORY;

	memcpy(&at, t->function.config + BAR0, 4);
	at &= ~0xfu;
	on &= at >= LAYOUT_PCI_WINDOW && at <= LAYOUT_PCI_WINDOW_END - BAR_BYTES + 1;
	if (t->mapped && on && t->range.start == at)
		return;
	if (t->mapped) {
		set_kicks(t, false);
		bus_remove(&t->vmm->mmio, &t->range);
		t->mapped = false;
	}
	t->range.start = at;
	if (on && bus_add(&t->vmm->mmio, &t->range) == 0) {
		t->mapped = true;
		set_kicks(t, true);
	}
}

/* ---- configuration space -------------------------------------------------------------------- */

/* The window of the VIRTIO_PCI_CAP_PCI_CFG capability: offset and length are the guest's. */
static bool cfg_window(struct virtio_pci *t, uint32_t *at, uint32_t *bytes)
{
	memcpy(at, t->function.config + t->cfg_at + 8, 4);
	memcpy(bytes, t->function.config + t->cfg_at + 12, 4);
	return t->function.config[t->cfg_at + 4] == 0 && *at < BAR_BYTES &&
	       (*bytes == 1 || *bytes == 2 || *bytes == 4) && *at % *bytes == 0;
}

static bool touches(uint32_t at, uint32_t bytes, uint32_t field, uint32_t field_bytes)
{
	return at < field + field_bytes && field < at + bytes;
}

static void config_before_read(struct pci_function *f, uint32_t at, uint32_t bytes)
{
	struct virtio_pci *t = container_of(f, struct virtio_pci, function);
	uint32_t window, n;

	if (touches(at, bytes, t->cfg_at + 16u, 4) && cfg_window(t, &window, &n))
		bar_read(&t->range, window, f->config + t->cfg_at + 16, n);
}

static void config_written(struct pci_function *f, uint32_t at, uint32_t bytes)
{
	struct virtio_pci *t = container_of(f, struct virtio_pci, function);
	uint32_t window, n;

	if (touches(at, bytes, BAR0, 4) || touches(at, bytes, PCI_COMMAND, 2))
		place_bar(t);
	if (touches(at, bytes, t->msix_cap + 2u, 2))
		update_routes(t);
	if (touches(at, bytes, t->cfg_at + 16u, 4) && cfg_window(t, &window, &n))
		bar_write(&t->range, window, f->config + t->cfg_at + 16, n);
}

static void put(struct pci_function *f, uint32_t at, uint64_t value, uint32_t bytes)
{
	memcpy(f->config + at, &value, bytes);
}

/* A capability of virtio's: where in the BAR a part is (section 4.1.4). Its end. */
static uint8_t add_cap(struct pci_function *f, uint8_t at, uint8_t type, uint32_t offset,
		       uint32_t length, uint8_t bytes)
{
	put(f, at, PCI_CAP_ID_VNDR, 1);
	put(f, at + 1u, at + bytes, 1);
	put(f, at + 2u, bytes, 1);
	put(f, at + 3u, type, 1);
	put(f, at + 8u, offset, 4);
	put(f, at + 12u, length, 4);
	return (uint8_t)(at + bytes);
}

static void fill_config(struct virtio_pci *t)
{
	struct pci_function *f = &t->function;
	uint32_t id = t->device->ops->id;
	uint8_t at = CAPS_START;

	put(f, PCI_VENDOR_ID, VENDOR, 2);
	put(f, PCI_DEVICE_ID, DEVICE_BASE + id, 2);
	put(f, PCI_REVISION_ID, 1, 1);
	put(f, PCI_CLASS_DEVICE,
	    id == VIRTIO_ID_NET	    ? 0x0200
	    : id == VIRTIO_ID_BLOCK ? 0x0180
				    : 0xff00,
	    2);
	put(f, PCI_SUBSYSTEM_VENDOR_ID, VENDOR, 2);
	put(f, PCI_SUBSYSTEM_ID, 0x40 + id, 2);
	put(f, PCI_STATUS, PCI_STATUS_CAP_LIST, 2);
	put(f, PCI_CAPABILITY_LIST, CAPS_START, 1);
	f->writable[PCI_COMMAND] = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	f->writable[PCI_COMMAND + 1] = PCI_COMMAND_INTX_DISABLE >> 8;
	f->writable[PCI_INTERRUPT_LINE] = 0xff;
	/* the bits of a BAR that cannot be written tell its size */
	for (unsigned i = 0; i < 4; i++)
		f->writable[BAR0 + i] = (uint8_t)(~(BAR_BYTES - 1u) >> 8 * i);
	at = add_cap(f, at, VIRTIO_PCI_CAP_COMMON_CFG, COMMON, COMMON_BYTES, 16);
	at = add_cap(f, at, VIRTIO_PCI_CAP_ISR_CFG, ISR, 4, 16);
	at = add_cap(f, at, VIRTIO_PCI_CAP_DEVICE_CFG, DEVICE, PART_BYTES, 16);
	put(f, at + 16u, NOTIFY_STEP, 4);
	at = add_cap(f, at, VIRTIO_PCI_CAP_NOTIFY_CFG, NOTIFY, t->device->queue_count * NOTIFY_STEP,
		     20);
	t->cfg_at = at;
	at = add_cap(f, at, VIRTIO_PCI_CAP_PCI_CFG, 0, 0, 20);
	memset(f->writable + t->cfg_at + 4, 0xff, 1);
	memset(f->writable + t->cfg_at + 8, 0xff, 12);
	t->msix_cap = at;
	put(f, at, PCI_CAP_ID_MSIX, 1);
	put(f, at + 2u, t->vector_count - 1, 2);
	put(f, at + 4u, TABLE, 4);
	put(f, at + 8u, PENDING, 4);
	f->writable[at + 3] = 0xc0; /* enable, mask all */
}

/* ---- making and unmaking -------------------------------------------------------------------- */

static int pci_kick_fd(struct virtio_device *d, unsigned n)
{
	struct virtio_pci *t = d->transport;

	kick_unwatch(&t->kicks[n]);
	return t->kicks[n].watch.fd;
}

static int pci_call_fd(struct virtio_device *d, unsigned n)
{
	struct virtio_pci *t = d->transport;
	uint16_t vector = t->queue_vectors[n];

	t->external = true;
	return vector < t->vector_count ? t->vectors[vector].irq_fd : t->vectors[0].irq_fd;
}

static void transport_free(struct virtio_device *d)
{
	struct virtio_pci *t = d->transport;

	kick_done(t->kicks, d);
	if (t->mapped)
		bus_remove(&t->vmm->mmio, &t->range);
	pci_remove(t->vmm->pci, &t->function);
	for (unsigned i = 0; i < t->vector_count; i++)
		fd_close(t->vectors[i].irq_fd);
	free(t);
}

static int make_vectors(struct virtio_pci *t)
{
	for (unsigned i = 0; i < t->vector_count; i++)
		t->vectors[i] = (struct vector){ .control = ENTRY_MASKED, .irq_fd = -EBADF };
	for (unsigned i = 0; i < t->vector_count; i++) {
		int fd = vmm_irqfd(t->vmm, routes_gsi(t->slot, i));

		if (fd < 0)
			return fd;
		t->vectors[i].irq_fd = fd;
	}
	return 0;
}

int virtio_pci_attach(struct vmm *v, struct virtio_device *d, unsigned slot, struct err *err)
{
	struct virtio_pci *t;
	int r;

	if (slot + 1 >= PCI_SLOTS || d->queue_count > KICK_QUEUES_MAX)
		return err_set(err, ENOSPC, "a machine has room for %d PCI devices", PCI_SLOTS - 1);
	t = calloc(1, sizeof(*t));
	if (!t)
		return err_set(err, ENOMEM, "out of memory");
	t->vmm = v;
	t->device = d;
	t->slot = slot;
	t->vector_count = MIN(d->queue_count + 1, (unsigned)VECTORS_MAX);
	t->range = (struct bus_range){ .bytes = BAR_BYTES, .ops = &bar_ops };
	t->function.written = config_written;
	t->function.read = config_before_read;
	d->transport = t;
	d->interrupt = raise;
	d->kick_fd = pci_kick_fd;
	d->call_fd = pci_call_fd;
	d->transport_free = transport_free;
	reset_vectors(t);
	fill_config(t);
	r = make_vectors(t);
	if (r == 0)
		r = kick_init(t->kicks, d);
	if (r == 0)
		r = pci_add(v->pci, slot + 1, &t->function);
	return r < 0 ? err_sys(err, -r, "make the device \"%s\" reachable", d->ops->name) : 0;
}
