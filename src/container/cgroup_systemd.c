/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of units and slices, limits in systemd's words, and running the helper that talks to it.
 *
 * The helper says one line: the group's path, which starts with "/", or what went wrong. It stays
 * until its standard input ends, so that a caller that dies takes it along.
 */
#include "container/cgroup_systemd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include "container/cgroup.h"
#include "container/cgroup_internal.h"
#include "plan/plan.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/str.h"

#define HELPER_WAIT_MS 60000 /* it has a time limit of its own, which is shorter */
#define UNIT_NAME_MAX  255

/* ---- names ---------------------------------------------------------------------------------- */

static int bad_slice(const char *slice, struct err *err)
{
	return err_set(err, EINVAL,
		       "\"%.100s\" is not the name of a slice, which is like \"machine.slice\" or "
		       "\"a-b.slice\"",
		       slice);
}

int cgroup_expand_slice(const char *slice, char **ret, struct err *err)
{
	struct str_buf b = { 0 };
	size_t n = strlen(slice);

	if (!str_ends(slice, ".slice") || n <= 6 || n > UNIT_NAME_MAX || strchr(slice, '/'))
		return bad_slice(slice, err);
	n -= 6;
	if (n == 1 && slice[0] == '-') {
		*ret = strdup("");
		return *ret ? 0 : err_set(err, ENOMEM, "out of memory");
	}
	for (size_t i = 0; i <= n; i++) {
		if (i < n && slice[i] != '-')
			continue;
		if (i == 0 || slice[i - 1] == '-') {
			str_buf_done(&b);
			return bad_slice(slice, err);
		}
		str_buf_printf(&b, "%s%.*s.slice", b.len ? "/" : "", (int)i, slice);
	}
	if (b.failed) {
		str_buf_done(&b);
		return err_set(err, ENOMEM, "out of memory");
	}
	*ret = b.data;
	return 0;
}

/* systemd.unit(5): letters, digits and these. */
static bool is_unit_name(const char *s)
{
	return *s && strlen(s) <= UNIT_NAME_MAX &&
	       !s[strspn(s,
			 "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:-_.\\@")];
}

void cgroup_unit_done(struct cgroup_unit *u)
{
	free(u->slice);
	free(u->name);
	free(u->path);
	*u = (struct cgroup_unit){ 0 };
}

static int complete_unit(struct cgroup_unit *u, struct err *err)
{
	_cleanup_free_ char *expanded = NULL;
	int r;

	if (!u->slice || !u->name)
		return err_set(err, ENOMEM, "out of memory");
	if (!is_unit_name(u->name))
		return err_set(err, EINVAL, "\"%.100s\" cannot be the name of a systemd unit",
			       u->name);
	r = cgroup_expand_slice(u->slice, &expanded, err);
	if (r < 0)
		return r;
	u->path = str_printf("%s%s%s", expanded, *expanded ? "/" : "", u->name);
	return u->path ? 0 : err_set(err, ENOMEM, "out of memory");
}

int cgroup_unit_parse(const char *text, const char *id, bool user, struct cgroup_unit *ret,
		      struct err *err)
{
	const char *fallback = user ? "user.slice" : "system.slice";
	const char *prefix, *name, *more;
	struct cgroup_unit u = { 0 };
	size_t prefix_len;
	int r;

	if (str_empty(text))
		text = "::";
	prefix = strchr(text, ':');
	name = prefix ? strchr(prefix + 1, ':') : NULL;
	more = name ? strchr(name + 1, ':') : NULL;
	if (!name || more)
		return err_set(err, EINVAL,
			       "the cgroup path \"%.200s\" is not SLICE:PREFIX:NAME, as systemd "
			       "cgroups need it",
			       text);
	prefix++;
	prefix_len = (size_t)(name - prefix);
	name++;
	if (str_ends(name, ".slice"))
		return err_set(err, EOPNOTSUPP,
			       "the cgroup path \"%.200s\" asks for a slice; a container is in a "
			       "scope, whose name has no suffix here",
			       text);
	u.slice = prefix - 1 > text ? strndup(text, (size_t)(prefix - 1 - text)) : strdup(fallback);
	if (*name && !prefix_len)
		u.name = str_printf("%s.scope", name);
	else
		u.name = str_printf("%.*s-%s.scope", prefix_len ? (int)prefix_len : 4,
				    prefix_len ? prefix : "proa", *name ? name : id);
	r = complete_unit(&u, err);
	if (r < 0) {
		cgroup_unit_done(&u);
		return r;
	}
	*ret = u;
	return 0;
}

/* ---- limits --------------------------------------------------------------------------------- */

struct properties {
	char **list;
	bool failed;
};

