/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proa-systemd [--user] start UNIT SLICE [NAME=VALUE…]
 * proa-systemd [--user] set UNIT [NAME=VALUE…]
 * proa-systemd [--user] stop UNIT
 *
 * A helper of proa-oci (container/cgroup_systemd.c): transient scope units, over D-Bus. It is an
 * executable of its own because libsystemd is wanted on few hosts, and by nothing else.
 *
 * A scope needs a process to begin with, and systemd would drop it as soon as it were empty. That
 * process is this one: it asks for a scope with itself in it, waits until systemd has made it,
 * prints the scope's control group, and stays until its standard input ends. By then the container
 * is in the group, or has failed and the scope goes with us. No other process is ever moved.
 *
 * Errors are one line on standard error and exit code 125.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>
#include "util/err.h"
#include "util/mem.h"
#include "util/str.h"

#define DESTINATION "org.freedesktop.systemd1"
#define MANAGER	    "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"
#define WAIT_US	    (25 * 1000000ull)
#define CPUS_MAX    8192

static void bus_unrefp(sd_bus **b)
{
	sd_bus_flush_close_unref(*b);
}
static void message_unrefp(sd_bus_message **m)
{
	sd_bus_message_unref(*m);
}
static void bus_error_done(sd_bus_error *e)
{
	sd_bus_error_free(e);
}
#define _cleanup_bus_	  _cleanup_(bus_unrefp)
#define _cleanup_message_ _cleanup_(message_unrefp)
#define _cleanup_error_	  _cleanup_(bus_error_done)

static int bus_failure(struct err *err, int r, const sd_bus_error *e, const char *what)
{
	return err_set(err, r < 0 ? -r : EIO, "systemd: %s: %s", what,
		       e && e->message ? e->message : strerror(r < 0 ? -r : EIO));
}

/* ---- properties ----------------------------------------------------------------------------- */

/* "0-3,7" as the bytes of a mask, lowest CPU first. */
static int list_to_mask(const char *list, uint8_t mask[CPUS_MAX / 8], size_t *ret_n)
{
	memset(mask, 0, CPUS_MAX / 8);
	*ret_n = 0;
	while (*list) {
		char *end;
		unsigned long first = strtoul(list, &end, 10), last = first;

		if (end == list)
			return -EINVAL;
		list = end;
		if (*list == '-') {
			last = strtoul(list + 1, &end, 10);
			if (end == list + 1)
				return -EINVAL;
			list = end;
		}
		if (last < first || last >= CPUS_MAX)
			return -EINVAL;
		for (unsigned long i = first; i <= last; i++)
			mask[i / 8] |= (uint8_t)(1u << (i % 8));
		*ret_n = MAX(*ret_n, last / 8 + 1);
		list += strspn(list, ", \n");
	}
	return 0;
}

/* What may be asked for by name; the types are those of org.freedesktop.systemd1.Scope. */
static const struct {
	const char *name;
	bool mask;
} known[] = {
	{ "MemoryMax", false },	  { "MemoryLow", false },	   { "MemorySwapMax", false },
	{ "MemoryLimit", false }, { "CPUQuotaPerSecUSec", false }, { "CPUQuotaPeriodUSec", false },
	{ "CPUWeight", false },	  { "CPUShares", false },	   { "TasksMax", false },
	{ "AllowedCPUs", true },  { "AllowedMemoryNodes", true },
};

