/* SPDX-License-Identifier: Apache-2.0 */
/* spec: a config.json to begin with; with --rootless for who is not root. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "runtime/config.h"
#include "runtime/runtime.h"
#include "util/err.h"
#include "util/io.h"
#include "util/json_write.h"
#include "util/mem.h"
#include "util/str.h"

static const char *const caps[] = { "CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE", NULL };

static void write_list(struct json_write *w, const char *key, const char *const *list)
{
	json_write_key(w, key);
	json_write_strv(w, list);
}

static void write_process(struct json_write *w)
{
	static const char *const sets[] = { "bounding", "effective", "permitted" };
	static const char *const args[] = { "sh", NULL };
	static const char *const env[] = {
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm",
		NULL
	};

	json_write_key(w, "process");
	json_write_object(w);
	json_write_key(w, "terminal");
	json_write_bool(w, true);
	json_write_key(w, "user");
	json_write_object(w);
	json_write_member_u64(w, "uid", 0);
	json_write_member_u64(w, "gid", 0);
	json_write_close(w, '}');
	write_list(w, "args", args);
	write_list(w, "env", env);
	json_write_member(w, "cwd", "/");
	json_write_key(w, "capabilities");
	json_write_object(w);
	for (size_t i = 0; i < ARRAY_SIZE(sets); i++)
		write_list(w, sets[i], caps);
	json_write_close(w, '}');
	json_write_key(w, "rlimits");
	json_write_array(w);
	json_write_object(w);
	json_write_member(w, "type", "RLIMIT_NOFILE");
	json_write_member_u64(w, "hard", 1024);
	json_write_member_u64(w, "soft", 1024);
	json_write_close(w, '}');
	json_write_close(w, ']');
	json_write_key(w, "noNewPrivileges");
	json_write_bool(w, true);
	json_write_close(w, '}');
}

struct spec_mount {
	const char *destination, *type, *source, *options; /* options: words with commas */
};

static void write_mount(struct json_write *w, const struct spec_mount *m)
{
	_cleanup_free_ char *words = strdup(m->options);
	char *save = NULL;

	json_write_object(w);
	json_write_member(w, "destination", m->destination);
	json_write_member(w, "type", m->type);
	json_write_member(w, "source", m->source);
	json_write_key(w, "options");
	json_write_array(w);
	for (char *o = words ? strtok_r(words, ",", &save) : NULL; o;
	     o = strtok_r(NULL, ",", &save))
		json_write_string(w, o);
	json_write_close(w, ']');
	json_write_close(w, '}');
}

static void write_mounts(struct json_write *w, bool rootless)
{
	static const struct spec_mount mounts[] = {
		{ "/proc", "proc", "proc", "nosuid,noexec,nodev" },
		{ "/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k" },
		{ "/dev/pts", "devpts", "devpts",
		  "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5" },
		{ "/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777,size=65536k" },
		{ "/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev" },
		{ "/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro" },
		{ "/sys/fs/cgroup", "cgroup", "cgroup", "nosuid,noexec,nodev,relatime,ro" },
	};
	/* the group of terminals is not mapped, and the host's network brings the host's /sys */
	static const struct spec_mount pts = {
		"/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620"
	};
	static const struct spec_mount sys = { "/sys", "none", "/sys",
					       "rbind,nosuid,noexec,nodev,ro" };

	json_write_key(w, "mounts");
	json_write_array(w);
	for (size_t i = 0; i < ARRAY_SIZE(mounts); i++)
		if (rootless && !strcmp(mounts[i].destination, "/sys/fs/cgroup"))
			continue;
		else if (rootless && !strcmp(mounts[i].destination, "/dev/pts"))
			write_mount(w, &pts);
		else if (rootless && !strcmp(mounts[i].destination, "/sys"))
			write_mount(w, &sys);
		else
			write_mount(w, &mounts[i]);
	json_write_close(w, ']');
}

