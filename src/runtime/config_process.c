/* SPDX-License-Identifier: Apache-2.0 */
/* `process` of config.json, and a process.json of exec (runtime-spec, config.md, "Process"). */
#include "runtime/config_internal.h"

#include <errno.h>
#include <linux/ioprio.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include "plan/options.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/str.h"

/* What is read: the plan's process, and the config for warnings (NULL for a process.json). */
struct reading {
	struct plan_process *p;
	struct config *config;
	uint32_t uid, gid;
	bool has_cwd;
};

static struct plan_process *process_of(void *to)
{
	return ((struct reading *)to)->p;
}

static void read_terminal(struct json_read *r, void *to)
{
	process_of(to)->terminal = json_read_bool(r);
}

static void size_height(struct json_read *r, void *to)
{
	process_of(to)->rows = (uint16_t)json_read_uint(r, UINT16_MAX);
}

static void size_width(struct json_read *r, void *to)
{
	process_of(to)->cols = (uint16_t)json_read_uint(r, UINT16_MAX);
}

static void read_console_size(struct json_read *r, void *to)
{
	static const struct config_member members[] = { { "height", size_height },
							{ "width", size_width },
							{ NULL, NULL } };

	config_members(r, members, to);
}

static void user_uid(struct json_read *r, void *to)
{
	((struct reading *)to)->uid = (uint32_t)json_read_uint(r, UINT32_MAX - 1);
}

static void user_gid(struct json_read *r, void *to)
{
	((struct reading *)to)->gid = (uint32_t)json_read_uint(r, UINT32_MAX - 1);
}

static void user_umask(struct json_read *r, void *to)
{
	if (json_read_null(r))
		return;
	process_of(to)->umask = (uint32_t)json_read_uint(r, 0777);
	process_of(to)->has_umask = true;
}

static void user_groups(struct json_read *r, void *to)
{
	for (json_read_array(r); json_read_item(r);) {
		uint32_t gid = (uint32_t)json_read_uint(r, UINT32_MAX - 1);

		if (!r->failed && strv_take(&process_of(to)->groups, str_printf("%u", gid)) < 0)
			json_read_fail(r, ENOMEM, "out of memory");
	}
}

static void read_user(struct json_read *r, void *to)
{
	static const struct config_member members[] = { { "uid", user_uid },
							{ "gid", user_gid },
							{ "umask", user_umask },
							{ "additionalGids", user_groups },
							{ NULL, NULL } };

	config_members(r, members, to);
}

static void read_args(struct json_read *r, void *to)
{
	json_read_strv(r, &process_of(to)->args);
}

static void read_env(struct json_read *r, void *to)
{
	json_read_strv(r, &process_of(to)->env);
	for (char **e = process_of(to)->env; e && *e; e++)
		if (!strchr(*e, '=') || (*e)[0] == '=')
			json_read_fail(r, EINVAL, "\"%s\" is not NAME=value", *e);
}

static void read_cwd(struct json_read *r, void *to)
{
	config_absolute(r, &process_of(to)->cwd);
}

static uint64_t read_caps(struct json_read *r, struct config *config)
{
	uint64_t caps = 0;

	for (json_read_array(r); json_read_item(r);) {
		const char *name = json_read_string(r);
		unsigned cap;

		/* config.md: what cannot be mapped is a warning */
		if (name && plan_parse_cap(name, &cap, NULL) == 0)
			caps |= 1ull << cap;
		else if (name && config)
			config_warn(config, "capability \"%s\" is not known here", name);
	}
	return caps;
}

static void read_capabilities(struct json_read *r, void *to)
{
	struct plan_caps *c = &process_of(to)->caps;
	const struct {
		const char *name;
		uint64_t *set;
	} sets[] = { { "bounding", &c->bounding },
		     { "effective", &c->effective },
		     { "inheritable", &c->inheritable },
		     { "permitted", &c->permitted },
		     { "ambient", &c->ambient } };
	char *key;

	if (json_read_null(r))
		return;
	process_of(to)->has_caps = true;
	for (json_read_object(r); json_read_key(r, &key);) {
		size_t i = 0;

		while (i < ARRAY_SIZE(sets) && strcmp(sets[i].name, key) != 0)
			i++;
		if (i < ARRAY_SIZE(sets))
			*sets[i].set = read_caps(r, ((struct reading *)to)->config);
		else
			json_read_skip(r);
	}
}

