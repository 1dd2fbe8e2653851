/* SPDX-License-Identifier: Apache-2.0 */
/* proa's side of proa-image. */
#ifndef PROA_IMAGE_CLIENT_H
#define PROA_IMAGE_CLIENT_H

struct err;
struct store;
struct store_image;

/*
 * The image as one EROFS file, made by the helper if it is absent (which takes about a second; one
 * access(2) otherwise). The caller frees *@ret_path. The helper's own line is the error.
 */
int image_erofs_ensure(struct store *s, const struct store_image *image, char **ret_path,
		       struct err *err);

/*
 * Replaces this process by `proa-image --root … @args`. Returns only on failure, with -errno. @root
 * and @run_root may be NULL.
 */
int image_tool_exec(const char *root, const char *run_root, char *const *args, struct err *err);

#endif
