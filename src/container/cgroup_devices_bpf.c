/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Device rules as an eBPF program of type BPF_PROG_TYPE_CGROUP_DEVICE.
 *
 * The kernel calls it with struct bpf_cgroup_dev_ctx { u32 access_type; u32 major; u32 minor; },
 * where access_type is (access << 16) | type; it returns 1 to allow. The rules come as patterns,
 * each with a mask of what is allowed, the most specific first (cgroup_devices.c):
 *
 *     r2 = type, r3 = access, r4 = major, r5 = minor
 *     for each pattern:
 *         if (r2 != type) goto next; if (r4 != major) goto next; if (r5 != minor) goto next;
 *         r0 = !(r3 & ~mask); exit;
 *     r0 = 0; exit
 *
 * An update attaches the new program in the place of the old one, in one step where there is one
 * (BPF_F_REPLACE), so that there is no moment without rules; several old ones, which somebody else
 * has put there, are detached after it.
 */
#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "container/cgroup_internal.h"
#include "plan/plan.h"
#include "util/err.h"
#include "util/mem.h"

#define PATTERN_INSNS 9 /* the most that one pattern takes */
#define ATTACHED_MAX  64

static void put(struct bpf_insn *code, size_t *n, uint8_t op, uint8_t dst, uint8_t src, int16_t off,
		int32_t imm)
{
	code[(*n)++] = (struct bpf_insn){
		.code = op, .dst_reg = dst & 15, .src_reg = src & 15, .off = off, .imm = imm
	};
}

static void put_exit(struct bpf_insn *code, size_t *n, int32_t result)
{
	put(code, n, BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, result);
	put(code, n, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

static void put_pattern(struct bpf_insn *code, size_t *n, const struct cgroup_device *d)
{
	size_t jumps[3], jump_count = 0;
	/* our bits: 1 read, 2 write, 4 mknod; the kernel's: 1 mknod, 2 read, 4 write */
	int32_t denied = (d->access & 4 ? 0 : BPF_DEVCG_ACC_MKNOD) |
			 (d->access & 1 ? 0 : BPF_DEVCG_ACC_READ) |
			 (d->access & 2 ? 0 : BPF_DEVCG_ACC_WRITE);

	jumps[jump_count++] = *n;
	put(code, n, BPF_JMP | BPF_JNE | BPF_K, 2, 0, 0,
	    d->type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR);
	if (d->major >= 0) {
		jumps[jump_count++] = *n;
		put(code, n, BPF_JMP | BPF_JNE | BPF_K, 4, 0, 0, (int32_t)d->major);
	}
	if (d->minor >= 0) {
		jumps[jump_count++] = *n;
		put(code, n, BPF_JMP | BPF_JNE | BPF_K, 5, 0, 0, (int32_t)d->minor);
	}
	if (d->access && d->access != 7) {
		put(code, n, BPF_ALU64 | BPF_AND | BPF_K, 3, 0, 0, denied);
		put(code, n, BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 1);
		put(code, n, BPF_JMP | BPF_JEQ | BPF_K, 3, 0, 1, 0);
		put_exit(code, n, 0);
		/* the jump above skips "r0 = 0" */
	} else {
		put_exit(code, n, d->access == 7);
	}
	for (size_t i = 0; i < jump_count; i++)
		code[jumps[i]].off = (int16_t)(*n - jumps[i] - 1);
}

int cgroup_v2_device_program(const struct plan_resources *l, struct bpf_insn **ret, size_t *ret_n,
			     struct err *err)
{
	struct cgroup_devices d = { 0 };
	struct bpf_insn *code;
	size_t n = 0;
	int r = cgroup_devices_make(l, &d, err);

	if (r < 0)
		return r;
	cgroup_devices_reduce(&d);
	code = calloc(d.count * PATTERN_INSNS + 8, sizeof(*code));
	if (!code) {
		cgroup_devices_done(&d);
		return err_set(err, ENOMEM, "out of memory");
	}
	put(code, &n, BPF_LDX | BPF_MEM | BPF_W, 2, 1, 0, 0);
	put(code, &n, BPF_ALU64 | BPF_MOV | BPF_X, 3, 2, 0, 0);
	put(code, &n, BPF_ALU64 | BPF_AND | BPF_K, 2, 0, 0, 0xffff);
	put(code, &n, BPF_ALU64 | BPF_RSH | BPF_K, 3, 0, 0, 16);
	put(code, &n, BPF_LDX | BPF_MEM | BPF_W, 4, 1, 4, 0);
	put(code, &n, BPF_LDX | BPF_MEM | BPF_W, 5, 1, 8, 0);
	for (size_t i = 0; i < d.count; i++)
		put_pattern(code, &n, &d.list[i]);
	put_exit(code, &n, 0);
	cgroup_devices_done(&d);
	*ret = code;
	*ret_n = n;
	return 0;
}

static int bpf(int command, union bpf_attr *attr)
{
	return (int)syscall(SYS_bpf, command, attr, sizeof(*attr));
}

static int load(const struct plan_resources *l, struct err *err)
{
	_cleanup_free_ struct bpf_insn *code = NULL;
	union bpf_attr attr;
	size_t n = 0;
	int fd, r = cgroup_v2_device_program(l, &code, &n, err);

	if (r < 0)
		return r;
	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
	attr.insns = (uint64_t)(uintptr_t)code;
	attr.insn_cnt = (uint32_t)n;
	attr.license = (uint64_t)(uintptr_t) "Apache-2.0";
	fd = bpf(BPF_PROG_LOAD, &attr);
	return fd < 0 ? err_sys(err, errno, "load the device rules into the kernel (eBPF)") : fd;
}

/* The numbers of the programs that this group itself has; how many. */
static int query(int group, uint32_t ids[ATTACHED_MAX])
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.query.target_fd = (uint32_t)group;
	attr.query.attach_type = BPF_CGROUP_DEVICE;
	attr.query.prog_ids = (uint64_t)(uintptr_t)ids;
	attr.query.prog_cnt = ATTACHED_MAX;
	return bpf(BPF_PROG_QUERY, &attr) < 0 ? -errno : (int)attr.query.prog_cnt;
}

static int open_program(uint32_t id)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.prog_id = id;
	return bpf(BPF_PROG_GET_FD_BY_ID, &attr);
}

