/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "runtime/runtime.h"
#include "runtime/state.h"
#include "util/err.h"
#include "util/io.h"
#include "util/json_write.h"
#include "util/mem.h"
#include "util/str.h"

struct row {
	char *id, *bundle, *rootfs, *owner;
	pid_t pid;
	enum state_status status;
	char created[40];
	char **annotations;
};

struct rows {
	struct row *list;
	size_t count;
};

static void rows_done(struct rows *r)
{
	for (size_t i = 0; i < r->count; i++) {
		free(r->list[i].id);
		free(r->list[i].bundle);
		free(r->list[i].rootfs);
		free(r->list[i].owner);
		strv_free(r->list[i].annotations);
	}
	free(r->list);
}

/* The user's name from /etc/passwd: what a static program can know, and a number else. */
static char *owner_name(uint32_t uid)
{
	_cleanup_free_ char *text = NULL, *key = str_printf(":%u:", uid);

	if (uid == 0)
		return strdup("root");
	if (key && io_read_file(-1, "/etc/passwd", 1u << 20, &text, NULL) == 0)
		for (char *line = text; line && *line;
		     line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
			char *x = strstr(line, ":x:");

			if (x && x < line + strcspn(line, "\n") &&
			    !strncmp(x + 2, key, strlen(key)))
				return strndup(line, (size_t)(x - line));
		}
	return str_printf("#%u", uid);
}

static int add_row(struct rows *rows, struct state *s)
{
	struct row *r;

	if (mem_grow(&rows->list, rows->count, sizeof(*rows->list)) < 0)
		return -ENOMEM;
	r = &rows->list[rows->count++];
	*r = (struct row){ .id = TAKE_PTR(s->id),
			   .bundle = s->bundle ? TAKE_PTR(s->bundle) : strdup(""),
			   .rootfs = s->rootfs ? TAKE_PTR(s->rootfs) : strdup(""),
			   .owner = owner_name(s->owner),
			   .status = state_status_of(s),
			   .pid = s->pid,
			   .annotations = TAKE_PTR(s->annotations) };
	if (r->status == STATE_STOPPED)
		r->pid = 0;
	runtime_time_text(s->created_s, s->created_ns, r->created);
	return r->id && r->bundle && r->rootfs && r->owner ? 0 : -ENOMEM;
}

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct row *)a)->id, ((const struct row *)b)->id);
}

/* A container is its directory: for its ID alone nothing in it is looked at. */
static int add_id(struct rows *rows, const char *id)
{
	if (mem_grow(&rows->list, rows->count, sizeof(*rows->list)) < 0)
		return -ENOMEM;
	rows->list[rows->count] = (struct row){ .id = strdup(id) };
	return rows->list[rows->count++].id ? 0 : -ENOMEM;
}

static int read_rows(const struct runtime *rt, bool ids_only, struct rows *rows, struct err *err)
{
	DIR *d = opendir(rt->root);
	struct dirent *e;
	int r = 0;

	if (!d)
		return errno == ENOENT ? 0 : err_sys(err, errno, "read %s", rt->root);
	while (r == 0 && (e = readdir(d))) {
		_cleanup_(state_done) struct state s = STATE_INIT;
		struct err one = ERR_INIT;

		if (e->d_name[0] == '.' || (e->d_type != DT_DIR && e->d_type != DT_UNKNOWN))
			continue;
		if (ids_only) {
			r = add_id(rows, e->d_name);
			continue;
		}
		/* gone meanwhile, or not one of ours: the others are shown all the same */
		if (state_open(rt, e->d_name, false, &s, &one) < 0) {
			if (one.errnum != ENOENT)
				runtime_warning(rt, "%s", one.msg);
			continue;
		}
		r = add_row(rows, &s);
	}
	closedir(d);
	if (rows->count)
		qsort(rows->list, rows->count, sizeof(*rows->list), compare);
	return r < 0 ? err_set(err, ENOMEM, "out of memory") : 0;
}

static void print_table(const struct rows *rows)
{
	size_t id = 2, bundle = 6;

	for (size_t i = 0; i < rows->count; i++) {
		id = MAX(id, strlen(rows->list[i].id));
		bundle = MAX(bundle, strlen(rows->list[i].bundle));
	}
	printf("%-*s   %-8s   %-8s   %-*s   %-30s   %s\n", (int)id, "ID", "PID", "STATUS",
	       (int)bundle, "BUNDLE", "CREATED", "OWNER");
	for (size_t i = 0; i < rows->count; i++) {
		const struct row *r = &rows->list[i];

		printf("%-*s   %-8d   %-8s   %-*s   %-30s   %s\n", (int)id, r->id, r->pid,
		       state_status_name(r->status), (int)bundle, r->bundle, r->created, r->owner);
	}
}

static void print_json(const struct rows *rows)
{
	struct json_write w = { 0 };

	json_write_array(&w);
	for (size_t i = 0; i < rows->count; i++) {
		const struct row *r = &rows->list[i];

		json_write_object(&w);
		json_write_member(&w, "id", r->id);
		json_write_member_u64(&w, "pid", (uint64_t)r->pid);
		json_write_member(&w, "status", state_status_name(r->status));
		json_write_member(&w, "bundle", r->bundle);
		json_write_member(&w, "rootfs", r->rootfs);
		json_write_member(&w, "created", r->created);
		json_write_key(&w, "annotations");
		state_write_annotations(&w, r->annotations);
		json_write_member(&w, "owner", r->owner);
		json_write_close(&w, '}');
	}
	json_write_close(&w, ']');
	if (!w.out.failed)
		puts(w.out.data);
	str_buf_done(&w.out);
}

int verb_list(struct runtime *rt, int argc, char **argv)
{
	const char *format = "table";
	bool quiet = false;
	const struct args_option options[] = {
		{ 'f', "format", ARGS_STRING, &format, "FORMAT", "table or json" },
		{ 'q', "quiet", ARGS_FLAG, &quiet, NULL, "Only the IDs" },
		{ .name = NULL },
	};
	struct args_usage usage = {
		.name = "list",
		.synopsis = "[OPTIONS]",
		.summary = "List containers",
		.options = options,
		.max_args = 0,
	};
	_cleanup_(rows_done) struct rows rows = { 0 };
	struct err err = ERR_INIT;
	int code = runtime_args(rt, &usage, &argc, argv);

	if (code >= 0)
		return code;
	if (strcmp(format, "table") != 0 && strcmp(format, "json") != 0) {
		err_set(&err, EINVAL, "--format takes table or json, not \"%s\"", format);
		return runtime_fail(rt, &err);
	}
	if (read_rows(rt, quiet, &rows, &err) < 0)
		return runtime_fail(rt, &err);
	if (quiet)
		for (size_t i = 0; i < rows.count; i++)
			puts(rows.list[i].id);
	else if (!strcmp(format, "json"))
		print_json(&rows);
	else
		print_table(&rows);
	return 0;
}
