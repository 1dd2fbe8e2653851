/* SPDX-License-Identifier: Apache-2.0 */
#include "store/publish.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "oci/digest.h"
#include "store/index.h"
#include "store/store.h"
#include "util/err.h"
#include "util/json.h"
#include "util/mem.h"

static int add_item(struct publish_item **list, size_t *count, const char *staged,
		    const char *digest)
{
	struct publish_item item = { 0 };

	for (size_t i = 0; i < *count; i++)
		if (!strcmp((*list)[i].digest, digest))
			return 0;
	item.staged = strdup(staged);
	item.digest = strdup(digest);
	if (!item.staged || !item.digest || mem_grow(list, *count, sizeof(item)) < 0) {
		free(item.staged);
		free(item.digest);
		return -ENOMEM;
	}
	(*list)[(*count)++] = item;
	return 0;
}

int publish_add_blob(struct publish *p, const char *staged, const char *digest)
{
	return add_item(&p->blobs, &p->blob_count, staged, digest);
}

int publish_add_layer(struct publish *p, const char *staged, const char *diff_id)
{
	return add_item(&p->layers, &p->layer_count, staged, diff_id);
}

struct publish_image *publish_add_image(struct publish *p)
{
	if (mem_grow(&p->images, p->image_count, sizeof(*p->images)) < 0)
		return NULL;
	p->images[p->image_count] = (struct publish_image){ 0 };
	return &p->images[p->image_count++];
}

static void free_items(struct publish_item *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(list[i].staged);
		free(list[i].digest);
	}
	free(list);
}

void publish_done(struct publish *p)
{
	free_items(p->blobs, p->blob_count);
	free_items(p->layers, p->layer_count);
	for (size_t i = 0; i < p->image_count; i++) {
		free(p->images[i].media_type);
		free(p->images[i].manifest_digest);
		free(p->images[i].id);
		strv_free(p->images[i].names);
	}
	free(p->images);
	*p = (struct publish){ 0 };
}

/* Renames items into @dir of the store and makes the directory durable. */
static int move_in(struct store *s, struct store_tmp *tmp, const char *dir,
		   const struct publish_item *items, size_t count, struct err *err)
{
	_cleanup_close_ int fd =
		openat(s->root_fd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	bool moved = false;

	if (fd < 0)
		return err_sys(err, errno, "open %s/%s", s->root, dir);
	for (size_t i = 0; i < count; i++) {
		if (renameat2(tmp->fd, items[i].staged, fd, digest_hex(items[i].digest),
			      RENAME_NOREPLACE) == 0)
			moved = true;
		else if (errno != EEXIST && errno != ENOTEMPTY)
			return err_sys(err, errno, "store %s in %s/%s", items[i].digest, s->root,
				       dir);
	}
	if (moved && fsync(fd) < 0)
		return err_sys(err, errno, "sync %s/%s", s->root, dir);
	return 0;
}

static int put_image(json_t *index, const struct publish_image *image)
{
	size_t i = 0;

	do {
		const char *name = image->names ? image->names[i] : NULL;
		json_t *entry = index_entry_new(image->media_type, image->manifest_digest,
						image->manifest_bytes, image->id,
						image->unpacked_bytes, name);

		if (!entry || index_put(index, entry) < 0)
			return -ENOMEM;
		if (name)
			i++;
	} while (image->names && image->names[i]);
	return 0;
}

int store_publish(struct store *s, struct store_tmp *tmp, const struct publish *p, struct err *err)
{
	_cleanup_close_ int lock = -EBADF;
	_cleanup_json_ json_t *index = NULL;
	int r;

	if (syncfs(tmp->fd) < 0)
		return err_sys(err, errno, "write to the store %s", s->root);
	r = store_lock(s, &lock, err);
	if (r == 0)
		r = move_in(s, tmp, STORE_LAYERS, p->layers, p->layer_count, err);
	if (r == 0)
		r = move_in(s, tmp, STORE_BLOBS, p->blobs, p->blob_count, err);
	if (r == 0)
		r = index_read(s, &index, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < p->image_count; i++)
		if (put_image(index, &p->images[i]) < 0)
			return err_sys(err, ENOMEM, "name the image");
	return index_write(s, index, err);
}
