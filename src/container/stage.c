/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order of steps from a fresh process in new namespaces to the user's command. Each step is in
 * a file of its own; the reasons for the order are here.
 */
#include "container/stage.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include "container/stage_internal.h"
#include "util/io.h"
#include "util/linux.h"
#include "util/mem.h"
#include "util/str.h"

static void report(uint32_t type, const struct err *err, int fd)
{
	struct stage_report r = { .type = type };

	if (err)
		r.err = *err;
	(void)io_send_fd(STAGE_SYNC_FD, &r, sizeof(r), fd);
}

void stage_warn(const struct err *err)
{
	report(STAGE_REPORT_WARNING, err, -1);
}

/* The root, then the binds, each with a byte that says whether there is one (launch.c). */
static int receive_sources(struct stage *s, uint32_t count, struct err *err)
{
	char byte;

	if (count == 0)
		return 0;
	if (count != s->plan.mount_count + 1)
		return err_set(err, EPROTO, "the stage got %u mounts, not %zu", count,
			       s->plan.mount_count + 1);
	s->sources.binds = calloc(count, sizeof(int));
	if (!s->sources.binds)
		return err_set(err, ENOMEM, "out of memory");
	s->sources.count = count - 1;
	for (uint32_t i = 0; i < count; i++) {
		int *fd = i ? &s->sources.binds[i - 1] : &s->sources.root;

		if (io_recv_fd(STAGE_SYNC_FD, &byte, 1, fd) != 1)
			return err_set(err, EPROTO, "the stage got too few mounts");
	}
	return 0;
}

static int receive_start(struct stage *s, struct err *err)
{
	_cleanup_free_ uint8_t *payload = NULL;
	struct stage_start start;

	if (io_read_full(STAGE_SYNC_FD, &start, sizeof(start)) != sizeof(start) ||
	    start.payload_bytes > PLAN_WIRE_MAX)
		return err_set(err, EPROTO, "the stage got no plan");
	payload = malloc(start.payload_bytes + 1u);
	if (!payload)
		return err_set(err, ENOMEM, "out of memory for a plan of %u bytes",
			       start.payload_bytes);
	if (io_read_full(STAGE_SYNC_FD, payload, start.payload_bytes) !=
	    (ssize_t)start.payload_bytes)
		return err_set(err, EPROTO, "the stage got half a plan");
	s->mode = start.mode;
	s->cgroup_version = start.cgroup_version;
	if (start.mode == STAGE_RUN) {
		int r = plan_decode(payload, start.payload_bytes, &s->plan, err);

		return r < 0 ? r : receive_sources(s, start.source_count, err);
	}
	return plan_process_decode(payload, start.payload_bytes, &s->plan.process, err);
}

/* Kernel settings of the plan's namespaces; the root has a writable /proc/sys until paths are
 * hidden. */
static int set_sysctls(struct stage *s, struct err *err)
{
	for (char **v = s->plan.sysctls; v && *v; v++) {
		_cleanup_free_ char *path = str_printf("proc/sys/%s", *v);
		_cleanup_close_ int fd = -EBADF;
		char *eq = path ? strchr(path, '=') : NULL;
		const char *value;
		struct statfs fs;

		if (!eq)
			return err_set(err, EINVAL, "sysctl \"%s\" is not NAME=VALUE", *v);
		*eq = 0;
		value = strchr(*v, '=') + 1;
		for (char *p = path + strlen("proc/sys/"); *p; p++)
			if (*p == '.')
				*p = '/';
		fd = sys_openat2(s->root_fd, path, O_WRONLY | O_CLOEXEC, 0,
				 RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS);
		/* CVE-2025-52881: the value must go to the kernel, not into a file that looks like
		 * it */
		if (fd >= 0 && (fstatfs(fd, &fs) < 0 || fs.f_type != PROC_SUPER_MAGIC))
			return err_set(err, EPERM, "set sysctl %s: /proc is not the kernel's", *v);
		if (fd < 0 || write(fd, value, strlen(value)) < 0)
			return err_sys(err, errno, "set sysctl %s", *v);
	}
	return 0;
}

static int set_names(struct stage *s, struct err *err)
{
	const char *name = s->plan.hostname;

	if (!(s->plan.namespaces & PLAN_NS_UTS) || str_empty(name))
		return 0;
	if (sethostname(name, strlen(name)) < 0)
		return err_sys(err, errno, "set the host name \"%s\"", name);
	return 0;
}

/* A new network namespace has a loopback interface, and it is down. */
static int raise_loopback(struct stage *s, struct err *err)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	_cleanup_close_ int fd = -EBADF;

	if (!(s->plan.namespaces & PLAN_NS_NET))
		return 0;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		return err_sys(err, errno, "switch the loopback interface on");
	return 0;
}

/*
 * Namespaces that cannot be made when the process is: the cgroup namespace shows the group that the
 * process is in when it is made, and the time namespace is entered at exec.
 */
static int late_namespaces(struct stage *s, struct err *err)
{
	uint32_t ns = s->plan.namespaces;

	if ((ns & PLAN_NS_CGROUP) && s->cgroup_version && sys_unshare(CLONE_NEWCGROUP) < 0)
		return err_sys(err, errno, "make a cgroup namespace");
	if ((ns & PLAN_NS_TIME) && sys_unshare(CLONE_NEWTIME) < 0)
		return err_sys(err, errno, "make a time namespace");
	return 0;
}

