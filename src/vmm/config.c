/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line. Devices are words with parts, "--disk path=x.img,ro", as users of QEMU and of
 * Docker's --mount know them; a part that is not known is an error.
 *
 * `--config N` reads more words, each ended by a NUL, from descriptor N: what src/vm does, so that
 * a machine's files are not in everybody's list of processes.
 */
#include "vmm/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "util/args.h"
#include "util/err.h"
#include "util/io.h"
#include "util/mem.h"
#include "util/str.h"

#define WORDS_MAX	(1u << 20)
#define CONFIG_FD_NONE	UINT32_MAX
#define VSOCK_CID_FIRST 3

/* One part of a device's words: NAME=VALUE, or NAME alone (value ""). */
typedef int part_fn(void *data, const char *name, const char *value, struct err *err);

/* The next part of a list, in place; a comma that is written twice is one of the part's own. */
static char *next_part(char **rest)
{
	char *start = *rest, *to = start, *from = start;

	if (!start)
		return NULL;
	for (; *from; *to++ = *from++)
		if (*from == ',') {
			if (from[1] != ',')
				break;
			from++;
		}
	*rest = *from ? from + 1 : NULL;
	*to = 0;
	return start;
}

/* Calls @part for each; the text is taken apart in place. */
static int each_part(const char *option, const char *text, part_fn *part, void *data,
		     struct err *err)
{
	char *rest = (char *)(uintptr_t)text, *word;

	while ((word = next_part(&rest))) {
		char *value = strchr(word, '=');
		int r;

		if (value)
			*value++ = 0;
		r = part(data, word, value ? value : "", err);
		if (r == -ENOENT)
			return err_set(err, EINVAL, "--%s has no part \"%s\"", option, word);
		if (r < 0)
			return err_wrap(err, "--%s", option);
	}
	return 0;
}

static int to_fd(const char *value, int *ret, struct err *err)
{
	uint32_t n;

	if (str_to_u32(value, &n) < 0 || n > INT32_MAX || fcntl((int)n, F_GETFD) < 0)
		return err_set(err, EBADF, "\"%s\" is not an open descriptor", value);
	/* not for the tool that unpacks a kernel */
	(void)fcntl((int)n, F_SETFD, FD_CLOEXEC);
	*ret = (int)n;
	return 0;
}

static int to_number(const char *name, const char *value, uint32_t min, uint32_t max, uint32_t *ret,
		     struct err *err)
{
	if (str_to_u32(value, ret) < 0 || *ret < min || *ret > max)
		return err_set(err, EINVAL, "%s must be a number between %u and %u", name, min,
			       max);
	return 0;
}

static int channel_part(struct config_channel *c, const char *name, const char *value,
			struct err *err)
{
	if (!strcmp(name, "fd"))
		return to_fd(value, &c->fd, err);
	if (strcmp(name, "socket") != 0)
		return -ENOENT;
	c->path = value;
	return 0;
}

