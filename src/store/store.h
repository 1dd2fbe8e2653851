/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store on disk.
 *
 *     ROOT/images/              an OCI image layout: oci-layout, index.json, blobs/sha256/HEX.
 *                               Names are the annotation org.opencontainers.image.ref.name.
 *     ROOT/layers/HEX/diff/     the layer with diffID sha256:HEX, unpacked: an overlayfs lowerdir
 *     ROOT/layers/HEX/size      bytes of its files, as text
 *     ROOT/erofs/HEX.img        the image with configuration sha256:HEX as one EROFS file
 *     ROOT/containers/          store/containers.h
 *     ROOT/tmp/                 work in progress, one directory per process, flocked by its owner
 *     ROOT/lock                 flock: exclusive while index.json changes or garbage is removed
 *     ROOT/pin                  flock: shared while somebody relies on layers that no name holds
 * yet
 *
 * Crashes. A loader works in tmp/; when all is there it calls syncfs(2) once, then takes the lock,
 * renames layers and blobs to their final names, syncs those directories, and last replaces
 * index.json (written, fsynced, renamed, directory fsynced). So a final name never stands for
 * something incomplete, be it after kill -9 or after a power cut, and the price is one syncfs and
 * four fsyncs for a whole load instead of one fsync for each file. What a dead loader leaves are
 * directories in tmp/ (their flock is free: store_tmp_sweep()) or layers and blobs that no image
 * refers to (store_gc()).
 */
#ifndef PROA_STORE_STORE_H
#define PROA_STORE_STORE_H

#include <stdbool.h>

struct err;

#define STORE_IMAGES "images"
#define STORE_BLOBS  "images/blobs/sha256"
#define STORE_INDEX  "images/index.json"
#define STORE_LAYERS "layers"
#define STORE_EROFS  "erofs"
#define STORE_TMP    "tmp"

struct store {
	int root_fd; /* O_PATH */
	char *root;  /* absolute */
	char *run_root;
};

/*
 * Opens the store, making what is missing. NULL: /var/lib/proa and /run/proa for root, the XDG
 * places for others. Three system calls when all is there. The caller: store_done().
 */
int store_open(const char *root, const char *run_root, struct store *ret, struct err *err);
void store_done(struct store *s);

/*
 * Locks: a descriptor to close. store_lock() waits for others that change the index (they hold it
 * for milliseconds). store_pin() keeps garbage from being collected while the descriptor is open:
 * take it before looking an image up, close it when a container's `image` file holds the image.
 */
int store_lock(struct store *s, int *ret_fd, struct err *err);
int store_pin(struct store *s, int *ret_fd, struct err *err);

/* A directory for work in progress, on the store's file system. */
struct store_tmp {
	int fd;	    /* its flock says that we live */
	char *name; /* relative to the root: "tmp/…" */
};
int store_tmp_new(struct store *s, struct store_tmp *ret, struct err *err);
/* Removes it with all that is in it. Takes a zeroed or a finished one. */
void store_tmp_done(struct store *s, struct store_tmp *t);
/* Removes the directories of processes that died. Failing is no error: the next one tries again. */
void store_tmp_sweep(struct store *s);

/* An absolute path below the root; NULL: out of memory. */
char *store_path(const struct store *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