static void add_text(struct properties *p, const char *name, const char *value)
{
	char *text = str_printf("%s=%s", name, value);

	if (!text || strv_take(&p->list, text) < 0)
		p->failed = true;
}

static void add_u64(struct properties *p, const char *name, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	add_text(p, name, text);
}

/* systemd rounds to whole percents of a CPU, and must not round to less than was asked for. */
static void add_cpu_quota(struct properties *p, const struct plan_resources *l)
{
	uint64_t period = l->cpu_period_us ? l->cpu_period_us : 100000, per_second;

	if (l->cpu_period_us)
		add_u64(p, "CPUQuotaPeriodUSec", l->cpu_period_us);
	if (!l->cpu_quota_us)
		return;
	if (l->cpu_quota_us == PLAN_UNLIMITED || l->cpu_quota_us > UINT64_MAX / 1000000) {
		add_u64(p, "CPUQuotaPerSecUSec", UINT64_MAX);
		return;
	}
	per_second = l->cpu_quota_us * 1000000 / period;
	add_u64(p, "CPUQuotaPerSecUSec", (per_second + 9999) / 10000 * 10000);
}

static void add_memory(struct properties *p, const struct plan_resources *l, bool v2)
{
	uint64_t swap = l->memory_swap_bytes;

	if (l->memory_bytes)
		add_u64(p, v2 ? "MemoryMax" : "MemoryLimit", l->memory_bytes);
	if (!v2)
		return;
	if (l->memory_reservation_bytes)
		add_u64(p, "MemoryLow", l->memory_reservation_bytes);
	if (swap == PLAN_UNLIMITED)
		add_u64(p, "MemorySwapMax", swap);
	else if (swap && l->memory_bytes && swap >= l->memory_bytes)
		add_u64(p, "MemorySwapMax", swap - l->memory_bytes);
}

int cgroup_systemd_properties(const struct plan_resources *l, bool v2, char ***ret, struct err *err)
{
	struct properties p = { .list = strv_copy(NULL) };

	p.failed = !p.list;
	add_memory(&p, l, v2);
	add_cpu_quota(&p, l);
	if (l->cpu_shares)
		add_u64(&p, v2 ? "CPUWeight" : "CPUShares",
			v2 ? cgroup_shares_to_weight(l->cpu_shares) : l->cpu_shares);
	if (l->pids_max)
		add_u64(&p, "TasksMax", l->pids_max < 0 ? UINT64_MAX : (uint64_t)l->pids_max);
	if (v2 && l->cpuset_cpus)
		add_text(&p, "AllowedCPUs", l->cpuset_cpus);
	if (v2 && l->cpuset_mems)
		add_text(&p, "AllowedMemoryNodes", l->cpuset_mems);
	if (p.failed) {
		strv_free(p.list);
		return err_set(err, ENOMEM, "out of memory");
	}
	*ret = p.list;
	return 0;
}

/* ---- the helper ----------------------------------------------------------------------------- */

/* "proa-systemd [--user] VERB UNIT [SLICE] [NAME=VALUE…]" */
static int make_argv(const char *helper, const char *verb, const struct cgroup_unit *u,
		     const struct plan_resources *l, bool user, char ***ret, struct err *err)
{
	_cleanup_strv_ char **v = NULL, **properties = NULL;
	int r = strv_add(&v, helper);

	if (r == 0 && user)
		r = strv_add(&v, "--user");
	if (r == 0)
		r = strv_add(&v, verb);
	if (r == 0)
		r = strv_add(&v, u->name);
	if (r == 0 && !strcmp(verb, "start"))
		r = strv_add(&v, u->slice);
	if (r == 0 && l) {
		r = cgroup_systemd_properties(l, cgroup_detect() == &cgroup_v2, &properties, err);
		if (r < 0)
			return r;
		for (char **p = properties; *p && r == 0; p++)
			r = strv_add(&v, *p);
	}
	if (r < 0)
		return err_set(err, ENOMEM, "out of memory");
	*ret = TAKE_PTR(v);
	return 0;
}

static _Noreturn void become_helper(char **argv, int in, int out)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* above 2, lest one overwrites the other */
	in = fcntl(in, F_DUPFD_CLOEXEC, 3);
	out = fcntl(out, F_DUPFD_CLOEXEC, 3);
	if (in < 0 || out < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
		_exit(EXIT_PROA);
	execv(argv[0], argv);
	dprintf(2, "execute %s: %s\n", argv[0], strerror(errno));
	_exit(EXIT_PROA);
}