static int append_mask(sd_bus_message *m, const char *name, const char *list)
{
	uint8_t mask[CPUS_MAX / 8];
	size_t n;
	int r = list_to_mask(list, mask, &n);

	if (r == 0)
		r = sd_bus_message_open_container(m, 'r', "sv");
	if (r >= 0)
		r = sd_bus_message_append(m, "s", name);
	if (r >= 0)
		r = sd_bus_message_open_container(m, 'v', "ay");
	if (r >= 0)
		r = sd_bus_message_append_array(m, 'y', mask, n);
	if (r >= 0)
		r = sd_bus_message_close_container(m);
	return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_property(sd_bus_message *m, const char *assignment, struct err *err)
{
	const char *equals = strchr(assignment, '=');
	uint64_t number;
	int r = -EINVAL;

	for (size_t i = 0; equals && i < ARRAY_SIZE(known); i++) {
		size_t n = (size_t)(equals - assignment);

		if (strlen(known[i].name) != n || strncmp(known[i].name, assignment, n) != 0)
			continue;
		if (known[i].mask)
			r = append_mask(m, known[i].name, equals + 1);
		else if (str_to_u64(equals + 1, &number) == 0)
			r = sd_bus_message_append(m, "(sv)", known[i].name, "t", number);
	}
	return r < 0 ? err_set(err, -r, "systemd: the property \"%.100s\" cannot be set: %s",
			       assignment, strerror(-r))
		     : 0;
}

static int append_properties(sd_bus_message *m, char **list, struct err *err)
{
	int r = 0;

	for (char **p = list; *p && r == 0; p++)
		r = append_property(m, *p, err);
	return r;
}

static int append_scope(sd_bus_message *m, const char *unit, const char *slice)
{
	static const char *const on[] = { "Delegate", "CPUAccounting", "MemoryAccounting",
					  "IOAccounting", "TasksAccounting" };
	char description[300];
	int r;

	snprintf(description, sizeof(description), "proa container %s", unit);
	r = sd_bus_message_append(m, "(sv)(sv)(sv)(sv)", "Description", "s", description, "Slice",
				  "s", slice, "DefaultDependencies", "b", 0, "PIDs", "au", 1,
				  (uint32_t)getpid());
	for (size_t i = 0; i < ARRAY_SIZE(on) && r >= 0; i++)
		r = sd_bus_message_append(m, "(sv)", on[i], "b", 1);
	return r;
}

/* ---- jobs ----------------------------------------------------------------------------------- */

struct wait {
	char *job;	 /* its object path */
	char result[32]; /* "done", "failed", …; "" until it has ended */
};

static int job_removed(sd_bus_message *m, void *data, sd_bus_error *e _unused_)
{
	struct wait *w = data;
	const char *job, *unit, *result;
	uint32_t id;

	if (sd_bus_message_read(m, "uoss", &id, &job, &unit, &result) >= 0 && w->job &&
	    !strcmp(job, w->job))
		snprintf(w->result, sizeof(w->result), "%s", result);
	return 0;
}

static int watch_jobs(sd_bus *bus, struct wait *w, struct err *err)
{
	_cleanup_error_ sd_bus_error e = SD_BUS_ERROR_NULL;
	int r = sd_bus_match_signal(bus, NULL, DESTINATION, MANAGER, "JobRemoved", job_removed, w);

	if (r >= 0)
		r = sd_bus_call_method(bus, DESTINATION, MANAGER, "Subscribe", &e, NULL, "");
	return r < 0 ? bus_failure(err, r, &e, "ask for its signals") : 0;
}

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static int wait_job(sd_bus *bus, const struct wait *w, const char *what, struct err *err)
{
	uint64_t end = now_us() + WAIT_US;

	while (!w->result[0]) {
		uint64_t now = now_us();
		int r = sd_bus_process(bus, NULL);

		if (r < 0)
			return bus_failure(err, r, NULL, "wait for a job");
		if (r > 0)
			continue;
		if (now >= end)
			return err_set(err, ETIMEDOUT,
				       "systemd: %s: it did not happen within %llu s", what,
				       WAIT_US / 1000000);
		r = sd_bus_wait(bus, end - now);
		if (r < 0 && r != -EINTR)
			return bus_failure(err, r, NULL, "wait for a job");
	}
	if (strcmp(w->result, "done") != 0)
		return err_set(err, EIO, "systemd: %s: the job ended as \"%s\"", what, w->result);
	return 0;
}

/* Takes the job out of the answer to the call that made it. */
static int take_job(sd_bus_message *reply, struct wait *w, struct err *err)
{
	const char *job;
	int r = sd_bus_message_read(reply, "o", &job);

	if (r < 0)
		return bus_failure(err, r, NULL, "read its answer");
	w->job = strdup(job);
	return w->job ? 0 : err_set(err, ENOMEM, "out of memory");
}

/* ---- verbs ---------------------------------------------------------------------------------- */

static int call_start(sd_bus *bus, const char *unit, const char *slice, char **properties,
		      sd_bus_message **ret, sd_bus_error *e, struct err *err)
{
	_cleanup_message_ sd_bus_message *m = NULL;
	int r = sd_bus_message_new_method_call(bus, &m, DESTINATION, MANAGER, "StartTransientUnit");

	if (r >= 0)
		r = sd_bus_message_append(m, "ss", unit, "fail");
	if (r >= 0)
		r = sd_bus_message_open_container(m, 'a', "(sv)");
	if (r >= 0)
		r = append_scope(m, unit, slice);
	if (r >= 0 && append_properties(m, properties, err) < 0)
		return -err->errnum;
	if (r >= 0)
		r = sd_bus_message_close_container(m);
	if (r >= 0)
		r = sd_bus_message_append(m, "a(sa(sv))", 0);
	if (r < 0)
		return bus_failure(err, r, NULL, "make a request");
	r = sd_bus_call(bus, m, WAIT_US, e, ret);
	return r < 0 ? bus_failure(err, r, e, "start the scope") : 0;
}

static void reset_failed(sd_bus *bus, const char *unit)
{
	_cleanup_error_ sd_bus_error e = SD_BUS_ERROR_NULL;

	/* it is only there when something failed */
	(void)sd_bus_call_method(bus, DESTINATION, MANAGER, "ResetFailedUnit", &e, NULL, "s", unit);
}

static int print_group(sd_bus *bus, const char *unit, struct err *err)
{
	_cleanup_error_ sd_bus_error e = SD_BUS_ERROR_NULL;
	_cleanup_free_ char *object = NULL, *group = NULL;
	int r = sd_bus_path_encode("/org/freedesktop/systemd1/unit", unit, &object);

	if (r >= 0)
		r = sd_bus_get_property_string(bus, DESTINATION, object,
					       "org.freedesktop.systemd1.Scope", "ControlGroup", &e,
					       &group);
	if (r < 0 || group[0] != '/')
		return bus_failure(err, r, &e, "ask for the control group of the scope");
	printf("%s\n", group);
	return fflush(stdout) == 0 ? 0 : err_sys(err, errno, "say the control group");
}

static void wait_for_caller(void)
{
	char buf[64];
	ssize_t n;

	do
		n = read(STDIN_FILENO, buf, sizeof(buf));
	while (n > 0 || (n < 0 && errno == EINTR));
}

static int start(sd_bus *bus, char **args, struct err *err)
{
	_cleanup_error_ sd_bus_error e = SD_BUS_ERROR_NULL;
	_cleanup_message_ sd_bus_message *reply = NULL;
	const char *unit = args[0], *slice = args[1];
	struct wait w = { 0 };
	int r = watch_jobs(bus, &w, err);

	if (r == 0)
		r = call_start(bus, unit, slice, args + 2, &reply, &e, err);
	/* of an earlier container of that name, which failed and was not removed */
	if (r < 0 && sd_bus_error_has_name(&e, "org.freedesktop.systemd1.UnitExists")) {
		reset_failed(bus, unit);
		sd_bus_error_free(&e);
		r = call_start(bus, unit, slice, args + 2, &reply, &e, err);
	}
	if (r == 0)
		r = take_job(reply, &w, err);
	if (r == 0)
		r = wait_job(bus, &w, "start the scope", err);
	free(w.job);
	if (r == 0)
		r = print_group(bus, unit, err);
	if (r < 0)
		return err_wrap(err, "%s", unit);
	wait_for_caller();
	return 0;
}

static int set(sd_bus *bus, char **args, struct err *err)
{
	_cleanup_error_ sd_bus_error e = SD_BUS_ERROR_NULL;
	_cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
	int r;

	if (!args[1])
		return 0;
	r = sd_bus_message_new_method_call(bus, &m, DESTINATION, MANAGER, "SetUnitProperties");
	/* runtime: as long as the scope */
	if (r >= 0)
		r = sd_bus_message_append(m, "sb", args[0], 1);
	if (r >= 0)
		r = sd_bus_message_open_container(m, 'a', "(sv)");
	if (r >= 0 && append_properties(m, args + 1, err) < 0)
		return err_wrap(err, "%s", args[0]);
	if (r >= 0)
		r = sd_bus_message_close_container(m);
	if (r >= 0)
		r = sd_bus_call(bus, m, WAIT_US, &e, &reply);
	if (r >= 0)
		return 0;
	bus_failure(err, r, &e, "set the limits");
	return err_wrap(err, "%s", args[0]);
}

static int stop(sd_bus *bus, char **args, struct err *err)
{
	_cleanup_error_ sd_bus_error e = SD_BUS_ERROR_NULL;
	_cleanup_message_ sd_bus_message *reply = NULL;
	struct wait w = { 0 };
	int r = watch_jobs(bus, &w, err);

	if (r < 0)
		return r;
	r = sd_bus_call_method(bus, DESTINATION, MANAGER, "StopUnit", &e, &reply, "ss", args[0],
			       "replace");
	if (r >= 0) {
		r = take_job(reply, &w, err);
		if (r == 0)
			r = wait_job(bus, &w, "stop the scope", err);
		free(w.job);
	} else if (sd_bus_error_has_name(&e, "org.freedesktop.systemd1.NoSuchUnit")) {
		r = 0; /* it ended by itself */
	} else {
		bus_failure(err, r, &e, "stop the scope");
	}
	reset_failed(bus, args[0]);
	return r < 0 ? err_wrap(err, "%s", args[0]) : 0;
}

static int connect_bus(bool user, sd_bus **ret, struct err *err)
{
	int r;

	if (sd_booted() <= 0)
		return err_set(err, ENOENT,
			       "systemd cgroups: this host was not started by systemd (there is no "
			       "/run/systemd/system); do without --systemd-cgroup");
	r = user ? sd_bus_open_user(ret) : sd_bus_open_system(ret);
	if (r < 0)
		return err_set(err, -r, "systemd cgroups: no connection to the %s's D-Bus: %s%s",
			       user ? "user" : "system", strerror(-r),
			       user ? " (XDG_RUNTIME_DIR or DBUS_SESSION_BUS_ADDRESS says where it "
				      "is)"
				    : "");
	(void)sd_bus_set_method_call_timeout(*ret, WAIT_US);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int min, max; /* arguments; -1: any number */
		int (*run)(sd_bus *bus, char **args, struct err *err);
	} verbs[] = { { "start", 2, -1, start }, { "set", 1, -1, set }, { "stop", 1, 1, stop } };
	bool user = argc > 1 && !strcmp(argv[1], "--user");
	char **args = argv + 1 + user;
	_cleanup_bus_ sd_bus *bus = NULL;
	struct err err = ERR_INIT;
	int n = argc - 2 - user;

	for (size_t i = 0; n >= 1 && i < ARRAY_SIZE(verbs); i++) {
		if (strcmp(verbs[i].name, args[0]) != 0 || n < verbs[i].min ||
		    (verbs[i].max >= 0 && n > verbs[i].max))
			continue;
		if (connect_bus(user, &bus, &err) < 0 || verbs[i].run(bus, args + 1, &err) < 0) {
			fprintf(stderr, "%s\n", err.msg);
			return EXIT_PROA;
		}
		return 0;
	}
	fprintf(stderr, "usage: proa-systemd [--user] start UNIT SLICE [NAME=VALUE...]\n"
			"       proa-systemd [--user] set UNIT [NAME=VALUE...]\n"
			"       proa-systemd [--user] stop UNIT\n");
	return EXIT_PROA;
}
