/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Measuring from the inside, for `proa compare`: the stage, with everything applied that a command
 * would have applied, does a piece of work itself instead of executing one. Nothing has to be in
 * the image, and both backends run the same instructions.
 */
#ifndef PROA_CONTAINER_PROBE_H
#define PROA_CONTAINER_PROBE_H

/*
 * "first": prints a line and ends. "idle": prints a line and waits for the end of its input.
 * "work": prints "NAME VALUE" lines: kernel, boot_id, and nanoseconds of each piece of work (cpu,
 * memory, disk, syscalls, processes). Anything else ends with 2.
 */
_Noreturn void probe_run(const char *what);

#endif
