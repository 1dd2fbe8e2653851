/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bundle's config.json (OCI runtime-spec 1.2, and what 1.3 adds) as a struct plan.
 *
 * The text is hostile: it is read once, checked, and nothing of it is looked at again. What a plan
 * cannot say is kept beside it: the seccomp profile, which another program compiles, and the path
 * of the cgroup in the form that the cgroup manager in use understands.
 *
 * Unknown members are passed over, as config.md ("Extensibility") wants it; known ones with a value
 * that has no meaning here are errors.
 */
#ifndef PROA_RUNTIME_CONFIG_H
#define PROA_RUNTIME_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include "plan/plan.h"

struct err;

#define CONFIG_NAME	"config.json"
#define CONFIG_MAX	(8u << 20)
#define OCI_VERSION	"1.2.0" /* what state and features tell */
#define OCI_VERSION_MIN "1.0.0"

struct config_seccomp {
	char *profile; /* the JSON text of linux.seccomp, NULL: none */
	size_t profile_len;
	bool notifies; /* SCMP_ACT_NOTIFY is used */
};

struct config {
	struct plan plan; /* its seccomp program is still missing */
	struct config_seccomp seccomp;
	char *cgroups_path; /* as it stands there, NULL: none */
	char *oci_version;
	char **warnings; /* what was passed over and may matter */
};

/* Reads DIR/config.json; @dir is absolute. The caller owns *@ret (config_done()). */
int config_read(const char *dir, const char *id, struct config *ret, struct err *err);
/* The same of a text, which is changed; for the fuzzer. text[n] must exist. */
int config_parse(char *text, size_t n, const char *dir, const char *id, struct config *ret,
		 struct err *err);
void config_done(struct config *c);

/* A process.json for exec; @text as above. */
int config_parse_process(char *text, size_t n, struct plan_process *ret, struct err *err);
/* The LinuxResources of `update`. */
int config_parse_resources(char *text, size_t n, struct plan_resources *ret, struct err *err);

#endif
