/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Becoming the user: who that is, resource limits, then groups, ids, capabilities and the system
 * call filter, in the only order that works (capabilities(7), seccomp(2)).
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include "container/stage_internal.h"
#include "container/userdb.h"
#include "util/io.h"
#include "util/linux.h"
#include "util/mem.h"
#include "util/str.h"

#define USERDB_FILE_MAX (4u << 20)
#define CAP_BITS	64

/* A file of the root as text, or NULL: an image need not have one. Never blocks on a FIFO. */
static char *read_in_root(int root_fd, const char *path)
{
	_cleanup_close_ int fd =
		sys_openat2(root_fd, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0, RESOLVE_IN_ROOT);
	struct stat st;
	char *text;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > USERDB_FILE_MAX)
		return NULL;
	text = malloc((size_t)st.st_size + 1);
	if (!text)
		return NULL;
	n = io_read_full(fd, text, (size_t)st.st_size);
	text[n < 0 ? 0 : n] = 0;
	return text;
}

/* The runtime-spec's way: numbers only, which no file of the image may turn into others. */
static int find_exact(struct stage *s, struct err *err)
{
	struct plan_process *p = &s->plan.process;
	size_t n = strv_len(p->groups);

	if (sscanf(p->user, "%u:%u", &s->uid, &s->gid) != 2)
		return err_set(err, EINVAL, "user \"%s\" is not UID:GID", p->user);
	s->groups = calloc(n + 1, sizeof(gid_t));
	if (!s->groups)
		return err_set(err, ENOMEM, "out of memory");
	for (s->group_count = 0; s->group_count < n; s->group_count++)
		if (str_to_u32(p->groups[s->group_count], &s->groups[s->group_count]) < 0)
			return err_set(err, EINVAL, "group \"%s\" is not a number",
				       p->groups[s->group_count]);
	return 0;
}

static int find_home(struct stage *s, struct err *err)
{
	struct plan_process *p = &s->plan.process;
	_cleanup_free_ char *passwd = read_in_root(AT_FDCWD, "/etc/passwd"), *home = NULL;
	struct userdb_user u = { 0 };
	char uid[12];

	snprintf(uid, sizeof(uid), "%u", s->uid);
	(void)userdb_find(passwd, NULL, uid, NULL, &u, NULL);
	home = str_printf("HOME=%s", u.home ? u.home : "/");
	userdb_user_done(&u);
	return home && strv_env_set(&p->env, home) == 0 ? 0 : err_set(err, ENOMEM, "out of memory");
}

int stage_user_find(struct stage *s, struct err *err)
{
	struct plan_process *p = &s->plan.process;
	_cleanup_free_ char *passwd = NULL, *group = NULL;
	struct userdb_user u;
	int r;

	if (p->exact_ids) {
		r = find_exact(s, err);
		return r < 0 || strv_env_get(p->env, "HOME") ? r : find_home(s, err);
	}
	passwd = read_in_root(AT_FDCWD, "/etc/passwd");
	group = read_in_root(AT_FDCWD, "/etc/group");
	r = userdb_find(passwd, group, p->user, p->groups, &u, err);
	if (r < 0)
		return r;
	s->uid = u.uid;
	s->gid = u.gid;
	s->groups = TAKE_PTR(u.groups);
	s->group_count = u.group_count;
	if (!strv_env_get(p->env, "HOME")) {
		_cleanup_free_ char *home = str_printf("HOME=%s", u.home ? u.home : "/");

		r = home ? strv_env_set(&p->env, home) : -ENOMEM;
	}
	userdb_user_done(&u);
	return r < 0 ? err_set(err, ENOMEM, "out of memory") : 0;
}

