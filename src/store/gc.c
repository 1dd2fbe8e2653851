/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Garbage: what no image refers to, left by rmi or by a loader that died between renaming its
 * layers and naming its image. Under the lock everything garbage is renamed out of sight, which is
 * quick; the removal of its files comes after the lock was released.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include "oci/digest.h"
#include "store/gc.h"
#include "store/image.h"
#include "store/index.h"
#include "store/store.h"
#include "util/err.h"
#include "util/json.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/str.h"

/* Sets of hex digests, as JSON objects: jansson's hash table is at hand. */
struct used {
	json_t *blobs, *layers, *images;
};

static void used_done(struct used *u)
{
	json_decref(u->blobs);
	json_decref(u->layers);
	json_decref(u->images);
}

static void add(json_t *set, const char *digest)
{
	json_object_set_new(set, digest_hex(digest), json_true());
}

static int mark_image(struct store *s, const char *digest, struct used *u, struct err *err)
{
	_cleanup_(oci_manifest_done) struct oci_manifest m = { 0 };
	_cleanup_(image_config_done) struct image_config c = { 0 };
	_cleanup_free_ char *manifest = NULL, *config = NULL;
	size_t n;
	int r = blob_read(s, digest, OCI_MANIFEST_MAX, "manifest", &manifest, &n, err);

	if (r == 0)
		r = oci_manifest_parse(manifest, n, &m, err);
	if (r == 0)
		r = blob_read(s, m.config.digest, IMAGE_CONFIG_MAX, "configuration", &config, &n,
			      err);
	if (r == 0)
		r = image_config_parse(config, n, &c, err);
	if (r < 0)
		return r;
	add(u->blobs, digest);
	add(u->blobs, m.config.digest);
	add(u->images, m.config.digest);
	for (size_t i = 0; i < m.layer_count; i++)
		add(u->blobs, m.layers[i].digest);
	for (char **id = c.diff_ids; *id; id++)
		add(u->layers, *id);
	return 0;
}

static int mark(struct store *s, struct used *u, struct err *err)
{
	_cleanup_json_ json_t *index = NULL;
	json_t *entry;
	size_t i;
	int r = index_read(s, &index, err);

	if (r < 0)
		return r;
	json_array_foreach (index_manifests(index), i, entry) {
		const char *digest = index_entry_digest(entry);

		if (!digest)
			return err_set(err, EBADMSG, "an entry of the index has no digest");
		if (json_object_get(u->blobs, digest_hex(digest)))
			continue;
		r = mark_image(s, digest, u, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Renames what is in @dir and not in @set into the temporary directory. */
static void sweep(struct store *s, const char *dir, const json_t *set, struct store_tmp *tmp,
		  char ***ret_names)
{
	int fd = openat(s->root_fd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!d) {
		fd_close(fd);
		return;
	}
	while ((e = readdir(d))) {
		char key[DIGEST_HEX_LEN + 1], to[NAME_MAX + 16];

		if (e->d_name[0] == '.')
			continue;
		snprintf(key, sizeof(key), "%.64s", e->d_name); /* "HEX" of "HEX.img" */
		if (json_object_get(set, key))
			continue;
		snprintf(to, sizeof(to), "%.8s-%s", dir, e->d_name);
		for (char *p = to; *p; p++)
			if (*p == '/')
				*p = '-';
		if (renameat(dirfd(d), e->d_name, tmp->fd, to) == 0 && ret_names)
			strv_take(ret_names, str_printf("sha256:%s", key));
	}
	closedir(d);
}

void store_gc(struct store *s, char ***ret_layers)
{
	_cleanup_close_ int pin = openat(s->root_fd, "pin", O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
	_cleanup_close_ int lock = -EBADF;
	_cleanup_(used_done) struct used u = { json_object(), json_object(), json_object() };
	struct store_tmp tmp = { .fd = -EBADF };
	struct err err = ERR_INIT;

	store_tmp_sweep(s);
	if (pin < 0 || flock(pin, LOCK_EX | LOCK_NB) < 0) {
		log_verbose("unused layers stay for now: another command works with the store");
		return;
	}
	if (store_lock(s, &lock, &err) < 0 || mark(s, &u, &err) < 0 ||
	    store_tmp_new(s, &tmp, &err) < 0) {
		log_verbose("unused layers stay for now: %s", err.msg);
		return;
	}
	sweep(s, STORE_EROFS, u.images, &tmp, NULL);
	sweep(s, STORE_LAYERS, u.layers, &tmp, ret_layers);
	sweep(s, STORE_BLOBS, u.blobs, &tmp, NULL);
	lock = fd_close(lock);
	pin = fd_close(pin);
	store_tmp_done(s, &tmp);
}
