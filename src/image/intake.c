/* SPDX-License-Identifier: Apache-2.0 */
#include "image/intake.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "store/gc.h"
#include "util/err.h"
#include "util/io.h"
#include "util/mem.h"
#include "util/str.h"

int intake_begin(struct intake *in, struct store *s, struct err *err)
{
	int r;

	*in = (struct intake){ .store = s, .pin = -EBADF, .tmp.fd = -EBADF };
	store_tmp_sweep(s);
	r = store_pin(s, &in->pin, err);
	if (r == 0)
		r = store_tmp_new(s, &in->tmp, err);
	return r;
}

void intake_done(struct intake *in)
{
	store_tmp_done(in->store, &in->tmp);
	publish_done(&in->publish);
	if (in->pin >= 0) {
		in->pin = fd_close(in->pin);
		store_gc(in->store, NULL);
	}
}

int intake_document(struct intake *in, const char *digest, const char *bytes, size_t n,
		    struct err *err)
{
	const char *staged = digest_hex(digest);
	int r = io_write_file(in->tmp.fd, staged, bytes, n, 0644, 0);

	if (r == 0)
		r = publish_add_blob(&in->publish, staged, digest);
	return r < 0 ? err_sys(err, -r, "write to the store %s", in->store->root) : 0;
}

int intake_layer(struct intake *in, const struct layer *layer, struct err *err)
{
	if (publish_add_blob(&in->publish, layer->blob, layer->digest) < 0 ||
	    publish_add_layer(&in->publish, layer->dir, layer->diff_id) < 0)
		return err_sys(err, ENOMEM, "keep a layer");
	return 0;
}

static bool layer_size(int dir, const char *name, uint64_t *ret)
{
	_cleanup_free_ char *path = str_printf("%s/size", name), *text = NULL;

	return path && io_read_file(dir, path, 32, &text, NULL) == 0 && str_to_u64(text, ret) == 0;
}

bool intake_has_layer(struct intake *in, const char *diff_id, uint64_t *ret_unpacked)
{
	char path[sizeof(STORE_LAYERS) + DIGEST_HEX_LEN + 1];

	for (size_t i = 0; i < in->publish.layer_count; i++)
		if (!strcmp(in->publish.layers[i].digest, diff_id))
			return layer_size(in->tmp.fd, in->publish.layers[i].staged, ret_unpacked);
	snprintf(path, sizeof(path), STORE_LAYERS "/%s", digest_hex(diff_id));
	return layer_size(in->store->root_fd, path, ret_unpacked);
}

bool intake_has_blob(struct intake *in, const char *digest, uint64_t *ret_bytes)
{
	char path[sizeof(STORE_BLOBS) + DIGEST_HEX_LEN + 1];
	struct stat st;
	int r = -1;

	for (size_t i = 0; r < 0 && i < in->publish.blob_count; i++)
		if (!strcmp(in->publish.blobs[i].digest, digest))
			r = fstatat(in->tmp.fd, in->publish.blobs[i].staged, &st, 0);
	if (r < 0) {
		snprintf(path, sizeof(path), STORE_BLOBS "/%s", digest_hex(digest));
		r = fstatat(in->store->root_fd, path, &st, 0);
	}
	if (r == 0)
		*ret_bytes = (uint64_t)st.st_size;
	return r == 0;
}

int intake_image(struct intake *in, const char *media_type, const char *manifest_digest,
		 uint64_t manifest_bytes, const char *id, uint64_t unpacked_bytes,
		 char *const *names, struct err *err)
{
	struct publish_image *i = publish_add_image(&in->publish);

	if (i) {
		i->media_type = strdup(*media_type ? media_type : OCI_MEDIA_MANIFEST);
		i->manifest_digest = strdup(manifest_digest);
		i->manifest_bytes = manifest_bytes;
		i->unpacked_bytes = unpacked_bytes;
		i->id = strdup(id);
		i->names = strv_copy(names);
	}
	if (!i || !i->media_type || !i->manifest_digest || !i->id || !i->names)
		return err_sys(err, ENOMEM, "keep an image");
	return 0;
}

const char *layer_media_type(enum compression c)
{
	switch (c) {
	case COMPRESSION_NONE: return OCI_MEDIA_LAYER;
	case COMPRESSION_GZIP: return OCI_MEDIA_LAYER_GZIP;
	case COMPRESSION_ZSTD: return OCI_MEDIA_LAYER_ZSTD;
	default: return OCI_MEDIA_LAYER "+other"; /* outside of the specification, as the blob is */
	}
}

int intake_new_image(struct intake *in, const char *config, size_t config_len,
		     const struct layer *layers, size_t count, char *const *names, struct err *err)
{
	struct oci_descriptor list[OCI_LAYERS_MAX];
	struct oci_manifest m = { .layers = list, .layer_count = count };
	char id[DIGEST_LEN + 1], digest[DIGEST_LEN + 1];
	_cleanup_free_ char *text = NULL;
	uint64_t unpacked = 0;
	int r;

	digest_of(config, config_len, id);
	m.config = (struct oci_descriptor){ .media_type = (char *)OCI_MEDIA_CONFIG,
					    .digest = id,
					    .size_bytes = config_len };
	for (size_t i = 0; i < count; i++) {
		list[i] = (struct oci_descriptor){
			.media_type = (char *)layer_media_type(layers[i].compression),
			.digest = (char *)layers[i].digest,
			.size_bytes = layers[i].blob_bytes,
		};
		unpacked += layers[i].unpacked_bytes;
	}
	text = oci_manifest_format(&m);
	if (!text)
		return err_sys(err, ENOMEM, "write the manifest");
	digest_of(text, strlen(text), digest);
	r = intake_document(in, id, config, config_len, err);
	if (r == 0)
		r = intake_document(in, digest, text, strlen(text), err);
	if (r == 0)
		r = intake_image(in, OCI_MEDIA_MANIFEST, digest, strlen(text), id, unpacked, names,
				 err);
	return r;
}

int intake_publish(struct intake *in, struct err *err)
{
	return store_publish(in->store, &in->tmp, &in->publish, err);
}