static const char *rlimit_name(int resource)
{
	static const char *const names[] = {
		[RLIMIT_CPU] = "cpu",		[RLIMIT_FSIZE] = "fsize",
		[RLIMIT_DATA] = "data",		[RLIMIT_STACK] = "stack",
		[RLIMIT_CORE] = "core",		[RLIMIT_RSS] = "rss",
		[RLIMIT_NPROC] = "nproc",	[RLIMIT_NOFILE] = "nofile",
		[RLIMIT_MEMLOCK] = "memlock",	[RLIMIT_AS] = "as",
		[RLIMIT_LOCKS] = "locks",	[RLIMIT_SIGPENDING] = "sigpending",
		[RLIMIT_MSGQUEUE] = "msgqueue", [RLIMIT_NICE] = "nice",
		[RLIMIT_RTPRIO] = "rtprio",	[RLIMIT_RTTIME] = "rttime",
	};

	return resource >= 0 && resource < (int)ARRAY_SIZE(names) ? names[resource] : "unknown";
}

static int set_rlimit(struct stage *s, const struct plan_rlimit *l, struct err *err)
{
	struct rlimit want = { l->soft, l->hard }, have;
	struct err warning = ERR_INIT;

	if (l->resource < 0 || l->resource >= RLIM_NLIMITS)
		return err_set(err, EINVAL, "resource limit %d does not exist", l->resource);
	if (setrlimit((unsigned)l->resource, &want) == 0)
		return 0;
	if (l->required)
		return err_sys(err, errno, "set the limit %s to %llu:%llu%s",
			       rlimit_name(l->resource), (unsigned long long)l->soft,
			       (unsigned long long)l->hard,
			       errno == EPERM ? " (above what this host allows proa)" : "");
	/* a default that cannot be had: as far up as it goes */
	if (getrlimit((unsigned)l->resource, &have) == 0) {
		want.rlim_max = MIN(want.rlim_max, have.rlim_max);
		want.rlim_cur = MIN(want.rlim_cur, want.rlim_max);
		if (setrlimit((unsigned)l->resource, &want) == 0)
			return 0;
	}
	err_sys(&warning, errno, "the limit %s stays as it is", rlimit_name(l->resource));
	stage_warn(s, &warning);
	return 0;
}

int stage_rlimits(struct stage *s, struct err *err)
{
	const struct plan_process *p = &s->plan.process;

	for (size_t i = 0; i < p->rlimit_count; i++) {
		int r = set_rlimit(s, &p->rlimits[i], err);

		if (r < 0)
			return r;
	}
	return 0;
}

static int set_caps(uint64_t effective, uint64_t permitted, uint64_t inheritable)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	for (unsigned i = 0; i < 2; i++)
		data[i] = (struct __user_cap_data_struct){
			.effective = (uint32_t)(effective >> (32 * i)),
			.permitted = (uint32_t)(permitted >> (32 * i)),
			.inheritable = (uint32_t)(inheritable >> (32 * i)),
		};
	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

static uint64_t own_permitted(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };

	if (syscall(SYS_capget, &header, data) < 0)
		return 0;
	return (uint64_t)data[1].permitted << 32 | data[0].permitted;
}

static int drop_bounding(uint64_t keep, struct err *err)
{
	for (unsigned long cap = 0; cap < CAP_BITS; cap++) {
		if (keep & (1ull << cap))
			continue;
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0) {
			if (errno == EINVAL)
				return 0; /* past the kernel's last capability */
			return err_sys(err, errno, "drop capability %lu", cap);
		}
	}
	return 0;
}

static int raise_ambient(uint64_t caps, struct err *err)
{
	for (unsigned long cap = 0; cap < CAP_BITS; cap++)
		if ((caps & (1ull << cap)) &&
		    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0)
			return err_sys(err, errno, "raise ambient capability %lu", cap);
	return 0;
}

/*
 * A filter that notifies gives a descriptor, which goes to the parent. Sending it must not be among
 * what the filter holds up; proa-seccomp refuses such a profile.
 */