static void write_map(struct json_write *w, const char *key, uint32_t id)
{
	json_write_key(w, key);
	json_write_array(w);
	json_write_object(w);
	json_write_member_u64(w, "containerID", 0);
	json_write_member_u64(w, "hostID", id);
	json_write_member_u64(w, "size", 1);
	json_write_close(w, '}');
	json_write_close(w, ']');
}

static void write_linux(struct json_write *w, bool rootless)
{
	static const char *const root_ns[] = { "pid",	"network", "ipc", "uts",
					       "mount", "cgroup",  NULL };
	static const char *const rootless_ns[] = { "pid",    "ipc",  "uts", "mount",
						   "cgroup", "user", NULL };
	static const char *const masked[] = { "/proc/acpi",
					      "/proc/asound",
					      "/proc/kcore",
					      "/proc/keys",
					      "/proc/latency_stats",
					      "/proc/timer_list",
					      "/proc/timer_stats",
					      "/proc/sched_debug",
					      "/sys/firmware",
					      "/proc/scsi",
					      NULL };
	static const char *const read_only[] = { "/proc/bus",		"/proc/fs",
						 "/proc/irq",		"/proc/sys",
						 "/proc/sysrq-trigger", NULL };
	const char *const *ns = rootless ? rootless_ns : root_ns;

	json_write_key(w, "linux");
	json_write_object(w);
	if (rootless) {
		write_map(w, "uidMappings", geteuid());
		write_map(w, "gidMappings", getegid());
	} else {
		json_write_key(w, "resources");
		json_write_raw(w, "{\"devices\": [{\"allow\": false, \"access\": \"rwm\"}]}");
	}
	json_write_key(w, "namespaces");
	json_write_array(w);
	for (; *ns; ns++) {
		json_write_object(w);
		json_write_member(w, "type", *ns);
		json_write_close(w, '}');
	}
	json_write_close(w, ']');
	write_list(w, "maskedPaths", masked);
	write_list(w, "readonlyPaths", read_only);
	json_write_close(w, '}');
}

static int write_spec(const char *dir, bool rootless, struct err *err)
{
	_cleanup_free_ char *path = str_printf("%s/" CONFIG_NAME, dir);
	struct json_write w = { .indent = 4 };
	int r;

	json_write_object(&w);
	json_write_member(&w, "ociVersion", OCI_VERSION);
	write_process(&w);
	json_write_key(&w, "root");
	json_write_object(&w);
	json_write_member(&w, "path", "rootfs");
	json_write_key(&w, "readonly");
	json_write_bool(&w, true);
	json_write_close(&w, '}');
	json_write_member(&w, "hostname", "proa");
	write_mounts(&w, rootless);
	write_linux(&w, rootless);
	json_write_close(&w, '}');
	str_buf_puts(&w.out, "\n");
	r = !path || w.out.failed
		    ? -ENOMEM
		    : io_write_file(AT_FDCWD, path, w.out.data, w.out.len, 0644, IO_EXCLUSIVE);
	str_buf_done(&w.out);
	if (r == -EEXIST)
		return err_set(err, EEXIST, "%s is there already; remove it first", path);
	return r < 0 ? err_sys(err, -r, "write %s", path ? path : CONFIG_NAME) : 0;
}

int verb_spec(struct runtime *rt, int argc, char **argv)
{
	const char *bundle = ".";
	bool rootless = false;
	const struct args_option options[] = {
		{ 'b', "bundle", ARGS_STRING, &bundle, "DIR", "Where to write it" },
		{ 0, "rootless", ARGS_FLAG, &rootless, NULL, "For a user who is not root" },
		{ .name = NULL },
	};
	struct args_usage usage = {
		.name = "spec",
		.synopsis = "[OPTIONS]",
		.summary = "Write a config.json to begin with",
		.options = options,
		.max_args = 0,
	};
	struct err err = ERR_INIT;
	int code = runtime_args(rt, &usage, &argc, argv);

	if (code >= 0)
		return code;
	return write_spec(bundle, rootless, &err) < 0 ? runtime_fail(rt, &err) : 0;
}
