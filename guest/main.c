/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proa-init is one static executable with three lives: process 1 of a machine (with the agent in
 * it), the stage that becomes a container's process (on the host as in the guest), and, with
 * --init, the reaper that stays. Which one it is tells how it was started.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "agent.h"
#include "container/stage.h"
#include "guest.h"
#include "util/err.h"
#include "util/io.h"
#include "util/mem.h"
#include "util/str.h"

#define PORT_TIMEOUT_MS 20000

static void on_clock(void *data _unused_, int64_t realtime_ns)
{
	struct timespec ts = { .tv_sec = realtime_ns / 1000000000,
			       .tv_nsec = realtime_ns % 1000000000 };

	if (realtime_ns > 0)
		(void)clock_settime(CLOCK_REALTIME, &ts);
}

static int on_prepare(void *data _unused_, const struct plan *plan, uint32_t run_flags,
		      struct err *err)
{
	int r = 0;

	if (run_flags & RUN_ROOT_IMAGE)
		r = guest_image_mount(err);
	else if (!(run_flags & RUN_ROOT_SHARED))
		r = guest_disks_check(err);
	if (r == 0 && !(plan->namespaces & PLAN_NS_NET))
		r = guest_loopback_up(err);
	if (r == 0 && (run_flags & RUN_BINDS))
		r = guest_share_mount(err);
	return r;
}

/* The number after @key in a file of /proc, 0 if there is none. */
static unsigned long long proc_number(const char *path, const char *key)
{
	_cleanup_free_ char *text = NULL;
	unsigned long long n = 0;
	const char *at;

	if (io_read_file(AT_FDCWD, path, 65536, &text, NULL) < 0)
		return 0;
	at = strstr(text, key);
	if (at)
		(void)sscanf(at + strlen(key), "%llu", &n);
	return n;
}

static void on_explain(void *data _unused_, int code, struct err *why)
{
	char size[16];

	if (code == 128 + SIGKILL && proc_number("/proc/vmstat", "\noom_kill "))
		err_exit(why, ENOMEM, code,
			 "killed: the machine ran out of its memory of %s; give it more with -m",
			 str_human_mib(proc_number("/proc/meminfo", "MemTotal:") << 10, size));
}

static void on_sync(void *data _unused_)
{
	guest_disks_sync();
}

static void on_ended(void *data _unused_)
{
	guest_power_off();
}

_Noreturn void guest_main(void)
{
	static const struct agent_hooks hooks = { .clock = on_clock,
						  .prepare = on_prepare,
						  .explain = on_explain,
						  .sync = on_sync,
						  .ended = on_ended };
	static struct agent agent;
	struct loop loop;
	struct err err = ERR_INIT;
	int fd;

	guest_boot();
	guest_disks_mount();
	fd = guest_port_open(PORT_TIMEOUT_MS);
	if (fd < 0)
		guest_fatal("the agent's port did not appear: %s", strerror(-fd));
	if (loop_init(&loop, &err) < 0)
		guest_fatal("%s", err.msg);
	if (agent_init(&agent, &loop, fd, &container_backend, "/proc/self/exe", &hooks) < 0)
		guest_fatal("the agent cannot watch its port");
	if (loop_run(&loop, &err) < 0)
		guest_fatal("%s", err.msg);
	guest_power_off();
}

int main(int argc, char **argv)
{
	if (argc > 0 && !strcmp(argv[0], STAGE_NAME))
		return stage_main(argc, argv);
	/* the kernel starts /init; a container that executes its own /proc/1/exe is not a machine
	 */
	if (getpid() == 1 && argc > 0 && !strcmp(argv[0], "/init"))
		guest_main();
	fprintf(stderr,
		"proa-init is a part of proa and runs nothing by itself; see \"proa --help\"\n");
	return EXIT_PROA;
}
