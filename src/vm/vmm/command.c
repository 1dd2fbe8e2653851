/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proa-vmm's words for a machine. They go through a descriptor, not through the argument vector: a
 * machine's paths and its command line are not in everybody's list of processes.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "protocol.h"
#include "util/err.h"
#include "util/io.h"
#include "util/mem.h"
#include "util/self.h"
#include "util/str.h"
#include "vm/hypervisor.h"

static int vmm_find(const char *path, char **ret, struct err *err)
{
	if (!path)
		return self_find_helper("proa-vmm", ret, err);
	if (access(path, X_OK) < 0)
		return err_sys(err, errno, "execute the hypervisor \"%s\"", path);
	*ret = strdup(path);
	return *ret ? 0 : err_set(err, ENOMEM, "out of memory");
}

/* An option and its value, each ended by a NUL. */
static void __attribute__((format(printf, 3, 4)))
option(struct str_buf *b, const char *name, const char *fmt, ...)
{
	char *value = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&value, fmt, ap) < 0) {
		value = NULL;
		b->failed = true;
	}
	va_end(ap);
	str_buf_add(b, name, strlen(name) + 1);
	if (value)
		str_buf_add(b, value, strlen(value) + 1);
	free(value);
}

/* In a list of parts a comma is written twice. */
static void add_disk(struct str_buf *b, const char *path, const char *serial, const char *more)
{
	struct str_buf value = { 0 };

	for (const char *p = path; p && *p; p++) {
		if (*p == ',')
			str_buf_add(&value, ",", 1);
		str_buf_add(&value, p, 1);
	}
	if (value.data)
		option(b, "--disk", "path=%s,serial=%s%s", value.data, serial, more);
	b->failed |= value.failed;
	str_buf_done(&value);
}

static void add_command_line(struct str_buf *b, const struct vm_spec *s)
{
	/*
	 * The clock is KVM's own. A reset by the keyboard controller is the shortest way out. There
	 * is no PCI, and looking for it costs an exit for each of 225 accesses.
	 */
	option(b, "--cmdline", "console=ttyS0 %s reboot=k pci=off " VM_KERNEL_WORDS "%s%s",
	       s->verbose_console ? "ignore_loglevel" : "quiet",
	       str_empty(s->parameters) ? "" : " ", s->parameters ? s->parameters : "");
}

static void add_options(struct str_buf *b, const struct vm_spec *s)
{
	option(b, "--kernel", "%s", s->kernel);
	option(b, "--initrd", "%s", s->initramfs);
	option(b, "--memory", "%llu", (unsigned long long)s->memory_bytes);
	option(b, "--cpus", "%u", s->cpus);
	option(b, "--port", "name=" GUEST_PORT_NAME ",fd=%d", s->agent_fd);
	/*
	 * cache=unsafe: what is durable, and when, is decided by the guest's sync and the page
	 * cache of this host, which outlives both the machine and proa.
	 */
	add_disk(b, s->root_disk, GUEST_ROOT_LABEL, ",ro");
	add_disk(b, s->own_disk, GUEST_DISK_LABEL, ",cache=unsafe");
	/* somebody's own file: two machines that write to it would ruin it */
	add_disk(b, s->image, GUEST_IMAGE_LABEL, s->image_read_only ? ",ro" : ",cache=unsafe");
	if (s->share_fd >= 0)
		option(b, "--fs", "tag=" GUEST_SHARE_TAG ",fd=%d", s->share_fd);
	/* what the guest frees is the host's again */
	str_buf_add(b, "--balloon", sizeof("--balloon"));
	add_command_line(b, s);
	for (char *const *arg = s->more_args; arg && *arg; arg++)
		str_buf_add(b, *arg, strlen(*arg) + 1);
}

static int write_words(const struct str_buf *b, int *ret_fd)
{
	_cleanup_close_ int fd = memfd_create("machine", MFD_CLOEXEC);
	int r = fd < 0 ? -errno : io_write_full(fd, b->data, b->len);

	if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
		r = -errno;
	if (r == 0)
		*ret_fd = TAKE_FD(fd);
	return r;
}

static int vmm_command(const struct vm_spec *s, char ***ret, int *ret_fd)
{
	_cleanup_strv_ char **argv = NULL;
	struct str_buf b = { 0 };
	char number[16];
	int r = -ENOMEM;

	snprintf(number, sizeof(number), "%d", s->config_fd);
	add_options(&b, s);
	if (!b.failed && strv_add(&argv, s->binary) == 0 && strv_add(&argv, "--config") == 0 &&
	    strv_add(&argv, number) == 0)
		r = write_words(&b, ret_fd);
	str_buf_done(&b);
	if (r == 0)
		*ret = TAKE_PTR(argv);
	return r;
}

const struct vm_hypervisor vm_proa_vmm = {
	.name = "proa-vmm", .find = vmm_find, .command = vmm_command, .own_pids = true
};
