/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Device rules as an eBPF program of type BPF_PROG_TYPE_CGROUP_DEVICE.
 *
 * The kernel calls it with struct bpf_cgroup_dev_ctx { u32 access_type; u32 major; u32 minor; },
 * where access_type is (access << 16) | type; it returns 1 to allow. The rules are tried from the
 * last to the first, and the first that matches decides; no match means "denied".
 *
 *     r2 = type, r3 = access, r4 = major, r5 = minor
 *     for each rule, last first:
 *         if (r2 != type) goto next;  if (r3 & ~allowed) goto next;
 *         if (r4 != major) goto next; if (r5 != minor) goto next;
 *         r0 = allow; exit;
 *     r0 = 0; exit
 *
 * A rule that allows only matches an access it covers wholly; one that denies matches when it
 * covers any part of it.
 */
#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "container/cgroup.h"
#include "plan/plan.h"
#include "util/err.h"
#include "util/mem.h"

#define RULE_INSNS 12 /* the most that one rule takes */

static void put(struct bpf_insn *code, size_t *n, uint8_t op, uint8_t dst, uint8_t src, int16_t off,
		int32_t imm)
{
	code[(*n)++] = (struct bpf_insn){
		.code = op, .dst_reg = dst & 15, .src_reg = src & 15, .off = off, .imm = imm
	};
}

static void put_rule(struct bpf_insn *code, size_t *n, const struct plan_device_rule *rule)
{
	size_t jumps[4], jump_count = 0;

	if (rule->type != 'a') {
		jumps[jump_count++] = *n;
		put(code, n, BPF_JMP | BPF_JNE | BPF_K, 2, 0, 0,
		    rule->type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR);
	}
	if (rule->access != 7 && rule->type != 'a') {
		/* our bits: 1 read, 2 write, 4 mknod; the kernel's: 1 mknod, 2 read, 4 write */
		int32_t bits = (rule->access & 4 ? BPF_DEVCG_ACC_MKNOD : 0) |
			       (rule->access & 1 ? BPF_DEVCG_ACC_READ : 0) |
			       (rule->access & 2 ? BPF_DEVCG_ACC_WRITE : 0);

		put(code, n, BPF_ALU64 | BPF_MOV | BPF_X, 1, 3, 0, 0);
		put(code, n, BPF_ALU64 | BPF_AND | BPF_K, 1, 0, 0, rule->allow ? ~bits : bits);
		jumps[jump_count++] = *n;
		put(code, n, BPF_JMP | (rule->allow ? BPF_JNE : BPF_JEQ) | BPF_K, 1, 0, 0, 0);
	}
	if (rule->major >= 0 && rule->type != 'a') {
		jumps[jump_count++] = *n;
		put(code, n, BPF_JMP | BPF_JNE | BPF_K, 4, 0, 0, (int32_t)rule->major);
	}
	if (rule->minor >= 0 && rule->type != 'a') {
		jumps[jump_count++] = *n;
		put(code, n, BPF_JMP | BPF_JNE | BPF_K, 5, 0, 0, (int32_t)rule->minor);
	}
	put(code, n, BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, rule->allow);
	put(code, n, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	for (size_t i = 0; i < jump_count; i++)
		code[jumps[i]].off = (int16_t)(*n - jumps[i] - 1);
}

/*
 * Rules before the last "all" rule can never decide. They are left out, and not only for speed: the
 * verifier refuses a program with instructions that nothing reaches.
 */
static size_t build(struct bpf_insn *code, const struct plan_resources *l)
{
	size_t n = 0;

	put(code, &n, BPF_LDX | BPF_MEM | BPF_W, 2, 1, 0, 0);
	put(code, &n, BPF_ALU64 | BPF_MOV | BPF_X, 3, 2, 0, 0);
	put(code, &n, BPF_ALU64 | BPF_AND | BPF_K, 2, 0, 0, 0xffff);
	put(code, &n, BPF_ALU64 | BPF_RSH | BPF_K, 3, 0, 0, 16);
	put(code, &n, BPF_LDX | BPF_MEM | BPF_W, 4, 1, 4, 0);
	put(code, &n, BPF_LDX | BPF_MEM | BPF_W, 5, 1, 8, 0);
	for (size_t i = l->device_rule_count; i-- > 0;) {
		put_rule(code, &n, &l->device_rules[i]);
		if (l->device_rules[i].type == 'a')
			return n;
	}
	put(code, &n, BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
	put(code, &n, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	return n;
}

int cgroup_v2_devices(int group_fd, const struct plan_resources *l, struct err *err)
{
	_cleanup_free_ struct bpf_insn *code = NULL;
	_cleanup_close_ int prog = -EBADF;
	union bpf_attr attr;

	if (!l->device_rule_count)
		return 0;
	code = calloc(l->device_rule_count * RULE_INSNS + 16, sizeof(*code));
	if (!code)
		return err_set(err, ENOMEM, "out of memory");
	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
	attr.insns = (uint64_t)(uintptr_t)code;
	attr.insn_cnt = (uint32_t)build(code, l);
	attr.license = (uint64_t)(uintptr_t) "Apache-2.0";
	prog = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
	if (prog < 0)
		return err_sys(err, errno, "load the device rules into the kernel (eBPF)");
	memset(&attr, 0, sizeof(attr));
	attr.target_fd = (uint32_t)group_fd;
	attr.attach_bpf_fd = (uint32_t)prog;
	attr.attach_type = BPF_CGROUP_DEVICE;
	attr.attach_flags = BPF_F_ALLOW_MULTI;
	if (syscall(SYS_bpf, BPF_PROG_ATTACH, &attr, sizeof(attr)) < 0)
		return err_sys(err, errno, "attach the device rules to the cgroup (eBPF)");
	return 0;
}