int config_channel_open(const struct config_channel *c, const char *what, struct err *err)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = -EBADF;

	if (c->fd >= 0)
		return c->fd;
	if (!c->path)
		return err_set(err, EINVAL, "\"%s\" needs fd=N or socket=PATH", what);
	if (strlen(c->path) >= sizeof(a.sun_path))
		return err_set(err, ENAMETOOLONG, "the socket's path is too long: %s", c->path);
	memcpy(a.sun_path, c->path, strlen(c->path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return err_sys(err, errno, "connect \"%s\" to the socket %s", what, c->path);
	return TAKE_FD(fd);
}

/* ---- devices -------------------------------------------------------------------------------- */

#define NEXT(config, list, count, max)                                                             \
	((config)->count < (max) ? &(config)->list[(config)->count++] : NULL)

static int too_many(const char *option, unsigned max, struct err *err)
{
	return err_set(err, ENOSPC, "at most %u times --%s", max, option);
}

static int disk_part(void *data, const char *name, const char *value, struct err *err)
{
	struct config_disk *d = data;

	if (!strcmp(name, "path"))
		d->path = value;
	else if (!strcmp(name, "serial"))
		d->serial = value;
	else if (!strcmp(name, "ro") && !*value)
		d->read_only = true;
	else if (!strcmp(name, "cache") && !strcmp(value, "unsafe"))
		d->unsafe_cache = true;
	else if (!strcmp(name, "cache") && strcmp(value, "writeback") != 0)
		return err_set(err, EINVAL, "cache is \"writeback\" or \"unsafe\"");
	else if (strcmp(name, "cache") != 0)
		return -ENOENT;
	return 0;
}

static int add_disk(void *data, const char *value, struct err *err)
{
	struct config_disk *d =
		NEXT((struct vmm_config *)data, disks, disk_count, CONFIG_DISKS_MAX);
	int r;

	if (!d)
		return too_many("disk", CONFIG_DISKS_MAX, err);
	r = each_part("disk", value, disk_part, d, err);
	if (r == 0 && str_empty(d->path))
		r = err_set(err, EINVAL, "--disk needs path=FILE");
	return r;
}

static int parse_mac(const char *value, uint8_t mac[6], struct err *err)
{
	/* sscanf() would take signs and blanks for digits */
	bool good = strlen(value) == 17 && strspn(value, "0123456789abcdefABCDEF:") == 17;

	if (!good || sscanf(value, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx", &mac[0], &mac[1], &mac[2],
			    &mac[3], &mac[4], &mac[5]) != 6)
		return err_set(err, EINVAL, "\"%s\" is not a MAC address", value);
	if (mac[0] & 1)
		return err_set(err, EINVAL, "\"%s\" is a multicast address", value);
	return 0;
}

static int net_part(void *data, const char *name, const char *value, struct err *err)
{
	struct config_net *n = data;

	if (!strcmp(name, "tap")) {
		n->tap = value;
		return 0;
	}
	if (!strcmp(name, "tapfd")) {
		if (n->tap_count == CONFIG_TAPS_MAX)
			return err_set(err, ENOSPC, "at most %d queues", CONFIG_TAPS_MAX);
		return to_fd(value, &n->tap_fds[n->tap_count++], err);
	}
	if (!strcmp(name, "queues"))
		return to_number("queues", value, 1, CONFIG_TAPS_MAX, &n->queues, err);
	if (!strcmp(name, "mtu"))
		return to_number("mtu", value, 68, 65521, &n->mtu, err);
	if (!strcmp(name, "mac")) {
		n->has_mac = true;
		return parse_mac(value, n->mac, err);
	}
	if (!strcmp(name, "stream") || !strcmp(name, "streamfd")) {
		n->is_stream = true;
		return channel_part(&n->stream, !strcmp(name, "stream") ? "socket" : "fd", value,
				    err);
	}
	return -ENOENT;
}

static int add_net(void *data, const char *value, struct err *err)
{
	struct config_net *n = NEXT((struct vmm_config *)data, nets, net_count, CONFIG_NETS_MAX);
	int r;

	if (!n)
		return too_many("net", CONFIG_NETS_MAX, err);
	n->stream.fd = -1;
	n->queues = 1;
	r = each_part("net", value, net_part, n, err);
	if (r == 0 && !n->tap + !n->tap_count + !n->is_stream != 2)
		r = err_set(err, EINVAL,
			    "--net needs one of tap=NAME, tapfd=N, stream=PATH and "
			    "streamfd=N");
	if (r == 0 && n->is_stream && n->queues > 1)
		r = err_set(err, EINVAL, "--net: a stream has one queue");
	return r;
}

static int fs_part(void *data, const char *name, const char *value, struct err *err)
{
	struct config_fs *f = data;

	if (!strcmp(name, "tag")) {
		f->tag = value;
		return 0;
	}
	if (!strcmp(name, "queues"))
		return to_number("queues", value, 1, 8, &f->queues, err);
	return channel_part(&f->socket, name, value, err);
}

static int add_fs(void *data, const char *value, struct err *err)
{
	struct config_fs *f = NEXT((struct vmm_config *)data, fs, fs_count, CONFIG_FS_MAX);
	int r;

	if (!f)
		return too_many("fs", CONFIG_FS_MAX, err);
	f->socket.fd = -1;
	f->queues = 1;
	r = each_part("fs", value, fs_part, f, err);
	if (r == 0 && (str_empty(f->tag) || strlen(f->tag) > 36))
		r = err_set(err, EINVAL, "--fs needs tag=NAME of at most 36 characters");
	return r;
}

static int port_part(void *data, const char *name, const char *value, struct err *err)
{
	struct config_port *p = data;

	if (!strcmp(name, "name")) {
		p->name = value;
		return 0;
	}
	return channel_part(&p->channel, name, value, err);
}

static int add_port(void *data, const char *value, struct err *err)
{
	struct config_port *p =
		NEXT((struct vmm_config *)data, ports, port_count, CONFIG_PORTS_MAX);
	int r;

	if (!p)
		return too_many("port", CONFIG_PORTS_MAX, err);
	p->channel.fd = -1;
	r = each_part("port", value, port_part, p, err);
	if (r == 0 && (str_empty(p->name) || strlen(p->name) > 39))
		r = err_set(err, EINVAL, "--port needs name=NAME of at most 39 characters");
	return r;
}

static int vsock_part(void *data, const char *name, const char *value, struct err *err)
{
	struct vmm_config *c = data;

	if (!strcmp(name, "cid"))
		return to_number("cid", value, VSOCK_CID_FIRST, UINT32_MAX - 1, &c->vsock_cid, err);
	if (strcmp(name, "socket") != 0)
		return -ENOENT;
	c->vsock_path = value;
	return 0;
}

static int set_vsock(void *data, const char *value, struct err *err)
{
	struct vmm_config *c = data;
	int r = each_part("vsock", value, vsock_part, c, err);

	if (r == 0 && (!c->vsock_cid || str_empty(c->vsock_path)))
		r = err_set(err, EINVAL, "--vsock needs cid=N and socket=PATH");
	return r;
}

/* ---- words that are one of a few ------------------------------------------------------------- */

static int choose(const char *option, const char *value, const char *const *names, struct err *err)
{
	char all[96] = "";

	for (int i = 0; names[i]; i++) {
		if (!strcmp(value, names[i]))
			return i;
		snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s", i ? ", " : "",
			 names[i]);
	}
	return err_set(err, EINVAL, "--%s is one of: %s", option, all);
}

