/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROA_RUNTIME_CHECKPOINT_H
#define PROA_RUNTIME_CHECKPOINT_H

#include <stdbool.h>
#include "util/args.h"

struct criu_options {
	const char *program; /* criu, or its path */
	const char *image_path, *work_path, *log_name;
	bool tcp_established, ext_unix, shell_job, file_locks, leave_running;
	bool keep_stdio; /* criu gets our standard input and output, for what it restores */
};

#define CRIU_OPTIONS(o)                                                                             \
	{ 0, "image-path", ARGS_STRING, &(o).image_path, "DIR", "Where the images are" },           \
		{ 0, "work-path", ARGS_STRING, &(o).work_path, "DIR", "Where criu keeps its log" }, \
		{ 0,	"tcp-established",	    ARGS_FLAG, &(o).tcp_established,                \
		  NULL, "Open TCP connections, too" },                                              \
		{ 0,	     "ext-unix-sk",                                                         \
		  ARGS_FLAG, &(o).ext_unix,                                                         \
		  NULL,	     "Unix sockets that lead outside, too" },                               \
		{ 0, "shell-job", ARGS_FLAG, &(o).shell_job, NULL, "With a terminal of the host" }, \
	{                                                                                           \
		0, "file-locks", ARGS_FLAG, &(o).file_locks, NULL, "File locks, too"                \
	}

#endif
