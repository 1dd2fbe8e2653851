/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/manifest.h"

#include <errno.h>
#include <string.h>
#include <sys/utsname.h>
#include "oci/digest.h"
#include "util/err.h"
#include "util/json.h"
#include "util/mem.h"
#include "util/str.h"

void oci_descriptor_done(struct oci_descriptor *d)
{
	if (!d)
		return;
	free(d->media_type);
	free(d->digest);
	free(d->ref_name);
	free(d->image_name);
	free(d->os);
	free(d->architecture);
	free(d->variant);
	*d = (struct oci_descriptor){ 0 };
}

void oci_manifest_done(struct oci_manifest *m)
{
	if (!m)
		return;
	oci_descriptor_done(&m->config);
	for (size_t i = 0; i < m->layer_count; i++)
		oci_descriptor_done(&m->layers[i]);
	free(m->layers);
	*m = (struct oci_manifest){ 0 };
}

void oci_index_done(struct oci_index *x)
{
	if (!x)
		return;
	for (size_t i = 0; i < x->count; i++)
		oci_descriptor_done(&x->manifests[i]);
	free(x->manifests);
	*x = (struct oci_index){ 0 };
}

void docker_archive_done(struct docker_archive *a)
{
	if (!a)
		return;
	for (size_t i = 0; i < a->count; i++) {
		free(a->images[i].config);
		strv_free(a->images[i].repo_tags);
		strv_free(a->images[i].layers);
	}
	free(a->images);
	*a = (struct docker_archive){ 0 };
}

/* *ret stays NULL when the string is absent; -ENOMEM otherwise possible */
static int copy_str(const json_t *object, const char *key, char **ret)
{
	const char *s = json_get_str(object, key);

	if (!s)
		return 0;
	*ret = strdup(s);
	return *ret ? 0 : -ENOMEM;
}

static int descriptor_fill(const json_t *j, const char *what, struct oci_descriptor *d,
			   struct err *err)
{
	const json_t *annotations = json_object_get(j, "annotations");
	const json_t *platform = json_object_get(j, "platform");
	int64_t size = json_get_int(j, "size", -1);
	const char *media = json_get_str(j, "mediaType");
	int r;

	if (!json_is_object(j))
		return err_set(err, EINVAL, "%s is not an object", what);
	r = digest_require(json_get_str(j, "digest"), what, err);
	if (r < 0)
		return r;
	if (size < 0)
		return err_set(err, EINVAL, "%s has no valid size", what);
	d->size_bytes = (uint64_t)size;
	d->media_type = strdup(media ? media : "");
	if (!d->media_type || copy_str(j, "digest", &d->digest) < 0 ||
	    copy_str(annotations, OCI_ANNOTATION_REF_NAME, &d->ref_name) < 0 ||
	    copy_str(annotations, "io.containerd.image.name", &d->image_name) < 0 ||
	    copy_str(platform, "os", &d->os) < 0 ||
	    copy_str(platform, "architecture", &d->architecture) < 0 ||
	    copy_str(platform, "variant", &d->variant) < 0)
		return err_sys(err, ENOMEM, "parse %s", what);
	return 0;
}

static int descriptors_fill(const json_t *array, const char *what, size_t max,
			    struct oci_descriptor **list, size_t *count, struct err *err)
{
	size_t n = json_array_size(array);

