/* SPDX-License-Identifier: Apache-2.0 */
/*
 * events: what a container has used, as the JSON that runc prints and engines read, once (--stats)
 * or every so often, and when its memory runs out.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include "container/cgroup.h"
#include "container/cgroup_stats.h"
#include "runtime/runtime.h"
#include "runtime/state.h"
#include "util/err.h"
#include "util/json_write.h"
#include "util/mem.h"

static void write_counter(struct json_write *w, const char *key, const struct cgroup_counter *c)
{
	json_write_key(w, key);
	json_write_object(w);
	json_write_member_u64(w, "limit", c->limit);
	json_write_member_u64(w, "usage", c->usage);
	json_write_member_u64(w, "max", c->max_usage);
	json_write_member_u64(w, "failcnt", c->failures);
	json_write_close(w, '}');
}

static void write_cpu(struct json_write *w, const struct cgroup_stats *s)
{
	json_write_key(w, "cpu");
	json_write_object(w);
	json_write_key(w, "usage");
	json_write_object(w);
	json_write_member_u64(w, "total", s->cpu.total_ns);
	json_write_member_u64(w, "kernel", s->cpu.kernel_ns);
	json_write_member_u64(w, "user", s->cpu.user_ns);
	json_write_close(w, '}');
	json_write_key(w, "throttling");
	json_write_object(w);
	json_write_member_u64(w, "periods", s->cpu.periods);
	json_write_member_u64(w, "throttledPeriods", s->cpu.throttled_periods);
	json_write_member_u64(w, "throttledTime", s->cpu.throttled_ns);
	json_write_close(w, '}');
	json_write_close(w, '}');
}

static void write_memory(struct json_write *w, const struct cgroup_stats *s)
{
	json_write_key(w, "memory");
	json_write_object(w);
	json_write_member_u64(w, "cache", s->memory.cache);
	write_counter(w, "usage", &s->memory.memory);
	write_counter(w, "swap", &s->memory.swap);
	write_counter(w, "kernel", &s->memory.kernel);
	write_counter(w, "kernelTCP", &s->memory.kernel_tcp);
	json_write_key(w, "raw");
	json_write_object(w);
	for (size_t i = 0; i < s->memory.raw_count; i++)
		json_write_member_u64(w, s->memory.raw[i].name, s->memory.raw[i].value);
	json_write_close(w, '}');
	json_write_close(w, '}');
}

static void write_block(struct json_write *w, const char *key, const struct cgroup_block_stats *b)
{
	json_write_key(w, key);
	json_write_array(w);
	for (size_t i = 0; i < b->count; i++) {
		json_write_object(w);
		json_write_member_u64(w, "major", b->list[i].major);
		json_write_member_u64(w, "minor", b->list[i].minor);
		json_write_member(w, "op", b->list[i].op);
		json_write_member_u64(w, "value", b->list[i].value);
		json_write_close(w, '}');
	}
	json_write_close(w, ']');
}

static void write_others(struct json_write *w, const struct cgroup_stats *s)
{
	json_write_key(w, "pids");
	json_write_object(w);
	json_write_member_u64(w, "current", s->pids.current);
	json_write_member_u64(w, "limit", s->pids.limit == UINT64_MAX ? 0 : s->pids.limit);
	json_write_close(w, '}');
	json_write_key(w, "blkio");
	json_write_object(w);
	write_block(w, "ioServiceBytesRecursive", &s->block.service_bytes);
	write_block(w, "ioServicedRecursive", &s->block.serviced);
	json_write_close(w, '}');
	json_write_key(w, "hugetlb");
	json_write_object(w);
	for (size_t i = 0; i < s->hugepage_count; i++)
		write_counter(w, s->hugepages[i].size, &s->hugepages[i].counter);
	json_write_close(w, '}');
	json_write_key(w, "intel_rdt");
	json_write_object(w);
	json_write_close(w, '}');
	json_write_key(w, "network_interfaces");
	json_write_raw(w, "null");
}

static void print_line(struct json_write *w)
{
	if (!w->out.failed)
		puts(w->out.data);
	fflush(stdout);
	str_buf_done(&w->out);
}

static int print_stats(const struct cgroup_ops *cgroups, const struct state *s, struct err *err)
{
	struct cgroup_stats stats = { 0 };
	struct json_write w = { 0 };
	int r = cgroups->stats(s->cgroup, &stats, err);

	if (r < 0)
		return r;
	json_write_object(&w);
	json_write_member(&w, "type", "stats");
	json_write_member(&w, "id", s->id);
	json_write_key(&w, "data");
	json_write_object(&w);
	write_cpu(&w, &stats);
	write_memory(&w, &stats);
	write_others(&w, &stats);
	json_write_close(&w, '}');
	json_write_close(&w, '}');
	print_line(&w);
	cgroup_stats_done(&stats);
	return 0;
}

static void print_oom(const struct state *s)
{
	struct json_write w = { 0 };

	json_write_object(&w);
	json_write_member(&w, "type", "oom");
	json_write_member(&w, "id", s->id);
	json_write_close(&w, '}');
	print_line(&w);
}

/* Until its first process ends. Out of memory is noticed within a second. */
static int watch(const struct cgroup_ops *cgroups, const struct state *s, uint32_t interval_s,
		 struct err *err)
{
	_cleanup_close_ int process = state_process(s);
	struct pollfd ended = { .fd = process, .events = POLLIN };
	uint64_t kills = cgroups->oom_kills(s->cgroup);
	int r = 0;

