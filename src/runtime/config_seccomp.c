/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `linux.seccomp` of config.json (config-linux.md, "Seccomp"). The rules are not ours to
 * understand: proa-seccomp compiles them, and a cache keeps what came out. Here the text is kept as
 * it is, and read once for what the kernel and the runtime have to know.
 */
#include "runtime/config_internal.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <string.h>
#include "util/mem.h"

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

static struct config *config_of(void *to)
{
	return to;
}

static void note_action(struct json_read *r, void *to)
{
	const char *action = json_read_string(r);

	if (action && !strcmp(action, "SCMP_ACT_NOTIFY"))
		config_of(to)->seccomp.notifies = true;
}

static void seccomp_default(struct json_read *r, void *to)
{
	note_action(r, to);
	if (config_of(to)->seccomp.notifies)
		json_read_fail(r, EINVAL,
			       "SCMP_ACT_NOTIFY cannot be the default: the runtime itself would be "
			       "held up before it could hand the notifications over");
}

static void seccomp_flags(struct json_read *r, void *to)
{
	static const struct config_word flags[] = {
		{ "SECCOMP_FILTER_FLAG_TSYNC",
		  0 }, /* a process with one thread has nothing to sync */
		{ "SECCOMP_FILTER_FLAG_LOG", SECCOMP_FILTER_FLAG_LOG },
		{ "SECCOMP_FILTER_FLAG_SPEC_ALLOW", SECCOMP_FILTER_FLAG_SPEC_ALLOW },
		{ "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
		  SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV },
		{ NULL, 0 },
	};

	for (json_read_array(r); json_read_item(r);)
		config_of(to)->plan.process.seccomp_flags |=
			(uint32_t)config_word(r, flags, "a flag of seccomp");
}

static void seccomp_listener(struct json_read *r, void *to)
{
	config_absolute(r, &config_of(to)->plan.process.notify.listener);
}

static void seccomp_metadata(struct json_read *r, void *to)
{
	json_read_dup(r, &config_of(to)->plan.process.notify.metadata);
}

static void seccomp_syscalls(struct json_read *r, void *to)
{
	static const struct config_member members[] = { { "action", note_action }, { NULL, NULL } };

	for (json_read_array(r); json_read_item(r);)
		config_members(r, members, to);
}

void config_seccomp(struct json_read *r, void *config)
{
	static const struct config_member members[] = {
		{ "defaultAction", seccomp_default }, { "flags", seccomp_flags },
		{ "listenerPath", seccomp_listener }, { "listenerMetadata", seccomp_metadata },
		{ "syscalls", seccomp_syscalls },     { NULL, NULL },
	};
	struct config *c = config;
	const char *raw = NULL;
	char *start;

	if (json_read_null(r))
		return;
	start = r->at;
	json_read_raw(r, &raw, &c->seccomp.profile_len);
	if (!raw)
		return;
	free(c->seccomp.profile);
	c->seccomp.profile = strndup(raw, c->seccomp.profile_len);
	if (!c->seccomp.profile)
		json_read_fail(r, ENOMEM, "out of memory");
	/* once more, decoding it in place */
	if (!r->failed) {
		r->at = start;
		config_members(r, members, c);
	}
}
