/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every rule of a profile that applies becomes a libseccomp rule; names that neither this kernel
 * nor libseccomp know are passed over, as every engine does.
 *
 * System calls newer than all that libseccomp knows would meet the default action, usually EPERM,
 * and programs that probe for them (glibc does) take that for a real refusal instead of falling
 * back. So a few instructions in front answer ENOSYS to any number above the highest known one.
 */
#include "seccomp/profile.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>
#include "plan/options.h"
#include "util/err.h"
#include "util/io.h"
#include "util/json.h"
#include "util/mem.h"
#include "util/str.h"

__asm__(".section .rodata\n"
	".global profile_default\n"
	".hidden profile_default\n"
	"profile_default:\n"
	".incbin \"" PROA_SECCOMP_DEFAULT "\"\n"
	"profile_default_end:\n"
	".byte 0\n"
	".balign 8\n"
	".global profile_default_bytes\n"
	".hidden profile_default_bytes\n"
	"profile_default_bytes:\n"
	".quad profile_default_end - profile_default\n"
	".previous\n");

#define BPF_INSNS_MAX 4096

struct compiler {
	scmp_filter_ctx ctx;
	uint64_t caps;
	uint32_t default_action;
	const char *what;
};

static int bad(const struct compiler *c, const char *key, const char *value, struct err *err)
{
	return err_set(err, EINVAL, "%s: %s \"%s\" is not known", c->what, key, value ? value : "");
}