static int spawn(char **argv, struct cgroup_systemd *ret, int *ret_out, struct err *err)
{
	_cleanup_close_ int in = -EBADF, hold = -EBADF, out = -EBADF, answer = -EBADF;
	int pair[2];
	pid_t pid;

	if (pipe2(pair, O_CLOEXEC) < 0)
		return err_sys(err, errno, "make a pipe");
	in = pair[0];
	hold = pair[1];
	if (pipe2(pair, O_CLOEXEC) < 0)
		return err_sys(err, errno, "make a pipe");
	answer = pair[0];
	out = pair[1];
	pid = fork();
	if (pid < 0)
		return err_sys(err, errno, "start %s", argv[0]);
	if (pid == 0)
		become_helper(argv, in, out);
	*ret = (struct cgroup_systemd){ .pid = pid, .hold = TAKE_FD(hold) };
	*ret_out = TAKE_FD(answer);
	return 0;
}

/* The first line it says; "" when it says nothing. */
static int read_line(int fd, char *buf, size_t size)
{
	int64_t end = cgroup_now_ms() + HELPER_WAIT_MS;
	size_t n = 0;

	while (n + 1 < size) {
		struct pollfd wait_for = { .fd = fd, .events = POLLIN };
		int64_t left = end - cgroup_now_ms();
		ssize_t r;

		if (left <= 0)
			return -ETIMEDOUT;
		if (poll(&wait_for, 1, (int)left) <= 0)
			continue;
		r = read(fd, buf + n, 1);
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0 || buf[n] == '\n')
			break;
		n++;
	}
	buf[n] = 0;
	return 0;
}

/* Waits for its end, and kills it when that does not come. Its wait status, or -1. */
static int reap(struct cgroup_systemd *s)
{
	int status = -1, r = 0;

	s->hold = fd_close(s->hold);
	if (s->pid <= 0)
		return -1;
	for (int waited = 0; waited < 2000 && (r = waitpid(s->pid, &status, WNOHANG)) == 0;
	     waited++)
		cgroup_sleep_ms(1);
	if (r == 0) {
		kill(s->pid, SIGKILL);
		waitpid(s->pid, &status, 0);
	}
	s->pid = -1;
	return status;
}

void cgroup_systemd_release(struct cgroup_systemd *s)
{
	(void)reap(s);
}

/* Runs it up to its one line. */
static int talk(const char *helper, const char *verb, const struct cgroup_unit *u,
		const struct plan_resources *l, bool user, struct cgroup_systemd *ret, char *line,
		size_t size, struct err *err)
{
	_cleanup_strv_ char **argv = NULL;
	_cleanup_close_ int answer = -EBADF;
	int r = make_argv(helper, verb, u, l, user, &argv, err);

	if (r == 0)
		r = spawn(argv, ret, &answer, err);
	if (r < 0)
		return r;
	r = read_line(answer, line, size);
	if (r < 0) {
		kill(ret->pid, SIGKILL);
		(void)reap(ret);
		return err_sys(err, -r, "wait for %s", helper);
	}
	return 0;
}

int cgroup_systemd_start(const char *helper, const struct cgroup_unit *u,
			 const struct plan_resources *limits, bool user, struct cgroup_systemd *ret,
			 char **ret_path, struct err *err)
{
	struct cgroup_systemd s = CGROUP_SYSTEMD_INIT;
	char line[CGROUP_PATH_MAX];
	int r = talk(helper, "start", u, limits, user, &s, line, sizeof(line), err);

	if (r < 0)
		return r;
	if (line[0] != '/') {
		(void)reap(&s);
		return err_set(err, EIO, "%s",
			       line[0] ? line : "proa-systemd ended without a word");
	}
	r = cgroup_check_path(line + 1, err);
	if (r == 0 && !(*ret_path = strdup(line + 1)))
		r = err_set(err, ENOMEM, "out of memory");
	if (r < 0) {
		(void)reap(&s);
		return r;
	}
	*ret = s;
	return 0;
}

static int run(const char *helper, const char *verb, const struct cgroup_unit *u,
	       const struct plan_resources *l, bool user, struct err *err)
{
	struct cgroup_systemd s = CGROUP_SYSTEMD_INIT;
	char line[CGROUP_PATH_MAX];
	int status, r = talk(helper, verb, u, l, user, &s, line, sizeof(line), err);

	if (r < 0)
		return r;
	status = reap(&s);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	return err_set(err, EIO, "%s", line[0] ? line : "proa-systemd ended without a word");
}

int cgroup_systemd_set(const char *helper, const struct cgroup_unit *u,
		       const struct plan_resources *limits, bool user, struct err *err)
{
	return run(helper, "set", u, limits, user, err);
}

int cgroup_systemd_stop(const char *helper, const struct cgroup_unit *u, bool user, struct err *err)
{
	return run(helper, "stop", u, NULL, user, err);
}
