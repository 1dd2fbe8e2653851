/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log of a container: what it wrote, when and to which stream, byte for byte.
 *
 * The format is that of the Kubernetes container runtime interface: one record a line,
 * "2026-11-23T10:00:00.123456789Z stdout F text", with P instead of F when the text goes on in the
 * next record of its stream (no newline was written, or the line is longer than 16 KiB).
 */
#ifndef PROA_ENGINE_LOGFILE_H
#define PROA_ENGINE_LOGFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "plan/backend.h"

struct err;

#define LOG_NAME "log"

struct log_file {
	int fd;
	bool failed; /* a write failed (disk full): the rest is lost, the container goes on */
};

#define LOG_FILE_INIT                                                                              \
	{                                                                                          \
		.fd = -1                                                                           \
	}

int log_file_open(const char *dir, struct log_file *ret, struct err *err);
void log_file_write(struct log_file *l, enum stream stream, const void *bytes, size_t n);
void log_file_done(struct log_file *l);

struct log_reading {
	bool timestamps, follow;
	int64_t tail;		  /* -1: all */
	int64_t since_s, until_s; /* 0: no bound */
	/* following ends when this returns false: the container has ended */
	bool (*alive)(void *data);
	void *data;
};

/* Prints a container's log: stdout's records to standard output, stderr's to standard error. */
int log_file_print(const char *dir, const struct log_reading *o, struct err *err);

#endif
