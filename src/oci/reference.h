/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Image names, by the rules Docker's users know (distribution/reference): "debian" is
 * docker.io/library/debian:latest, and a first component with a dot, a colon or "localhost" is a
 * registry.
 */
#ifndef PROA_OCI_REFERENCE_H
#define PROA_OCI_REFERENCE_H

struct err;

struct reference {
	char *domain; /* "docker.io" */
	char *path;   /* "library/debian" */
	char *tag; /* "latest" when the text had neither tag nor digest; NULL with a lone digest */
	char *digest; /* "sha256:…" or NULL */
};

/* Parses and normalises. -EINVAL with the reason. The caller owns *@ret: reference_done(). */
int reference_parse(const char *text, struct reference *ret, struct err *err);
void reference_done(struct reference *r);

/* "docker.io/library/debian:12", "…@sha256:…": what the store calls it. NULL: out of memory. */
char *reference_full(const struct reference *r);
/* "debian:12": what people call it. */
char *reference_familiar(const struct reference *r);
/* "debian": the same without tag and digest. */
char *reference_familiar_name(const struct reference *r);

#endif
