/* SPDX-License-Identifier: Apache-2.0 */
/* cgroup: what needs no kernel: paths, conversions, device programs, systemd's names and limits. */
#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include "container/cgroup.h"
#include "container/cgroup_internal.h"
#include "container/cgroup_systemd.h"
#include "plan/plan.h"
#include "tap.h"
#include "util/err.h"
#include "util/mem.h"

/* ---- paths ---------------------------------------------------------------------------------- */

static void test_paths(void)
{
	static const char *const good[] = { "a",       "a/b/c", "proa/0123", "a.slice/b-c.scope",
					    "..a/b..", "..." };
	static const char *const bad[] = { "",	 "/",	 "/a",	 "a/",	   "a//b",  ".",
					   "..", "a/..", "../a", "a/../b", "a/./b", "a\nb" };
	char longest[CGROUP_PATH_MAX + 1], name[300], buf[CGROUP_DEFAULT_MAX];
	struct err err = ERR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		ok_int(cgroup_check_path(good[i], &err), 0, "good: %s", good[i]);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		ok_int(cgroup_check_path(bad[i], &err), -EINVAL, "bad path %zu", i);
	ok_int(cgroup_check_path(NULL, &err), -EINVAL, "none");
	memset(name, 'n', sizeof(name));
	name[255] = 0;
	ok_int(cgroup_check_path(name, &err), 0, "a name of 255");
	name[255] = 'n';
	name[256] = 0;
	ok_int(cgroup_check_path(name, &err), -EINVAL, "a name of 256");
	for (size_t i = 0; i < sizeof(longest); i++)
		longest[i] = i % 2 ? '/' : 'x';
	longest[CGROUP_PATH_MAX] = 0;
	longest[CGROUP_PATH_MAX - 1] = 'x';
	ok_int(cgroup_check_path(longest, &err), -EINVAL, "too long");
	longest[CGROUP_PATH_MAX - 1] = 0;
	ok_int(cgroup_check_path(longest, &err), 0, "just not too long");
	ok_str(cgroup_path_or_default("a/b", "x", buf), "a/b", "a chosen path");
	ok_str(cgroup_path_or_default(NULL, "x", buf), "proa/x", "the default");
}

static void test_conversions(void)
{
	ok_int(cgroup_shares_to_weight(2), 1, "least shares");
	ok_int(cgroup_shares_to_weight(1024), 39, "1024 shares");
	ok_int(cgroup_shares_to_weight(262144), 10000, "most shares");
	ok_int(cgroup_shares_to_weight(1), 1, "fewer");
	ok_int(cgroup_shares_to_weight(UINT64_MAX), 10000, "more");
	ok_int(cgroup_block_to_io_weight(10), 1, "least block weight");
	ok_int(cgroup_block_to_io_weight(100), 910, "block weight of 100");
	ok_int(cgroup_block_to_io_weight(1000), 10000, "most block weight");
}

/* ---- device programs ------------------------------------------------------------------------ */

/* The few instructions that our programs have. Returns r0, or -1 for anything else. */
static int64_t interpret(const struct bpf_insn *code, size_t n, const uint32_t ctx[3])
{
	uint64_t r[11] = { 0 };

	for (size_t pc = 0, steps = 0; pc < n && steps < 100000; pc++, steps++) {
		const struct bpf_insn *i = &code[pc];

		switch (i->code) {
		case BPF_LDX | BPF_MEM | BPF_W: r[i->dst_reg] = ctx[i->off / 4]; break;
		case BPF_ALU64 | BPF_MOV | BPF_X: r[i->dst_reg] = r[i->src_reg]; break;
		case BPF_ALU64 | BPF_MOV | BPF_K: r[i->dst_reg] = (uint64_t)(int64_t)i->imm; break;
		case BPF_ALU64 | BPF_AND | BPF_K: r[i->dst_reg] &= (uint64_t)(int64_t)i->imm; break;
		case BPF_ALU64 | BPF_RSH | BPF_K: r[i->dst_reg] >>= i->imm; break;
		case BPF_JMP | BPF_JNE | BPF_K:
			pc += r[i->dst_reg] != (uint64_t)(int64_t)i->imm ? (size_t)i->off : 0;
			break;
		case BPF_JMP | BPF_JEQ | BPF_K:
			pc += r[i->dst_reg] == (uint64_t)(int64_t)i->imm ? (size_t)i->off : 0;
			break;
		case BPF_JMP | BPF_EXIT: return (int64_t)r[0];
		default: return -1;
		}
	}
	return -1;
}

