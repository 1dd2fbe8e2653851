/* SPDX-License-Identifier: Apache-2.0 */
/* proa compare: the same image both ways, and what the difference costs. */
#include "cli/compare.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cli/cli.h"
#include "image/client.h"
#include "store/image.h"
#include "util/json.h"
#include "util/mem.h"
#include "util/str.h"
#include "vm/host.h"
#include "vm/kernel.h"

#define NOT_MEASURED "not measured"

static uint64_t file_bytes(const char *path)
{
	struct stat st;

	/* what it takes on the disk, not how long it is: these files have holes */
	return path && stat(path, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

/* Disk space of both sides; also makes the machine's disk, so that no run pays for that. */
static int measure_disk(struct compare *c, struct store *s, struct err *err)
{
	struct store_image image;
	struct vm_kernel kernel = { 0 };
	_cleanup_free_ char *erofs = NULL;
	struct compare_side *vm = &c->sides[1];
	int r = store_image_find(s, c->image, &image, err);

	if (r < 0)
		return r;
	c->sides[0].disk_bytes = image.size_bytes;
	if (image_erofs_ensure(s, &image, &erofs, err) < 0)
		snprintf(vm->skipped, sizeof(vm->skipped), "%.299s", err->msg);
	else
		vm->disk_bytes = file_bytes(erofs);
	if (!vm->skipped[0] && vm_kernel_find(s->root, NULL, &kernel, err) < 0)
		snprintf(vm->skipped, sizeof(vm->skipped), "%.299s", err->msg);
	else
		vm->shared_disk_bytes = file_bytes(kernel.image);
	err_clear(err);
	vm_kernel_done(&kernel);
	store_image_done(&image);
	return 0;
}

/* ---- the table ------------------------------------------------------------------------------ */

static char *human_ns(uint64_t ns, char buf[32])
{
	if (ns < 1000000)
		snprintf(buf, 32, "%.0f µs", (double)ns / 1e3);
	else if (ns < 100000000)
		snprintf(buf, 32, "%.1f ms", (double)ns / 1e6);
	else if (ns < 1000000000)
		snprintf(buf, 32, "%.0f ms", (double)ns / 1e6);
	else
		snprintf(buf, 32, "%.2f s", (double)ns / 1e9);
	return buf;
}

static char *ratio_text(double a, double b, char buf[32])
{
	double r = a > 0 ? b / a : 0;

	if (r <= 0)
		snprintf(buf, 32, "-");
	else
		snprintf(buf, 32, r < 10 ? "%.2f×" : "%.0f×", r);
	return buf;
}

static void add_row(json_t *rows, const char *what, const char *a, const char *b, const char *ratio)
{
	json_array_append_new(rows, json_pack("{s:s, s:s, s:s, s:s}", "What", what, "Container", a,
					      "VM", b, "Ratio", ratio));
}

static void add_times(json_t *rows, const char *what, const struct compare_times *a,
		      const struct compare_times *b, bool range)
{
	char x[32], y[32], z[32], lo[32], hi[32], ra[80] = "", rb[80] = "";
	_cleanup_free_ char *spread = str_printf("%s, min to max", what);

	add_row(rows, what, a->count ? human_ns(compare_median(a), x) : NOT_MEASURED,
		b->count ? human_ns(compare_median(b), y) : NOT_MEASURED,
		ratio_text((double)compare_median(a), (double)compare_median(b), z));
	if (!range || !spread || (!a->count && !b->count))
		return;
	if (a->count)
		snprintf(ra, sizeof(ra), "%s to %s", human_ns(compare_min(a), lo),
			 human_ns(compare_max(a), hi));
	if (b->count)
		snprintf(rb, sizeof(rb), "%s to %s", human_ns(compare_min(b), lo),
			 human_ns(compare_max(b), hi));
	add_row(rows, spread, ra[0] ? ra : "-", rb[0] ? rb : "-", "");
}

static void add_bytes(json_t *rows, const char *what, uint64_t a, uint64_t b, bool none_is_value)
{
	char x[16], y[16], z[32];

	add_row(rows, what, a || none_is_value ? str_human_bytes(a, x) : NOT_MEASURED,
		b || none_is_value ? str_human_bytes(b, y) : NOT_MEASURED,
		ratio_text((double)a, (double)b, z));
}

static void add_kernel(json_t *rows, const struct compare *c)
{
	char text[2][160];

	for (int i = 0; i < 2; i++) {
		const struct compare_side *s = &c->sides[i];

		snprintf(text[i], sizeof(text[i]), "%s%s", s->kernel[0] ? s->kernel : NOT_MEASURED,
			 !s->kernel[0]	 ? ""
			 : s->own_kernel ? " (its own)"
					 : " (the host's)");
	}
	add_row(rows, "Kernel seen inside", text[0], text[1], "");
}

static json_t *make_rows(const struct compare *c)
{
	static const char *const work[COMPARE_WORKS] = {
		"Work: integer arithmetic",    "Work: memory, touch and copy",
		"Work: files, write and sync", "Work: system calls",
		"Work: making processes",
	};
	const struct compare_side *a = &c->sides[0], *b = &c->sides[1];
	json_t *rows = json_array();

	add_times(rows, "Start to first instruction", &a->start, &b->start, true);
	add_times(rows, "The command", &a->command, &b->command, true);
	for (int i = 0; i < COMPARE_WORKS; i++)
		add_times(rows, work[i], &a->work[i], &b->work[i], false);
	add_bytes(rows, "Memory beside the application", a->memory_bytes, b->memory_bytes, false);
	add_bytes(rows, "Disk for this image", a->disk_bytes, b->disk_bytes, false);
	add_bytes(rows, "Disk shared by all images", a->shared_disk_bytes, b->shared_disk_bytes,
		  true);
	add_kernel(rows, c);
	add_row(rows, "Shared with the host", "kernel, page cache, clock",
		"processor, directories of -v", "");
	return rows;
}

static void print_notes(const struct compare *c)
{
	for (int i = 0; i < 2; i++)
		if (c->sides[i].skipped[0])
			printf("\nThe %s was not measured: %s\n", i ? "machine" : "container",
			       c->sides[i].skipped);
	if (c->sides[0].command.count && c->sides[1].command.count &&
	    c->sides[0].command_code != c->sides[1].command_code)
		printf("\nThe command ended differently: %d in the container, %d in the machine\n",
		       c->sides[0].command_code, c->sides[1].command_code);
}

/* ---- JSON ----------------------------------------------------------------------------------- */

static json_t *times_json(const struct compare_times *t)
{
	json_t *all = json_array();

	if (!t->count) {
		json_decref(all);
		return t->why[0] ? json_pack("{s:n, s:s}", "median_ns", "why", t->why)
				 : json_null();
	}
	for (unsigned i = 0; i < t->count; i++)
		json_array_append_new(all, json_integer((json_int_t)t->ns[i]));
	return json_pack("{s:I, s:I, s:I, s:o}", "median_ns", (json_int_t)compare_median(t),
			 "min_ns", (json_int_t)compare_min(t), "max_ns", (json_int_t)compare_max(t),
			 "all_ns", all);
}

static json_t *bytes_json(uint64_t bytes)
{
	return bytes ? json_integer((json_int_t)bytes) : json_null();
}

static json_t *side_json(const struct compare_side *s)
{
	json_t *work = json_object();

	for (int i = 0; i < COMPARE_WORKS; i++)
		json_object_set_new(work, compare_work_names[i], times_json(&s->work[i]));
	return json_pack("{s:o, s:o, s:i, s:o, s:o, s:o, s:o, s:s?, s:b, s:s?}", "start",
			 times_json(&s->start), "command", times_json(&s->command),
			 "command_exit_code", s->command_code, "work", work, "memory_bytes",
			 bytes_json(s->memory_bytes), "disk_bytes", bytes_json(s->disk_bytes),
			 "shared_disk_bytes", json_integer((json_int_t)s->shared_disk_bytes),
			 "kernel", s->kernel[0] ? s->kernel : NULL, "own_kernel", s->own_kernel,
			 "not_measured", s->skipped[0] ? s->skipped : NULL);
}

static json_t *compare_json(const struct compare *c)
{
	return json_pack("{s:s, s:o, s:i, s:o, s:o}", "image", c->image, "command",
			 json_from_strv(c->command), "runs", c->runs, "container",
			 side_json(&c->sides[0]), "vm", side_json(&c->sides[1]));
}

/* Better now than after a minute of measuring. */
static int check_html_path(const char *path, struct err *err)
{
	_cleanup_free_ char *parent = strdup(path);
	char *slash = parent ? strrchr(parent, '/') : NULL;

	if (slash)
		slash[slash == parent] = 0;
	if (access(slash ? parent : ".", W_OK) < 0)
		return err_sys(err, errno, "--html: write %s", path);
	return 0;
}

/* ---- the command ---------------------------------------------------------------------------- */

static void progress(const struct compare *c, unsigned round, int side)
{
	if (cli_is_terminal(STDERR_FILENO))
		fprintf(stderr, "\r\033[KRound %u of %u: %s…", round + 1, c->runs,
			side ? "machine" : "container");
}

static int measure(struct compare *c, struct store *s, struct err *err)
{
	int r = measure_disk(c, s, err);

	for (unsigned round = 0; r == 0 && round < c->runs; round++)
		for (int i = 0; i < 2 && r == 0; i++) {
			progress(c, round, i);
			r = compare_round(c, &c->sides[i], round == 0, err);
		}
	if (cli_is_terminal(STDERR_FILENO))
		fputs("\r\033[K", stderr);
	return r;
}

static int show(const struct compare *c, struct store *s, bool json, struct err *err)
{
	static const struct cli_column columns[] = {
		{ "", "What" }, { "CONTAINER", "Container" }, { "VM", "VM" }, { "RATIO", "Ratio" },
		{ NULL, NULL },
	};
	const struct cli_list list = { .columns = columns };
	_cleanup_json_ json_t *value = json ? compare_json(c) : make_rows(c);
	struct vm_kvm_verdict kvm = { 0 };
	int r;

	if (json) {
		cli_print_json(value);
		return 0;
	}
	printf("%s, %u run%s each, medians", c->image, c->runs, c->runs == 1 ? "" : "s");
	if (vm_kvm_probe(s->run_root, &kvm) == 0)
		printf("; machines run on %s",
		       kvm.usable ? "KVM" : "software emulation (no usable KVM)");
	printf("\n\n");
	r = cli_print_list(&list, value, err);
	print_notes(c);
	return r;
}

int cmd_compare(struct cli *cli, int argc, char **argv)
{
	static struct compare c = { .runs = 5, .sides = { { .vm = false }, { .vm = true } } };
	const char *html = NULL;
	bool json = false;
	const struct args_option options[] = {
		{ 0, "html", ARGS_STRING, &html, "FILE", "Also write a page with plots", NULL,
		  false },
		{ 0, "json", ARGS_FLAG, &json, NULL, "Print JSON", NULL, false },
		{ 'n', "runs", ARGS_U32, &c.runs, "N", "How often each way (default 5)", NULL,
		  false },
		{ 0 },
	};
	const struct args_usage usage = {
		.name = "compare",
		.synopsis = "[OPTIONS] IMAGE [-- COMMAND [ARG...]]",
		.summary = "Run an image as a container and as a machine, and show what the "
			   "difference costs",
		.examples = "  proa compare debian:12\n"
			    "  proa compare --html cost.html debian:12 -- perl -e 'print 1'\n",
		.options = options,
		.min_args = 1,
		.max_args = -1,
	};
	struct err err = ERR_INIT;
	struct store *s;
	int code = cli_parse(&usage, &argc, argv), r = 0;

	if (code >= 0)
		return code;
	c.image = argv[0];
	c.command = argv + 1;
	if (c.runs < 1 || c.runs > COMPARE_RUNS_MAX)
		r = err_set(&err, EINVAL, "--runs takes 1 to %d", COMPARE_RUNS_MAX);
	if (r == 0 && html)
		r = check_html_path(html, &err);
	if (r == 0)
		r = cli_store(cli, &s, &err);
	if (r == 0 &&
	    (setenv("PROA_ROOT", s->root, 1) < 0 || setenv("PROA_RUN_ROOT", s->run_root, 1) < 0))
		r = err_sys(&err, errno, "set the environment");
	if (r == 0)
		r = measure(&c, s, &err);
	if (r == 0)
		r = show(&c, s, json, &err);
	if (r == 0 && html)
		r = compare_write_html(&c, html, &err);
	if (r < 0)
		return cli_fail(&err);
	return c.sides[0].skipped[0] && c.sides[1].skipped[0] ? EXIT_PROA : 0;
}