static int set_boot(void *data, const char *value, struct err *err)
{
	static const char *const names[] = { "auto", "pvh", "linux", NULL };
	int n = choose("boot", value, names, err);

	if (n >= 0)
		((struct vmm_config *)data)->boot = (enum config_boot)n;
	return MIN(n, 0);
}

static int set_console(void *data, const char *value, struct err *err)
{
	static const char *const names[] = { "serial", "virtio", "none", NULL };
	int n = choose("console", value, names, err);

	if (n >= 0)
		((struct vmm_config *)data)->console = (enum config_console)n;
	return MIN(n, 0);
}

static int set_transport(void *data, const char *value, struct err *err)
{
	static const char *const names[] = { "mmio", "pci", NULL };
	int n = choose("transport", value, names, err);

	((struct vmm_config *)data)->pci = n == 1;
	return MIN(n, 0);
}

static int set_control(void *data, const char *value, struct err *err)
{
	struct vmm_config *c = data;

	if (str_starts(value, "fd="))
		return to_fd(value + 3, &c->control_fd, err);
	c->control_path = value;
	return 0;
}

/* ---- all of it ------------------------------------------------------------------------------ */

/* The words of a descriptor as an argument vector; they stay in *@ret_words. */
static int read_words(uint32_t fd, char **ret_words, char ***ret_argv, int *ret_argc,
		      struct err *err)
{
	_cleanup_free_ char *words = malloc(WORDS_MAX + 1);
	_cleanup_free_ char **argv = NULL;
	ssize_t n = words ? io_read_full((int)fd, words, WORDS_MAX) : -ENOMEM;
	size_t count = 0, at = 0;

