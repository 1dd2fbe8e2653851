/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proa load: from a bundle (archive or directory) into the store. OCI's index.json is preferred:
 * with it come the original manifests, digests and compressed layers. docker-archive's
 * manifest.json has none of these; its manifest is made here.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "image/bundle.h"
#include "image/intake.h"
#include "image/tool.h"
#include "oci/reference.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/str.h"

struct load {
	struct intake in;
	struct bundle bundle;
	struct str_buf report; /* what is printed once all is there */
};

static void report(struct load *l, const char *id, char *const *names)
{
	for (; names && *names; names++) {
		_cleanup_(reference_done) struct reference ref = { 0 };
		_cleanup_free_ char *familiar = NULL;

		if (reference_parse(*names, &ref, NULL) == 0)
			familiar = reference_familiar(&ref);
		str_buf_printf(&l->report, "Loaded image: %s\n", familiar ? familiar : *names);
		id = NULL;
	}
	if (id)
		str_buf_printf(&l->report, "Loaded image ID: %s\n", id);
}

/* A name from the bundle in its full form; one that is none is dropped, the image is not. */
static int add_name(char ***names, const char *text)
{
	_cleanup_(reference_done) struct reference ref = { 0 };
	struct err err = ERR_INIT;

	if (reference_parse(text, &ref, &err) < 0) {
		log_verbose("%s: loaded without that name", err.msg);
		return 0;
	}
	return strv_take(names, reference_full(&ref));
}

static int check_config(const struct image_config *c, size_t layer_count, struct err *err)
{
	size_t n = strv_len(c->diff_ids);

	if (n != layer_count)
		return err_set(err, EBADMSG, "its configuration lists %zu layers, its manifest %zu",
			       n, layer_count);
	if (n == 0)
		return err_set(err, EINVAL, "it has no layers: there is nothing to run");
	if (strcmp(c->os, "linux") != 0)
		return err_set(err, EINVAL, "it is for %s, not for linux", c->os);
	if (*c->architecture && strcmp(c->architecture, oci_host_architecture()) != 0)
		log_warning("the image is for linux/%s, this host is linux/%s", c->architecture,
			    oci_host_architecture());
	return 0;
}

static int check_diff_id(const struct layer *layer, const char *expected, size_t number,
			 struct err *err)
{
	if (!strcmp(layer->diff_id, expected))
		return 0;
	return err_set(err, EBADMSG, "layer %zu is damaged: unpacked it is %s, expected %s", number,
		       layer->diff_id, expected);
}

/* ---- OCI ------------------------------------------------------------------------------------ */

static int oci_document(struct load *l, const char *digest, size_t max, const char *what,
			char **ret, size_t *ret_len, struct err *err)
{
	_cleanup_free_ char *bytes = NULL;
	char path[sizeof("blobs/sha256/") + DIGEST_HEX_LEN];
	size_t n;
	int r;

	snprintf(path, sizeof(path), "blobs/sha256/%s", digest_hex(digest));
	r = bundle_document(&l->bundle, path, max, &bytes, &n, err);
	if (r == 0)
		r = digest_verify(digest, bytes, n, what, err);
	if (r < 0)
		return err_wrap(err, "%s", what);
	*ret = TAKE_PTR(bytes);
	*ret_len = n;
	return 0;
}

static int oci_layer(struct load *l, const struct oci_descriptor *d, const char *diff_id,
		     size_t number, uint64_t *unpacked, struct err *err)
{
	char path[sizeof("blobs/sha256/") + DIGEST_HEX_LEN];
	struct layer layer;
	uint64_t size, blob_bytes;
	int r;

	if (strstr(d->media_type, "+encrypted"))
		return err_set(err, EINVAL, "layer %zu is encrypted", number);
	if (intake_has_layer(&l->in, diff_id, &size) &&
	    intake_has_blob(&l->in, d->digest, &blob_bytes)) {
		*unpacked += size;
		return 0;
	}
	snprintf(path, sizeof(path), "blobs/sha256/%s", digest_hex(d->digest));
	r = bundle_layer(&l->bundle, path, &layer, err);
	if (r < 0)
		return r;
	if (strcmp(layer.digest, d->digest) != 0)
		return err_set(err, EBADMSG, "layer %zu is damaged: its digest is %s, expected %s",
			       number, layer.digest, d->digest);
	r = check_diff_id(&layer, diff_id, number, err);
	if (r < 0)
		return r;
	*unpacked += layer.unpacked_bytes;
	return intake_layer(&l->in, &layer, err);
}

