/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Device rules, from a list in which the last match decides to a form without order.
 *
 * A rule covers a pattern of devices (a type, and each of major and minor a number or any) and some
 * of the accesses read, write and mknod. For each single access to a device the last rule that
 * covers it decides; where there is none, it is denied. Neither kernel interface works like that:
 * v1 has one default and a set of exceptions that only go one way, and an eBPF program should be
 * short. So the list is evaluated here, once, for every pattern that occurs in it and for where two
 * of them meet. All devices that have the same most specific pattern are matched by the same rules,
 * so its mask of accesses is the answer for each of them.
 *
 * Patterns whose answer is that of the next wider one can be left out where the first match counts
 * (cgroup_devices_reduce()).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "container/cgroup_internal.h"
#include "plan/plan.h"
#include "util/err.h"
#include "util/mem.h"

#define PATTERNS_MAX 4096

static bool covers(const struct cgroup_device *wide, const struct cgroup_device *narrow)
{
	return wide->type == narrow->type && (wide->major < 0 || wide->major == narrow->major) &&
	       (wide->minor < 0 || wide->minor == narrow->minor);
}

static int specificity(const struct cgroup_device *d)
{
	return (d->major >= 0) * 2 + (d->minor >= 0);
}

bool cgroup_device_is_below(const struct cgroup_device *narrow, const struct cgroup_device *wide)
{
	return specificity(wide) < specificity(narrow) && covers(wide, narrow);
}

static int add(struct cgroup_devices *d, char type, int64_t major, int64_t minor)
{
	struct cgroup_device new = { .type = type, .major = major, .minor = minor };

	for (size_t i = 0; i < d->count; i++)
		if (d->list[i].type == type && d->list[i].major == major &&
		    d->list[i].minor == minor)
			return 0;
	if (d->count >= PATTERNS_MAX)
		return -E2BIG;
	if (mem_grow(&d->list, d->count, sizeof(new)) < 0)
		return -ENOMEM;
	d->list[d->count++] = new;
	return 0;
}

/* A rule of type 'a' is one for each type. */
static bool has_type(const struct plan_device_rule *rule, char type)
{
	return rule->type == 'a' || rule->type == type;
}

static int collect(const struct plan_resources *l, struct cgroup_devices *d)
{
	int r = add(d, 'b', -1, -1);
	size_t n;

	if (r == 0)
		r = add(d, 'c', -1, -1);
	for (size_t i = 0; i < l->device_rule_count && r == 0; i++) {
		const struct plan_device_rule *rule = &l->device_rules[i];

		if (has_type(rule, 'b'))
			r = add(d, 'b', rule->major, rule->minor);
		if (has_type(rule, 'c') && r == 0)
			r = add(d, 'c', rule->major, rule->minor);
	}
	/* "major 5" and "minor 1" meet in 5:1 */
	n = d->count;
	for (size_t i = 0; i < n && r == 0; i++)
		for (size_t j = 0; j < n && r == 0; j++)
			if (d->list[i].type == d->list[j].type && specificity(&d->list[i]) == 2 &&
			    specificity(&d->list[j]) == 1)
				r = add(d, d->list[i].type, d->list[i].major, d->list[j].minor);
	return r;
}

static uint8_t evaluate(const struct plan_resources *l, const struct cgroup_device *d)
{
	uint8_t access = 0;

	for (size_t i = 0; i < l->device_rule_count; i++) {
		const struct plan_device_rule *rule = &l->device_rules[i];
		struct cgroup_device pattern = { d->type, rule->major, rule->minor, 0 };
		uint8_t bits = rule->type == 'a' && !rule->access ? 7 : rule->access & 7;

		if (!has_type(rule, d->type) || !covers(&pattern, d))
			continue;
		access = rule->allow ? access | bits : access & (uint8_t)~bits;
	}
	return access;
}

/* The most specific first; then as they came. */
static void sort(struct cgroup_devices *d)
{
	for (size_t i = 1; i < d->count; i++) {
		struct cgroup_device moved = d->list[i];
		size_t j = i;

		for (; j > 0 && specificity(&d->list[j - 1]) < specificity(&moved); j--)
			d->list[j] = d->list[j - 1];
		d->list[j] = moved;
	}
}

/*
 * From the widest on, and against those that are kept: what a pattern is left out for must itself
 * stay, or a device would be found by another one (5:1 by "minor 1", with "major 5" gone).
 */
void cgroup_devices_reduce(struct cgroup_devices *d)
{
	size_t kept = d->count; /* those kept are at the end, from here on */

	for (size_t i = d->count; i-- > 0;) {
		size_t next = kept;

		while (next < d->count && !(cgroup_device_is_below(&d->list[i], &d->list[next])))
			next++;
		if (next == d->count || d->list[next].access != d->list[i].access)
			d->list[--kept] = d->list[i];
	}
	d->count -= kept;
	memmove(d->list, d->list + kept, d->count * sizeof(*d->list));
}

int cgroup_devices_make(const struct plan_resources *l, struct cgroup_devices *ret, struct err *err)
{
	struct cgroup_devices d = { 0 };
	int r = collect(l, &d);

	if (r < 0) {
		cgroup_devices_done(&d);
		return r == -E2BIG ? err_set(err, E2BIG, "there are too many device rules")
				   : err_set(err, ENOMEM, "out of memory");
	}
	for (size_t i = 0; i < d.count; i++)
		d.list[i].access = evaluate(l, &d.list[i]);
	sort(&d);
	*ret = d;
	return 0;
}

void cgroup_devices_done(struct cgroup_devices *d)
{
	free(d->list);
	*d = (struct cgroup_devices){ 0 };
}
