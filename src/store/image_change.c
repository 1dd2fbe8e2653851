/* SPDX-License-Identifier: Apache-2.0 */
/* Naming and removing images: changes of index.json under the lock. */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "oci/digest.h"
#include "oci/reference.h"
#include "store/containers.h"
#include "store/gc.h"
#include "store/image.h"
#include "store/index.h"
#include "store/internal.h"
#include "store/store.h"
#include "util/err.h"
#include "util/json.h"
#include "util/mem.h"
#include "util/str.h"

int store_image_tag(struct store *s, const char *ref_or_id, const char *target, struct err *err)
{
	_cleanup_(reference_done) struct reference ref = { 0 };
	_cleanup_free_ char *full = NULL;
	_cleanup_close_ int lock = -EBADF;
	_cleanup_json_ json_t *index = NULL;
	json_t *entry;
	bool by_id;
	size_t at;
	int r = reference_parse(target, &ref, err);

	if (r < 0)
		return r;
	if (ref.digest)
		return err_set(err, EINVAL, "image name \"%s\": a digest cannot be given as a tag",
			       target);
	full = reference_full(&ref);
	if (!full)
		return err_sys(err, ENOMEM, "tag an image");
	r = store_lock(s, &lock, err);
	if (r == 0)
		r = index_read(s, &index, err);
	if (r == 0)
		r = store_entry_find(s, index, ref_or_id, &at, &by_id, err);
	if (r < 0)
		return r;
	entry = json_deep_copy(json_array_get(index_manifests(index), at));
	if (entry && !json_object_get(entry, "annotations"))
		json_object_set_new(entry, "annotations", json_object());
	if (!entry ||
	    json_object_set_new(json_object_get(entry, "annotations"), OCI_ANNOTATION_REF_NAME,
				json_string(full)) < 0 ||
	    index_put(index, entry) < 0)
		return err_sys(err, ENOMEM, "tag an image");
	return index_write(s, index, err);
}

/* How many other descriptors name the image of descriptor @at. */
static size_t count_same(const json_t *index, size_t at)
{
	const char *digest = index_entry_digest(json_array_get(index_manifests(index), at));
	json_t *entry;
	size_t i, n = 0;

	json_array_foreach (index_manifests(index), i, entry) {
		const char *other = index_entry_digest(entry);

		if (i != at && digest && other && !strcmp(digest, other))
			n++;
	}
	return n;
}

static int untag(json_t *index, size_t at, bool keep, struct store_removal *removal)
{
	const char *name = index_entry_name(json_array_get(index_manifests(index), at));

	if (name && strv_add(&removal->untagged, name) < 0)
		return -ENOMEM;
	index_untag(index, at, keep);
	return 0;
}

/* All descriptors of @digest; the last one stays, nameless, when @keep. */
static int untag_all(json_t *index, const char *digest, bool keep, struct store_removal *removal)
{
	for (size_t i = json_array_size(index_manifests(index)); i-- > 0;) {
		const char *other = index_entry_digest(json_array_get(index_manifests(index), i));

		if (other && !strcmp(other, digest) && untag(index, i, keep, removal) < 0)
			return -ENOMEM;
	}
	return 0;
}

/*
 * The decision, on the index in memory. *ret_gone: the image itself goes, not just a name.
 */
static int remove_entry(struct store *s, json_t *index, const char *text, bool force,
			struct store_removal *removal, bool *ret_gone, struct err *err)
{
	_cleanup_free_ char *id = NULL, *user = NULL, *digest = NULL;
	json_t *entry;
	bool by_id;
	size_t at, others;
	int r = store_entry_find(s, index, text, &at, &by_id, err);

	if (r < 0)
		return r;
	entry = json_array_get(index_manifests(index), at);
	others = count_same(index, at);
	*ret_gone = false;
	if (!by_id && others) /* just one of its names */
		return untag(index, at, false, removal) < 0 ? err_sys(err, ENOMEM, "untag") : 0;
	if (by_id && others && !force)
		return err_set(err, EBUSY,
			       "image %s has %zu names: remove it by name, or with --force", text,
			       others + 1);
	if (!index_entry_digest(entry) || !(digest = strdup(index_entry_digest(entry))))
		return err_set(err, EBADMSG, "image %s: its entry in the index has no digest",
			       text);
	r = index_entry_id(s, entry, &id, err);
	if (r < 0 && force) /* damaged beyond reading, and not wanted */
		id = strdup(digest);
	if (!id)
		return r < 0 ? r : err_sys(err, ENOMEM, "remove image %s", text);
	user = store_container_using_image(s, id);
	if (user && !force)
		return err_set(err, EBUSY,
			       "image %s is used by container %s: remove that first (proa rm %s)",
			       text, user, user);
	if (user && by_id && !index_entry_name(entry))
		return err_set(err, EBUSY, "image %s is used by container %s: remove that first",
			       text, user);
	*ret_gone = !user;
	if (untag_all(index, digest, user, removal) < 0 ||
	    (*ret_gone && strv_take(&removal->deleted, TAKE_PTR(id)) < 0))
		return err_sys(err, ENOMEM, "remove image %s", text);
	return 0;
}

int store_image_remove(struct store *s, const char *ref_or_id, bool force,
		       struct store_removal *ret, struct err *err)
{
	_cleanup_close_ int lock = -EBADF;
	_cleanup_json_ json_t *index = NULL;
	bool gone = false;
	int r = store_lock(s, &lock, err);

	*ret = (struct store_removal){ 0 };
	if (r == 0)
		r = index_read(s, &index, err);
	if (r == 0)
		r = remove_entry(s, index, ref_or_id, force, ret, &gone, err);
	if (r == 0)
		r = index_write(s, index, err);
	if (r < 0) {
		store_removal_done(ret);
		return r;
	}
	lock = fd_close(lock);
	if (gone)
		store_gc(s, &ret->deleted);
	return 0;
}

void store_removal_done(struct store_removal *r)
{
	strv_free(r->untagged);
	strv_free(r->deleted);
	*r = (struct store_removal){ 0 };
}