	if (n < 0)
		return err_sys(err, (int)-n, "read the configuration from descriptor %u", fd);
	if (n == 0 || n == WORDS_MAX || words[n - 1])
		return err_set(err, EINVAL, "the configuration on descriptor %u is %s", fd,
			       n ? "not a list of words that end with a NUL" : "empty");
	for (ssize_t i = 0; i < n; i++)
		count += !words[i];
	argv = calloc(count + 2, sizeof(*argv));
	if (!argv)
		return err_set(err, ENOMEM, "out of memory");
	argv[0] = (char *)(uintptr_t) "proa-vmm";
	for (size_t i = 1; i <= count; i++, at += strlen(words + at) + 1)
		argv[i] = words + at;
	*ret_argc = (int)count + 1;
	*ret_argv = TAKE_PTR(argv);
	*ret_words = TAKE_PTR(words);
	close((int)fd);
	return 0;
}

static int check(struct vmm_config *c, struct err *err)
{
	if (str_empty(c->kernel))
		return err_set(err, EINVAL, "--kernel is needed (see \"proa-vmm --help\")");
	if (!c->cpus || c->cpus > CONFIG_CPUS_MAX)
		return err_set(err, EINVAL, "--cpus must be between 1 and %d", CONFIG_CPUS_MAX);
	c->memory_bytes = (c->memory_bytes + 4095) & ~4095ull;
	return 0;
}

