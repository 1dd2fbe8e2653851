/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Manifests and indexes (image-spec manifest.md, image-index.md; Docker's schema 2 has the same
 * fields under other media types) and docker-archive's manifest.json. Bytes to structs; the bytes
 * may be hostile. All strings belong to the structs.
 */
#ifndef PROA_OCI_MANIFEST_H
#define PROA_OCI_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

#define OCI_MEDIA_MANIFEST    "application/vnd.oci.image.manifest.v1+json"
#define OCI_MEDIA_INDEX	      "application/vnd.oci.image.index.v1+json"
#define OCI_MEDIA_CONFIG      "application/vnd.oci.image.config.v1+json"
#define OCI_MEDIA_LAYER	      "application/vnd.oci.image.layer.v1.tar"
#define OCI_MEDIA_LAYER_GZIP  OCI_MEDIA_LAYER "+gzip"
#define OCI_MEDIA_LAYER_ZSTD  OCI_MEDIA_LAYER "+zstd"
#define DOCKER_MEDIA_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define DOCKER_MEDIA_LIST     "application/vnd.docker.distribution.manifest.list.v2+json"

#define OCI_ANNOTATION_REF_NAME "org.opencontainers.image.ref.name"

/* Largest manifest or index that is read (distribution-spec asks for at least 4 MiB). */
#define OCI_MANIFEST_MAX (4u << 20)
#define OCI_LAYERS_MAX	 500 /* overlayfs takes no more */

/* content descriptor (descriptor.md), with the annotations we act on */
struct oci_descriptor {
	char *media_type; /* "" when absent */
	char *digest;	  /* valid */
	uint64_t size_bytes;
	char *ref_name;			   /* OCI_ANNOTATION_REF_NAME or NULL */
	char *image_name;		   /* io.containerd.image.name (new docker save) or NULL */
	char *os, *architecture, *variant; /* NULL when there is no platform */
};

struct oci_manifest {
	struct oci_descriptor config;
	struct oci_descriptor *layers; /* lowest first */
	size_t layer_count;
};

struct oci_index {
	struct oci_descriptor *manifests;
	size_t count;
};

/* One image of docker-archive's manifest.json. */
struct docker_archive_image {
	char *config;	  /* path of the configuration in the archive */
	char **repo_tags; /* may be empty */
	char **layers;	  /* paths, lowest first */
};

struct docker_archive {
	struct docker_archive_image *images;
	size_t count;
};

/* -EINVAL with the reason; *ret is written on success only, and released with …_done(). */
int oci_manifest_parse(const char *bytes, size_t n, struct oci_manifest *ret, struct err *err);
int oci_index_parse(const char *bytes, size_t n, struct oci_index *ret, struct err *err);
int docker_archive_parse(const char *bytes, size_t n, struct docker_archive *ret, struct err *err);

void oci_descriptor_done(struct oci_descriptor *d);
void oci_manifest_done(struct oci_manifest *m);
void oci_index_done(struct oci_index *x);
void docker_archive_done(struct docker_archive *a);

/* The manifest as canonical JSON; the caller frees it. NULL: out of memory. */
char *oci_manifest_format(const struct oci_manifest *m);

bool oci_media_is_index(const char *media_type);
/* A manifest of an image, by its media type; "" (absent) is taken as one. */
bool oci_media_is_manifest(const char *media_type);

/* GOARCH of this machine ("amd64", "arm64", …). */
const char *oci_host_architecture(void);
/*
 * Position in the index of the manifest for this host's platform; a lone manifest without a
 * platform is taken. -ENOENT with the platforms there are.
 */
int oci_index_pick(const struct oci_index *x, size_t *ret, struct err *err);

#endif
