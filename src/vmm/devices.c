/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/devices.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "util/err.h"
#include "util/mem.h"
#include "util/str.h"
#include "vmm/control.h"
#include "vmm/halt.h"
#include "vmm/pci.h"
#include "vmm/power.h"
#include "vmm/sandbox.h"
#include "vmm/serial.h"
#include "vmm/virtio/balloon.h"
#include "vmm/virtio/blk.h"
#include "vmm/virtio/console.h"
#include "vmm/virtio/device.h"
#include "vmm/virtio/fs.h"
#include "vmm/virtio/net.h"
#include "vmm/virtio/rng.h"
#include "vmm/virtio/transport.h"
#include "vmm/virtio/vsock.h"
#include "vmm/vmm.h"

/* The device becomes the machine's, also when it cannot be attached. */
static int attach(struct vmm *v, struct virtio_device *d, struct err *err)
{
	unsigned slot = v->device_count;

	if (slot == VMM_DEVICES_MAX) {
		virtio_device_free(d);
		return err_set(err, ENOSPC, "a machine has room for %d virtio devices",
			       VMM_DEVICES_MAX);
	}
	v->devices[v->device_count++] = d;
	return v->pci ? virtio_pci_attach(v, d, slot, err) : virtio_mmio_attach(v, d, slot, err);
}

static void close_ports(const struct console_port_options *ports, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		fd_close(ports[i].in_fd);
		if (ports[i].out_fd != ports[i].in_fd)
			fd_close(ports[i].out_fd);
	}
}

/* The terminal on our own standard input and output, and a channel for each port. */
static int add_console(struct vmm *v, struct err *err)
{
	const struct vmm_config *c = v->config;
	struct console_port_options ports[CONSOLE_PORTS_MAX];
	struct virtio_device *d;
	unsigned n = 0;
	int r = 0;

	if (c->console == CONFIG_CONSOLE_VIRTIO)
		ports[n++] = (struct console_port_options){ .terminal = true,
							    .in_fd = dup(STDIN_FILENO),
							    .out_fd = dup(STDOUT_FILENO) };
	for (unsigned i = 0; r == 0 && i < c->port_count; i++) {
		int fd = config_channel_open(&c->ports[i].channel, c->ports[i].name, err);

		if (fd < 0)
			r = fd;
		else
			ports[n++] = (struct console_port_options){ .name = c->ports[i].name,
								    .in_fd = fd,
								    .out_fd = fd };
	}
	if (r == 0 && n) {
		r = virtio_console_new(ports, n, &v->memory, &v->loop, &d, err);
		return r == 0 ? attach(v, d, err) : r;
	}
	close_ports(ports, n);
	return r;
}

static int add_disk(struct vmm *v, const struct config_disk *c, struct err *err)
{
	struct blk_options o = { .read_only = c->read_only,
				 .no_flush = c->unsafe_cache,
				 .serial = c->serial };
	struct virtio_device *d;
	int r = blk_open(c->path, c->read_only, &o.fd, err);

	if (r < 0)
		return r;
	r = virtio_blk_new(&o, &v->memory, &v->loop, &d, err);
	if (r < 0) {
		close(o.fd);
		return r;
	}
	return attach(v, d, err);
}

static int add_disks(struct vmm *v, struct err *err)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < v->config->disk_count; i++)
		r = add_disk(v, &v->config->disks[i], err);
	return r;
}

static int open_backend(const struct config_net *c, struct net_backend **ret, struct err *err)
{
	int fd, r;

	if (c->tap)
		return net_tap_open(c->tap, c->queues, ret, err);
	if (c->tap_count)
		return net_tap_new(c->tap_fds, c->tap_count, ret, err);
	fd = config_channel_open(&c->stream, "net", err);
	if (fd < 0)
		return fd;
	r = net_stream_new(fd, ret, err);
	if (r < 0)
		close(fd);
	return r;
}

