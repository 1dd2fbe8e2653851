/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Image configuration and options to a plan: what Docker's defaults are, written down once for both
 * backends. Pure: no file is opened here.
 */
#include <errno.h>
#include <linux/mount.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include "oci/image_config.h"
#include "plan/options.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/signal.h"
#include "util/str.h"

#define DEFAULT_PATH	    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define MEMORY_MIN_BYTES    (6u << 20) /* Docker's own minimum */
#define CPU_PERIOD_US	    100000u
#define ACCESS_ALL	    7
#define NOSUID_NOEXEC	    (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC)
#define NOSUID_NOEXEC_NODEV (NOSUID_NOEXEC | MOUNT_ATTR_NODEV)

static int no_memory(struct err *err)
{
	return err_set(err, ENOMEM, "out of memory");
}

static int set(char **field, const char *value, struct err *err)
{
	if (!value)
		return 0;
	*field = strdup(value);
	return *field ? 0 : no_memory(err);
}

/* ---- the process ---------------------------------------------------------------------------- */

/* Docker's rule: --entrypoint also discards the image's CMD; arguments replace CMD. */
static int make_args(const struct plan_options *o, const struct image_config *image, char ***ret,
		     struct err *err)
{
	char **entrypoint = o->entrypoint ? NULL : image->entrypoint;
	char **rest = strv_len(o->args) ? o->args : o->entrypoint ? NULL : image->cmd;
	_cleanup_strv_ char **args = NULL;

	if (o->entrypoint && *o->entrypoint && strv_add(&args, o->entrypoint) < 0)
		return no_memory(err);
	for (char **v = entrypoint; v && *v; v++)
		if (strv_add(&args, *v) < 0)
			return no_memory(err);
	for (char **v = rest; v && *v; v++)
		if (strv_add(&args, *v) < 0)
			return no_memory(err);
	if (!strv_len(args) && o->probe && strv_add(&args, "probe") < 0)
		return no_memory(err);
	if (!strv_len(args))
		return err_set(
			err, EINVAL,
			"no command: the image names none (CMD, ENTRYPOINT), so give one after "
			"the image");
	*ret = TAKE_PTR(args);
	return 0;
}

static int make_env(const struct plan_options *o, const struct image_config *image,
		    const char *hostname, char ***ret, struct err *err)
{
	_cleanup_strv_ char **env = NULL;
	_cleanup_free_ char *host = str_printf("HOSTNAME=%s", hostname);
	int r = host ? strv_env_set(&env, DEFAULT_PATH) : -ENOMEM;

	if (r == 0)
		r = strv_env_set(&env, host);
	if (r == 0 && o->terminal)
		r = strv_env_set(&env, "TERM=xterm");
	for (char **v = image->env; r == 0 && v && *v; v++)
		r = strv_env_set(&env, *v);
	for (char **v = o->env; r == 0 && v && *v; v++)
		r = strv_env_set(&env, *v);
	if (r < 0)
		return no_memory(err);
	*ret = TAKE_PTR(env);
	return 0;
}

static int make_rlimits(const struct plan_options *o, struct plan_process *p, struct err *err)
{
	size_t n = strv_len(o->ulimits);

	p->rlimits = calloc(n + 1, sizeof(*p->rlimits));
	if (!p->rlimits)
		return no_memory(err);
	for (size_t i = 0; i < n; i++) {
		int r = plan_parse_ulimit(o->ulimits[i], &p->rlimits[i], err);

		if (r < 0)
			return r;
		p->rlimit_count = i + 1;
	}
	return 0;
}

static int make_cwd(const struct plan_options *o, const struct image_config *image, char **ret,
		    struct err *err)
{
	const char *cwd = !str_empty(o->workdir)	   ? o->workdir
			  : !str_empty(image->working_dir) ? image->working_dir
							   : "/";

	if (cwd[0] != '/')
		return err_set(err, EINVAL, "-w %s: the working directory must be an absolute path",
			       cwd);
	return set(ret, cwd, err);
}

static int make_process(const struct plan_options *o, const struct image_config *image,
			struct plan *p, struct err *err)
{
	struct plan_process *proc = &p->process;
	uint64_t caps;
	int r = make_args(o, image, &proc->args, err);