	if (!json_is_array(array))
		return err_set(err, EINVAL, "it has no list of %ss", what);
	if (n > max)
		return err_set(err, EINVAL, "it has %zu %ss, at most %zu are supported", n, what,
			       max);
	*list = calloc(n ? n : 1, sizeof(**list));
	if (!*list)
		return err_sys(err, ENOMEM, "parse it");
	*count = n;
	for (size_t i = 0; i < n; i++) {
		char noun[48];
		int r;

		snprintf(noun, sizeof(noun), "%s %zu", what, i + 1);
		r = descriptor_fill(json_array_get(array, i), noun, &(*list)[i], err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int schema_check(const json_t *j, struct err *err)
{
	if (!json_is_object(j))
		return err_set(err, EINVAL, "it is not an object");
	if (json_get_int(j, "schemaVersion", 2) != 2)
		return err_set(err, EINVAL, "schema version %lld is not supported, only 2",
			       (long long)json_get_int(j, "schemaVersion", 2));
	return 0;
}

int oci_manifest_parse(const char *bytes, size_t n, struct oci_manifest *ret, struct err *err)
{
	_cleanup_(oci_manifest_done) struct oci_manifest m = { 0 };
	_cleanup_json_ json_t *j = NULL;
	int r = json_parse(bytes, n, "it", &j, err);

	if (r == 0)
		r = schema_check(j, err);
	if (r == 0 && json_object_get(j, "manifests"))
		r = err_set(err, EINVAL, "it is an index, not the manifest of one image");
	if (r == 0)
		r = descriptor_fill(json_object_get(j, "config"), "config", &m.config, err);
	if (r == 0)
		r = descriptors_fill(json_object_get(j, "layers"), "layer", OCI_LAYERS_MAX,
				     &m.layers, &m.layer_count, err);
	if (r < 0)
		return err_wrap(err, "image manifest");
	*ret = m;
	m = (struct oci_manifest){ 0 };
	return 0;
}

int oci_index_parse(const char *bytes, size_t n, struct oci_index *ret, struct err *err)
{
	_cleanup_(oci_index_done) struct oci_index x = { 0 };
	_cleanup_json_ json_t *j = NULL;
	int r = json_parse(bytes, n, "it", &j, err);

	if (r == 0)
		r = schema_check(j, err);
	if (r == 0)
		r = descriptors_fill(json_object_get(j, "manifests"), "manifest", 10000,
				     &x.manifests, &x.count, err);
	if (r < 0)
		return err_wrap(err, "image index");
	*ret = x;
	x = (struct oci_index){ 0 };
	return 0;
}

static int docker_image_fill(const json_t *j, struct docker_archive_image *image, struct err *err)
{
	const char *config = json_get_str(j, "Config");

	if (!config)
		return err_set(err, EINVAL, "an image without Config");
	image->config = strdup(config);
	if (!image->config)
		return err_sys(err, ENOMEM, "parse it");
	if (json_to_strv(json_object_get(j, "RepoTags"), &image->repo_tags) < 0 ||
	    json_to_strv(json_object_get(j, "Layers"), &image->layers) < 0)
		return err_set(err, EINVAL, "RepoTags and Layers are not lists of strings");
	if (strv_len(image->layers) > OCI_LAYERS_MAX)
		return err_set(err, EINVAL, "an image with more than %d layers", OCI_LAYERS_MAX);
	return 0;
}

int docker_archive_parse(const char *bytes, size_t n, struct docker_archive *ret, struct err *err)
{
	_cleanup_(docker_archive_done) struct docker_archive a = { 0 };
	_cleanup_json_ json_t *j = NULL;
	int r = json_parse(bytes, n, "it", &j, err);

	if (r == 0 && (!json_is_array(j) || json_array_size(j) == 0))
		r = err_set(err, EINVAL, "it is not a list of images");
	if (r == 0) {
		a.images = calloc(json_array_size(j), sizeof(*a.images));
		if (!a.images)
			r = err_sys(err, ENOMEM, "parse it");
	}
	for (size_t i = 0; r == 0 && i < json_array_size(j); i++) {
		a.count = i + 1;
		r = docker_image_fill(json_array_get(j, i), &a.images[i], err);
	}
	if (r < 0)
		return err_wrap(err, "manifest.json");
	*ret = a;
	a = (struct docker_archive){ 0 };
	return 0;
}

static json_t *descriptor_json(const struct oci_descriptor *d)
{
	return json_pack("{s:s, s:s, s:I}", "mediaType", d->media_type, "digest", d->digest, "size",
			 (json_int_t)d->size_bytes);
}

char *oci_manifest_format(const struct oci_manifest *m)
{
	_cleanup_json_ json_t *j = NULL;
	json_t *layers = json_array();

	for (size_t i = 0; i < m->layer_count; i++)
		json_array_append_new(layers, descriptor_json(&m->layers[i]));
	j = json_pack("{s:i, s:s, s:o, s:o}", "schemaVersion", 2, "mediaType", OCI_MEDIA_MANIFEST,
		      "config", descriptor_json(&m->config), "layers", layers);
	return j ? json_dumps(j, JSON_COMPACT) : NULL;
}

bool oci_media_is_index(const char *media_type)
{
	return !strcmp(media_type, OCI_MEDIA_INDEX) || !strcmp(media_type, DOCKER_MEDIA_LIST);
}

bool oci_media_is_manifest(const char *media_type)
{
	return !*media_type || !strcmp(media_type, OCI_MEDIA_MANIFEST) ||
	       !strcmp(media_type, DOCKER_MEDIA_MANIFEST);
}

const char *oci_host_architecture(void)
{
	static const char *const known[][2] = {
		{ "x86_64", "amd64" },	  { "aarch64", "arm64" },	{ "armv7l", "arm" },
		{ "riscv64", "riscv64" }, { "ppc64le", "ppc64le" },	{ "s390x", "s390x" },
		{ "i686", "386" },	  { "loongarch64", "loong64" },
	};
	struct utsname u;

	if (uname(&u) < 0)
		return "unknown";
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (!strcmp(u.machine, known[i][0]))
			return known[i][1];
	return "unknown";
}

int oci_index_pick(const struct oci_index *x, size_t *ret, struct err *err)
{
	const char *arch = oci_host_architecture();
	char there[256] = "";

	for (size_t i = 0; i < x->count; i++) {
		const struct oci_descriptor *d = &x->manifests[i];
		size_t used = strlen(there);

		if (d->os && d->architecture && !strcmp(d->os, "linux") &&
		    !strcmp(d->architecture, arch)) {
			*ret = i;
			return 0;
		}
		if (d->os && d->architecture && strcmp(d->os, "unknown"))
			snprintf(there + used, sizeof(there) - used, "%s%.32s/%.32s",
				 used ? ", " : "", d->os, d->architecture);
	}
	if (x->count == 1 && !x->manifests[0].architecture) {
		*ret = 0;
		return 0;
	}
	return err_set(err, ENOENT, "there is no image for linux/%s, only for: %s", arch,
		       *there ? there : "no platform at all");
}
