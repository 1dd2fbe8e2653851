/* SPDX-License-Identifier: Apache-2.0 */
/* proa inspect: containers, machines and images, with Docker's field names. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "cli/cli.h"
#include "cli/image_json.h"
#include "engine/engine.h"
#include "oci/image_config.h"
#include "store/image.h"
#include "util/json.h"
#include "util/mem.h"
#include "util/str.h"

static json_t *time_json(int64_t s)
{
	char buf[32];

	return json_string(s ? image_time_format(s, buf) : "0001-01-01T00:00:00Z");
}

static json_t *state_json(const struct container *c)
{
	bool running = c->status == CONTAINER_RUNNING;

	return json_pack("{s:s, s:b, s:i, s:i, s:o, s:o}", "Status",
			 running			 ? "running"
			 : c->status == CONTAINER_EXITED ? "exited"
			 : c->status == CONTAINER_DEAD	 ? "dead"
							 : "created",
			 "Running", running, "Pid", running ? (int)c->pid : 0, "ExitCode",
			 c->exit_code, "StartedAt", time_json(c->started_s), "FinishedAt",
			 time_json(c->finished_s));
}

static json_t *copy(const struct container *c, const char *key)
{
	json_t *v = json_object_get(c->config, key);

	return v ? json_incref(v) : json_null();
}

static json_t *container_json(const struct container *c)
{
	_cleanup_free_ char *log = str_printf("%s/log", c->dir);
	json_t *args = json_from_strv(c->command && c->command[0] ? c->command + 1 : NULL);

	return json_pack(
		"{s:s, s:o, s:s?, s:o, s:o, s:s, s:s, s:s, s:s, s:o, s:o, s:o}", "Id", c->id,
		"Created", time_json(c->created_s), "Path", c->command ? c->command[0] : NULL,
		"Args", args, "State", state_json(c), "Image", c->image_id, "Name", c->name,
		"Isolation", c->isolation, "LogPath", log ? log : "", "Mounts", copy(c, "mounts"),
		"HostConfig",
		json_pack("{s:o, s:o, s:o, s:o, s:o, s:b, s:o}", "NetworkMode", copy(c, "network"),
			  "Memory", copy(c, "memory"), "NanoCpus", copy(c, "nano_cpus"),
			  "PidsLimit", copy(c, "pids_limit"), "Privileged", copy(c, "privileged"),
			  "AutoRemove", c->auto_remove, "ReadonlyRootfs", copy(c, "read_only")),
		"Config",
		json_pack("{s:o, s:o, s:s, s:o}", "Hostname", copy(c, "hostname"), "Tty",
			  copy(c, "tty"), "Image", c->image_name, "Labels", copy(c, "labels")));
}

/* -ENOENT when there is none. */
static int find_container(struct store *s, const char *name, json_t **ret, struct err *err)
{
	struct container c;
	int r = store_container_find(s, name, &c, err);

	if (r < 0)
		return r;
	*ret = container_json(&c);
	container_done(&c);
	return *ret ? 0 : err_set(err, ENOMEM, "out of memory");
}

static int find_image(struct store *s, const char *name, json_t **ret, struct err *err)
{
	struct store_image image;
	int r = store_image_find(s, name, &image, err);

	if (r < 0)
		return r;
	r = cli_image_inspect_json(s, &image, ret);
	store_image_done(&image);
	return r < 0 ? err_sys(err, -r, "inspect \"%s\"", name) : 0;
}

static int find(struct store *s, const char *name, const char *type, json_t **ret, struct err *err)
{
	bool any = !type;
	int r = -ENOENT;

	if (any || !strcmp(type, "container"))
		r = find_container(s, name, ret, err);
	if (r == -ENOENT && (any || !strcmp(type, "image")))
		r = find_image(s, name, ret, err);
	if (r == -ENOENT && any)
		return err_set(err, ENOENT,
			       "nothing is called \"%s\": no container, machine or image", name);
	return r;
}

int cmd_inspect(struct cli *cli, int argc, char **argv)
{
	const char *format = NULL, *type = NULL;
	const struct args_option options[] = {
		{ 'f', "format", ARGS_STRING, &format, "TEMPLATE",
		  "Print with a template, such as {{.State.Pid}}", NULL, false },
		{ 0, "type", ARGS_STRING, &type, "TYPE", "container or image", NULL, false },
		{ 0 },
	};
	const struct args_usage usage = {
		.name = "inspect",
		.synopsis = "[OPTIONS] NAME [NAME...]",
		.summary = "Show everything about an image, container or machine",
		.examples = "  proa inspect debian:12\n"
			    "  proa inspect -f '{{.State.Pid}}' web\n",
		.options = options,
		.min_args = 1,
		.max_args = -1
	};
	_cleanup_json_ json_t *all = json_array();
	struct err err = ERR_INIT;
	struct store *s;
	int code = cli_parse(&usage, &argc, argv), failed = 0;

	if (code >= 0)
		return code;
	if (type && strcmp(type, "container") != 0 && strcmp(type, "image") != 0) {
		err_set(&err, EINVAL, "--type takes container or image, not \"%s\"", type);
		return cli_fail(&err);
	}
	if (cli_store(cli, &s, &err) < 0)
		return cli_fail(&err);
	engine_recover(s);
	for (int i = 0; i < argc; i++) {
		json_t *one = NULL;

		if (find(s, argv[i], type, &one, &err) < 0 ||
		    (format && cli_print_template(format, one, &err) < 0)) {
			cli_fail(&err);
			failed = 1;
		}
		if (one)
			json_array_append_new(all, one);
	}
	if (!format)
		cli_print_json(all);
	return failed;
}