static const struct config_word rlimit_types[] = {
	{ "RLIMIT_CPU", RLIMIT_CPU },
	{ "RLIMIT_FSIZE", RLIMIT_FSIZE },
	{ "RLIMIT_DATA", RLIMIT_DATA },
	{ "RLIMIT_STACK", RLIMIT_STACK },
	{ "RLIMIT_CORE", RLIMIT_CORE },
	{ "RLIMIT_RSS", RLIMIT_RSS },
	{ "RLIMIT_NPROC", RLIMIT_NPROC },
	{ "RLIMIT_NOFILE", RLIMIT_NOFILE },
	{ "RLIMIT_MEMLOCK", RLIMIT_MEMLOCK },
	{ "RLIMIT_AS", RLIMIT_AS },
	{ "RLIMIT_LOCKS", RLIMIT_LOCKS },
	{ "RLIMIT_SIGPENDING", RLIMIT_SIGPENDING },
	{ "RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE },
	{ "RLIMIT_NICE", RLIMIT_NICE },
	{ "RLIMIT_RTPRIO", RLIMIT_RTPRIO },
	{ "RLIMIT_RTTIME", RLIMIT_RTTIME },
	{ NULL, 0 },
};

static const char *rlimit_word(int32_t resource)
{
	const struct config_word *w = rlimit_types;

	while (w->word && w->value != (uint64_t)resource)
		w++;
	return w->word ? w->word : "a limit";
}

static void rlimit_type(struct json_read *r, void *to)
{
	((struct plan_rlimit *)to)->resource =
		(int32_t)config_word(r, rlimit_types, "a resource limit");
}

static void rlimit_soft(struct json_read *r, void *to)
{
	json_read_u64(r, &((struct plan_rlimit *)to)->soft);
}

static void rlimit_hard(struct json_read *r, void *to)
{
	json_read_u64(r, &((struct plan_rlimit *)to)->hard);
}

static void read_rlimits(struct json_read *r, void *to)
{
	static const struct config_member members[] = { { "type", rlimit_type },
							{ "soft", rlimit_soft },
							{ "hard", rlimit_hard },
							{ NULL, NULL } };
	struct plan_process *p = process_of(to);

	for (json_read_array(r); json_read_item(r);) {
		struct plan_rlimit *l = config_grow(r, &p->rlimits, &p->rlimit_count, sizeof(*l));

		if (!l)
			continue;
		l->resource = -1;
		l->required = true;
		config_members(r, members, l);
		if (l->resource < 0)
			json_read_fail(r, EINVAL, "type is missing");
		if (l->soft > l->hard)
			json_read_fail(r, EINVAL, "soft is above hard");
		for (size_t i = 0; i + 1 < p->rlimit_count; i++)
			if (p->rlimits[i].resource == l->resource)
				json_read_fail(r, EINVAL, "%s stands there twice",
					       rlimit_word(l->resource));
	}
}

static void read_no_new_privileges(struct json_read *r, void *to)
{
	process_of(to)->no_new_privs = json_read_bool(r);
}

static void read_apparmor(struct json_read *r, void *to)
{
	json_read_dup(r, &process_of(to)->apparmor);
}

static void read_selinux(struct json_read *r, void *to)
{
	json_read_dup(r, &process_of(to)->selinux);
}

static void read_oom_score(struct json_read *r, void *to)
{
	if (json_read_null(r))
		return;
	process_of(to)->oom_score_adj = (int32_t)json_read_int(r, -1000, 1000);
	process_of(to)->has_oom_score_adj = true;
}

/* ---- scheduling ----------------------------------------------------------------------------- */

static void sched_policy(struct json_read *r, void *to)
{
	static const struct config_word policies[] = {
		{ "SCHED_OTHER", SCHED_OTHER },
		{ "SCHED_FIFO", SCHED_FIFO },
		{ "SCHED_RR", SCHED_RR },
		{ "SCHED_BATCH", SCHED_BATCH },
		{ "SCHED_ISO", 4 },
		{ "SCHED_IDLE", SCHED_IDLE },
		{ "SCHED_DEADLINE", 6 },
		{ NULL, 0 },
	};

	process_of(to)->scheduler.policy =
		(uint32_t)config_word(r, policies, "a scheduling policy");
	process_of(to)->scheduler.set = true;
}

static void sched_nice(struct json_read *r, void *to)
{
	process_of(to)->scheduler.nice = (int32_t)json_read_int(r, -20, 19);
}

static void sched_priority(struct json_read *r, void *to)
{
	process_of(to)->scheduler.priority = (uint32_t)json_read_int(r, 0, 99);
}

static void sched_flags(struct json_read *r, void *to)
{
	static const struct config_word flags[] = {
		{ "SCHED_FLAG_RESET_ON_FORK", 0x01 },  { "SCHED_FLAG_RECLAIM", 0x02 },
		{ "SCHED_FLAG_DL_OVERRUN", 0x04 },     { "SCHED_FLAG_KEEP_POLICY", 0x08 },
		{ "SCHED_FLAG_KEEP_PARAMS", 0x10 },    { "SCHED_FLAG_UTIL_CLAMP_MIN", 0x20 },
		{ "SCHED_FLAG_UTIL_CLAMP_MAX", 0x40 }, { NULL, 0 },
	};

	for (json_read_array(r); json_read_item(r);)
		process_of(to)->scheduler.flags |= config_word(r, flags, "a scheduling flag");
}

static void sched_runtime(struct json_read *r, void *to)
{
	json_read_u64(r, &process_of(to)->scheduler.runtime_ns);
}

static void sched_deadline(struct json_read *r, void *to)
{
	json_read_u64(r, &process_of(to)->scheduler.deadline_ns);
}

static void sched_period(struct json_read *r, void *to)
{
	json_read_u64(r, &process_of(to)->scheduler.period_ns);
}

static void read_scheduler(struct json_read *r, void *to)
{
	static const struct config_member members[] = {
		{ "policy", sched_policy },	{ "nice", sched_nice },
		{ "priority", sched_priority }, { "flags", sched_flags },
		{ "runtime", sched_runtime },	{ "deadline", sched_deadline },
		{ "period", sched_period },	{ NULL, NULL },
	};

	if (json_read_null(r))
		return;
	config_members(r, members, to);
	if (!r->failed && !process_of(to)->scheduler.set)
		json_read_fail(r, EINVAL, "policy is missing");
}

static void io_class(struct json_read *r, void *to)
{
	static const struct config_word classes[] = { { "IOPRIO_CLASS_RT", IOPRIO_CLASS_RT },
						      { "IOPRIO_CLASS_BE", IOPRIO_CLASS_BE },
						      { "IOPRIO_CLASS_IDLE", IOPRIO_CLASS_IDLE },
						      { NULL, 0 } };

	process_of(to)->io_priority |= (uint32_t)config_word(r, classes, "an I/O class")
				       << IOPRIO_CLASS_SHIFT;
}

static void io_level(struct json_read *r, void *to)
{
	process_of(to)->io_priority |= (uint32_t)json_read_int(r, 0, 7);
}

static void read_io_priority(struct json_read *r, void *to)
{
	static const struct config_member members[] = { { "class", io_class },
							{ "priority", io_level },
							{ NULL, NULL } };

	config_members(r, members, to);
}

static void affinity_initial(struct json_read *r, void *to)
{
	json_read_dup(r, &process_of(to)->cpus_initial);
}

static void affinity_final(struct json_read *r, void *to)
{
	json_read_dup(r, &process_of(to)->cpus_final);
}

static void read_affinity(struct json_read *r, void *to)
{
	static const struct config_member members[] = { { "initial", affinity_initial },
							{ "final", affinity_final },
							{ NULL, NULL } };

	config_members(r, members, to);
}

/* ---- the whole ------------------------------------------------------------------------------ */

static void read_process(struct json_read *r, struct plan_process *p, struct config *config)
{
	static const struct config_member members[] = {
		{ "terminal", read_terminal },
		{ "consoleSize", read_console_size },
		{ "user", read_user },
		{ "args", read_args },
		{ "env", read_env },
		{ "cwd", read_cwd },
		{ "capabilities", read_capabilities },
		{ "rlimits", read_rlimits },
		{ "noNewPrivileges", read_no_new_privileges },
		{ "apparmorProfile", read_apparmor },
		{ "selinuxLabel", read_selinux },
		{ "oomScoreAdj", read_oom_score },
		{ "scheduler", read_scheduler },
		{ "ioPriority", read_io_priority },
		{ "execCPUAffinity", read_affinity },
		{ NULL, NULL },
	};
	struct reading to = { .p = p, .config = config };

	config_members(r, members, &to);
	free(p->user);
	p->user = str_printf("%u:%u", to.uid, to.gid);
	p->exact_ids = true;
	if (!p->user)
		json_read_fail(r, ENOMEM, "out of memory");
	if (!p->cwd)
		json_read_fail(r, EINVAL, "cwd is missing");
	if (!p->args)
		json_read_fail(r, EINVAL, "args is missing or empty");
}

void config_process(struct json_read *r, void *config)
{
	struct config *c = config;

	if (!json_read_null(r))
		read_process(r, &c->plan.process, c);
}

int config_parse_process(char *text, size_t n, struct plan_process *ret, struct err *err)
{
	struct plan_process p = { 0 };
	struct json_read r;
	int e;

	json_read_init(&r, text, n, "process.json", err);
	read_process(&r, &p, NULL);
	e = json_read_end(&r);
	if (e < 0) {
		plan_process_done(&p);
		return e;
	}
	*ret = p;
	return 0;
}
