/* SPDX-License-Identifier: Apache-2.0 */
/* Other limits for the first process in a machine: those of a plan on standard input, passed on. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "ocivm/ocivm.h"
#include "util/err.h"
#include "util/io.h"
#include "util/mem.h"
#include "vm/client.h"

#define BYTES_MAX (1u << 20)

static int update(const struct instance *inst, struct err *err)
{
	_cleanup_free_ uint8_t *bytes = malloc(BYTES_MAX);
	struct plan p = { 0 };
	ssize_t n;
	int r;

	if (!bytes)
		return err_set(err, ENOMEM, "out of memory");
	n = io_read_full(STDIN_FILENO, bytes, BYTES_MAX);
	if (n < 0)
		return err_sys(err, (int)-n, "read the limits");
	r = plan_decode(bytes, (size_t)n, &p, err);
	if (r == 0)
		r = adapt_update(&p.resources, err);
	plan_done(&p);
	return r == 0 ? vm_client_update(inst, bytes, (size_t)n, err) : r;
}

int update_main(const struct instance *inst)
{
	struct err err = ERR_INIT;

	if (update(inst, &err) == 0)
		return 0;
	fprintf(stderr, "%s\n", err.msg);
	return EXIT_FAILURE;
}