static int add_net(struct vmm *v, const struct config_net *c, struct err *err)
{
	struct net_options o = { .mtu = (uint16_t)c->mtu };
	struct virtio_device *d;
	int r = open_backend(c, &o.backend, err);

	if (r < 0)
		return r;
	memcpy(o.mac, c->mac, sizeof(o.mac));
	r = virtio_net_new(&o, &v->memory, &v->loop, &d, err);
	if (r < 0) {
		o.backend->ops->free(o.backend);
		return r;
	}
	return attach(v, d, err);
}

static int add_nets(struct vmm *v, struct err *err)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < v->config->net_count; i++)
		r = add_net(v, &v->config->nets[i], err);
	return r;
}

/* In the sandbox the directory of the sockets is all there is, under another name. */
static int add_vsock(struct vmm *v, struct err *err)
{
	const struct vmm_config *c = v->config;
	const char *slash = strrchr(c->vsock_path, '/');
	_cleanup_free_ char *inside =
		str_printf(SANDBOX_VSOCK_DIR "/%s", slash ? slash + 1 : c->vsock_path);
	struct vsock_options o = { .guest_cid = c->vsock_cid,
				   .path = c->sandbox ? inside : c->vsock_path };
	struct virtio_device *d;
	int r = inside ? vsock_listen(c->vsock_path, &o.listen_fd, err)
		       : err_set(err, ENOMEM, "out of memory");

	if (r < 0)
		return r;
	r = virtio_vsock_new(&o, &v->memory, &v->loop, &d, err);
	if (r < 0) {
		close(o.listen_fd);
		return r;
	}
	return attach(v, d, err);
}

/* What a machine has one of. */
static int add_others(struct vmm *v, struct err *err)
{
	const struct balloon_options balloon = { 0 };
	struct virtio_device *d;
	int r = 0;

	if (v->config->rng) {
		r = virtio_rng_new(&v->memory, &v->loop, &d, err);
		if (r == 0)
			r = attach(v, d, err);
	}
	if (r == 0 && v->config->vsock_cid)
		r = add_vsock(v, err);
	if (r == 0 && v->config->balloon) {
		r = virtio_balloon_new(&balloon, &v->memory, &v->loop, &v->balloon, err);
		if (r == 0)
			r = attach(v, v->balloon, err);
	}
	return r;
}

static int add_fs(struct vmm *v, struct err *err)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < v->config->fs_count; i++) {
		const struct config_fs *c = &v->config->fs[i];
		struct virtio_device *d;
		struct fs_options o = { .tag = c->tag, .queues = c->queues };

		o.socket = config_channel_open(&c->socket, c->tag, err);
		if (o.socket < 0)
			return o.socket;
		r = virtio_fs_new(&o, &v->memory, &v->loop, &d, err);
		if (r == 0)
			r = attach(v, d, err);
	}
	return r;
}

int devices_make(struct vmm *v, struct err *err)
{
	int r = power_add(v, err);

	if (r == 0)
		r = halt_watch(v, err);
	if (r == 0 && v->config->console == CONFIG_CONSOLE_SERIAL)
		r = serial_new(v, STDIN_FILENO, STDOUT_FILENO, &v->serial, err);
	if (r == 0 && v->config->pci)
		r = pci_new(v, &v->pci, err);
	if (r == 0)
		r = add_console(v, err);
	if (r == 0)
		r = add_disks(v, err);
	if (r == 0)
		r = add_nets(v, err);
	if (r == 0)
		r = add_fs(v, err);
	if (r == 0)
		r = add_others(v, err);
	return r == 0 ? control_new(v, &v->control, err) : r;
}

void devices_free(struct vmm *v)
{
	control_free(v->control);
	while (v->device_count)
		virtio_device_free(v->devices[--v->device_count]);
	pci_free(v->pci);
	serial_free(v->serial);
	halt_unwatch(v);
	fd_close(v->power_fd);
}
