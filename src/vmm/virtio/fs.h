/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-fs (virtio 1.2, section 5.11) with a file server in another process, by vhost-user. */
#ifndef PROA_VMM_VIRTIO_FS_H
#define PROA_VMM_VIRTIO_FS_H

#include <stdint.h>
#include "vmm/memory.h"

struct err;
struct loop;
struct virtio_device;

struct fs_options {
	const char *tag; /* at most 36 characters */
	uint32_t queues; /* 1 to 8 for requests; one more is for urgent ones */
	int socket;	 /* connected to a vhost-user file server; the device's, also on failure */
	uint32_t answer_ms; /* how long the server may take to start or to stop; 0: five seconds */
};

/* @memory must be shared. 0 or -errno. */
int virtio_fs_new(const struct fs_options *o, const struct vmm_memory *memory, struct loop *loop,
		  struct virtio_device **ret, struct err *err);

#endif
