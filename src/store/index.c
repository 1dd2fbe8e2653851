/* SPDX-License-Identifier: Apache-2.0 */
#include "store/index.h"

#include <errno.h>
#include <string.h>
#include "oci/digest.h"
#include "oci/manifest.h"
#include "store/store.h"
#include "util/err.h"
#include "util/io.h"
#include "util/json.h"
#include "util/mem.h"
#include "util/str.h"

#define INDEX_MAX (64u << 20)

int index_read(struct store *s, json_t **ret, struct err *err)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_json_ json_t *j = NULL;
	size_t n;
	int r = io_read_file(s->root_fd, STORE_INDEX, INDEX_MAX, &text, &n);

	if (r == -ENOENT) {
		*ret = json_pack("{s:i, s:s, s:[]}", "schemaVersion", 2, "mediaType",
				 OCI_MEDIA_INDEX, "manifests");
		return *ret ? 0 : err_sys(err, ENOMEM, "read the index");
	}
	if (r < 0)
		return err_sys(err, -r, "read %s/" STORE_INDEX, s->root);
	r = json_parse(text, n, "the index", &j, err);
	if (r < 0)
		return err_wrap(err, "store %s", s->root);
	if (!json_is_array(json_object_get(j, "manifests")))
		return err_set(err, EBADMSG, "%s/" STORE_INDEX " is damaged: no list of manifests",
			       s->root);
	*ret = TAKE_PTR(j);
	return 0;
}

int index_write(struct store *s, const json_t *index, struct err *err)
{
	_cleanup_free_ char *text = json_dumps(index, JSON_COMPACT);
	int r = text ? io_write_file(s->root_fd, STORE_INDEX, text, strlen(text), 0644, IO_DURABLE)
		     : -ENOMEM;

	if (r < 0)
		return err_sys(err, -r, "write %s/" STORE_INDEX, s->root);
	return 0;
}

json_t *index_manifests(const json_t *index)
{
	return json_object_get(index, "manifests");
}

const char *index_entry_name(const json_t *entry)
{
	return json_get_str(json_object_get(entry, "annotations"), OCI_ANNOTATION_REF_NAME);
}

const char *index_entry_digest(const json_t *entry)
{
	const char *digest = json_get_str(entry, "digest");

	return digest_is_valid(digest) ? digest : NULL;
}

int index_entry_id(struct store *s, const json_t *entry, char **ret, struct err *err)
{
	const char *id = json_get_str(json_object_get(entry, "annotations"), INDEX_ANNOTATION_ID);
	_cleanup_(oci_manifest_done) struct oci_manifest m = { 0 };
	_cleanup_free_ char *text = NULL;
	size_t n;
	int r;

	if (!digest_is_valid(id)) {
		const char *digest = index_entry_digest(entry);

		if (!digest)
			return err_set(err, EBADMSG, "%s/" STORE_INDEX " has a malformed entry",
				       s->root);
		r = blob_read(s, digest, OCI_MANIFEST_MAX, "manifest", &text, &n, err);
		if (r == 0)
			r = oci_manifest_parse(text, n, &m, err);
		if (r < 0)
			return r;
		id = m.config.digest;
	}
	*ret = strdup(id);
	return *ret ? 0 : err_sys(err, ENOMEM, "read the index");
}

json_t *index_entry_new(const char *media_type, const char *digest, uint64_t size_bytes,
			const char *id, uint64_t unpacked_bytes, const char *name)
{
	char size[24];
	json_t *e;

	snprintf(size, sizeof(size), "%llu", (unsigned long long)unpacked_bytes);
	e = json_pack("{s:s, s:s, s:I, s:{s:s, s:s}}", "mediaType", media_type, "digest", digest,
		      "size", (json_int_t)size_bytes, "annotations", INDEX_ANNOTATION_ID, id,
		      INDEX_ANNOTATION_SIZE, size);
	if (e && name)
		json_object_set_new(json_object_get(e, "annotations"), OCI_ANNOTATION_REF_NAME,
				    json_string(name));
	return e;
}

static bool same_digest(const json_t *a, const json_t *b)
{
	const char *x = json_get_str(a, "digest"), *y = json_get_str(b, "digest");

	return x && y && !strcmp(x, y);
}

void index_untag(json_t *index, size_t at, bool keep)
{
	json_t *list = index_manifests(index), *entry = json_array_get(list, at), *other;
	size_t i;

	json_array_foreach (list, i, other)
		if (i != at && same_digest(entry, other))
			keep = false;
	if (keep)
		json_object_del(json_object_get(entry, "annotations"), OCI_ANNOTATION_REF_NAME);
	else
		json_array_remove(list, at);
}

int index_put(json_t *index, json_t *entry)
{
	json_t *list = index_manifests(index), *other;
	const char *name = index_entry_name(entry);
	size_t i;

	for (i = json_array_size(list); i-- > 0;) {
		const char *other_name;

		other = json_array_get(list, i);
		other_name = index_entry_name(other);
		if (same_digest(entry, other)) {
			/* the same under this name or none: the new one says all that it said */
			if (!other_name || (name && !strcmp(name, other_name)))
				json_array_remove(list, i);
			else if (!name) /* it has a name: a nameless entry adds nothing */
				return json_decref(entry), 0;
		} else if (name && other_name && !strcmp(name, other_name)) {
			index_untag(index, i, true);
		}
	}
	return json_array_append_new(list, entry) < 0 ? -ENOMEM : 0;
}

int blob_read(struct store *s, const char *digest, size_t max, const char *what, char **ret,
	      size_t *ret_len, struct err *err)
{
	_cleanup_free_ char *bytes = NULL;
	char path[sizeof(STORE_BLOBS) + 1 + DIGEST_HEX_LEN];
	size_t n;
	int r;

	snprintf(path, sizeof(path), STORE_BLOBS "/%s", digest_hex(digest));
	r = io_read_file(s->root_fd, path, max, &bytes, &n);
	if (r < 0)
		return err_sys(err, -r, "read the %s %s in the store %s", what, digest, s->root);
	r = digest_verify(digest, bytes, n, what, err);
	if (r < 0)
		return err_wrap(err, "store %s", s->root);
	*ret = TAKE_PTR(bytes);
	*ret_len = n;
	return 0;
}
