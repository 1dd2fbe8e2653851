/* SPDX-License-Identifier: Apache-2.0 */
/* Parsers of option values: no I/O, every refusal names the option and says what it takes. */
#include "plan/options.h"

#include <ctype.h>
#include <errno.h>
#include <linux/mount.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include "util/err.h"
#include "util/mem.h"
#include "util/str.h"

static int no_memory(struct err *err)
{
	return err_set(err, ENOMEM, "out of memory");
}

/* Mount attributes by the names that mount(8) and Docker use. False: not one of them. */
static bool mount_flag(const char *word, uint64_t *attrs)
{
	static const struct {
		const char *name;
		uint64_t set, clear;
	} flags[] = {
		{ "ro", MOUNT_ATTR_RDONLY, 0 },
		{ "readonly", MOUNT_ATTR_RDONLY, 0 },
		{ "rw", 0, MOUNT_ATTR_RDONLY },
		{ "nosuid", MOUNT_ATTR_NOSUID, 0 },
		{ "suid", 0, MOUNT_ATTR_NOSUID },
		{ "nodev", MOUNT_ATTR_NODEV, 0 },
		{ "dev", 0, MOUNT_ATTR_NODEV },
		{ "noexec", MOUNT_ATTR_NOEXEC, 0 },
		{ "exec", 0, MOUNT_ATTR_NOEXEC },
		{ "noatime", MOUNT_ATTR_NOATIME, 0 },
		{ "nodiratime", MOUNT_ATTR_NODIRATIME, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		if (!strcmp(flags[i].name, word)) {
			*attrs = (*attrs & ~flags[i].clear) | flags[i].set;
			return true;
		}
	return false;
}

static bool propagation(const char *word, uint32_t *flags)
{
	if (*word == 'r')
		word++;
	if (!strcmp(word, "private"))
		*flags &= ~(uint32_t)(PLAN_MOUNT_SLAVE | PLAN_MOUNT_SHARED);
	else if (!strcmp(word, "slave"))
		*flags |= PLAN_MOUNT_SLAVE;
	else if (!strcmp(word, "shared"))
		*flags |= PLAN_MOUNT_SHARED;
	else
		return false;
	return true;
}

static int check_target(const char *option, const char *target, struct err *err)
{
	if (target[0] != '/')
		return err_set(err, EINVAL, "%s: \"%s\": the path inside must be absolute", option,
			       target);
	if (!target[strspn(target, "/.")])
		return err_set(err, EINVAL, "%s: \"%s\": the root itself cannot be mounted over",
			       option, target);
	return 0;
}

static void finish_bind(struct plan_mount *m, bool recursive)
{
	m->kind = PLAN_MOUNT_BIND;
	if (recursive)
		m->flags |= PLAN_MOUNT_RECURSIVE | PLAN_MOUNT_PROPAGATION_RECURSIVE;
	if (recursive && (m->attrs & MOUNT_ATTR_RDONLY))
		m->flags |= PLAN_MOUNT_READ_ONLY_RECURSIVE;
}

static int volume_options(char *text, struct plan_mount *m, struct err *err)
{
	char *save = NULL;

	for (char *w = strtok_r(text, ",", &save); w; w = strtok_r(NULL, ",", &save)) {
		if (mount_flag(w, &m->attrs) || propagation(w, &m->flags))
			continue;
		if (!strcmp(w, "z") || !strcmp(w, "Z"))
			return err_set(err, EOPNOTSUPP,
				       "-v: \"%s\": SELinux labels cannot be set; label the "
				       "directory on the host and leave \"%s\" out",
				       w, w);
		return err_set(err, EINVAL,
			       "-v: unknown option \"%s\"; known are ro, rw, private, "
			       "slave, shared, nosuid, nodev, noexec",
			       w);
	}
	return 0;
}

int plan_parse_volume(const char *text, struct plan_mount *ret, struct err *err)
{
	_cleanup_free_ char *copy = strdup(text);
	struct plan_mount m = { 0 };
	char *target, *options;
	int r;

	if (!copy)
		return no_memory(err);
	target = strchr(copy, ':');
	if (!target)
		return err_set(
			err, EINVAL,
			"-v %s: give SOURCE:TARGET; volumes without a source are not available",
			text);
	*target++ = 0;
	options = strchr(target, ':');
	if (options)
		*options++ = 0;
	if (copy[0] != '/')
		return err_set(err, EINVAL,
			       "-v %s: \"%s\" is not an absolute path, and named volumes are not "
			       "available; use $PWD/… for a directory here",
			       text, copy);
	r = check_target("-v", target, err);
	if (r == 0 && options)
		r = volume_options(options, &m, err);
	if (r < 0)
		return r;
	m.source = strdup(copy);
	m.target = strdup(target);
	finish_bind(&m, true);
	if (!m.source || !m.target) {
		plan_mount_done(&m);
		return no_memory(err);
	}
	*ret = m;
	return 0;
}

static int set_string(char **field, const char *value)
{
	char *copy = strdup(value ? value : "");

	if (!copy)
		return -ENOMEM;
	free(*field);
	*field = copy;
	return 0;
}

static bool is_true(const char *value)
{
	return !value || !strcmp(value, "true") || !strcmp(value, "1");
}

static int bad_mount_type(const char *type, struct err *err)
{
	return err_set(err, EOPNOTSUPP,
		       "--mount: type=%s is not available; use type=bind or type=tmpfs", type);
}

/* One KEY[=VALUE] of --mount. */
static int mount_key(const char *key, const char *value, struct plan_mount *m, char **type,
		     bool *recursive, struct err *err)
{
	int r = 0;

	if (!strcmp(key, "type")) {
		r = set_string(type, value);
	} else if (!strcmp(key, "source") || !strcmp(key, "src")) {
		r = set_string(&m->source, value);
	} else if (!strcmp(key, "target") || !strcmp(key, "dst") || !strcmp(key, "destination")) {
		r = set_string(&m->target, value);
	} else if (!strcmp(key, "readonly") || !strcmp(key, "ro")) {
		if (is_true(value))
			m->attrs |= MOUNT_ATTR_RDONLY;
	} else if (!strcmp(key, "bind-propagation")) {
		if (!value || !propagation(value, &m->flags))
			return err_set(err, EINVAL,
				       "--mount: bind-propagation takes private, rprivate, "
				       "slave, rslave, shared or rshared");
	} else if (!strcmp(key, "bind-recursive")) {
		*recursive = !value || strcmp(value, "disabled") != 0;
	} else if (!strcmp(key, "tmpfs-size") || !strcmp(key, "tmpfs-mode")) {
		r = value ? strv_take(&m->options,
				      str_printf("%s=%s", key + strlen("tmpfs-"), value))
			  : -EINVAL;
	} else {
		return err_set(err, EINVAL, "--mount: unknown key \"%s\"", key);
	}
	return r < 0 ? err_set(err, -r, "--mount: \"%s\" needs a value", key) : 0;
}

static int finish_mount(struct plan_mount *m, const char *type, bool recursive, struct err *err)
{
	if (!m->target)
		return err_set(err, EINVAL, "--mount: target= is missing");
	if (check_target("--mount", m->target, err) < 0)
		return -err->errnum;
	if (!type || !strcmp(type, "volume"))
		return bad_mount_type("volume", err);
	if (!strcmp(type, "tmpfs")) {
		m->kind = PLAN_MOUNT_TMPFS;
		m->attrs |= MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
		m->flags |= PLAN_MOUNT_KEEP_MODE;
		return m->source ? err_set(err, EINVAL, "--mount: a tmpfs has no source") : 0;
	}
	if (strcmp(type, "bind") != 0)
		return bad_mount_type(type, err);
	if (!m->source || m->source[0] != '/')
		return err_set(err, EINVAL,
			       "--mount: type=bind needs source= with an absolute path");
	if (m->options)
		return err_set(err, EINVAL, "--mount: tmpfs-size and tmpfs-mode need type=tmpfs");
	finish_bind(m, recursive);
	return 0;
}

int plan_parse_mount(const char *text, struct plan_mount *ret, struct err *err)
{
	_cleanup_free_ char *copy = strdup(text), *type = NULL;
	struct plan_mount m = { 0 };
	char *save = NULL;
	bool recursive = true;
	int r = copy ? 0 : no_memory(err);

	for (char *w = r == 0 ? strtok_r(copy, ",", &save) : NULL; w && r == 0;
	     w = strtok_r(NULL, ",", &save)) {
		char *value = strchr(w, '=');

		if (value)
			*value++ = 0;
		r = mount_key(w, value, &m, &type, &recursive, err);
	}
	if (r == 0)
		r = finish_mount(&m, type, recursive, err);
	if (r < 0) {
		plan_mount_done(&m);
		return r;
	}
	*ret = m;
	return 0;
}

int plan_parse_tmpfs(const char *text, struct plan_mount *ret, struct err *err)
{
	_cleanup_free_ char *copy = strdup(text);
	struct plan_mount m = {
		.kind = PLAN_MOUNT_TMPFS,
		.flags = PLAN_MOUNT_KEEP_MODE,
		.attrs = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
	};
	char *options, *save = NULL;
	int r;

	if (!copy)
		return no_memory(err);
	options = strchr(copy, ':');
	if (options)
		*options++ = 0;
	r = check_target("--tmpfs", copy, err);
	for (char *w = options ? strtok_r(options, ",", &save) : NULL; w && r == 0;
	     w = strtok_r(NULL, ",", &save)) {
		if (mount_flag(w, &m.attrs))
			continue;
		if (str_starts(w, "size=") || str_starts(w, "mode=") || str_starts(w, "uid=") ||
		    str_starts(w, "gid=") || str_starts(w, "nr_inodes="))
			r = strv_add(&m.options, w) < 0 ? no_memory(err) : 0;
		else
			r = err_set(err, EINVAL, "--tmpfs: unknown option \"%s\"", w);
	}
	m.target = r == 0 ? strdup(copy) : NULL;
	if (r == 0 && !m.target)
		r = no_memory(err);
	if (r < 0) {
		plan_mount_done(&m);
		return r;
	}
	*ret = m;
	return 0;
}

int plan_parse_ulimit(const char *text, struct plan_rlimit *ret, struct err *err)
{
	static const char *const names[] = { "core",	"cpu",	    "data",   "fsize",	    "locks",
					     "memlock", "msgqueue", "nice",   "nofile",	    "nproc",
					     "rss",	"rtprio",   "rttime", "sigpending", "stack",
					     "as",	NULL };
	static const int resources[] = { RLIMIT_CORE,	  RLIMIT_CPU,	     RLIMIT_DATA,
					 RLIMIT_FSIZE,	  RLIMIT_LOCKS,	     RLIMIT_MEMLOCK,
					 RLIMIT_MSGQUEUE, RLIMIT_NICE,	     RLIMIT_NOFILE,
					 RLIMIT_NPROC,	  RLIMIT_RSS,	     RLIMIT_RTPRIO,
					 RLIMIT_RTTIME,	  RLIMIT_SIGPENDING, RLIMIT_STACK,
					 RLIMIT_AS };
	_cleanup_free_ char *copy = strdup(text);
	char *soft, *hard;
	int64_t s, h;

	if (!copy)
		return no_memory(err);
	soft = strchr(copy, '=');
	if (!soft)
		return err_set(err, EINVAL, "--ulimit %s: give NAME=SOFT[:HARD]", text);
	*soft++ = 0;
	hard = strchr(soft, ':');
	if (hard)
		*hard++ = 0;
	if (str_to_i64(soft, &s) < 0 || str_to_i64(hard ? hard : soft, &h) < 0 || s < -1 || h < -1)
		return err_set(err, EINVAL, "--ulimit %s: limits are numbers, or -1 for no limit",
			       text);
	ret->soft = s < 0 ? RLIM_INFINITY : (uint64_t)s;
	ret->hard = h < 0 ? RLIM_INFINITY : (uint64_t)h;
	ret->required = true;
	if (ret->soft > ret->hard)
		return err_set(err, EINVAL, "--ulimit %s: the soft limit is above the hard one",
			       text);
	for (size_t i = 0; names[i]; i++)
		if (!strcmp(names[i], copy)) {
			ret->resource = resources[i];
			return 0;
		}
	soft = (char *)(uintptr_t)str_nearest(copy, names);
	return err_set(err, EINVAL, "--ulimit %s: \"%s\" is not a limit%s%s%s", text, copy,
		       soft ? "; did you mean " : "", soft ? soft : "", soft ? "?" : "");
}

int plan_parse_cpus(const char *text, uint64_t *ret_nano, struct err *err)
{
	char *end;
	double v = isdigit((unsigned char)text[0]) || text[0] == '.' ? strtod(text, &end) : -1;

	if (v < 0.01 || v > 65536 || *end)
		return err_set(err, EINVAL,
			       "--cpus takes a number of CPUs such as 0.5 or 2, not \"%s\"", text);
	*ret_nano = (uint64_t)(v * 1e9 + 0.5);
	return 0;
}

int plan_parse_device(const char *text, char **ret_host, char **ret_inside, uint8_t *ret_access,
		      struct err *err)
{
	_cleanup_free_ char *host = strdup(text), *inside = NULL;
	char *second, *third = NULL;
	const char *access = "rwm";
	uint8_t bits = 0;

	if (!host)
		return no_memory(err);
	second = strchr(host, ':');
	if (second) {
		*second++ = 0;
		third = strchr(second, ':');
		if (third)
			*third++ = 0;
		/* HOST:rwm, without a path inside */
		if (!third && second[0] != '/' && *second && !second[strspn(second, "rwm")]) {
			third = second;
			second = NULL;
		}
	}
	if (third)
		access = third;
	for (const char *p = access; *p; p++) {
		if (!strchr("rwm", *p))
			return err_set(err, EINVAL, "--device %s: access is made of r, w and m",
				       text);
		bits |= (uint8_t)(*p == 'r' ? 1 : *p == 'w' ? 2 : 4);
	}
	inside = strdup(str_empty(second) ? host : second);
	if (!inside)
		return no_memory(err);
	if (host[0] != '/' || inside[0] != '/')
		return err_set(err, EINVAL, "--device %s: paths must be absolute", text);
	*ret_host = TAKE_PTR(host);
	*ret_inside = TAKE_PTR(inside);
	*ret_access = bits;
	return 0;
}

int plan_check_name(const char *name, struct err *err)
{
	bool ok = isalnum((unsigned char)name[0]) && name[1] && strlen(name) <= 128;

	for (const char *p = name; *p && ok; p++)
		ok = isalnum((unsigned char)*p) || strchr("_.-", *p);
	if (!ok)
		return err_set(
			err, EINVAL,
			"\"%s\" cannot be a name: use letters, digits, '_', '.' and '-', at least "
			"two, a letter or digit first",
			name);
	return 0;
}