/* @old: the program whose place it takes, or -1. */
static int attach(int group, int prog, int old)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.target_fd = (uint32_t)group;
	attr.attach_bpf_fd = (uint32_t)prog;
	attr.attach_type = BPF_CGROUP_DEVICE;
	attr.attach_flags = BPF_F_ALLOW_MULTI;
	if (old >= 0) {
		attr.attach_flags |= BPF_F_REPLACE;
		attr.replace_bpf_fd = (uint32_t)old;
	}
	return bpf(BPF_PROG_ATTACH, &attr) < 0 ? -errno : 0;
}

static void detach(int group, uint32_t id)
{
	_cleanup_close_ int old = open_program(id);
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.target_fd = (uint32_t)group;
	attr.attach_bpf_fd = (uint32_t)old;
	attr.attach_type = BPF_CGROUP_DEVICE;
	if (old >= 0)
		(void)bpf(BPF_PROG_DETACH, &attr);
}

int cgroup_v2_devices(int group, const struct plan_resources *l, bool fresh, struct err *err)
{
	_cleanup_close_ int prog = -EBADF, old = -EBADF;
	uint32_t ids[ATTACHED_MAX];
	int n, r;

	if (!l->device_rule_count)
		return 0;
	prog = load(l, err);
	if (prog < 0)
		return prog;
	n = fresh ? 0 : query(group, ids);
	if (n < 0)
		return err_sys(err, -n, "ask for the device rules of the cgroup (eBPF)");
	if (n == 1)
		old = open_program(ids[0]);
	r = attach(group, prog, old);
	/* before Linux 5.6 there is no BPF_F_REPLACE; nor where it was not attached as one of many
	 */
	if (r < 0 && old >= 0) {
		old = fd_close(old);
		r = attach(group, prog, -1);
	}
	if (r < 0)
		return err_sys(err, -r, "attach the device rules to the cgroup (eBPF)");
	for (int i = 0; i < n && old < 0; i++)
		detach(group, ids[i]);
	return 0;
}