static int oci_image(struct load *l, const struct oci_descriptor *d, char *const *names,
		     struct err *err)
{
	_cleanup_(oci_manifest_done) struct oci_manifest m = { 0 };
	_cleanup_(image_config_done) struct image_config c = { 0 };
	_cleanup_free_ char *manifest = NULL, *config = NULL;
	size_t manifest_len, config_len;
	uint64_t unpacked = 0;
	int r = oci_document(l, d->digest, OCI_MANIFEST_MAX, "manifest", &manifest, &manifest_len,
			     err);

	if (r == 0)
		r = oci_manifest_parse(manifest, manifest_len, &m, err);
	if (r == 0)
		r = oci_document(l, m.config.digest, IMAGE_CONFIG_MAX, "configuration", &config,
				 &config_len, err);
	if (r == 0)
		r = image_config_parse(config, config_len, &c, err);
	if (r == 0)
		r = check_config(&c, m.layer_count, err);
	for (size_t i = 0; r == 0 && i < m.layer_count; i++)
		r = oci_layer(l, &m.layers[i], c.diff_ids[i], i + 1, &unpacked, err);
	if (r == 0)
		r = intake_document(&l->in, m.config.digest, config, config_len, err);
	if (r == 0)
		r = intake_document(&l->in, d->digest, manifest, manifest_len, err);
	if (r == 0)
		r = intake_image(&l->in, d->media_type, d->digest, manifest_len, m.config.digest,
				 unpacked, names, err);
	if (r == 0)
		report(l, m.config.digest, names);
	return r;
}

/* @depth: an index may refer to an index, but not for ever */
static int oci_descriptor_load(struct load *l, const struct oci_descriptor *d, char *const *names,
			       int depth, struct err *err)
{
	_cleanup_(oci_index_done) struct oci_index x = { 0 };
	_cleanup_free_ char *text = NULL;
	size_t n, at;
	int r;

	if (!oci_media_is_index(d->media_type)) {
		if (!oci_media_is_manifest(d->media_type))
			return err_set(err, EINVAL, "%s is of type %.100s, which is no image",
				       d->digest, d->media_type);
		return oci_image(l, d, names, err);
	}
	if (depth == 0)
		return err_set(err, EINVAL, "indexes refer to indexes too deeply");
	r = oci_document(l, d->digest, OCI_MANIFEST_MAX, "index", &text, &n, err);
	if (r == 0)
		r = oci_index_parse(text, n, &x, err);
	if (r == 0)
		r = oci_index_pick(&x, &at, err);
	return r < 0 ? r : oci_descriptor_load(l, &x.manifests[at], names, depth - 1, err);
}

static const char *descriptor_name(const struct oci_descriptor *d)
{
	return d->image_name ? d->image_name : d->ref_name;
}

/* All names that the index gives to what @d refers to. */
static int collect_names(const struct oci_index *x, const struct oci_descriptor *d, char ***ret)
{
	for (size_t i = 0; i < x->count; i++) {
		const char *name = descriptor_name(&x->manifests[i]);

		if (name && !strcmp(x->manifests[i].digest, d->digest) && add_name(ret, name) < 0)
			return -ENOMEM;
	}
	return 0;
}

static bool is_first(const struct oci_index *x, size_t at)
{
	for (size_t i = 0; i < at; i++)
		if (!strcmp(x->manifests[i].digest, x->manifests[at].digest))
			return false;
	return true;
}

/*
 * Everything that has a name, and what has none unless it is one of several platforms of one image:
 * then this host's.
 */
static int load_oci(struct load *l, struct err *err)
{
	_cleanup_(oci_index_done) struct oci_index x = { 0 };
	_cleanup_free_ char *text = NULL;
	size_t n, picked = SIZE_MAX, platforms = 0;
	int r = bundle_document(&l->bundle, "index.json", OCI_MANIFEST_MAX, &text, &n, err);

	if (r == 0)
		r = oci_index_parse(text, n, &x, err);
	if (r == 0 && x.count == 0)
		r = err_set(err, EINVAL, "its index.json lists no image");
	for (size_t i = 0; r == 0 && i < x.count; i++)
		platforms += x.manifests[i].architecture && !descriptor_name(&x.manifests[i]);
	if (r == 0 && platforms > 1)
		r = oci_index_pick(&x, &picked, err);
	for (size_t i = 0; r == 0 && i < x.count; i++) {
		const struct oci_descriptor *d = &x.manifests[i];
		_cleanup_strv_ char **names = NULL;

		if (!is_first(&x, i))
			continue;
		if (platforms > 1 && d->architecture && !descriptor_name(d) && i != picked)
			continue;
		if (collect_names(&x, d, &names) < 0)
			return err_sys(err, ENOMEM, "load");
		r = oci_descriptor_load(l, d, names, 2, err);
		if (r < 0 && names && *names)
			err_wrap(err, "image %s", *names);
	}
	return r;
}