static int load_seccomp(struct stage *s, struct err *err)
{
	const struct plan_process *p = &s->plan.process;
	struct sock_fprog prog = {
		.len = (unsigned short)(p->seccomp_len / sizeof(struct sock_filter)),
		.filter = (struct sock_filter *)p->seccomp,
	};
	uint32_t flags = p->seccomp_flags;
	int fd, r;

	if (!p->seccomp)
		return 0;
	if (p->notify.listener)
		flags |= SECCOMP_FILTER_FLAG_NEW_LISTENER;
	fd = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);
	if (fd < 0)
		return err_sys(err, errno, "load the seccomp filter%s",
			       errno == EINVAL && flags ? " (does this kernel know its flags?)"
							: "");
	if (!p->notify.listener)
		return 0;
	r = stage_report(s, STAGE_REPORT_SECCOMP, NULL, fd);
	close(fd);
	return r < 0 ? err_sys(err, -r, "hand over the seccomp notification") : 0;
}

/* Root of a user namespace with a single id may not set groups, and has none to give up. */
static int set_groups(struct stage *s, struct err *err)
{
	if (setgroups(s->group_count, s->groups) == 0)
		return 0;
	if (errno == EPERM && (s->flags & STAGE_ROOTLESS) && s->group_count == 0)
		return 0;
	return err_sys(err, errno, "set the supplementary groups%s",
		       errno == EPERM && (s->flags & STAGE_ROOTLESS)
			       ? " (rootless: only with newgidmap)"
			       : "");
}

static int set_ids(struct stage *s, struct err *err)
{
	/* the pipes must be the user's, so that /dev/stdout can be opened again by name */
	for (int fd = 0; fd <= 2; fd++) {
		struct stat st;

		if (s->uid && fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode))
			(void)!fchown(fd, s->uid, (gid_t)-1);
	}
	if (set_groups(s, err) < 0)
		return -err->errnum;
	if (syscall(SYS_setresgid, s->gid, s->gid, s->gid) < 0)
		return err_sys(err, errno, "become group %u", s->gid);
	if (prctl(PR_SET_KEEPCAPS, 1) < 0 || syscall(SYS_setresuid, s->uid, s->uid, s->uid) < 0)
		return err_sys(err, errno, "become user %u", s->uid);
	return 0;
}

int stage_user_become(struct stage *s, struct err *err)
{
	uint64_t have = own_permitted();
	int r = drop_bounding(s->plan.process.caps.bounding, err);

	if (r == 0)
		r = set_ids(s, err);
	if (r < 0)
		return r;
	/*
	 * Leaving root emptied the effective set. SYS_ADMIN is needed to load a filter without
	 * no_new_privs, and inheritable bits need SETPCAP; hooks get what there is.
	 */
	r = set_caps(have, have, 0);
	return r < 0 ? err_sys(err, -r, "keep capabilities over the change of user") : 0;
}

int stage_user_confine(struct stage *s, struct err *err)
{
	const struct plan_process *p = &s->plan.process;
	/* what proa itself lacks it cannot give; the rest of the plan's set is what was meant */
	uint64_t have = own_permitted(), permitted = p->caps.permitted & have;
	int r = p->no_new_privs ? 0 : load_seccomp(s, err);

	if (r < 0)
		return r;
	/* a process that is not root keeps only what the plan calls ambient (as Docker: nothing) */
	if (s->uid != 0)
		r = set_caps(p->caps.ambient & permitted, p->caps.ambient & permitted,
			     p->caps.inheritable & have);
	else
		r = set_caps(p->caps.effective & permitted, permitted, p->caps.inheritable & have);
	if (r < 0)
		return err_sys(err, -r, "set the capabilities");
	r = raise_ambient(p->caps.ambient & permitted & p->caps.inheritable, err);
	if (r < 0)
		return r;
	if (p->no_new_privs) {
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
			return err_sys(err, errno, "set no_new_privs");
		return load_seccomp(s, err);
	}
	return 0;
}
