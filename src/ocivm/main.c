/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of proa-oci-machine; ocivm.h has the theory. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include "container/stage.h"
#include "ocivm/ocivm.h"
#include "ocivm/relay.h"
#include "ocivm/start.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/proc.h"
#include "util/self.h"
#include "util/str.h"

#define PRESERVED_MAX 1024u

static int usage(void)
{
	fprintf(stderr, "proa-oci-machine is a part of proa-oci and is started by it only\n");
	return EXIT_PROA;
}

static int start_main(struct start *s, struct instance *inst, const char *preserved)
{
	_cleanup_free_ char *stage = NULL;
	struct err err = ERR_INIT;
	uint32_t n;
	int r;

	if (str_to_u32(preserved, &n) < 0 || n > PRESERVED_MAX)
		return usage();
	r = start_open(s, n, &err);
	if (s->fd < 0)
		return usage();
	if (r == 0)
		r = self_find_helper("proa-init", &stage, &err);
	inst->stage = stage;
	if (r < 0) {
		(void)start_report(s, STAGE_REPORT_FAILED, &err, -1);
		return err.exit_code;
	}
	return s->mode == STAGE_RUN ? owner_main(s, inst) : exec_main(s, inst);
}

int main(int argc, char **argv)
{
	const char *store = getenv("PROA_ROOT");
	struct instance inst = { .store = str_empty(store) ? "/var/lib/proa" : store };
	struct start s = { .fd = -EBADF, .listening = -EBADF };
	int code;

	if (argc == 5 && !strcmp(argv[1], "kill")) {
		inst.run_dir = inst.dir = argv[2];
		inst.id = argv[3];
		return kill_main(&inst, argv[4]);
	}
	if (argc == 4 && !strcmp(argv[1], "update")) {
		inst.run_dir = inst.dir = argv[2];
		inst.id = argv[3];
		return update_main(&inst);
	}
	if (argc != 6)
		return usage();
	/* before anything else: a signal that comes while the machine is made is the command's */
	relay_block_signals();
	prctl(PR_SET_DUMPABLE, 0);
	inst.run_dir = inst.dir = argv[2];
	inst.id = argv[3];
	code = start_main(&s, &inst, argv[1]);
	start_done(&s);
	return code;
}
