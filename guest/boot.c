/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the kernel's first call to a system that the container backend can work in.
 *
 * The kernel starts us in rootfs, which cannot be pivoted away from; so a tmpfs is made, filled
 * with the kernel's file systems, and moved over it (as switch_root does). Modules are loaded
 * before that, in the order in which the host put them into the initramfs (it read their
 * dependencies).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "guest.h"
#include "protocol.h"
#include "util/err.h"
#include "util/io.h"
#include "util/linux.h"
#include "util/mem.h"

#define NEW_ROOT      "/root"
#define MS_NOSUID     2
#define MS_NODEV      4
#define MS_NOEXEC     8
#define MS_MOVE	      8192
#define OPEN_FILES    1048576u /* of a process: what Docker gives a container */
#define PID_MAX_LIMIT "4194304"

_Noreturn void guest_power_off(void)
{
	/* with -no-reboot a restart ends the VMM, on any machine type and without ACPI's power off
	 */
	reboot(RB_AUTOBOOT);
	for (;;)
		pause();
}

_Noreturn void guest_fatal(const char *fmt, ...)
{
	char line[512];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (n > 0)
		dprintf(STDERR_FILENO, "proa-init: %s\n", line);
	guest_power_off();
}

static void mount_or_die(const char *type, const char *target, unsigned long flags,
			 const char *data)
{
	mkdir(target, 0755);
	if (sys_mount(type, target, type, flags, data) < 0)
		guest_fatal("mount %s on %s: %s", type, target, strerror(errno));
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_file_name(const struct dirent *d)
{
	return d->d_name[0] != '.';
}

static void load_modules(void)
{
	struct dirent **names = NULL;
	int n = scandir(GUEST_MODULES, &names, is_file_name, by_name);

	if (n < 0 && errno != ENOENT)
		guest_fatal("list the modules: %s", strerror(errno));
	for (int i = 0; i < n; i++) {
		char path[320];
		int fd;

		snprintf(path, sizeof(path), GUEST_MODULES "/%s", names[i]->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST))
			guest_fatal("load the module %s: %s", names[i]->d_name, strerror(errno));
		close(fd);
		unlink(path); /* its memory is the guest's */
		free(names[i]);
	}
	free(names);
}

static void switch_root(void)
{
	if (chdir(NEW_ROOT) < 0 || sys_mount(".", "/", NULL, MS_MOVE, NULL) < 0 ||
	    chroot(".") < 0 || chdir("/") < 0)
		guest_fatal("change to the guest's root: %s", strerror(errno));
}

int guest_loopback_up(struct err *err)
{
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	_cleanup_close_ int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (s < 0 || ioctl(s, SIOCSIFFLAGS, &lo) < 0)
		return err_sys(err, errno, "bring the guest's loopback interface up");
	return 0;
}

static void settings(void)
{
	struct rlimit files = { OPEN_FILES, OPEN_FILES };

	(void)setrlimit(RLIMIT_NOFILE, &files);
	(void)io_write_knob(AT_FDCWD, "/proc/sys/kernel/pid_max", PID_MAX_LIMIT);
	signal(SIGPIPE, SIG_IGN);
	umask(0022);
}

void guest_boot(void)
{
	static const char *const dirs[] = { GUEST_DIR, GUEST_LOWER, GUEST_DISK, GUEST_BINDS,
					    GUEST_IMAGE };

	mount_or_die("tmpfs", NEW_ROOT, MS_NOSUID, "mode=755");
	mount_or_die("devtmpfs", NEW_ROOT "/dev", MS_NOSUID | MS_NOEXEC, NULL);
	mount_or_die("proc", NEW_ROOT "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	mount_or_die("sysfs", NEW_ROOT "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	/* what the machine needs is loaded below; looking for a modprobe that is not here takes
	 * time */
	(void)io_write_knob(AT_FDCWD, NEW_ROOT "/proc/sys/kernel/modprobe", "\n");
	mount_or_die("cgroup2", NEW_ROOT "/sys/fs/cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	load_modules();
	switch_root();
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		if (mkdir(dirs[i], 0755) < 0)
			guest_fatal("make %s: %s", dirs[i], strerror(errno));
	settings();
}
