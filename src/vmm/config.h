/* SPDX-License-Identifier: Apache-2.0 */
/* What proa-vmm was asked for: its command line, or the same words from a descriptor. */
#ifndef PROA_VMM_CONFIG_H
#define PROA_VMM_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

#define CONFIG_CPUS_MAX	 64
#define CONFIG_DISKS_MAX 8
#define CONFIG_NETS_MAX	 4
#define CONFIG_FS_MAX	 4
#define CONFIG_PORTS_MAX 8
#define CONFIG_TAPS_MAX	 8

enum config_boot {
	CONFIG_BOOT_AUTO,  /* PVH where the kernel has it, else Linux */
	CONFIG_BOOT_PVH,   /* an ELF with a Xen note */
	CONFIG_BOOT_LINUX, /* the 64-bit boot protocol */
};

enum config_console {
	CONFIG_CONSOLE_SERIAL, /* ttyS0 */
	CONFIG_CONSOLE_VIRTIO, /* hvc0 */
	CONFIG_CONSOLE_NONE,
};

/* Where bytes come from: a descriptor that we were given, or a Unix socket to connect to. */
struct config_channel {
	int fd; /* -1: path */
	const char *path;
};

struct config_disk {
	const char *path, *serial;
	bool read_only, unsafe_cache;
};

struct config_net {
	const char *tap; /* name of an interface; or */
	int tap_fds[CONFIG_TAPS_MAX];
	unsigned tap_count, queues;
	struct config_channel stream; /* passt */
	bool is_stream;
	uint8_t mac[6];
	bool has_mac;
	uint32_t mtu;
};

struct config_fs {
	const char *tag;
	struct config_channel socket; /* of a vhost-user file server */
	uint32_t queues;
};

struct config_port {
	const char *name;
	struct config_channel channel;
};

struct vmm_config {
	const char *kernel, *initrd, *cmdline;
	enum config_boot boot;
	uint64_t memory_bytes;
	uint32_t cpus;
	bool pci; /* the transport of virtio devices; else mmio */
	enum config_console console;
	struct config_disk disks[CONFIG_DISKS_MAX];
	struct config_net nets[CONFIG_NETS_MAX];
	struct config_fs fs[CONFIG_FS_MAX];
	struct config_port ports[CONFIG_PORTS_MAX];
	unsigned disk_count, net_count, fs_count, port_count;
	bool rng, balloon;
	uint32_t vsock_cid; /* 0: none */
	const char *vsock_path;
	const char *control_path;
	int control_fd; /* -1: none */
	const char *cgroup;
	bool sandbox, verbose;
	char *words; /* what the strings point into, when they came from a descriptor */
};

/*
 * Reads the command line. 1: go on; 0: --help or --version was answered; -errno. Strings point into
 * argv, or into what config_done() frees.
 */
int config_parse(int argc, char **argv, struct vmm_config *ret, struct err *err);
void config_done(struct vmm_config *c);

/* A connected descriptor of the channel, the caller's; or -errno. @what names it in errors. */
int config_channel_open(const struct config_channel *c, const char *what, struct err *err);

#endif