/* ---- docker-archive ------------------------------------------------------------------------- */

/* What the store has of a layer that docker-archive has uncompressed: the blob is the diffID. */
static bool docker_layer_known(struct load *l, const char *diff_id, struct layer *ret)
{
	*ret = (struct layer){ .compression = COMPRESSION_NONE };
	if (!intake_has_layer(&l->in, diff_id, &ret->unpacked_bytes) ||
	    !intake_has_blob(&l->in, diff_id, &ret->blob_bytes))
		return false;
	memcpy(ret->digest, diff_id, DIGEST_LEN + 1);
	memcpy(ret->diff_id, diff_id, DIGEST_LEN + 1);
	return true;
}

static int docker_layers(struct load *l, const struct docker_archive_image *image,
			 const struct image_config *c, struct layer *layers, struct err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && image->layers[i]; i++) {
		if (docker_layer_known(l, c->diff_ids[i], &layers[i]))
			continue;
		r = bundle_layer(&l->bundle, image->layers[i], &layers[i], err);
		if (r == 0)
			r = check_diff_id(&layers[i], c->diff_ids[i], i + 1, err);
		if (r == 0)
			r = intake_layer(&l->in, &layers[i], err);
	}
	return r;
}

static int docker_image(struct load *l, const struct docker_archive_image *image, struct err *err)
{
	_cleanup_(image_config_done) struct image_config c = { 0 };
	_cleanup_free_ char *config = NULL;
	_cleanup_free_ struct layer *layers = NULL;
	_cleanup_strv_ char **names = NULL;
	size_t n, count = strv_len(image->layers);
	char id[DIGEST_LEN + 1];
	int r = bundle_document(&l->bundle, image->config, IMAGE_CONFIG_MAX, &config, &n, err);

	if (r == 0)
		r = image_config_parse(config, n, &c, err);
	if (r == 0)
		r = check_config(&c, count, err);
	if (r < 0)
		return r;
	layers = calloc(count + 1, sizeof(*layers));
	for (char **tag = image->repo_tags; layers && tag && *tag; tag++)
		if (add_name(&names, *tag) < 0)
			return err_sys(err, ENOMEM, "load");
	if (!layers)
		return err_sys(err, ENOMEM, "load");
	digest_of(config, n, id);
	r = docker_layers(l, image, &c, layers, err);
	if (r == 0)
		r = intake_new_image(&l->in, config, n, layers, count, names, err);
	if (r == 0)
		report(l, id, names);
	return r;
}

static int load_docker(struct load *l, struct err *err)
{
	_cleanup_(docker_archive_done) struct docker_archive a = { 0 };
	_cleanup_free_ char *text = NULL;
	size_t n;
	int r = bundle_document(&l->bundle, "manifest.json", OCI_MANIFEST_MAX, &text, &n, err);

	if (r == 0)
		r = docker_archive_parse(text, n, &a, err);
	for (size_t i = 0; r == 0 && i < a.count; i++) {
		r = docker_image(l, &a.images[i], err);
		if (r < 0 && a.images[i].repo_tags && *a.images[i].repo_tags)
			err_wrap(err, "image %s", *a.images[i].repo_tags);
	}
	return r;
}

/* ---- either --------------------------------------------------------------------------------- */

static int load_bundle(struct load *l, struct err *err)
{
	if (bundle_has(&l->bundle, "index.json"))
		return load_oci(l, err);
	if (bundle_has(&l->bundle, "manifest.json"))
		return load_docker(l, err);
	if (bundle_has(&l->bundle, "repositories"))
		return err_set(err, EINVAL,
			       "it is of a format that Docker gave up in 2016 (no manifest.json): "
			       "load and save it with a Docker of that time");
	return err_set(
		err, EINVAL,
		"it is no image: neither index.json (OCI) nor manifest.json (docker save) is "
		"in it; a root file system is taken by proa import");
}

int image_load(struct store *s, const char *path, bool quiet, char **ret_report, struct err *err)
{
	struct load l = { 0 };
	int r = intake_begin(&l.in, s, err);

	l.bundle.fd = -EBADF;
	if (r == 0)
		r = bundle_open(path, l.in.tmp.fd, quiet, &l.bundle, err);
	if (r == 0) {
		r = load_bundle(&l, err);
		if (r < 0)
			err_wrap(err, "%s", l.bundle.name);
	}
	if (r == 0 && (l.report.failed || !l.report.data))
		r = err_sys(err, ENOMEM, "load");
	if (r == 0)
		r = intake_publish(&l.in, err);
	bundle_done(&l.bundle);
	intake_done(&l.in);
	if (r == 0)
		*ret_report = TAKE_PTR(l.report.data);
	str_buf_done(&l.report);
	return r;
}
