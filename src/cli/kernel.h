/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files of `proa kernel`. */
#ifndef PROA_CLI_KERNEL_H
#define PROA_CLI_KERNEL_H

struct cli;

/* A step of something that takes long, to standard error. */
void cli_kernel_progress(const char *line);
int cli_kernel_build(struct cli *cli, int argc, char **argv);

#endif