/* What the runtime-spec says: for each access, the last rule that covers it. */
static bool is_allowed(const struct plan_resources *l, char type, int64_t major, int64_t minor,
		       uint8_t access)
{
	for (uint8_t bit = 1; bit <= 4; bit <<= 1) {
		bool allowed = false;

		if (!(access & bit))
			continue;
		for (size_t i = 0; i < l->device_rule_count; i++) {
			const struct plan_device_rule *r = &l->device_rules[i];

			if ((r->type == 'a' || r->type == type) &&
			    (r->major < 0 || r->major == major) &&
			    (r->minor < 0 || r->minor == minor) && (r->access & bit))
				allowed = r->allow;
		}
		if (!allowed)
			return false;
	}
	return true;
}

/* All devices with numbers up to 3 and all accesses, against the program. */
static int count_differences(const struct plan_resources *l)
{
	_cleanup_free_ struct bpf_insn *code = NULL;
	struct err err = ERR_INIT;
	int differences = 0;
	size_t n = 0;

	if (cgroup_v2_device_program(l, &code, &n, &err) < 0)
		return -1;
	for (unsigned i = 0; i < 2 * 4 * 4 * 8; i++) {
		bool block = i & 1;
		uint32_t major = (i >> 1) & 3, minor = (i >> 3) & 3;
		uint8_t access = (uint8_t)(i >> 5);
		uint32_t bits = (access & 1 ? BPF_DEVCG_ACC_READ : 0) |
				(access & 2 ? BPF_DEVCG_ACC_WRITE : 0) |
				(access & 4 ? BPF_DEVCG_ACC_MKNOD : 0);
		uint32_t ctx[3] = { bits << 16 | (block ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR),
				    major, minor };

		if (access && interpret(code, n, ctx) !=
				      is_allowed(l, block ? 'b' : 'c', major, minor, access))
			differences++;
	}
	return differences;
}

/* security/device_cgroup.c: an exception that allows must cover the whole access, one that denies
 * any part of it. */
static bool v1_allows(const struct cgroup_devices *d, bool allow_all, char type, int64_t major,
		      int64_t minor, uint8_t access)
{
	for (size_t i = 0; i < d->count; i++) {
		const struct cgroup_device *e = &d->list[i];
		uint8_t bits = allow_all ? (uint8_t)~e->access & 7 : e->access;

		if (e->type != type || (e->major >= 0 && e->major != major) ||
		    (e->minor >= 0 && e->minor != minor))
			continue;
		if (allow_all ? access & bits : bits && !(access & ~bits))
			return !allow_all;
	}
	return allow_all;
}

/* As above, for v1; -1 when v1 cannot have such rules. */
static int count_v1_differences(const struct plan_resources *l)
{
	struct cgroup_devices d = { 0 };
	struct err err = ERR_INIT;
	bool allow_all = false;
	int differences = 0;

	if (cgroup_v1_device_form(l, &d, &allow_all, &err) < 0)
		return -1;
	for (unsigned i = 0; i < 2 * 4 * 4 * 8; i++) {
		char type = i & 1 ? 'b' : 'c';
		int64_t major = (i >> 1) & 3, minor = (i >> 3) & 3;
		uint8_t access = (uint8_t)(i >> 5);

		if (access && v1_allows(&d, allow_all, type, major, minor, access) !=
				      is_allowed(l, type, major, minor, access))
			differences++;
	}
	cgroup_devices_done(&d);
	return differences;
}

