/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-fs (virtio 1.2, section 5.11) with a file server in another process, by vhost-user. */
#ifndef PROA_VMM_VIRTIO_FS_H
#define PROA_VMM_VIRTIO_FS_H

#include <stdint.h>
#include "vmm/memory.h"

struct err;
struct loop;
struct virtio_device;

/*
 * @socket is connected to a vhost-user file server and becomes the device's, also on failure.
 * @memory must be shared. @queues are those for requests; one more is for urgent ones.
 */
int virtio_fs_new(const char *tag, uint32_t queues, int socket, const struct vmm_memory *memory,
		  struct loop *loop, struct virtio_device **ret, struct err *err);

#endif