	if (r == 0)
		r = make_env(o, image, p->hostname, &proc->env, err);
	if (r == 0)
		r = make_cwd(o, image, &proc->cwd, err);
	if (r == 0)
		r = set(&proc->user, o->user ? o->user : image->user ? image->user : "", err);
	if (r == 0)
		r = plan_caps_resolve(o->cap_add, o->cap_drop, o->privileged, &caps, err);
	if (r == 0)
		r = make_rlimits(o, proc, err);
	if (r == 0)
		r = set(&proc->probe, o->probe, err);
	if (r < 0)
		return r;
	proc->groups = strv_copy(o->groups);
	if (!proc->groups)
		return no_memory(err);
	proc->caps = (struct plan_caps){ .bounding = caps, .permitted = caps, .effective = caps };
	proc->no_new_privs = o->no_new_privs;
	proc->terminal = o->terminal;
	proc->rows = o->rows;
	proc->cols = o->cols;
	proc->init = o->init;
	if (o->seccomp) {
		proc->seccomp = malloc(o->seccomp_len);
		if (!proc->seccomp)
			return no_memory(err);
		memcpy(proc->seccomp, o->seccomp, o->seccomp_len);
		proc->seccomp_len = o->seccomp_len;
	}
	return 0;
}

/* ---- mounts --------------------------------------------------------------------------------- */

/* Takes over @m's strings; a mount on the same target as an earlier one replaces it. */
static int add_mount(struct plan *p, struct plan_mount *m, struct err *err)
{
	for (size_t i = 0; i < p->mount_count; i++)
		if (!strcmp(p->mounts[i].target, m->target)) {
			plan_mount_done(&p->mounts[i]);
			memmove(&p->mounts[i], &p->mounts[i + 1],
				(p->mount_count - i - 1) * sizeof(*m));
			p->mount_count--;
			break;
		}
	p->mounts = p->mounts ?: calloc(1, sizeof(*m));
	if (p->mounts) {
		void *grown = reallocarray(p->mounts, p->mount_count + 1, sizeof(*m));

		if (grown) {
			p->mounts = grown;
			p->mounts[p->mount_count++] = *m;
			return 0;
		}
	}
	plan_mount_done(m);
	return no_memory(err);
}

