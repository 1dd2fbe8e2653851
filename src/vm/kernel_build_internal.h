/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files of `proa kernel build` only. */
#ifndef PROA_VM_KERNEL_BUILD_INTERNAL_H
#define PROA_VM_KERNEL_BUILD_INTERNAL_H

#include "vm/kernel.h"
#include "vm/kernel_internal.h"

struct kernel_build {
	const struct vm_kernel_build *what;
	void (*progress)(const char *line);
	struct kernel_hold hold;
	char *dir;	/* all is done in here; absolute */
	char *source;	/* the source, unpacked */
	char *fragment; /* path of it, absolute */
	char *origin;	/* what info.json says of where it is from */
};

/*
 * Runs a program with its output appended to the log of the build. -EIO when it fails, with the
 * lines of the log that tell why; @what names the step.
 */
int kernel_build_run(struct kernel_build *b, const char *const *argv, const char *what,
		     void (*tick)(void *), struct err *err);

/* Are the programs and headers there that a build uses? One error names all that are not. */
int kernel_build_check_tools(struct kernel_build *b, struct err *err);

/* Puts the unpacked source into b->source, from where b->what says or from the distribution. */
int kernel_build_source(struct kernel_build *b, struct err *err);

#endif