static int parse_words(int argc, char **argv, struct vmm_config *c, uint32_t *config_fd,
		       struct err *err)
{
	bool version = false, no_sandbox = false;
	const struct args_option options[] = {
		{ 'k', "kernel", ARGS_STRING, &c->kernel, "FILE", "vmlinux or bzImage", NULL, 0 },
		{ 'i', "initrd", ARGS_STRING, &c->initrd, "FILE", "Initial RAM disk", NULL, 0 },
		{ 'a', "cmdline", ARGS_STRING, &c->cmdline, "TEXT", "Kernel command line", NULL,
		  0 },
		{ 'm', "memory", ARGS_BYTES, &c->memory_bytes, "SIZE", "Memory (256m)", NULL, 0 },
		{ 'c', "cpus", ARGS_U32, &c->cpus, "N", "Virtual processors (1)", NULL, 0 },
		{ 'd', "disk", ARGS_CALL, c, "path=FILE[,ro][,serial=TEXT][,cache=unsafe]",
		  "Disk (virtio-blk)", add_disk, 0 },
		{ 'n', "net", ARGS_CALL, c,
		  "tap=NAME|tapfd=N|stream=PATH|streamfd=N[,mac=][,mtu=][,queues=]",
		  "Network interface (virtio-net)", add_net, 0 },
		{ 0, "fs", ARGS_CALL, c, "tag=NAME,socket=PATH|fd=N[,queues=N]",
		  "Shared directory: a vhost-user file server such as virtiofsd", add_fs, 0 },
		{ 0, "port", ARGS_CALL, c, "name=NAME,socket=PATH|fd=N",
		  "Channel to the guest: /dev/virtio-ports/NAME", add_port, 0 },
		{ 0, "vsock", ARGS_CALL, c, "cid=N,socket=PATH", "Sockets between host and guest",
		  set_vsock, 0 },
		{ 0, "rng", ARGS_FLAG, &c->rng, NULL, "Source of randomness (virtio-rng)", NULL,
		  0 },
		{ 0, "balloon", ARGS_FLAG, &c->balloon, NULL,
		  "Memory given back to the host (virtio-balloon)", NULL, 0 },
		{ 0, "console", ARGS_CALL, c, "serial|virtio|none",
		  "What standard input and output are in the guest: ttyS0 (default) or hvc0",
		  set_console, 0 },
		{ 0, "transport", ARGS_CALL, c, "mmio|pci", "How virtio devices are found (mmio)",
		  set_transport, 0 },
		{ 0, "boot", ARGS_CALL, c, "auto|pvh|linux", "Boot protocol (auto)", set_boot, 0 },
		{ 0, "control", ARGS_CALL, c, "PATH|fd=N", "Control socket", set_control, 0 },
		{ 0, "cgroup", ARGS_STRING, &c->cgroup, "DIR", "Join this control group", NULL, 0 },
		{ 0, "config", ARGS_U32, config_fd, "FD",
		  "Read more options from this descriptor, each word ended by a NUL", NULL, 0 },
		{ 0, "no-sandbox", ARGS_FLAG, &no_sandbox, NULL,
		  "Keep namespaces, rights and system calls (for debugging)", NULL, 0 },
		{ 'v', "verbose", ARGS_FLAG, &c->verbose, NULL, "Say how the machine ended", NULL,
		  0 },
		{ 0, "version", ARGS_FLAG, &version, NULL, "Print the version", NULL, 0 },
		{ 0, NULL, ARGS_FLAG, NULL, NULL, NULL, NULL, 0 },
	};
	static const struct args_usage base = {
		.program = "proa-vmm",
		.name = "",
		.synopsis = "--kernel FILE [OPTIONS]",
		.summary = "Run a machine on KVM.\nExit code: 0 power off, 2 killed, 10 reset, 11 "
			   "panic, "
			   "12 triple fault,\n13 halt, 125 proa-vmm's or KVM's own failure.",
		.examples =
			"proa-vmm --kernel vmlinux --initrd initrd.img --cmdline 'console=ttyS0'\n"
			"  proa-vmm --kernel bzImage --cpus 2 --memory 1g --disk path=root.ext4 "
			"\\\n"
			"        --net tap=tap0 --cmdline 'root=/dev/vda rw console=ttyS0'\n"
			"  proa-vmm --kernel vmlinux --disk path=root.erofs,ro --console virtio "
			"\\\n"
			"        --control /run/machine.sock --cmdline 'root=/dev/vda "
			"console=hvc0'\n",
		.max_args = 0,
	};
	struct args_usage usage = base;
	int r;

	usage.options = options;
	r = args_parse(&usage, &argc, argv, err);
	if (r == 0)
		args_help(&usage, stdout);
	if (r == 1 && version) {
		printf("proa-vmm version %s\n", PROA_VERSION);
		return 0;
	}
	if (no_sandbox)
		c->sandbox = false;
	return r;
}

int config_parse(int argc, char **argv, struct vmm_config *ret, struct err *err)
{
	_cleanup_free_ char **more = NULL;
	uint32_t fd = CONFIG_FD_NONE, none = CONFIG_FD_NONE;
	int r, more_count = 0;

	*ret = (struct vmm_config){
		.cpus = 1, .memory_bytes = 256ull << 20, .sandbox = true, .control_fd = -1
	};
	r = parse_words(argc, argv, ret, &fd, err);
	if (r == 1 && fd != CONFIG_FD_NONE) {
		r = read_words(fd, &ret->words, &more, &more_count, err);
		if (r == 0)
			r = parse_words(more_count, more, ret, &none, err);
		if (r == 1 && none != CONFIG_FD_NONE)
			r = err_set(err, EINVAL, "--config in a configuration");
	}
	return r == 1 && check(ret, err) < 0 ? -EINVAL : r;
}

void config_done(struct vmm_config *c)
{
	free(c->words);
	c->words = NULL;
}
