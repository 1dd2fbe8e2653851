/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proa import: a tar of a root file system becomes an image of one layer. The tar is kept as it
 * comes, compressed or not: the blob is what `save` hands on, and compressing it would make the
 * import several times slower for disk space that a user who wants it gets with `gzip | proa
 * import`.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "image/import_change.h"
#include "image/intake.h"
#include "image/progress.h"
#include "image/tool.h"
#include "oci/reference.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/str.h"

/* "linux/arm64/v8" */
static int set_platform(struct image_config *c, const char *platform, struct err *err)
{
	_cleanup_free_ char *copy = strdup(platform ? platform : "linux");
	char *arch, *variant = NULL;

	if (!copy)
		return err_sys(err, ENOMEM, "make the configuration");
	arch = strchr(copy, '/');
	if (arch) {
		*arch++ = 0;
		variant = strchr(arch, '/');
		if (variant)
			*variant++ = 0;
	}
	if (strcmp(copy, "linux") != 0 || (arch && !*arch))
		return err_set(err, EINVAL, "platform %s is none of linux/ARCHITECTURE", platform);
	c->os = strdup(copy);
	c->architecture = strdup(arch ? arch : oci_host_architecture());
	if (!c->os || !c->architecture || (variant && !(c->variant = strdup(variant))))
		return err_sys(err, ENOMEM, "make the configuration");
	return 0;
}

static int make_config(const struct image_import_options *o, struct image_config *c,
		       struct err *err)
{
	char now[32];
	int r = set_platform(c, o->platform, err);

	if (r < 0)
		return r;
	c->created_s = (int64_t)time(NULL);
	c->created = strdup(image_time_format(c->created_s, now));
	c->history = calloc(1, sizeof(*c->history));
	if (!c->created || !c->history)
		return err_sys(err, ENOMEM, "make the configuration");
	c->history_count = 1;
	c->history->created = strdup(c->created);
	c->history->comment = str_printf("%s", o->message ? o->message : "Imported from a tar");
	c->working_dir = strdup("");
	if (!c->history->created || !c->history->comment || !c->working_dir)
		return err_sys(err, ENOMEM, "make the configuration");
	for (char **change = o->changes; r == 0 && change && *change; change++)
		r = import_change_apply(*change, c, err);
	return r;
}

static int open_input(const char *path, int *ret, uint64_t *ret_bytes, struct err *err)
{
	_cleanup_close_ int fd = -EBADF;
	struct stat st;

	if (!path && isatty(STDIN_FILENO))
		return err_set(err, EINVAL, "standard input is a terminal: give a tar archive");
	fd = path ? open(path, O_RDONLY | O_CLOEXEC) : fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, errno, "open %s", path ? path : "standard input");
	if (S_ISDIR(st.st_mode))
		return err_set(err, EISDIR, "%s is a directory: try tar -C %s -c . | proa import -",
			       path, path);
	*ret_bytes = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
	*ret = TAKE_FD(fd);
	return 0;
}

static int stage(struct intake *in, const struct image_import_options *o, struct layer *layer,
		 struct err *err)
{
	_cleanup_close_ int fd = -EBADF;
	struct progress progress;
	struct layer_options options = { in->tmp.fd, 0, &progress };
	struct fd_stream from;
	uint64_t bytes = 0;
	int r = open_input(o->path, &fd, &bytes, err);

	if (r < 0)
		return r;
	progress_init(&progress, "Importing", bytes, o->quiet);
	fd_stream_init(&from, fd, UINT64_MAX);
	r = layer_stage(&from.stream, &options, layer, err);
	progress_done(&progress);
	if (r == 0 && layer->blob_bytes == 0)
		r = err_set(err, EBADMSG, "it is empty");
	if (r < 0)
		return err_wrap(err, "%s", o->path ? o->path : "standard input");
	return intake_layer(in, layer, err);
}

static int import(struct intake *in, const struct image_import_options *o, char **names,
		  char **ret_report, struct err *err)
{
	_cleanup_(image_config_done) struct image_config c = { 0 };
	_cleanup_free_ char *config = NULL;
	struct layer layer;
	char id[DIGEST_LEN + 1];
	int r = make_config(o, &c, err); /* a wrong --change is told before the work */

	if (r == 0)
		r = stage(in, o, &layer, err);
	if (r < 0)
		return r;
	if (strv_add(&c.diff_ids, layer.diff_id) < 0 || !(config = image_config_format(&c)))
		return err_sys(err, ENOMEM, "make the configuration");
	r = intake_new_image(in, config, strlen(config), &layer, 1, names, err);
	if (r == 0)
		r = intake_publish(in, err);
	if (r == 0) {
		digest_of(config, strlen(config), id);
		*ret_report = str_printf("%s\n", id);
	}
	return r == 0 && !*ret_report ? err_sys(err, ENOMEM, "import") : r;
}

int image_import(struct store *s, const struct image_import_options *o, char **ret_report,
		 struct err *err)
{
	_cleanup_(reference_done) struct reference ref = { 0 };
	_cleanup_strv_ char **names = NULL;
	struct intake in;
	int r;

	if (o->reference) {
		r = reference_parse(o->reference, &ref, err);
		if (r < 0)
			return r;
		if (ref.digest)
			return err_set(err, EINVAL, "image name %s: a digest cannot be given",
				       o->reference);
		if (strv_take(&names, reference_full(&ref)) < 0)
			return err_sys(err, ENOMEM, "import");
	}
	r = intake_begin(&in, s, err);
	if (r == 0)
		r = import(&in, o, names, ret_report, err);
	intake_done(&in);
	return r;
}
