/* SPDX-License-Identifier: Apache-2.0 */
/* `proa compare`: what is measured (compare_measure.c) and how it is shown (compare.c, …_html.c).
 */
#ifndef PROA_CLI_COMPARE_H
#define PROA_CLI_COMPARE_H

#include <stdbool.h>
#include <stdint.h>
#include "util/err.h"

#define COMPARE_RUNS_MAX 100

/* Durations of several runs, in nanoseconds. count 0: not measured, and why. */
struct compare_times {
	uint64_t ns[COMPARE_RUNS_MAX];
	unsigned count;
	char why[200];
};

uint64_t compare_median(const struct compare_times *t);
uint64_t compare_min(const struct compare_times *t);
uint64_t compare_max(const struct compare_times *t);

enum compare_work {
	COMPARE_CPU,
	COMPARE_MEMORY,
	COMPARE_DISK,
	COMPARE_SYSCALLS,
	COMPARE_PROCESSES,
	COMPARE_WORKS,
};
extern const char *const compare_work_names[COMPARE_WORKS];

/* One side: container or vm. */
struct compare_side {
	bool vm;
	char skipped[300];	      /* not empty: this side could not be run at all, and why */
	struct compare_times start;   /* from the command to the application's first instruction */
	struct compare_times command; /* of the whole command given after -- */
	int command_code;
	struct compare_times work[COMPARE_WORKS];
	uint64_t memory_bytes; /* of everything proa runs beside the application; 0: not measured */
	uint64_t disk_bytes;   /* of the image, ready to run */
	uint64_t shared_disk_bytes; /* once for all images: kernel and initramfs */
	char kernel[100];
	bool own_kernel;
};

struct compare {
	const char *image;
	char **command; /* NULL-terminated; empty: none was given */
	unsigned runs;
	struct compare_side sides[2];
};

/*
 * Measures one round of a side: the start and, if there is one, the command. With @first also the
 * work inside and the memory. Runs `proa run` as a user would, as a process of its own. Returns 0
 * also when something could not be measured; that is noted where the value would stand.
 */
int compare_round(struct compare *c, struct compare_side *side, bool first, struct err *err);

/* Writes the self-contained page. */
int compare_write_html(const struct compare *c, const char *path, struct err *err);

#endif
