/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proa-vmm: one machine, in one process.
 *
 * Everything that has a path is opened first, then the sandbox closes, then the guest runs. What
 * may go wrong does so before the first instruction of the guest, as one line on standard error.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>
#include "util/err.h"
#include "util/mem.h"
#include "vmm/cgroup.h"
#include "vmm/config.h"
#include "vmm/control.h"
#include "vmm/sandbox.h"
#include "vmm/vmm.h"

/* How the terminal, and what else our input and output are, was before. */
static struct termios before;
static bool is_raw;
static int flags_before[2];

/*
 * The guest's terminal is the one that edits lines and makes signals of keys. Devices make our
 * input and output non-blocking, and these are shared with whoever started us.
 */
static void terminal_take(void)
{
	struct termios raw;

	for (int fd = 0; fd < 2; fd++)
		flags_before[fd] = fcntl(fd, F_GETFL);
	if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &before) < 0)
		return;
	raw = before;
	cfmakeraw(&raw);
	raw.c_oflag |= OPOST;
	is_raw = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

static void terminal_give_back(void)
{
	for (int fd = 0; fd < 2; fd++)
		if (flags_before[fd] >= 0)
			(void)fcntl(fd, F_SETFL, flags_before[fd]);
	if (is_raw)
		(void)tcsetattr(STDIN_FILENO, TCSANOW, &before);
}

static int fail(const struct err *err)
{
	fprintf(stderr, "proa-vmm: %s\n", err->msg);
	return EXIT_PROA;
}

static const char *end_word(enum vmm_end end)
{
	switch (end) {
	case VMM_POWER_OFF: return "ended power-off";
	case VMM_KILLED: return "ended killed";
	case VMM_RESET: return "ended reset";
	case VMM_PANIC: return "ended panic";
	case VMM_TRIPLE_FAULT: return "ended triple-fault";
	case VMM_HALT: return "ended halt";
	default: return "ended failed";
	}
}

static int run(const struct vmm_config *config, struct err *err)
{
	struct vmm v;
	enum vmm_end end = VMM_FAILED;
	int r;

	terminal_take();
	r = vmm_init(&v, config, err);
	if (r == 0 && config->sandbox)
		r = sandbox_close(config, err);
	if (r == 0) {
		end = vmm_run(&v, err);
		control_event(v.control, end_word(end));
	}
	vmm_done(&v);
	terminal_give_back();
	if (r < 0 || end == VMM_FAILED)
		return fail(err);
	if (config->verbose)
		fprintf(stderr, "proa-vmm: %s\n", v.end_reason);
	return (int)end;
}

int main(int argc, char **argv)
{
	struct vmm_config config;
	struct err err = ERR_INIT;
	int r = config_parse(argc, argv, &config, &err);

	if (r <= 0)
		return r < 0 ? fail(&err) : 0;
	r = cgroup_join(config.cgroup, &err);
	if (r == 0 && config.sandbox)
		r = sandbox_enter_pids(&err);
	r = r < 0 ? fail(&err) : run(&config, &err);
	config_done(&config);
	return r;
}
