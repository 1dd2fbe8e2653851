/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proa save. Three formats, one content: the blobs as they are in the store.
 *
 * oci-archive and oci-dir are an OCI image layout. docker-archive, the default, is what `docker
 * save` writes since version 25: the same layout and Docker's manifest.json beside it, so that
 * every Docker, old or new, podman and skopeo load it, and an OCI-aware reader gets the original
 * manifest and digests back.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "image/progress.h"
#include "image/save_tar.h"
#include "image/tool.h"
#include "oci/digest.h"
#include "oci/reference.h"
#include "store/image.h"
#include "store/store.h"
#include "util/err.h"
#include "util/io.h"
#include "util/json.h"
#include "util/mem.h"
#include "util/str.h"

struct save {
	struct store *store;
	struct sink sink;
	struct progress progress;
	bool docker;
	struct store_image *images;
	char **names; /* of each image: a name, or "" when it was asked for by ID */
	size_t count;
	json_t *index, *manifest; /* lists under construction */
	json_t *written;	  /* set of blobs */
};

static int write_blob(struct save *s, const char *digest, struct err *err)
{
	char from[sizeof(STORE_BLOBS) + DIGEST_HEX_LEN + 1];
	char to[sizeof("blobs/sha256/") + DIGEST_HEX_LEN];
	_cleanup_close_ int fd = -EBADF;
	struct stat st;
	int r;

	if (json_object_get(s->written, digest))
		return 0;
	json_object_set_new(s->written, digest, json_true());
	snprintf(from, sizeof(from), STORE_BLOBS "/%s", digest_hex(digest));
	snprintf(to, sizeof(to), "blobs/sha256/%s", digest_hex(digest));
	fd = openat(s->store->root_fd, from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(err, errno, "blob %s", digest);
	r = sink_blob(&s->sink, to, fd, (uint64_t)st.st_size, digest, err);
	return r < 0 && r != -EPIPE && r != -ENOSPC ? err_wrap(err, "blob %s", digest) : r;
}

/* Where in manifest.json the image with this configuration is; NULL: not yet. */
static json_t *find_docker_entry(struct save *s, const char *config)
{
	json_t *entry;
	size_t i;

	json_array_foreach (s->manifest, i, entry)
		if (!strcmp(json_get_str(entry, "Config"), config))
			return entry;
	return NULL;
}

static json_t *blob_path(const char *digest)
{
	return json_sprintf("blobs/sha256/%s", digest_hex(digest));
}

static int add_docker_entry(struct save *s, const struct store_image *image, const char *name)
{
	_cleanup_(reference_done) struct reference ref = { 0 };
	_cleanup_json_ json_t *config = blob_path(image->id);
	_cleanup_free_ char *familiar = NULL;
	json_t *entry = find_docker_entry(s, json_string_value(config)), *layers;

	if (!entry) {
		layers = json_array();
		for (size_t i = 0; i < image->manifest.layer_count; i++)
			json_array_append_new(layers, blob_path(image->manifest.layers[i].digest));
		entry = json_pack("{s:O, s:[], s:o}", "Config", config, "RepoTags", "Layers",
				  layers);
		if (!entry || json_array_append_new(s->manifest, entry) < 0)
			return -ENOMEM;
	}
	if (!*name)
		return 0;
	if (reference_parse(name, &ref, NULL) < 0 || !(familiar = reference_familiar(&ref)))
		return -ENOMEM;
	return json_array_append_new(json_object_get(entry, "RepoTags"), json_string(familiar));
}

static int add_index_entry(struct save *s, const struct store_image *image, const char *name,
			   uint64_t manifest_bytes)
{
	json_t *entry = json_pack("{s:s, s:s, s:I}", "mediaType", OCI_MEDIA_MANIFEST, "digest",
				  image->manifest_digest, "size", (json_int_t)manifest_bytes);
	const char *tag = strrchr(name, ':');

	if (!entry)
		return -ENOMEM;
	/* Docker expects the tag alone as ref.name and the whole name under containerd's key */
	if (*name && s->docker && tag)
		json_object_set_new(entry, "annotations",
				    json_pack("{s:s, s:s}", "io.containerd.image.name", name,
					      OCI_ANNOTATION_REF_NAME, tag + 1));
	else if (*name)
		json_object_set_new(entry, "annotations",
				    json_pack("{s:s}", OCI_ANNOTATION_REF_NAME, name));
	return json_array_append_new(s->index, entry);
}

static int write_image(struct save *s, size_t at, struct err *err)
{
	const struct store_image *image = &s->images[at];
	char path[sizeof(STORE_BLOBS) + DIGEST_HEX_LEN + 1];
	struct stat st;
	int r = 0;

	for (size_t i = 0; r == 0 && i < image->manifest.layer_count; i++)
		r = write_blob(s, image->manifest.layers[i].digest, err);
	if (r == 0)
		r = write_blob(s, image->id, err);
	if (r == 0)
		r = write_blob(s, image->manifest_digest, err);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), STORE_BLOBS "/%s", digest_hex(image->manifest_digest));
	if (fstatat(s->store->root_fd, path, &st, 0) < 0)
		return err_sys(err, errno, "blob %s", image->manifest_digest);
	if (add_index_entry(s, image, s->names[at], (uint64_t)st.st_size) < 0 ||
	    (s->docker && add_docker_entry(s, image, s->names[at]) < 0))
		return err_sys(err, ENOMEM, "save");
	return 0;
}

