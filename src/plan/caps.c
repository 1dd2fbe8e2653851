/* SPDX-License-Identifier: Apache-2.0 */
/* Capabilities by name, and the set a container gets (capabilities(7); Docker's default set). */
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>
#include "plan/options.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/str.h"

static const char *const names[] = {
	"CHOWN",
	"DAC_OVERRIDE",
	"DAC_READ_SEARCH",
	"FOWNER",
	"FSETID",
	"KILL",
	"SETGID",
	"SETUID",
	"SETPCAP",
	"LINUX_IMMUTABLE",
	"NET_BIND_SERVICE",
	"NET_BROADCAST",
	"NET_ADMIN",
	"NET_RAW",
	"IPC_LOCK",
	"IPC_OWNER",
	"SYS_MODULE",
	"SYS_RAWIO",
	"SYS_CHROOT",
	"SYS_PTRACE",
	"SYS_PACCT",
	"SYS_ADMIN",
	"SYS_BOOT",
	"SYS_NICE",
	"SYS_RESOURCE",
	"SYS_TIME",
	"SYS_TTY_CONFIG",
	"MKNOD",
	"LEASE",
	"AUDIT_WRITE",
	"AUDIT_CONTROL",
	"SETFCAP",
	"MAC_OVERRIDE",
	"MAC_ADMIN",
	"SYSLOG",
	"WAKE_ALARM",
	"BLOCK_SUSPEND",
	"AUDIT_READ",
	"PERFMON",
	"BPF",
	"CHECKPOINT_RESTORE",
	NULL,
};

static const char *const default_set[] = {
	"CHOWN",   "DAC_OVERRIDE", "FSETID",	       "FOWNER",
	"MKNOD",   "NET_RAW",	   "SETGID",	       "SETUID",
	"SETFCAP", "SETPCAP",	   "NET_BIND_SERVICE", "SYS_CHROOT",
	"KILL",	   "AUDIT_WRITE",
};

static bool find(const char *name, unsigned *ret)
{
	if (!strncasecmp(name, "CAP_", 4))
		name += 4;
	for (unsigned i = 0; names[i]; i++)
		if (!strcasecmp(names[i], name)) {
			*ret = i;
			return true;
		}
	return false;
}

const char *plan_cap_name(unsigned cap)
{
	return cap < ARRAY_SIZE(names) ? names[cap] : NULL;
}

int plan_parse_cap(const char *name, unsigned *ret, struct err *err)
{
	char upper[32];
	size_t n = 0;
	const char *near;

	if (find(name, ret))
		return 0;
	for (; name[n] && n + 1 < sizeof(upper); n++)
		upper[n] = (char)toupper((unsigned char)name[n]);
	upper[n] = 0;
	near = str_nearest(upper, names);
	return err_set(err, EINVAL, "\"%s\" is not a capability%s%s%s", name,
		       near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
}

/* Adds or removes a list to or from @set; "ALL" first, whatever its place, as Docker does. */
static int apply(char *const *list, bool add, uint64_t *set, struct err *err)
{
	for (char *const *v = list; v && *v; v++)
		if (!strcasecmp(*v, "ALL"))
			*set = add ? PLAN_CAPS_ALL : 0;
	for (char *const *v = list; v && *v; v++) {
		unsigned cap;
		int r;

		if (!strcasecmp(*v, "ALL"))
			continue;
		r = plan_parse_cap(*v, &cap, err);
		if (r < 0)
			return err_wrap(err, add ? "--cap-add" : "--cap-drop");
		if (add)
			*set |= 1ull << cap;
		else
			*set &= ~(1ull << cap);
	}
	return 0;
}

static bool lists_all(char *const *list)
{
	for (; list && *list; list++)
		if (!strcasecmp(*list, "ALL"))
			return true;
	return false;
}

int plan_caps_resolve(char *const *add, char *const *drop, bool privileged, uint64_t *ret,
		      struct err *err)
{
	uint64_t set = 0;
	unsigned cap;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(default_set); i++)
		if (find(default_set[i], &cap))
			set |= 1ull << cap;
	if (privileged)
		set = PLAN_CAPS_ALL;
	/* --cap-drop ALL --cap-add X leaves X; --cap-add ALL --cap-drop X leaves all but X */
	if (lists_all(drop)) {
		r = apply(drop, false, &set, err);
		if (r == 0)
			r = apply(add, true, &set, err);
	} else {
		r = apply(add, true, &set, err);
		if (r == 0)
			r = apply(drop, false, &set, err);
	}
	if (r == 0)
		*ret = set;
	return r;
}
