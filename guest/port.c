/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's virtio-serial port. The kernel makes /dev/vportNpM from a work queue some time after
 * the driver was loaded; inotify on the devtmpfs tells when.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>
#include "guest.h"
#include "protocol.h"
#include "util/io.h"
#include "util/mem.h"

#define PORTS "/sys/class/virtio-ports"

/* The port's own name arrives by yet another message; the machine has one port only. */
static int open_port(void)
{
	DIR *d = opendir(PORTS);
	struct dirent *e;
	int fd = -ENOENT;

	if (!d)
		return -errno;
	while (fd < 0 && (e = readdir(d))) {
		char path[300];

		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/dev/%.200s", e->d_name);
		fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0)
			fd = -errno;
	}
	closedir(d);
	return fd;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int guest_port_open(int timeout_ms)
{
	_cleanup_close_ int notify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	int64_t end = now_ms() + timeout_ms;
	char events[1024];

	if (notify < 0 || inotify_add_watch(notify, "/dev", IN_CREATE | IN_ATTRIB) < 0)
		return -errno;
	for (;;) {
		struct pollfd p = { .fd = notify, .events = POLLIN };
		int fd = open_port();
		int64_t left = end - now_ms();

		if (fd >= 0 || left <= 0)
			return fd >= 0 ? fd : -ETIMEDOUT;
		if (poll(&p, 1, (int)left) > 0)
			(void)!read(notify, events, sizeof(events));
	}
}
