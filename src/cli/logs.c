/* SPDX-License-Identifier: Apache-2.0 */
/* proa logs */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "cli/cli.h"
#include "engine/engine.h"
#include "engine/logfile.h"
#include "oci/image_config.h"
#include "util/mem.h"
#include "util/str.h"

struct follow {
	struct store *store;
	const char *id;
};

static bool still_runs(void *data)
{
	const struct follow *f = data;
	struct container c;
	bool runs;

	if (store_container_find(f->store, f->id, &c, NULL) < 0)
		return false;
	runs = c.status == CONTAINER_RUNNING || c.status == CONTAINER_CREATED;
	container_done(&c);
	return runs;
}

/* A time as docker takes it: RFC 3339, seconds since the epoch, or a duration back from now. */
static int set_time(void *data, const char *value, struct err *err)
{
	int64_t *ret = data, total = 0, n;
	const char *p = value;
	char *end;

	if (str_to_i64(value, ret) == 0 || image_time_parse(value, ret) == 0)
		return 0;
	for (; *p; p = end + 1) {
		n = strtoll(p, &end, 10);
		if (end == p || n < 0 || !strchr("smhd", *end) || !*end)
			return err_set(err, EINVAL,
				       "\"%s\" is not a time: use 2026-01-31T12:00:00Z, "
				       "seconds since 1970, or 10m, 2h for that long ago",
				       value);
		total += n * (*end == 's' ? 1 : *end == 'm' ? 60 : *end == 'h' ? 3600 : 86400);
	}
	*ret = time(NULL) - total;
	return 0;
}

int cmd_logs(struct cli *cli, int argc, char **argv)
{
	struct log_reading o = { .tail = -1, .alive = still_runs };
	const char *tail = "all";
	const struct args_option options[] = {
		{ 'f', "follow", ARGS_FLAG, &o.follow, NULL, "Go on printing until it ends", NULL,
		  false },
		{ 0, "since", ARGS_CALL, &o.since_s, "TIME", "From this time on", set_time, false },
		{ 'n', "tail", ARGS_STRING, &tail, "N", "Only the last N lines (default all)", NULL,
		  false },
		{ 't', "timestamps", ARGS_FLAG, &o.timestamps, NULL,
		  "Print when each line was written", NULL, false },
		{ 0, "until", ARGS_CALL, &o.until_s, "TIME", "Up to this time", set_time, false },
		{ 0 },
	};
	const struct args_usage usage = { .name = "logs",
					  .synopsis = "[OPTIONS] CONTAINER",
					  .summary = "Show what a container or machine has printed",
					  .examples =
						  "  proa logs web\n  proa logs -f --tail 10 web\n",
					  .options = options,
					  .min_args = 1,
					  .max_args = 1 };
	struct container c = { 0 };
	struct err err = ERR_INIT;
	struct follow f;
	int code = cli_parse(&usage, &argc, argv), r = 0;

	if (code >= 0)
		return code;
	if (strcmp(tail, "all") != 0 && (str_to_i64(tail, &o.tail) < 0 || o.tail < 0))
		r = err_set(&err, EINVAL, "--tail takes a number or \"all\", not \"%s\"", tail);
	if (r == 0)
		r = cli_store(cli, &f.store, &err);
	if (r == 0)
		r = store_container_find(f.store, argv[0], &c, &err);
	if (r == 0) {
		f.id = c.id;
		o.data = &f;
		r = log_file_print(c.dir, &o, &err);
	}
	container_done(&c);
	return r < 0 ? cli_fail(&err) : 0;
}
