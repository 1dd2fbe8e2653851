/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding and listing images. The way of `proa run`: index.json, the manifest and the configuration
 * are read (three small files), two digests verified, each layer's directory looked at once.
 */
#include "store/image.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "oci/digest.h"
#include "oci/reference.h"
#include "store/index.h"
#include "store/internal.h"
#include "store/store.h"
#include "util/err.h"
#include "util/json.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/str.h"

void store_image_done(struct store_image *i)
{
	if (!i)
		return;
	free(i->id);
	free(i->manifest_digest);
	strv_free(i->names);
	strv_free(i->layer_dirs);
	oci_manifest_done(&i->manifest);
	image_config_done(&i->config);
	*i = (struct store_image){ 0 };
}

void store_images_free(struct store_image *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		store_image_done(&list[i]);
	free(list);
}

static bool is_hex(const char *s)
{
	return *s && s[strspn(s, "0123456789abcdef")] == 0;
}

/* Is @text an ID or the beginning of one? Returns its hex digits, or NULL. */
static const char *id_prefix(const char *text)
{
	if (str_starts(text, "sha256:"))
		text += strlen("sha256:");
	return is_hex(text) && strlen(text) <= DIGEST_HEX_LEN ? text : NULL;
}

/* Is entry name "docker.io/library/debian:12" of the repository of @r? */
static bool same_repository(const char *name, const struct reference *r)
{
	size_t n = strlen(r->domain), m = strlen(r->path);

	return !strncmp(name, r->domain, n) && name[n] == '/' &&
	       !strncmp(name + n + 1, r->path, m) &&
	       (name[n + 1 + m] == ':' || name[n + 1 + m] == '@' || !name[n + 1 + m]);
}

static int find_by_name(const json_t *index, const char *text, size_t *ret)
{
	_cleanup_(reference_done) struct reference r = { 0 };
	_cleanup_free_ char *full = NULL;
	json_t *entry;
	size_t i;

	if (str_starts(text, "sha256:") || reference_parse(text, &r, NULL) < 0)
		return -ENOENT;
	full = reference_full(&r);
	if (!full)
		return -ENOMEM;
	json_array_foreach (index_manifests(index), i, entry) {
		const char *name = index_entry_name(entry), *digest = index_entry_digest(entry);

		if (!name || !digest)
			continue;
		if (!strcmp(name, full) ||
		    (r.digest && !strcmp(r.digest, digest) && same_repository(name, &r))) {
			*ret = i;
			return 0;
		}
	}
	return -ENOENT;
}

static int find_by_id(struct store *s, const json_t *index, const char *hex, size_t *ret,
		      struct err *err)
{
	_cleanup_free_ char *found = NULL;
	json_t *entry;
	size_t i;

	json_array_foreach (index_manifests(index), i, entry) {
		_cleanup_free_ char *id = NULL;
		int r = index_entry_id(s, entry, &id, err);

		if (r == -ENOENT)
			continue;
		if (r < 0)
			return r;
		if (!str_starts(digest_hex(id), hex) || (found && !strcmp(found, id)))
			continue;
		if (found)
			return err_set(err, EINVAL,
				       "image ID \"%s\" is ambiguous: give more of its digits",
				       hex);
		found = TAKE_PTR(id);
		*ret = i;
	}
	return found ? 0 : -ENOENT;
}

int store_entry_find(struct store *s, const json_t *index, const char *text, size_t *ret,
		     bool *ret_by_id, struct err *err)
{
	const char *hex = id_prefix(text);
	char quoted[300];
	int r = find_by_name(index, text, ret);

	*ret_by_id = false;
	if (r == -ENOENT && hex) {
		*ret_by_id = true;
		err_clear(err);
		r = find_by_id(s, index, hex, ret, err);
		if (r < 0 && r != -ENOENT)
			return r;
	}
	if (r == -ENOENT && !hex) {
		_cleanup_(reference_done) struct reference ref = { 0 };

		r = reference_parse(text, &ref, err); /* malformed rather than unknown? */
		if (r < 0)
			return r;
		r = -ENOENT;
	}
	if (r == -ENOENT)
		return err_set(err, ENOENT,
			       "image \"%s\" is not in the store: load it with proa load, or see "
			       "proa images",
			       str_quote(text, quoted, sizeof(quoted)));
	return r < 0 ? err_sys(err, -r, "find image \"%s\"", text) : 0;
}