	for (uint32_t seconds = 0; process >= 0 && r == 0; seconds++) {
		uint64_t now;

		if (seconds % interval_s == 0)
			r = print_stats(cgroups, s, err);
		if (poll(&ended, 1, 1000) > 0)
			return r;
		now = cgroups->oom_kills(s->cgroup);
		if (now > kills)
			print_oom(s);
		kills = now;
	}
	return r;
}

/* "5s", "500ms", "1m": as Go writes a duration; at least a second. */
static int parse_interval(const char *text, uint32_t *ret, struct err *err)
{
	unsigned n;
	char unit[4] = "";

	if (sscanf(text, "%u%3s", &n, unit) >= 1 && n &&
	    (!*unit || !strcmp(unit, "s") || !strcmp(unit, "ms") || !strcmp(unit, "m"))) {
		*ret = !strcmp(unit, "m") ? n * 60 : !strcmp(unit, "ms") ? (n + 999) / 1000 : n;
		return 0;
	}
	return err_set(err, EINVAL, "--interval takes a time such as 5s, not \"%s\"", text);
}

int verb_events(struct runtime *rt, int argc, char **argv)
{
	const char *interval = "5s";
	bool once = false;
	const struct args_option options[] = {
		{ 0, "interval", ARGS_STRING, &interval, "TIME", "Time between two (5s)" },
		{ 0, "stats", ARGS_FLAG, &once, NULL, "Once, and end" },
		{ .name = NULL },
	};
	struct args_usage usage = {
		.name = "events",
		.synopsis = "[OPTIONS] CONTAINER",
		.summary = "Show resource use and out-of-memory events as JSON",
		.options = options,
		.min_args = 1,
		.max_args = 1,
	};
	_cleanup_(state_done) struct state s = STATE_INIT;
	const struct cgroup_ops *cgroups;
	struct err err = ERR_INIT;
	uint32_t seconds = 5;
	int code = runtime_args(rt, &usage, &argc, argv), r;

	if (code >= 0)
		return code;
	r = parse_interval(interval, &seconds, &err);
	if (r == 0)
		r = state_open(rt, argv[0], false, &s, &err);
	if (r == 0 && state_status_of(&s) == STATE_STOPPED)
		r = err_set(&err, ESRCH, "container not running: %s", argv[0]);
	cgroups = r == 0 ? state_cgroups(&s) : NULL;
	if (r == 0 && !cgroups)
		r = err_set(&err, EOPNOTSUPP, "container \"%s\" has no cgroup, which counts",
			    argv[0]);
	if (r == 0)
		r = once ? print_stats(cgroups, &s, &err) : watch(cgroups, &s, seconds, &err);
	return r < 0 ? runtime_fail(rt, &err) : 0;
}
