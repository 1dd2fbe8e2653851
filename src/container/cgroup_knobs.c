/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of writes to a group's files, and reading such files: see cgroup_internal.h.
 *
 * The kernel checks some limits against each other, and in which order they must be written depends
 * on what they were: memory with swap is never below memory, a quota not below the burst. It says
 * EINVAL to the one that comes too early, so what got EINVAL is tried again as long as another one
 * went through. That needs no reading, and costs nothing where the order is right.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "container/cgroup_internal.h"
#include "plan/plan.h"
#include "util/err.h"
#include "util/io.h"
#include "util/mem.h"
#include "util/str.h"

void cgroup_knobs_done(struct cgroup_knobs *k)
{
	for (size_t i = 0; i < k->count; i++) {
		free(k->list[i].file);
		free(k->list[i].text);
		free(k->list[i].instead_text);
	}
	free(k->list);
	*k = (struct cgroup_knobs){ 0 };
}

struct cgroup_knob *cgroup_knob(struct cgroup_knobs *k, const char *what, const char *file,
				const char *fmt, ...)
{
	struct cgroup_knob new = { .what = what, .file = strdup(file) };
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&new.text, fmt, ap) < 0)
		new.text = NULL;
	va_end(ap);
	if (!new.file || !new.text || mem_grow(&k->list, k->count, sizeof(new)) < 0) {
		free(new.file);
		free(new.text);
		k->failed = true;
		return NULL;
	}
	k->list[k->count] = new;
	return &k->list[k->count++];
}

struct cgroup_knob *cgroup_knob_u64(struct cgroup_knobs *k, const char *what, const char *file,
				    uint64_t value, const char *unlimited)
{
	if (value == PLAN_UNLIMITED)
		return cgroup_knob(k, what, file, "%s", unlimited);
	return cgroup_knob(k, what, file, "%llu", (unsigned long long)value);
}

int cgroup_knob_file(char *buf, size_t size, const char *fmt, const char *name, struct err *err)
{
	int n;

	if (!name || !*name || strchr(name, '/'))
		return err_set(err, EINVAL, "\"%.60s\" is no name that a cgroup's file can have",
			       name ? name : "");
	n = snprintf(buf, size, fmt, name);
	return n > 0 && (size_t)n < size ? 0 : err_set(err, ENAMETOOLONG, "%.60s…", name);
}

/* The file that consecutive knobs write to is opened once. */
struct writer {
	int dir, fd;
	const char *name; /* of what is open */
};

static int writer_put(struct writer *w, const char *file, const char *text)
{
	if (!*text)
		text = "\n"; /* the kernel does not see a write of nothing */
	if (!w->name || strcmp(w->name, file) != 0) {
		w->fd = fd_close(w->fd);
		w->name = NULL;
		w->fd = openat(w->dir, file, O_WRONLY | O_CLOEXEC);
		if (w->fd < 0)
			return -errno;
		w->name = file;
	}
	return write(w->fd, text, strlen(text)) < 0 ? -errno : 0;
}

static int put_knob(struct writer *w, const struct cgroup_knob *knob)
{
	int r = writer_put(w, knob->file, knob->text);

	if (r == -ENOENT && knob->instead)
		r = writer_put(w, knob->instead,
			       knob->instead_text ? knob->instead_text : knob->text);
	return r == -ENOENT && knob->optional ? 0 : r;
}

static int knob_error(const struct cgroup_knob *knob, int errnum, struct err *err)
{
	char text[96];

	if (errnum == ENOENT)
		return err_set(err, ENOENT,
			       "set the %s: there is no %s%s%s: the cgroup controller \"%.*s\" is "
			       "not available here, or this kernel's has no such limit",
			       knob->what, knob->file, knob->instead ? " or " : "",
			       knob->instead ? knob->instead : "", (int)strcspn(knob->file, "."),
			       knob->file);
	return err_sys(err, errnum, "set the %s to \"%s\" (%s%s%s)", knob->what,
		       str_quote(knob->text, text, sizeof(text)), knob->file,
		       knob->instead ? " or " : "", knob->instead ? knob->instead : "");
}

int cgroup_knobs_write(const struct cgroup_knobs *k, int dir, struct err *err)
{
	_cleanup_free_ bool *done = calloc(k->count + 1, sizeof(*done));
	struct writer w = { .dir = dir, .fd = -EBADF };
	const struct cgroup_knob *refused = NULL;
	bool progress = true;
	int r = 0;

	if (k->failed || !done)
		return err_set(err, ENOMEM, "out of memory");
	while (progress && r == 0) {
		progress = false;
		refused = NULL;
		for (size_t i = 0; i < k->count && r == 0; i++) {
			if (done[i])
				continue;
			r = put_knob(&w, &k->list[i]);
			if (r == 0) {
				done[i] = progress = true;
			} else if (r == -EINVAL) {
				refused = refused ? refused : &k->list[i];
				r = 0;
			} else {
				r = knob_error(&k->list[i], -r, err);
			}
		}
		if (!refused)
			break;
	}
	fd_close(w.fd);
	if (r == 0 && refused)
		r = knob_error(refused, EINVAL, err);
	return r;
}

/* ---- reading -------------------------------------------------------------------------------- */

int cgroup_read(int dir, const char *file, char *buf, size_t size)
{
	_cleanup_close_ int fd = openat(dir, file, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, buf, size - 1);
	if (n < 0)
		return -errno;
	buf[n] = 0;
	return 0;
}

int cgroup_read_u64(int dir, const char *file, uint64_t *ret)
{
	char text[64];
	int r = cgroup_read(dir, file, text, sizeof(text));

	if (r < 0)
		return r;
	if (str_starts(text, "max") || text[0] == '-') {
		*ret = PLAN_UNLIMITED;
		return 0;
	}
	text[strcspn(text, " \n")] = 0;
	return str_to_u64(text, ret);
}

uint64_t cgroup_value_of(const char *text, const char *key, uint64_t fallback)
{
	size_t n = strlen(key);

	for (const char *line = text; line && *line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!strncmp(line, key, n) && line[n] == ' ')
			return strtoull(line + n + 1, NULL, 10);
	}
	return fallback;
}

uint64_t cgroup_read_value(const char *path, const char *key)
{
	char text[4096];

	return cgroup_read(AT_FDCWD, path, text, sizeof(text)) < 0 ? 0
								   : cgroup_value_of(text, key, 0);
}