static void test_programs(void)
{
	struct plan_device_rule fixed[] = { { false, 'a', -1, -1, 7 },
					    { true, 'c', 1, 3, 7 },
					    { false, 'c', -1, -1, 4 } };
	struct plan_resources l = { .device_rules = fixed, .device_rule_count = 3 };
	struct plan_device_rule rules[8];
	unsigned seed = 1;
	int wrong = 0, v1_wrong = 0, v1_refused = 0;

	ok_int(count_differences(&l), 0, "deny all, allow 1:3, deny to make any");
	l.device_rules = rules;
	for (int round = 0; round < 2000; round++) {
		l.device_rule_count = (size_t)(rand_r(&seed) % 8) + 1;
		for (size_t i = 0; i < l.device_rule_count; i++)
			rules[i] = (struct plan_device_rule){
				.allow = rand_r(&seed) & 16,
				.type = "abc"[rand_r(&seed) % 3],
				.major = rand_r(&seed) % 4 - 1,
				.minor = rand_r(&seed) % 4 - 1,
				.access = (uint8_t)(rand_r(&seed) % 7 + 1),
			};
		wrong += count_differences(&l) != 0;
		v1_wrong += count_v1_differences(&l) > 0;
		v1_refused += count_v1_differences(&l) < 0;
	}
	ok_int(wrong, 0, "2000 lists of random rules mean what the last match says");
	ok_int(v1_wrong, 0, "on v1 as well, where they can be had");
	ok(v1_refused > 100 && v1_refused < 1900, "which is so for some (refused: %d)", v1_refused);
}

static void test_regular_form(void)
{
	struct plan_device_rule rules[] = {
		{ true, 'c', 9, 9, 7 }, { false, 'a', -1, -1, 7 }, { true, 'c', -1, -1, 4 },
		{ true, 'c', 1, 3, 4 }, { true, 'c', 136, -1, 7 }, { true, 'c', 1, 5, 1 },
		{ true, 'c', 1, 5, 2 },
	};
	struct plan_resources l = { .device_rules = rules, .device_rule_count = ARRAY_SIZE(rules) };
	struct cgroup_devices d = { 0 };
	struct err err = ERR_INIT;

	ok_int(cgroup_devices_make(&l, &d, &err), 0, "a list");
	cgroup_devices_reduce(&d);
	ok_int(d.count, 4, "what cannot matter is left out");
	ok(d.list[0].major == 1 && d.list[0].minor == 5 && d.list[0].access == 7,
	   "the most specific first, with all its accesses");
	ok(d.list[1].major == 136 && d.list[1].minor == -1, "then wider ones");
	ok(d.list[2].major == -1 && d.list[3].major == -1, "and all, at last");
	cgroup_devices_done(&d);
}

/* ---- systemd -------------------------------------------------------------------------------- */

static void unit(const char *text, bool user, const char *slice, const char *name, const char *path)
{
	struct cgroup_unit u = { 0 };
	struct err err = ERR_INIT;
	int r = cgroup_unit_parse(text, "id7", user, &u, &err);

	ok_int(r == 0, slice != NULL, "unit \"%s\"", text ? text : "(none)");
	if (r == 0) {
		ok_str(u.slice, slice, "its slice");
		ok_str(u.name, name, "its name");
		ok_str(u.path, path, "its path");
	} else if (slice) {
		printf("# %s\n", err.msg);
	}
	cgroup_unit_done(&u);
}

static void test_units(void)
{
	unit("machine.slice:docker:abc", false, "machine.slice", "docker-abc.scope",
	     "machine.slice/docker-abc.scope");
	unit(NULL, false, "system.slice", "proa-id7.scope", "system.slice/proa-id7.scope");
	unit("", true, "user.slice", "proa-id7.scope", "user.slice/proa-id7.scope");
	unit(":crio:x", false, "system.slice", "crio-x.scope", "system.slice/crio-x.scope");
	unit("a-b-c.slice::x", false, "a-b-c.slice", "x.scope",
	     "a.slice/a-b.slice/a-b-c.slice/x.scope");
	unit("-.slice:p:x", false, "-.slice", "p-x.scope", "p-x.scope");
	unit("/a/b", false, NULL, NULL, NULL);
	unit("a.slice:b", false, NULL, NULL, NULL);
	unit("a.slice:b:c:d", false, NULL, NULL, NULL);
	unit("a.slice:b:c.slice", false, NULL, NULL, NULL);
	unit("a:b:c", false, NULL, NULL, NULL);
	unit("a--b.slice:b:c", false, NULL, NULL, NULL);
	unit("-a.slice:b:c", false, NULL, NULL, NULL);
	unit("a-.slice:b:c", false, NULL, NULL, NULL);
	unit(".slice:b:c", false, NULL, NULL, NULL);
	unit("x/y.slice:b:c", false, NULL, NULL, NULL);
	unit("a.slice:b:c/d", false, NULL, NULL, NULL);
	unit("a.slice:b:c d", false, NULL, NULL, NULL);
}