/* The names of all descriptors with the digest of the image. */
static int take_names(const json_t *index, struct store_image *image)
{
	json_t *entry;
	size_t i;

	image->names = calloc(1, sizeof(char *));
	if (!image->names)
		return -ENOMEM;
	json_array_foreach (index_manifests(index), i, entry) {
		const char *name = index_entry_name(entry), *digest = index_entry_digest(entry);

		if (name && digest && !strcmp(digest, image->manifest_digest) &&
		    strv_add(&image->names, name) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* Topmost first; of equal layers only the topmost counts, and overlayfs takes each just once. */
static int take_layer_dirs(struct store *s, struct store_image *image, struct err *err)
{
	char **ids = image->config.diff_ids;
	size_t n = strv_len(ids);

	image->layer_dirs = calloc(1, sizeof(char *));
	if (!image->layer_dirs)
		return err_sys(err, ENOMEM, "find the layers");
	for (size_t i = n; i-- > 0;) {
		char path[sizeof(STORE_LAYERS) + DIGEST_HEX_LEN + 8];
		bool above = false;

		for (size_t j = i + 1; j < n; j++)
			above |= !strcmp(ids[i], ids[j]);
		if (above)
			continue;
		snprintf(path, sizeof(path), STORE_LAYERS "/%s/diff", digest_hex(ids[i]));
		if (faccessat(s->root_fd, path, F_OK, 0) < 0)
			return err_set(err, EBADMSG,
				       "its layer %s is not unpacked in the store %s: load the "
				       "image again",
				       ids[i], s->root);
		if (strv_take(&image->layer_dirs, store_path(s, "%s", path)) < 0)
			return err_sys(err, ENOMEM, "find the layers");
	}
	return 0;
}

static int fill(struct store *s, const json_t *index, const json_t *entry,
		struct store_image *image, struct err *err)
{
	const char *size =
		json_get_str(json_object_get(entry, "annotations"), INDEX_ANNOTATION_SIZE);
	const char *digest = index_entry_digest(entry);
	_cleanup_free_ char *manifest = NULL, *config = NULL;
	size_t n;
	int r;

	if (!digest)
		return err_set(err, EBADMSG, "its entry in the index has no digest");
	r = blob_read(s, digest, OCI_MANIFEST_MAX, "manifest", &manifest, &n, err);
	if (r == 0)
		r = oci_manifest_parse(manifest, n, &image->manifest, err);
	if (r == 0)
		r = blob_read(s, image->manifest.config.digest, IMAGE_CONFIG_MAX, "configuration",
			      &config, &n, err);
	if (r == 0)
		r = image_config_parse(config, n, &image->config, err);
	if (r < 0)
		return r;
	image->id = strdup(image->manifest.config.digest);
	image->manifest_digest = strdup(digest);
	if (!image->id || !image->manifest_digest || take_names(index, image) < 0)
		return err_sys(err, ENOMEM, "read it");
	if (!size || str_to_u64(size, &image->size_bytes) < 0)
		for (size_t i = 0; i < image->manifest.layer_count; i++)
			image->size_bytes += image->manifest.layers[i].size_bytes;
	image->created_s = image->config.created_s;
	return take_layer_dirs(s, image, err);
}

int store_image_fill(struct store *s, const json_t *index, const json_t *entry,
		     struct store_image *ret, struct err *err)
{
	struct store_image image = { 0 };
	int r = fill(s, index, entry, &image, err);

	if (r < 0) {
		const char *name = index_entry_name(entry), *digest = index_entry_digest(entry);

		store_image_done(&image);
		/* an image that is there in part is damaged, not unknown */
		if (err && r == -ENOENT)
			err->errnum = EBADMSG;
		return err_wrap(err, "image \"%s\"", name ? name : digest ? digest : "?");
	}
	*ret = image;
	return 0;
}

int store_image_find(struct store *s, const char *ref_or_id, struct store_image *ret,
		     struct err *err)
{
	_cleanup_json_ json_t *index = NULL;
	bool by_id;
	size_t at;
	int r = index_read(s, &index, err);

	if (r == 0)
		r = store_entry_find(s, index, ref_or_id, &at, &by_id, err);
	if (r == 0)
		r = store_image_fill(s, index, json_array_get(index_manifests(index), at), ret,
				     err);
	return r;
}

static int newest_first(const void *a, const void *b)
{
	const struct store_image *x = a, *y = b;

	if (x->created_s != y->created_s)
		return x->created_s < y->created_s ? 1 : -1;
	return strcmp(x->id, y->id);
}

static bool is_listed(const struct store_image *list, size_t count, const json_t *entry)
{
	const char *digest = index_entry_digest(entry);

	for (size_t i = 0; digest && i < count; i++)
		if (!strcmp(list[i].manifest_digest, digest))
			return true;
	return false;
}

int store_image_list(struct store *s, struct store_image **ret, size_t *ret_count, struct err *err)
{
	_cleanup_json_ json_t *index = NULL;
	struct store_image *list = NULL;
	size_t count = 0, i;
	json_t *entry;
	int r = index_read(s, &index, err);

	if (r < 0)
		return r;
	list = calloc(json_array_size(index_manifests(index)) + 1, sizeof(*list));
	if (!list)
		return err_sys(err, ENOMEM, "list the images");
	json_array_foreach (index_manifests(index), i, entry) {
		struct err e = ERR_INIT;

		if (is_listed(list, count, entry))
			continue;
		if (store_image_fill(s, index, entry, &list[count], &e) == 0)
			count++;
		else
			log_warning("%s", e.msg);
	}
	qsort(list, count, sizeof(*list), newest_first);
	*ret = list;
	*ret_count = count;
	return 0;
}

int store_image_erofs_path(struct store *s, const struct store_image *i, char **ret)
{
	*ret = store_path(s, STORE_EROFS "/%s.img", digest_hex(i->id));
	return *ret ? 0 : -ENOMEM;
}