static int write_json(struct save *s, const char *name, const json_t *j, struct err *err)
{
	_cleanup_free_ char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;

	if (!text)
		return err_sys(err, ENOMEM, "save");
	return sink_bytes(&s->sink, name, text, strlen(text), err);
}

static int write_all(struct save *s, struct err *err)
{
	static const char layout[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
	_cleanup_json_ json_t *index = NULL;
	int r = sink_directory(&s->sink, "blobs/", err);

	if (r == 0)
		r = sink_directory(&s->sink, "blobs/sha256/", err);
	for (size_t i = 0; r == 0 && i < s->count; i++)
		r = write_image(s, i, err);
	if (r == 0)
		r = sink_bytes(&s->sink, "oci-layout", layout, strlen(layout), err);
	index = json_pack("{s:i, s:s, s:O}", "schemaVersion", 2, "mediaType", OCI_MEDIA_INDEX,
			  "manifests", s->index);
	if (r == 0)
		r = write_json(s, "index.json", index, err);
	if (r == 0 && s->docker)
		r = write_json(s, "manifest.json", s->manifest, err);
	return r < 0 ? r : sink_end(&s->sink, err);
}

/* The name under which it was asked for, in full; "" for an ID. */
static int name_asked_for(const struct store_image *image, const char *text, char ***names)
{
	_cleanup_(reference_done) struct reference ref = { 0 };
	_cleanup_free_ char *full = NULL;

	if (reference_parse(text, &ref, NULL) == 0) {
		full = reference_full(&ref);
		if (!full)
			return -ENOMEM;
		for (char **n = image->names; *n; n++)
			if (!strcmp(*n, full))
				return strv_add(names, full);
	}
	return strv_add(names, "");
}

static int find_images(struct save *s, char *const *texts, struct err *err)
{
	uint64_t total = 0;

	s->images = calloc(strv_len(texts), sizeof(*s->images));
	if (!s->images)
		return err_sys(err, ENOMEM, "save");
	for (; *texts; texts++) {
		struct store_image *image = &s->images[s->count];
		int r = store_image_find(s->store, *texts, image, err);

		if (r < 0)
			return r;
		s->count++;
		if (name_asked_for(image, *texts, &s->names) < 0)
			return err_sys(err, ENOMEM, "save");
		for (size_t i = 0; i < image->manifest.layer_count; i++)
			total += image->manifest.layers[i].size_bytes;
	}
	s->progress.total_bytes = total;
	return 0;
}

/*
 * To standard output, or to a temporary name beside @output that takes its place once it is
 * complete. Devices and pipes are written to directly.
 */
static int write_to(struct save *s, const char *output, struct err *err)
{
	_cleanup_free_ char *tmp = NULL;
	_cleanup_close_ int fd = -EBADF;
	struct stat st;
	int r;

	if (!output || (stat(output, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))) {
		fd = output ? open(output, O_WRONLY | O_CLOEXEC)
			    : fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
		if (fd < 0)
			return err_sys(err, errno, "open %s", output ? output : "standard output");
		s->sink.fd = fd;
		return write_all(s, err);
	}
	tmp = str_printf("%s.tmp-%d", output, (int)getpid());
	if (!tmp)
		return err_sys(err, ENOMEM, "save");
	if (s->sink.is_dir)
		fd = mkdir(tmp, 0755) < 0 ? -1 : open(tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	else
		fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return err_sys(err, errno, "write %s", output);
	s->sink.fd = fd;
	r = write_all(s, err);
	if (r == 0 && rename(tmp, output) < 0)
		r = errno == ENOTEMPTY || errno == EEXIST
			    ? err_set(err, EEXIST, "%s is there already and not empty", output)
			    : err_sys(err, errno, "write %s", output);
	if (r < 0)
		io_remove_tree(AT_FDCWD, tmp);
	return r;
}

int image_save(struct store *store, const struct image_save_options *o, struct err *err)
{
	struct save s = { .store = store };
	const char *format = o->format ? o->format : "docker-archive";
	_cleanup_close_ int pin = -EBADF;
	int r;

	s.docker = !strcmp(format, "docker-archive");
	s.sink.is_dir = !strcmp(format, "oci-dir");
	if (!s.docker && !s.sink.is_dir && strcmp(format, "oci-archive") != 0)
		return err_set(err, EINVAL,
			       "format %s is unknown: docker-archive, oci-archive or oci-dir",
			       format);
	if (s.sink.is_dir && !o->output)
		return err_set(err, EINVAL, "oci-dir needs a directory: -o DIR");
	if (!o->output && isatty(STDOUT_FILENO))
		return err_set(err, EINVAL,
			       "standard output is a terminal: give -o FILE, or a pipe");
	s.index = json_array();
	s.manifest = json_array();
	s.written = json_object();
	r = store_pin(store, &pin, err);
	progress_init(&s.progress, "Saving", 0, o->quiet);
	s.sink.progress = &s.progress;
	if (r == 0)
		r = find_images(&s, o->images, err);
	if (r == 0) {
		umask(0022);
		r = write_to(&s, o->output, err);
	}
	progress_done(&s.progress);
	store_images_free(s.images, s.count);
	strv_free(s.names);
	json_decref(s.index);
	json_decref(s.manifest);
	json_decref(s.written);
	return r;
}