static void properties(const struct plan_resources *l, bool v2, const char *want)
{
	_cleanup_strv_ char **list = NULL;
	struct err err = ERR_INIT;
	char text[512] = "";

	ok_int(cgroup_systemd_properties(l, v2, &list, &err), 0, "properties");
	for (char **p = list; p && *p; p++) {
		strcat(text, *p);
		strcat(text, " ");
	}
	ok_str(text, want, "%s", want);
}

static void test_properties(void)
{
	struct plan_resources l = { .memory_bytes = 1000000,
				    .memory_swap_bytes = 1500000,
				    .memory_reservation_bytes = 500,
				    .cpu_shares = 1024,
				    .pids_max = -1,
				    .cpuset_cpus = (char *)"0-1" };
	struct plan_resources quota = { .cpu_quota_us = 33333, .cpu_period_us = 100000 };
	struct plan_resources unlimited = { .cpu_quota_us = PLAN_UNLIMITED, .pids_max = 9 };

	properties(&l, true,
		   "MemoryMax=1000000 MemoryLow=500 MemorySwapMax=500000 CPUWeight=39 "
		   "TasksMax=18446744073709551615 AllowedCPUs=0-1 ");
	properties(&l, false, "MemoryLimit=1000000 CPUShares=1024 TasksMax=18446744073709551615 ");
	properties(&quota, true, "CPUQuotaPeriodUSec=100000 CPUQuotaPerSecUSec=340000 ");
	properties(&unlimited, true, "CPUQuotaPerSecUSec=18446744073709551615 TasksMax=9 ");
	properties(&(struct plan_resources){ 0 }, true, "");
}

static void test_has_limits(void)
{
	char *unified[] = { (char *)"memory.high=1", NULL }, *none[] = { NULL };
	struct plan_device_rule rule = { true, 'a', -1, -1, 7 };

	ok(!cgroup_has_limits(&(struct plan_resources){ .unified = none }), "no limits");
	ok(!cgroup_has_limits(
		   &(struct plan_resources){ .device_rules = &rule, .device_rule_count = 1 }),
	   "device rules are none");
	ok(cgroup_has_limits(&(struct plan_resources){ .unified = unified }), "a unified one");
	ok(cgroup_has_limits(&(struct plan_resources){ .pids_max = -1 }), "of processes");
	ok(cgroup_has_limits(&(struct plan_resources){ .block_weight = 10 }), "of block I/O");
}

static void test_no_helper(void)
{
	struct cgroup_systemd s = CGROUP_SYSTEMD_INIT;
	struct cgroup_unit u = { 0 };
	struct plan_resources none = { 0 };
	struct err err = ERR_INIT;
	char *path = NULL;

	ok_int(cgroup_unit_parse("", "x", false, &u, &err), 0, "a unit");
	ok(cgroup_systemd_start("/absent/proa-systemd", &u, &none, false, &s, &path, &err) < 0,
	   "no helper");
	ok(strstr(err.msg, "/absent/proa-systemd") && strstr(err.msg, "No such file"),
	   "and the error says which");
	ok(cgroup_systemd_stop("/bin/false", &u, false, &err) < 0, "a helper that fails");
	ok_int(cgroup_systemd_stop("/bin/true", &u, false, &err), 0, "one that does not");
	cgroup_unit_done(&u);
}

int main(void)
{
	test_paths();
	test_conversions();
	test_programs();
	test_regular_form();
	test_units();
	test_properties();
	test_has_limits();
	test_no_helper();
	return tap_done();
}