static int parse_action(const struct compiler *c, const char *name, int64_t errnum, uint32_t *ret,
			struct err *err)
{
	const uint16_t number = (uint16_t)errnum;
	const struct {
		const char *name;
		uint32_t action;
	} actions[] = {
		{ "SCMP_ACT_ALLOW", SCMP_ACT_ALLOW },
		{ "SCMP_ACT_ERRNO", SCMP_ACT_ERRNO(number) },
		{ "SCMP_ACT_KILL", SCMP_ACT_KILL_THREAD },
		{ "SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD },
		{ "SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS },
		{ "SCMP_ACT_TRAP", SCMP_ACT_TRAP },
		{ "SCMP_ACT_TRACE", SCMP_ACT_TRACE(number) },
		{ "SCMP_ACT_LOG", SCMP_ACT_LOG },
		{ "SCMP_ACT_NOTIFY", SCMP_ACT_NOTIFY },
	};

	if (errnum < 0 || errnum > 4095)
		return err_set(err, EINVAL, "%s: errnoRet is out of range", c->what);
	for (size_t i = 0; name && i < ARRAY_SIZE(actions); i++)
		if (!strcmp(actions[i].name, name)) {
			*ret = actions[i].action;
			return 0;
		}
	return bad(c, "action", name, err);
}

static int add_arch(const struct compiler *c, const char *name, struct err *err)
{
	static const struct {
		const char *name;
		uint32_t arch;
	} arches[] = {
		{ "SCMP_ARCH_X86", SCMP_ARCH_X86 },
		{ "SCMP_ARCH_X86_64", SCMP_ARCH_X86_64 },
		{ "SCMP_ARCH_X32", SCMP_ARCH_X32 },
		{ "SCMP_ARCH_ARM", SCMP_ARCH_ARM },
		{ "SCMP_ARCH_AARCH64", SCMP_ARCH_AARCH64 },
	};
	static const char *const others[] = {
		"SCMP_ARCH_MIPS",     "SCMP_ARCH_MIPS64",   "SCMP_ARCH_MIPS64N32",
		"SCMP_ARCH_MIPSEL",   "SCMP_ARCH_MIPSEL64", "SCMP_ARCH_MIPSEL64N32",
		"SCMP_ARCH_PPC",      "SCMP_ARCH_PPC64",    "SCMP_ARCH_PPC64LE",
		"SCMP_ARCH_S390",     "SCMP_ARCH_S390X",    "SCMP_ARCH_PARISC",
		"SCMP_ARCH_PARISC64", "SCMP_ARCH_RISCV64",  "SCMP_ARCH_LOONGARCH64",
		"SCMP_ARCH_M68K",     "SCMP_ARCH_SH",	    "SCMP_ARCH_SHEB",
	};

	for (size_t i = 0; name && i < ARRAY_SIZE(arches); i++)
		if (!strcmp(arches[i].name, name)) {
			int r = seccomp_arch_add(c->ctx, arches[i].arch);

			return r < 0 && r != -EEXIST ? err_sys(err, -r, "%s: %s", c->what, name)
						     : 0;
		}
	/* architectures of other machines do no harm and no good */
	for (size_t i = 0; name && i < ARRAY_SIZE(others); i++)
		if (!strcmp(others[i], name))
			return 0;
	return bad(c, "architecture", name, err);
}

/* archMap: those of this machine's own architecture; architectures: all of the list. */
static int add_arches(const struct compiler *c, const json_t *profile, struct err *err)
{
	const char *native = seccomp_arch_native() == SCMP_ARCH_AARCH64 ? "SCMP_ARCH_AARCH64"
									: "SCMP_ARCH_X86_64";
	json_t *entry, *sub;
	size_t i, j;
	int r = 0;

	json_array_foreach (json_object_get(profile, "archMap"), i, entry) {
		const char *arch = json_get_str(entry, "architecture");

		if (!arch || strcmp(arch, native) != 0)
			continue;
		json_array_foreach (json_object_get(entry, "subArchitectures"), j, sub) {
			r = add_arch(c, json_string_value(sub), err);
			if (r < 0)
				return r;
		}
	}
	json_array_foreach (json_object_get(profile, "architectures"), i, entry) {
		r = add_arch(c, json_string_value(entry), err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Does the list of a condition hold any of our capabilities / all of them? */
static int count_caps(const struct compiler *c, const json_t *list, size_t *ret_have,
		      struct err *err)
{
	json_t *item;
	size_t i;

	*ret_have = 0;
	json_array_foreach (list, i, item) {
		unsigned cap;
		int r = json_is_string(item) ? plan_parse_cap(json_string_value(item), &cap, err)
					     : err_set(err, EINVAL, "a capability is not a string");

		if (r < 0)
			return err_wrap(err, "%s", c->what);
		*ret_have += (c->caps >> cap) & 1;
	}
	return 0;
}

static bool kernel_is_at_least(const char *want)
{
	unsigned a = 0, b = 0, x = 0, y = 0;
	struct utsname u;

	if (uname(&u) < 0 || sscanf(want, "%u.%u", &a, &b) < 1 ||
	    sscanf(u.release, "%u.%u", &x, &y) < 1)
		return true;
	return x > a || (x == a && y >= b);
}

static bool lists_arch(const json_t *list)
{
	const char *native = seccomp_arch_native() == SCMP_ARCH_AARCH64 ? "arm64" : "amd64";
	json_t *item;
	size_t i;

	json_array_foreach (list, i, item)
		if (json_is_string(item) && !strcmp(json_string_value(item), native))
			return true;
	return false;
}

/* Docker's conditions: all of includes must hold, and none of excludes. */
static int applies(const struct compiler *c, const json_t *rule, bool *ret, struct err *err)
{
	const json_t *in = json_object_get(rule, "includes"),
		     *ex = json_object_get(rule, "excludes");
	const json_t *in_caps = json_object_get(in, "caps"), *ex_caps = json_object_get(ex, "caps");
	const json_t *in_arches = json_object_get(in, "arches");
	const char *kernel = json_get_str(in, "minKernel");
	size_t have_in, have_ex;

	if (count_caps(c, in_caps, &have_in, err) < 0 || count_caps(c, ex_caps, &have_ex, err) < 0)
		return -err->errnum;
	*ret = have_in == json_array_size(in_caps) && have_ex == 0 &&
	       (json_array_size(in_arches) == 0 || lists_arch(in_arches)) &&
	       !lists_arch(json_object_get(ex, "arches")) &&
	       (!kernel || kernel_is_at_least(kernel));
	return 0;
}

static int parse_arg(const struct compiler *c, const json_t *arg, struct scmp_arg_cmp *ret,
		     struct err *err)
{
	static const struct {
		const char *name;
		enum scmp_compare op;
	} ops[] = {
		{ "SCMP_CMP_NE", SCMP_CMP_NE },
		{ "SCMP_CMP_LT", SCMP_CMP_LT },
		{ "SCMP_CMP_LE", SCMP_CMP_LE },
		{ "SCMP_CMP_EQ", SCMP_CMP_EQ },
		{ "SCMP_CMP_GE", SCMP_CMP_GE },
		{ "SCMP_CMP_GT", SCMP_CMP_GT },
		{ "SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ },
	};
	const char *op = json_get_str(arg, "op");
	int64_t index = json_get_int(arg, "index", -1);

	if (index < 0 || index > 5)
		return err_set(err, EINVAL, "%s: an argument's index must be 0 to 5", c->what);
	for (size_t i = 0; op && i < ARRAY_SIZE(ops); i++)
		if (!strcmp(ops[i].name, op)) {
			*ret = (struct scmp_arg_cmp){
				.arg = (unsigned)index,
				.op = ops[i].op,
				.datum_a = (uint64_t)json_get_int(arg, "value", 0),
				.datum_b = (uint64_t)json_get_int(arg, "valueTwo", 0),
			};
			return 0;
		}
	return bad(c, "comparison", op, err);
}

/*
 * Conditions on different arguments must all hold. Several on one argument cannot be said in one
 * rule of libseccomp; runc, whose profiles these are, takes all of them for alternatives then.
 */
static int add_conditions(const struct compiler *c, uint32_t action, int nr,
			  const struct scmp_arg_cmp *args, size_t n)
{
	unsigned seen = 0;
	bool repeated = false;
	int r = 0;

	for (size_t i = 0; i < n; i++) {
		repeated |= (seen >> args[i].arg) & 1;
		seen |= 1u << args[i].arg;
	}
	if (!repeated)
		return seccomp_rule_add_array(c->ctx, action, nr, (unsigned)n, args);
	for (size_t i = 0; i < n && (r == 0 || r == -EEXIST); i++)
		r = seccomp_rule_add_array(c->ctx, action, nr, 1, &args[i]);
	return r;
}

static bool takes_errno(uint32_t action)
{
	uint32_t kind = action & SECCOMP_RET_ACTION_FULL;

	return kind == SECCOMP_RET_ERRNO || kind == SECCOMP_RET_TRACE;
}

static int add_rule(const struct compiler *c, const json_t *rule, struct err *err)
{
	struct scmp_arg_cmp args[6];
	const json_t *list = json_object_get(rule, "args");
	const json_t *errnum = json_object_get(rule, "errnoRet");
	size_t n = json_array_size(list), i;
	uint32_t action;
	json_t *name;
	bool use;

	if (applies(c, rule, &use, err) < 0)
		return -err->errnum;
	if (!use)
		return 0;
	if (parse_action(c, json_get_str(rule, "action"),
			 json_is_integer(errnum) ? json_integer_value(errnum) : EPERM, &action,
			 err) < 0)
		return -err->errnum;
	if (json_is_integer(errnum) && !takes_errno(action))
		return err_set(err, EINVAL, "%s: errnoRet stands beside %s, which has none",
			       c->what, json_get_str(rule, "action"));
	if (n > ARRAY_SIZE(args))
		return err_set(err, EINVAL, "%s: a rule has more than six arguments", c->what);
	for (i = 0; i < n; i++)
		if (parse_arg(c, json_array_get(list, i), &args[i], err) < 0)
			return -err->errnum;
	/* a rule that does what happens anyway is refused by libseccomp */
	if (action == c->default_action)
		return 0;
	if (!json_is_array(json_object_get(rule, "names")))
		return err_set(err, EINVAL, "%s: a rule has no \"names\"", c->what);
	json_array_foreach (json_object_get(rule, "names"), i, name) {
		int nr, r;

		if (!json_is_string(name))
			return err_set(err, EINVAL, "%s: a system call's name is not a string",
				       c->what);
		/* the stage hands the notification's descriptor over with it (stage_user.c) */
		if (action == SCMP_ACT_NOTIFY && !strcmp(json_string_value(name), "sendmsg"))
			return err_set(err, EINVAL,
				       "%s: SCMP_ACT_NOTIFY cannot be used for sendmsg", c->what);
		nr = seccomp_syscall_resolve_name(json_string_value(name));
		if (nr == __NR_SCMP_ERROR)
			continue;
		r = add_conditions(c, action, nr, args, n);
		if (r < 0 && r != -EEXIST)
			return err_sys(err, -r, "%s: %s", c->what, json_string_value(name));
	}
	return 0;
}

static int build(struct compiler *c, const json_t *profile, struct err *err)
{
	json_t *rule;
	size_t i;
	int r = parse_action(c, json_get_str(profile, "defaultAction"),
			     json_get_int(profile, "defaultErrnoRet", EPERM), &c->default_action,
			     err);

	if (r < 0)
		return r;
	c->ctx = seccomp_init(c->default_action);
	if (!c->ctx)
		return err_set(err, ENOMEM, "out of memory");
	/* a binary tree of numbers instead of a chain of hundreds of comparisons */
	(void)seccomp_attr_set(c->ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	r = add_arches(c, profile, err);
	json_array_foreach (json_object_get(profile, "syscalls"), i, rule) {
		if (r < 0)
			break;
		r = add_rule(c, rule, err);
	}
	return r;
}

/* The highest number libseccomp can name: what is above it is newer than the profile's words. */
static uint32_t highest_known(void)
{
	uint32_t highest = 0;

	for (int nr = 0; nr < 1024; nr++) {
		char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, nr);

		if (name)
			highest = (uint32_t)nr;
		free(name);
	}
	return highest;
}

static int write_program(const struct compiler *c, int out_fd, struct err *err)
{
	const uint32_t native =
		seccomp_arch_native() == SCMP_ARCH_AARCH64 ? AUDIT_ARCH_AARCH64 : AUDIT_ARCH_X86_64;
	const struct sock_filter unknown[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, native, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, highest_known(), 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
	};
	_cleanup_close_ int tmp = memfd_create("bpf", MFD_CLOEXEC);
	_cleanup_free_ char *program = malloc(BPF_INSNS_MAX * sizeof(struct sock_filter));
	bool refuses = (c->default_action & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_ERRNO;
	ssize_t n;
	int r;

	if (tmp < 0 || !program)
		return err_set(err, ENOMEM, "out of memory");
	r = seccomp_export_bpf(c->ctx, tmp);
	if (r < 0)
		return err_sys(err, -r, "%s: compile", c->what);
	n = pread(tmp, program, BPF_INSNS_MAX * sizeof(struct sock_filter), 0);
	if (n <= 0 || (size_t)n + sizeof(unknown) > BPF_INSNS_MAX * sizeof(struct sock_filter))
		return err_set(err, E2BIG, "%s: the filter is too long for the kernel", c->what);
	r = refuses ? io_write_full(out_fd, unknown, sizeof(unknown)) : 0;
	if (r == 0)
		r = io_write_full(out_fd, program, (size_t)n);
	return r < 0 ? err_sys(err, -r, "write the filter") : 0;
}

int profile_compile(const char *json, size_t n, const char *what, uint64_t caps, int out_fd,
		    struct err *err)
{
	struct compiler c = { .caps = caps, .what = what };
	_cleanup_json_ json_t *profile = NULL;
	int r = json_parse(json, n, what, &profile, err);

	if (r == 0)
		r = build(&c, profile, err);
	if (r == 0)
		r = write_program(&c, out_fd, err);
	if (c.ctx)
		seccomp_release(c.ctx);
	return r;
}