/* Enters the working directory, made if absent, and proves that it lies inside the root. */
static int enter_cwd(struct stage *s, struct err *err)
{
	const char *cwd = s->plan.process.cwd;
	char now[4096];

	if (s->mode == STAGE_RUN && chdir(cwd) < 0 && errno == ENOENT) {
		int r = io_mkdir_all(AT_FDCWD, cwd, 0755);

		if (r < 0)
			return err_sys(err, -r, "make the working directory \"%s\"", cwd);
	}
	if (chdir(cwd) < 0)
		return err_exit(err, errno, s->mode == STAGE_EXEC ? EXIT_CANNOT_RUN : EXIT_PROA,
				"enter the working directory \"%s\": %s", cwd, strerror(errno));
	/*
	 * CVE-2024-21626: a working directory reached through a leaked descriptor lies outside the
	 * root; the kernel then answers "(unreachable)…" or nothing at all.
	 */
	if (syscall(SYS_getcwd, now, sizeof(now)) < 0 || now[0] != '/')
		return err_set(err, EPERM,
			       "the working directory \"%s\" lies outside the container", cwd);
	return 0;
}

/* Everything that makes the root: only for the first process. */
static int build_root(struct stage *s, struct err *err)
{
	int r = stage_root_open(s, err);

	if (r == 0)
		r = set_names(s, err);
	if (r == 0)
		r = raise_loopback(s, err);
	if (r == 0)
		r = late_namespaces(s, err);
	if (r == 0)
		r = stage_mounts(s, err);
	if (r == 0)
		r = stage_devices(s, err);
	if (r == 0)
		r = stage_files(s, err);
	if (r == 0)
		r = set_sysctls(s, err);
	if (r == 0 && s->plan.process.terminal)
		r = stage_terminal_open(s, err);
	if (r == 0)
		r = stage_hide_paths(s, err);
	if (r == 0)
		r = stage_root_enter(s, err);
	return r;
}

static int join_root(struct stage *s, struct err *err)
{
	s->root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (s->root_fd < 0)
		return err_sys(err, errno, "open the container's root");
	return s->plan.process.terminal ? stage_terminal_open(s, err) : 0;
}

static int set_oom_score(struct stage *s, struct err *err)
{
	char text[16];
	int r;

	if (!s->plan.process.has_oom_score_adj)
		return 0;
	snprintf(text, sizeof(text), "%d", s->plan.process.oom_score_adj);
	r = io_write_knob(AT_FDCWD, "/proc/self/oom_score_adj", text);
	return r < 0 ? err_sys(err, -r, "set oom_score_adj to %s", text) : 0;
}

/* The last steps in the process that becomes the command. Returns only on failure. */
static int become_command(struct stage *s, struct err *err)
{
	/* the parent's death must end the container also after the user changed, which clears this
	 */
	bool first = s->mode == STAGE_RUN && !s->plan.process.init;
	int r = stage_user_become(s, err);

	if (r < 0)
		return r;
	if (first && prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return err_sys(err, errno, "tie the container to its owner");
	return stage_exec(s, err);
}

/* --init: this process stays as process 1, and a child becomes the command. */
static int run_under_reaper(struct stage *s, struct err *err)
{
	pid_t child = fork();

	if (child < 0)
		return err_sys(err, errno, "start the command under the init process");
	if (child == 0) {
		setsid();
		if (s->terminal_fd >= 0)
			(void)stage_terminal_attach(s, NULL);
		return become_command(s, err);
	}
	close(STAGE_SYNC_FD);
	reaper_run(child);
}

static int stage_run(struct stage *s, struct err *err)
{
	struct plan_process *p = &s->plan.process;
	int r = receive_start(s, err);

	if (r < 0)
		return r;
	umask(0);
	r = s->mode == STAGE_RUN ? build_root(s, err) : join_root(s, err);
	if (r == 0)
		r = stage_user_find(s, err);
	if (r == 0)
		r = enter_cwd(s, err);
	if (r == 0)
		r = set_oom_score(s, err);
	if (r == 0)
		r = stage_rlimits(s, err);
	if (r < 0)
		return r;
	umask(0022);
	setsid();
	if (p->init && s->mode == STAGE_RUN)
		return run_under_reaper(s, err);
	if (s->terminal_fd >= 0) {
		r = stage_terminal_attach(s, err);
		if (r < 0)
			return r;
	}
	return become_command(s, err);
}

/* What proa's own loop blocks or ignores must not reach the command. */
static void reset_signals(void)
{
	sigset_t none;

	for (int sig = 1; sig < 32; sig++)
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

int stage_main(int argc _unused_, char **argv _unused_)
{
	static struct stage s = { .root_fd = -EBADF,
				  .terminal_fd = -EBADF,
				  .sources = ROOT_SOURCES_INIT };
	struct err err = ERR_INIT;
	struct stat st;
	int r;

	if (fstat(STAGE_SYNC_FD, &st) < 0 || !S_ISSOCK(st.st_mode)) {
		fprintf(stderr, STAGE_NAME ": started by proa only\n");
		return EXIT_PROA;
	}
	/* no process of the container may look into this one before it is the container's own */
	prctl(PR_SET_DUMPABLE, 0);
	prctl(PR_SET_NAME, STAGE_NAME);
	reset_signals();
	/* whatever descriptors came along (systemd's, a shell's), the command gets 0, 1 and 2 */
	sys_close_range(STAGE_SYNC_FD, ~0u, CLOSE_RANGE_CLOEXEC);
	r = stage_run(&s, &err);
	if (r < 0)
		report(STAGE_REPORT_FAILED, &err, -1);
	_exit(err.exit_code);
}
