/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cache and memory bandwidth (runtime-spec, config-linux.md, "IntelRdt"; the kernel's
 * Documentation/arch/x86/resctrl.rst): a class is a directory, its rules are its `schemata`, and a
 * process is put into it by its number in `tasks`.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "runtime/create.h"
#include "util/err.h"
#include "util/io.h"
#include "util/mem.h"
#include "util/str.h"

#define SCHEMATA_MAX 65536

static const char *class_name(const struct plan *p)
{
	return p->rdt.clos_id ? p->rdt.clos_id : p->id;
}

static bool has_rules(const struct plan_rdt *r)
{
	return r->l3_schema || r->mb_schema || (r->schemata && r->schemata[0]);
}

/* Lines of @text that do not begin with "MB:", when there is an own rule for that. */
static void add_l3(struct str_buf *b, const char *text, bool without_mb)
{
	while (text && *text) {
		size_t n = strcspn(text, "\n");

		if (n && !(without_mb && str_starts(text, "MB:"))) {
			str_buf_add(b, text, n);
			str_buf_puts(b, "\n");
		}
		text += n + (text[n] == '\n');
	}
}

static int make_text(const struct plan_rdt *r, struct str_buf *b)
{
	add_l3(b, r->l3_schema, r->mb_schema != NULL);
	if (r->mb_schema)
		str_buf_printf(b, "%s\n", r->mb_schema);
	for (char **s = r->schemata; s && *s; s++)
		str_buf_printf(b, "%s\n", *s);
	return b->failed ? -ENOMEM : 0;
}

/* Is each line of @want in the class that is there already? */
static bool has_lines(const char *have, const char *want)
{
	while (*want) {
		size_t n = strcspn(want, "\n");
		bool found = false;

		for (const char *h = have; *h && !found;) {
			size_t m;

			h += strspn(h, " ");
			m = strcspn(h, "\n");
			found = m == n && !strncmp(h, want, n);
			h += m + (h[m] == '\n');
		}
		if (n && !found)
			return false;
		want += n + (want[n] == '\n');
	}
	return true;
}

static int apply_rules(int class, bool made, const struct plan_rdt *r, struct err *err)
{
	struct str_buf b = { 0 };
	_cleanup_free_ char *have = NULL;
	int e = make_text(r, &b);

	if (e < 0) {
		str_buf_done(&b);
		return err_set(err, ENOMEM, "out of memory");
	}
	if (made)
		e = io_write_knob(class, "schemata", b.data);
	else
		e = io_read_file(class, "schemata", SCHEMATA_MAX, &have, NULL);
	if (e < 0)
		e = err_sys(err, -e, "intelRdt: %s the rules of the class", made ? "set" : "read");
	else if (have && !has_lines(have, b.data))
		e = err_set(
			err, EINVAL,
			"intelRdt: the class is there already, with other rules than the bundle's");
	str_buf_done(&b);
	return e;
}

int rdt_join(const struct plan *p, const char *mount, pid_t pid, struct err *err)
{
	const struct plan_rdt *r = &p->rdt;
	_cleanup_close_ int root = open(mount, O_PATH | O_DIRECTORY | O_CLOEXEC), class = -EBADF;
	const char *name = class_name(p);
	char number[16];
	bool made = false;
	int e;

	if (root < 0 || faccessat(root, "schemata", F_OK, 0) < 0)
		return err_set(err, EOPNOTSUPP,
			       "intelRdt: no resctrl file system is mounted on %s (does this "
			       "processor have it?)",
			       mount);
	if (!r->clos_id || has_rules(r)) {
		made = mkdirat(root, name, 0755) == 0;
		if (!made && errno != EEXIST)
			return err_sys(err, errno, "intelRdt: make the class \"%s\"", name);
	}
	class = openat(root, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (class < 0)
		return err_sys(err, errno, "intelRdt: the class \"%s\"", name);
	e = has_rules(r) ? apply_rules(class, made, r, err) : 0;
	if (e < 0)
		return e;
	snprintf(number, sizeof(number), "%d", pid);
	e = io_write_knob(class, "tasks", number);
	if (e < 0)
		return err_sys(err, -e, "intelRdt: put the container into the class \"%s\"", name);
	if (r->monitor) {
		_cleanup_free_ char *group = str_printf("mon_groups/%s", p->id),
				    *tasks = str_printf("mon_groups/%s/tasks", p->id);

		if (!group || !tasks || mkdirat(class, group, 0755) < 0 ||
		    (e = io_write_knob(class, tasks, number)) < 0)
			return err_sys(err, e < 0 ? -e : errno, "intelRdt: monitor the container");
	}
	return 0;
}

void rdt_remove(const struct plan *p, const char *mount)
{
	_cleanup_free_ char *group = str_printf("%s/%s/mon_groups/%s", mount, class_name(p), p->id);
	_cleanup_free_ char *class = str_printf("%s/%s", mount, class_name(p));

	if (group && p->rdt.monitor)
		(void)rmdir(group);
	/* a class with a name of its own may be others' as well */
	if (class && !p->rdt.clos_id)
		(void)rmdir(class);
}
