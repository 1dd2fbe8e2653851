/* SPDX-License-Identifier: Apache-2.0 */
/* -e and --env-file, as run and exec share them. */
#ifndef PROA_CLI_ENV_H
#define PROA_CLI_ENV_H

struct err;

/*
 * The files' lines first, then @env; NAME alone takes the value from our own environment and is
 * left out when it has none. Appends to *@ret, which the caller frees with strv_free().
 */
int cli_env(char *const *files, char *const *env, char ***ret, struct err *err);

#endif
