/* SPDX-License-Identifier: Apache-2.0 */
/* `--change` of proa import: one Dockerfile instruction applied to an image configuration. */
#ifndef PROA_IMAGE_IMPORT_CHANGE_H
#define PROA_IMAGE_IMPORT_CHANGE_H

struct err;
struct image_config;

/*
 * CMD ENTRYPOINT ENV EXPOSE LABEL ONBUILD STOPSIGNAL USER VOLUME WORKDIR, in the forms a Dockerfile
 * knows. -EINVAL with the reason. The vectors of @c that are never NULL after a parse must not be.
 */
int import_change_apply(const char *instruction, struct image_config *c, struct err *err);

#endif