static int add_default_mounts(const struct plan_options *o, struct plan *p, struct err *err)
{
	uint64_t ro = o->privileged ? 0 : MOUNT_ATTR_RDONLY;
	const struct {
		uint8_t kind;
		const char *target;
		uint64_t attrs;
		const char *options[5];
	} table[] = {
		{ PLAN_MOUNT_PROC, "/proc", NOSUID_NOEXEC_NODEV, { NULL } },
		{ PLAN_MOUNT_TMPFS,
		  "/dev",
		  MOUNT_ATTR_NOSUID | MOUNT_ATTR_STRICTATIME,
		  { "mode=755", "size=65536k" } },
		{ PLAN_MOUNT_DEVPTS,
		  "/dev/pts",
		  NOSUID_NOEXEC,
		  { "newinstance", "ptmxmode=0666", "mode=0620", "gid=5" } },
		{ PLAN_MOUNT_SYSFS, "/sys", NOSUID_NOEXEC_NODEV | ro, { NULL } },
		{ PLAN_MOUNT_CGROUP, "/sys/fs/cgroup", NOSUID_NOEXEC_NODEV | ro, { NULL } },
		{ PLAN_MOUNT_MQUEUE, "/dev/mqueue", NOSUID_NOEXEC_NODEV, { NULL } },
		{ PLAN_MOUNT_TMPFS,
		  "/dev/shm",
		  NOSUID_NOEXEC_NODEV,
		  { "mode=1777", "size=65536k" } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct plan_mount m = { .kind = table[i].kind, .attrs = table[i].attrs };
		int r = 0;

		for (size_t j = 0; table[i].options[j] && r == 0; j++)
			r = strv_add(&m.options, table[i].options[j]);
		m.target = strdup(table[i].target);
		if (r < 0 || !m.target) {
			plan_mount_done(&m);
			return no_memory(err);
		}
		r = add_mount(p, &m, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static size_t depth(const char *path)
{
	size_t n = 0;

	for (; *path; path++)
		n += *path == '/' && path[1] && path[1] != '/';
	return n;
}

/* Parents before children, whatever the order on the command line; otherwise that order. */
static void sort_mounts(struct plan *p, size_t first)
{
	for (size_t i = first + 1; i < p->mount_count; i++) {
		struct plan_mount m = p->mounts[i];
		size_t j = i;

		for (; j > first && depth(p->mounts[j - 1].target) > depth(m.target); j--)
			p->mounts[j] = p->mounts[j - 1];
		p->mounts[j] = m;
	}
}

static int add_user_mounts(const struct plan_options *o, struct plan *p, struct err *err)
{
	const struct {
		char **texts;
		int (*parse)(const char *text, struct plan_mount *ret, struct err *err);
	} sources[] = {
		{ o->tmpfs, plan_parse_tmpfs },
		{ o->volumes, plan_parse_volume },
		{ o->mounts, plan_parse_mount },
	};

	for (size_t i = 0; i < ARRAY_SIZE(sources); i++)
		for (char **t = sources[i].texts; t && *t; t++) {
			struct plan_mount m;
			int r = sources[i].parse(*t, &m, err);

			if (r == 0)
				r = add_mount(p, &m, err);
			if (r < 0)
				return r;
		}
	return 0;
}

/* --read-only leaves what was asked for with --tmpfs and -v writable, as Docker does. */
static int make_mounts(const struct plan_options *o, struct plan *p, struct err *err)
{
	size_t defaults;
	int r = add_default_mounts(o, p, err);

	if (r < 0)
		return r;
	r = add_user_mounts(o, p, err);
	/* those of the defaults that were not replaced still stand first */
	for (defaults = 0; defaults < p->mount_count; defaults++)
		if (p->mounts[defaults].kind == PLAN_MOUNT_BIND ||
		    (p->mounts[defaults].flags & PLAN_MOUNT_KEEP_MODE))
			break;
	sort_mounts(p, defaults);
	return r;
}

/* ---- devices and hidden paths --------------------------------------------------------------- */

static const struct {
	const char *path;
	uint32_t major, minor;
} default_devices[] = {
	{ "/dev/null", 1, 3 },	 { "/dev/zero", 1, 5 },	   { "/dev/full", 1, 7 },
	{ "/dev/random", 1, 8 }, { "/dev/urandom", 1, 9 }, { "/dev/tty", 5, 0 },
};

static int make_devices(const struct plan_options *o, struct plan *p, struct err *err)
{
	size_t n = ARRAY_SIZE(default_devices);

	p->devices = calloc(n + o->device_count, sizeof(*p->devices));
	if (!p->devices)
		return no_memory(err);
	for (size_t i = 0; i < n; i++)
		p->devices[i] = (struct plan_device){ .path = strdup(default_devices[i].path),
						      .type = 'c',
						      .major = default_devices[i].major,
						      .minor = default_devices[i].minor,
						      .mode = 0666 };
	for (size_t i = 0; i < o->device_count; i++) {
		p->devices[n + i] = o->devices[i];
		p->devices[n + i].path = strdup(o->devices[i].path);
	}
	p->device_count = n + o->device_count;
	for (size_t i = 0; i < p->device_count; i++)
		if (!p->devices[i].path)
			return no_memory(err);
	return 0;
}

/* Nothing, then: making nodes (not using them), the usual devices, terminals, what the user added.
 */
static int make_device_rules(const struct plan_options *o, struct plan *p, struct err *err)
{
	const struct plan_device_rule fixed[] = {
		{ false, 'a', -1, -1, ACCESS_ALL }, { true, 'c', -1, -1, 4 },
		{ true, 'b', -1, -1, 4 },	    { true, 'c', 5, 1, ACCESS_ALL },
		{ true, 'c', 5, 2, ACCESS_ALL },    { true, 'c', 136, -1, ACCESS_ALL },
	};
	size_t n = ARRAY_SIZE(fixed), m = ARRAY_SIZE(default_devices);
	struct plan_device_rule *rules = calloc(n + m + o->device_count, sizeof(*rules));

	if (!rules)
		return no_memory(err);
	p->resources.device_rules = rules;
	if (o->privileged) {
		rules[0] = (struct plan_device_rule){ true, 'a', -1, -1, ACCESS_ALL };
		p->resources.device_rule_count = 1;
		return 0;
	}
	memcpy(rules, fixed, sizeof(fixed));
	for (size_t i = 0; i < m; i++)
		rules[n + i] = (struct plan_device_rule){ true, 'c', default_devices[i].major,
							  default_devices[i].minor, ACCESS_ALL };
	for (size_t i = 0; i < o->device_count; i++)
		rules[n + m + i] =
			(struct plan_device_rule){ true, o->devices[i].type, o->devices[i].major,
						   o->devices[i].minor, o->device_access[i] };
	p->resources.device_rule_count = n + m + o->device_count;
	return 0;
}

static int make_hidden_paths(const struct plan_options *o, struct plan *p, struct err *err)
{
	static char *const masked[] = { (char *)"/proc/acpi",
					(char *)"/proc/asound",
					(char *)"/proc/interrupts",
					(char *)"/proc/kcore",
					(char *)"/proc/keys",
					(char *)"/proc/latency_stats",
					(char *)"/proc/sched_debug",
					(char *)"/proc/scsi",
					(char *)"/proc/timer_list",
					(char *)"/proc/timer_stats",
					(char *)"/sys/devices/virtual/powercap",
					(char *)"/sys/firmware",
					NULL };
	static char *const read_only[] = { (char *)"/proc/bus",		  (char *)"/proc/fs",
					   (char *)"/proc/irq",		  (char *)"/proc/sys",
					   (char *)"/proc/sysrq-trigger", NULL };
	static char *const none[] = { NULL };

	p->masked_paths = strv_copy(o->privileged ? none : masked);
	p->read_only_paths = strv_copy(o->privileged ? none : read_only);
	return p->masked_paths && p->read_only_paths ? 0 : no_memory(err);
}

/* ---- the rest ------------------------------------------------------------------------------- */

static int make_resources(const struct plan_options *o, struct plan *p, struct err *err)
{
	struct plan_resources *r = &p->resources;
	char have[16];

	if (o->memory_bytes && o->memory_bytes < MEMORY_MIN_BYTES)
		return err_set(err, EINVAL, "-m: %s is too little memory; the minimum is 6MiB",
			       str_human_mib(o->memory_bytes, have));
	r->memory_bytes = o->memory_bytes;
	/* as much swap again, Docker's default */
	r->memory_swap_bytes = o->memory_bytes * 2;
	r->memory_swap_default = o->memory_bytes;
	r->pids_max = o->pids_limit;
	if (o->cpus_nano) {
		r->cpu_period_us = CPU_PERIOD_US;
		r->cpu_quota_us = o->cpus_nano / (1000000000u / CPU_PERIOD_US);
		if (r->cpu_quota_us < 1000) /* the kernel's minimum */
			r->cpu_quota_us = 1000;
	}
	p->vm.memory_bytes = o->memory_bytes;
	p->vm.cpus = (uint32_t)((o->cpus_nano + 999999999u) / 1000000000u);
	return set(&r->cpuset_cpus, o->cpuset_cpus, err);
}

static int make_names(const struct plan_options *o, bool host_network, struct plan *p,
		      struct err *err)
{
	static const char hosts[] = "127.0.0.1\tlocalhost\n"
				    "::1\tlocalhost ip6-localhost ip6-loopback\n"
				    "fe00::\tip6-localnet\nff00::\tip6-mcastprefix\n"
				    "ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";
	char id12[13];
	const char *hostname = o->hostname;
	int r;

	memcpy(id12, o->id, 12);
	id12[12] = 0;
	if (!hostname)
		hostname = host_network && o->host_hostname ? o->host_hostname : id12;
	if (strlen(hostname) > 63 || !*hostname)
		return err_set(err, EINVAL, "--hostname: 1 to 63 characters");
	r = set(&p->hostname, hostname, err);
	if (r == 0)
		r = set(&p->hosts, hosts, err);
	if (r == 0)
		r = set(&p->resolv_conf, o->host_resolv_conf ? o->host_resolv_conf : "", err);
	if (r == 0)
		r = set(&p->id, o->id, err);
	if (r == 0)
		r = set(&p->name, o->name, err);
	if (r == 0)
		r = set(&p->image, o->image_id, err);
	return r;
}

static int make_root(const struct plan_options *o, struct plan *p, struct err *err)
{
	int r = 0;

	p->root.lowers = strv_copy(o->layer_dirs);
	if (!p->root.lowers)
		return no_memory(err);
	p->root.read_only = o->read_only;
	r = set(&p->root.upper, o->upper, err);
	if (r == 0)
		r = set(&p->root.work, o->work, err);
	if (r == 0)
		r = set(&p->vm.disk, o->disk, err);
	if (r == 0)
		r = set(&p->vm.kernel, o->kernel, err);
	if (r == 0)
		r = set(&p->vm.hypervisor, o->hypervisor, err);
	return r;
}

static int make_user_namespace(const struct plan_options *o, struct plan *p, struct err *err)
{
	if (!o->userns || !strcmp(o->userns, "host"))
		return 0;
	if (strcmp(o->userns, "auto") != 0)
		return err_set(err, EINVAL, "--userns takes auto or host, not \"%s\"", o->userns);
	if (o->privileged)
		return err_set(err, EINVAL,
			       "--userns auto contradicts --privileged: inside a user "
			       "namespace there are no rights over the host's devices");
	p->uid_map = calloc(1, sizeof(*p->uid_map));
	p->gid_map = calloc(1, sizeof(*p->gid_map));
	if (!p->uid_map || !p->gid_map)
		return no_memory(err);
	*p->uid_map = (struct plan_idmap){ 0, o->subuid, PLAN_ID_COUNT };
	*p->gid_map = (struct plan_idmap){ 0, o->subgid, PLAN_ID_COUNT };
	p->uid_map_count = p->gid_map_count = 1;
	p->map_sources = true;
	p->namespaces |= PLAN_NS_USER;
	return 0;
}

static int make_stop_signal(const struct image_config *image, struct plan *p, struct err *err)
{
	p->stop_signal = SIGTERM;
	if (str_empty(image->stop_signal))
		return 0;
	p->stop_signal = signal_parse(image->stop_signal);
	return p->stop_signal > 0
		       ? 0
		       : err_set(err, EINVAL, "the image's stop signal \"%s\" is unknown",
				 image->stop_signal);
}

int plan_make(const struct plan_options *o, const struct image_config *image, struct plan *ret,
	      struct err *err)
{
	struct plan p = { .isolation = o->isolation,
			  .privileged = o->privileged,
			  .auto_remove = o->auto_remove };
	bool host_network = o->network && !strcmp(o->network, "host");
	int r = 0;

	if (o->network && !host_network && strcmp(o->network, "none") != 0)
		return err_set(
			err, EOPNOTSUPP,
			"--network %s is not available; use --network none or --network host",
			o->network);
	p.namespaces = PLAN_NS_PID | PLAN_NS_IPC | PLAN_NS_UTS | PLAN_NS_CGROUP |
		       (host_network ? 0 : PLAN_NS_NET);
	r = make_names(o, host_network, &p, err);
	if (r == 0)
		r = make_root(o, &p, err);
	if (r == 0)
		r = make_process(o, image, &p, err);
	if (r == 0)
		r = make_mounts(o, &p, err);
	if (r == 0)
		r = make_devices(o, &p, err);
	if (r == 0)
		r = make_device_rules(o, &p, err);
	if (r == 0)
		r = make_hidden_paths(o, &p, err);
	if (r == 0)
		r = make_resources(o, &p, err);
	if (r == 0)
		r = make_user_namespace(o, &p, err);
	if (r == 0)
		r = make_stop_signal(image, &p, err);
	if (r < 0) {
		plan_done(&p);
		return r;
	}
	*ret = p;
	return 0;
}
