/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Device rules of cgroup v1 (Documentation/admin-guide/cgroup-v1/devices.rst).
 *
 * A v1 group has a default for everything, set by "a" to devices.deny or devices.allow, which also
 * clears the exceptions; a further write adds an exception, or takes one away that has the very
 * same pattern. An exception cannot itself have exceptions: "allow all of major 5, but not 5:1" is
 * silently the same as without the second half. What v1 cannot hold is therefore refused here; most
 * lists fit with one of the two defaults.
 *
 * A change of a running group is written as the difference to devices.list, new exceptions first,
 * so that its processes lose nothing in between that they keep.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "container/cgroup_internal.h"
#include "plan/plan.h"
#include "util/err.h"
#include "util/io.h"
#include "util/mem.h"

/* With the default "deny" an exception allows; with "allow" it denies. */
static uint8_t exception_bits(const struct cgroup_device *d, bool allow_all)
{
	return allow_all ? (uint8_t)~d->access & 7 : d->access;
}

/* All exceptions that match count here: has each pattern at least those of the wider ones? */
static bool fits(const struct cgroup_devices *d, bool allow_all)
{
	for (size_t i = 0; i < d->count; i++)
		for (size_t j = i + 1; j < d->count; j++)
			if (cgroup_device_is_below(&d->list[i], &d->list[j]) &&
			    (exception_bits(&d->list[j], allow_all) &
			     ~exception_bits(&d->list[i], allow_all)))
				return false;
	return true;
}

static void number_or_star(char buf[24], int64_t n)
{
	if (n < 0)
		snprintf(buf, 24, "*");
	else
		snprintf(buf, 24, "%lld", (long long)n);
}

static void print_rule(char *buf, size_t size, const struct cgroup_device *d, uint8_t access)
{
	char major[24], minor[24];

	number_or_star(major, d->major);
	number_or_star(minor, d->minor);
	snprintf(buf, size, "%c %s:%s %s%s%s", d->type, major, minor, access & 1 ? "r" : "",
		 access & 2 ? "w" : "", access & 4 ? "m" : "");
}

struct writer {
	int dir, fd;
	const char *file;
};

static int put(struct writer *w, const char *file, const char *line, struct err *err)
{
	if (w->file != file) {
		w->fd = fd_close(w->fd);
		w->fd = openat(w->dir, file, O_WRONLY | O_CLOEXEC);
		if (w->fd < 0)
			return err_sys(err, errno, "open %s", file);
		w->file = file;
	}
	if (write(w->fd, line, strlen(line)) < 0)
		return err_sys(err, errno, "set the device rule \"%s\" (%s)%s", line, file,
			       errno == EPERM ? " (the cgroup above it does not allow it)" : "");
	return 0;
}

static const char allow_file[] = "devices.allow", deny_file[] = "devices.deny";

/* What is set now: false when it is not the default @allow_all, or cannot be understood. */
static bool read_current(int dir, bool allow_all, struct cgroup_devices *ret)
{
	_cleanup_free_ char *text = NULL;
	char *save = NULL;

	if (io_read_file(dir, "devices.list", 1 << 20, &text, NULL) < 0)
		return false;
	/* with the default "allow" the kernel does not show its exceptions */
	if (allow_all || !strncmp(text, "a ", 2))
		return false;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char major[24], minor[24], access[8];
		struct cgroup_device d = { 0 };

		if (sscanf(line, "%c %23[^:]:%23s %7s", &d.type, major, minor, access) != 4 ||
		    mem_grow(&ret->list, ret->count, sizeof(d)) < 0)
			return false;
		d.major = major[0] == '*' ? -1 : strtoll(major, NULL, 10);
		d.minor = minor[0] == '*' ? -1 : strtoll(minor, NULL, 10);
		d.access = (strchr(access, 'r') ? 1 : 0) | (strchr(access, 'w') ? 2 : 0) |
			   (strchr(access, 'm') ? 4 : 0);
		ret->list[ret->count++] = d;
	}
	return true;
}

static uint8_t bits_in(const struct cgroup_devices *d, const struct cgroup_device *pattern)
{
	for (size_t i = 0; i < d->count; i++)
		if (d->list[i].type == pattern->type && d->list[i].major == pattern->major &&
		    d->list[i].minor == pattern->minor)
			return d->list[i].access;
	return 0;
}

/* Writes those of @from's accesses that @than lacks. */
static int put_difference(struct writer *w, const char *file, const struct cgroup_devices *from,
			  const struct cgroup_devices *than, bool allow_all, struct err *err)
{
	for (size_t i = 0; i < from->count; i++) {
		const struct cgroup_device *d = &from->list[i];
		uint8_t bits = exception_bits(d, allow_all);
		char line[64];
		int r;

		if (than)
			bits &= (uint8_t)~bits_in(than, d);
		if (!bits)
			continue;
		print_rule(line, sizeof(line), d, bits);
		r = put(w, file, line, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int cgroup_v1_device_form(const struct plan_resources *l, struct cgroup_devices *ret,
			  bool *ret_allow_all, struct err *err)
{
	struct cgroup_devices d = { 0 };
	bool allow_all = false;
	int r = cgroup_devices_make(l, &d, err);

	if (r < 0)
		return r;
	if (!fits(&d, false)) {
		allow_all = true;
		if (!fits(&d, true)) {
			cgroup_devices_done(&d);
			return err_set(err, EOPNOTSUPP,
				       "set the device rules (devices.allow, devices.deny): cgroup "
				       "v1 has no exceptions to exceptions, as these rules need");
		}
	}
	cgroup_devices_reduce(&d);
	/* all, and no exception: shorter the other way round */
	if (d.count == 2 && d.list[0].access == 7 && d.list[1].access == 7)
		allow_all = true;
	*ret = d;
	*ret_allow_all = allow_all;
	return 0;
}

int cgroup_v1_devices(int dir, const struct plan_resources *l, bool fresh, struct err *err)
{
	struct cgroup_devices d = { 0 }, now = { 0 };
	struct writer w = { .dir = dir, .fd = -EBADF };
	bool allow_all = false;
	int r;

	if (!l->device_rule_count)
		return 0;
	r = cgroup_v1_device_form(l, &d, &allow_all, err);
	if (r < 0)
		return r;
	if (!fresh && read_current(dir, allow_all, &now)) {
		r = put_difference(&w, allow_file, &d, &now, false, err);
		if (r == 0)
			r = put_difference(&w, deny_file, &now, &d, false, err);
	} else {
		r = put(&w, allow_all ? allow_file : deny_file, "a", err);
		if (r == 0)
			r = put_difference(&w, allow_all ? deny_file : allow_file, &d, NULL,
					   allow_all, err);
	}
	fd_close(w.fd);
	cgroup_devices_done(&d);
	cgroup_devices_done(&now);
	return r;
}
