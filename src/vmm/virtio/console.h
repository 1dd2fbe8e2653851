/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-console (virtio 1.2, section 5.3) with several ports: a terminal, and named channels. */
#ifndef PROA_VMM_VIRTIO_CONSOLE_H
#define PROA_VMM_VIRTIO_CONSOLE_H

#include <stdbool.h>
#include "vmm/memory.h"

struct err;
struct loop;
struct virtio_device;

#define CONSOLE_PORTS_MAX 9 /* a terminal and eight channels */

struct console_port_options {
	const char *name;  /* "org.proa.agent"; NULL: none */
	bool terminal;	   /* hvc0; it must be the first */
	int in_fd, out_fd; /* the same for a socket; the device's from then on. -1: none */
};

/* @count ports, the names are copied. 0 or -errno. */
int virtio_console_new(const struct console_port_options *ports, unsigned count,
		       const struct vmm_memory *memory, struct loop *loop,
		       struct virtio_device **ret, struct err *err);

#endif
