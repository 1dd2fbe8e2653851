/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container backend: struct backend_ops on this kernel. The guest of a virtual machine uses it
 * as well, for the process inside.
 *
 * A process here is a child of ours with three pipes or a terminal, watched by the loop. It is over
 * when three things are: the child has been reaped, the stage's socket has told how the start went,
 * and its output has been read. For a first process the kernel ends all others of the pid namespace
 * before the child can be reaped, so its pipes end; an exec's may be held open by processes it left
 * behind, so there what is in the pipe when it ends is the last of it (as with docker exec).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include "container/cgroup.h"
#include "container/launch.h"
#include "plan/backend.h"
#include "plan/plan.h"
#include "util/err.h"
#include "util/linux.h"
#include "util/log.h"
#include "util/loop.h"
#include "util/mem.h"
#include "util/proc.h"
#include "util/str.h"

struct container_process;

struct output {
	struct loop_watch watch;
	struct container_process *owner;
	enum stream stream;
	size_t unconsumed; /* handed over and not yet acknowledged */
};

struct container_process {
	struct process base;
	struct loop *loop;
	const struct plan *plan;
	const struct instance *inst;
	const struct process_events *events;
	bool is_exec, terminal;
	const struct cgroup_ops *cgroups;
	const char *cgroup; /* its path */
	char cgroup_buf[CGROUP_DEFAULT_MAX];
	struct launch launch;
	struct loop_watch sync_watch, pid_watch, stdin_watch;
	struct output outputs[2];
	bool input_closed; /* close_stdin() was called */
	bool reaped, launched;
	bool ending; /* exited() was or is being called */
	int code;
	struct err why; /* errnum 0: none */
};

static void finish_if_over(struct container_process *p);

/* ---- output --------------------------------------------------------------------------------- */

static void output_close(struct output *o)
{
	loop_remove(o->owner->loop, &o->watch);
	o->watch.fd = fd_close(o->watch.fd);
}

/* One read; false when there was nothing more to read now. */
static bool output_read(struct output *o)
{
	struct container_process *p = o->owner;
	char buf[16384];
	ssize_t n = read(o->watch.fd, buf, sizeof(buf));

	if (n > 0) {
		o->unconsumed += (size_t)n;
		p->events->output(p->events->data, o->stream, buf, (size_t)n);
		return true;
	}
	if (n < 0 && errno == EINTR)
		return true;
	/* a pipe without writers, or EIO: a terminal whose other side is closed */
	if (n == 0 || errno != EAGAIN || (p->reaped && !p->terminal))
		output_close(o);
	return false;
}

static void output_ready(struct loop_watch *w, uint32_t events _unused_)
{
	struct output *o = container_of(w, struct output, watch);

	/* at most a window, so that input, signals and the other stream get their turn */
	while (o->watch.fd >= 0 && o->unconsumed < STREAM_WINDOW && output_read(o))
		;
	if (o->watch.fd >= 0 && o->unconsumed >= STREAM_WINDOW)
		loop_remove(o->owner->loop, &o->watch);
	finish_if_over(o->owner);
}

static int output_watch(struct container_process *p, enum stream stream, int fd)
{
	struct output *o = &p->outputs[stream == STREAM_STDERR];

	o->owner = p;
	o->stream = stream;
	o->watch = (struct loop_watch){ .fd = fd, .events = EPOLLIN, .call = output_ready };
	return loop_add(p->loop, &o->watch);
}

static void process_consumed(struct process *base, enum stream stream, size_t n)
{
	struct container_process *p = container_of(base, struct container_process, base);
	struct output *o = &p->outputs[stream == STREAM_STDERR];

	o->unconsumed -= MIN(n, o->unconsumed);
	if (o->watch.fd >= 0 && o->unconsumed < STREAM_WINDOW)
		(void)loop_add(p->loop, &o->watch);
}

/* ---- input ---------------------------------------------------------------------------------- */

static void stdin_ready(struct loop_watch *w, uint32_t events _unused_)
{
	struct container_process *p = container_of(w, struct container_process, stdin_watch);

	loop_remove(p->loop, w);
	if (!p->input_closed)
		p->events->stdin_room(p->events->data);
}

static ssize_t process_write_stdin(struct process *base, const void *bytes, size_t n)
{
	struct container_process *p = container_of(base, struct container_process, base);
	ssize_t r;

	if (p->input_closed)
		return -EPIPE;
	if (p->stdin_watch.fd < 0)
		return p->terminal && !p->launched ? 0 : -EPIPE;
	r = write(p->stdin_watch.fd, bytes, n);
	if (r >= 0)
		return r;
	if (errno != EAGAIN && errno != EINTR)
		return -EPIPE;
	(void)loop_add(p->loop, &p->stdin_watch);
	return 0;
}

static void process_close_stdin(struct process *base)
{
	struct container_process *p = container_of(base, struct container_process, base);
	char end_of_file = 4; /* the terminal's VEOF, control-D */

	if (p->input_closed)
		return;
	p->input_closed = true;
	if (p->stdin_watch.fd < 0)
		return;
	loop_remove(p->loop, &p->stdin_watch);
	if (p->terminal)
		(void)!write(p->stdin_watch.fd, &end_of_file, 1);
	else
		p->stdin_watch.fd = fd_close(p->stdin_watch.fd);
}

static int process_resize(struct process *base, uint16_t rows, uint16_t cols)
{
	struct container_process *p = container_of(base, struct container_process, base);
	struct winsize size = { .ws_row = rows, .ws_col = cols };

	if (!p->terminal || p->stdin_watch.fd < 0)
		return -ENOTTY;
	return ioctl(p->stdin_watch.fd, TIOCSWINSZ, &size) < 0 ? -errno : 0;
}

static int process_signal(struct process *base, int signo)
{
	struct container_process *p = container_of(base, struct container_process, base);

	if (p->reaped)
		return -ESRCH;
	return sys_pidfd_send_signal(p->launch.pidfd, signo) < 0 ? -errno : 0;
}

/* ---- the end -------------------------------------------------------------------------------- */

static void note_out_of_memory(struct container_process *p)
{
	char limit[16];

	if (p->is_exec || p->why.errnum || p->code != 128 + SIGKILL || !p->cgroups ||
	    !p->plan->resources.memory_bytes || !p->cgroups->oom_kills(p->cgroup))
		return;
	err_exit(&p->why, ENOMEM, p->code,
		 "killed: it needed more memory than its limit of %s (-m)",
		 str_human_mib(p->plan->resources.memory_bytes, limit));
}

static void finish_if_over(struct container_process *p)
{
	if (p->ending || !p->reaped || !p->launched || p->outputs[0].watch.fd >= 0 ||
	    p->outputs[1].watch.fd >= 0)
		return;
	p->ending = true;
	note_out_of_memory(p);
	if (!p->is_exec && p->cgroups)
		(void)p->cgroups->remove(p->cgroup, NULL);
	/* may free p */
	p->events->exited(p->events->data, p->why.errnum ? p->why.exit_code : p->code,
			  p->why.errnum ? &p->why : NULL);
}

static void pid_ready(struct loop_watch *w, uint32_t events _unused_)
{
	struct container_process *p = container_of(w, struct container_process, pid_watch);
	siginfo_t si = { 0 };

	if (waitid((idtype_t)P_PIDFD, (id_t)p->launch.pidfd, &si, WEXITED | WNOHANG) < 0 ||
	    si.si_pid == 0)
		return;
	loop_remove(p->loop, w);
	p->reaped = true;
	p->code = si.si_code == CLD_EXITED ? si.si_status : 128 + si.si_status;
	/* what is left in the pipes: through the same path, which then also sees their end */
	for (size_t i = 0; i < ARRAY_SIZE(p->outputs); i++) {
		struct output *o = &p->outputs[i];

		while (o->watch.fd >= 0 && o->unconsumed < STREAM_WINDOW && output_read(o))
			;
	}
	finish_if_over(p);
}

/* ---- the start ------------------------------------------------------------------------------ */

static int take_terminal(struct container_process *p, int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	if (copy < 0 || fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK) < 0) {
		fd_close(copy);
		close(fd);
		return -errno;
	}
	/* two descriptors, for epoll takes each once: one watched for output, one for room */
	p->stdin_watch.fd = copy;
	return output_watch(p, STREAM_STDOUT, fd);
}

static void sync_ready(struct loop_watch *w, uint32_t events _unused_)
{
	struct container_process *p = container_of(w, struct container_process, sync_watch);
	struct err err = ERR_INIT;
	enum launch_event e;
	int fd = -EBADF;

	while ((e = launch_next(p->launch.sync_fd, &fd, &err)) != LAUNCH_AGAIN) {
		if (e == LAUNCH_TERMINAL) {
			(void)take_terminal(p, fd);
			continue;
		}
		if (e == LAUNCH_WARNING) {
			log_verbose("%s", err.msg);
			continue;
		}
		/* a plan of the engine's has no hooks and no notifying filter */
		if (e != LAUNCH_RUNNING && e != LAUNCH_FAILED) {
			fd = fd_close(fd);
			err_set(&err, EPROTO, "the container's start broke off");
			e = LAUNCH_FAILED;
		}
		if (e == LAUNCH_FAILED)
			p->why = err;
		loop_remove(p->loop, w);
		p->launch.sync_fd = fd_close(p->launch.sync_fd);
		p->launched = true;
		if (e == LAUNCH_RUNNING) {
			p->events->started(p->events->data, p->launch.pid);
			if (p->terminal && !p->input_closed)
				p->events->stdin_room(p->events->data);
		}
		break;
	}
	finish_if_over(p);
}

static void process_free(struct process *base)
{
	struct container_process *p;

	if (!base)
		return;
	p = container_of(base, struct container_process, base);
	if (!p->reaped && p->launch.pidfd >= 0 && !p->is_exec) {
		sys_pidfd_send_signal(p->launch.pidfd, SIGKILL);
		waitpid(p->launch.pid, NULL, 0);
		if (p->cgroups)
			(void)p->cgroups->remove(p->cgroup, NULL);
	}
	loop_remove(p->loop, &p->sync_watch);
	loop_remove(p->loop, &p->pid_watch);
	loop_remove(p->loop, &p->stdin_watch);
	for (size_t i = 0; i < ARRAY_SIZE(p->outputs); i++) {
		loop_remove(p->loop, &p->outputs[i].watch);
		fd_close(p->outputs[i].watch.fd);
	}
	fd_close(p->stdin_watch.fd);
	fd_close(p->launch.sync_fd);
	fd_close(p->launch.pidfd);
	free(p);
}

static const struct process_ops process_ops = {
	.write_stdin = process_write_stdin,
	.close_stdin = process_close_stdin,
	.consumed = process_consumed,
	.resize = process_resize,
	.signal = process_signal,
	.free = process_free,
};

static struct container_process *process_new(struct loop *loop, const struct plan *plan,
					     const struct instance *inst,
					     const struct process_events *events)
{
	struct container_process *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->base.ops = &process_ops;
	p->loop = loop;
	p->plan = plan;
	p->inst = inst;
	p->events = events;
	p->cgroup = cgroup_path_or_default(plan->cgroup, inst->id, p->cgroup_buf);
	p->launch.pidfd = p->launch.sync_fd = -EBADF;
	p->stdin_watch =
		(struct loop_watch){ .fd = -EBADF, .events = EPOLLOUT, .call = stdin_ready };
	p->outputs[0].watch.fd = p->outputs[1].watch.fd = -EBADF;
	return p;
}

/* Makes the pipes; the child's ends go to @child, ours into the process. */
static int open_pipes(struct container_process *p, int child[3])
{
	for (int i = 0; i < 3; i++) {
		int ends[2], ours, r;

		if (pipe2(ends, O_CLOEXEC) < 0)
			return -errno;
		child[i] = i == STREAM_STDIN ? ends[0] : ends[1];
		ours = i == STREAM_STDIN ? ends[1] : ends[0];
		if (fcntl(ours, F_SETFL, O_NONBLOCK) < 0) {
			close(ours);
			return -errno;
		}
		if (i == STREAM_STDIN) {
			p->stdin_watch.fd = ours;
			continue;
		}
		r = output_watch(p, (enum stream)i, ours);
		if (r < 0)
			return r;
	}
	return 0;
}

/* What run and exec have in common: pipes, launch, watches. Frees @p on failure. */
static int process_start(struct container_process *p, struct launch_spec *spec,
			 const struct plan_process *what, struct process **ret, struct err *err)
{
	int r = 0;

	p->terminal = what->terminal;
	spec->stdio[0] = spec->stdio[1] = spec->stdio[2] = -EBADF;
	if (!p->terminal)
		r = open_pipes(p, spec->stdio);
	if (r < 0)
		r = err_sys(err, -r, "make pipes");
	if (r == 0)
		r = launch_start(spec, &p->launch, err);
	for (int i = 0; i < 3; i++)
		fd_close(spec->stdio[i]);
	if (r == 0) {
		p->sync_watch = (struct loop_watch){ .fd = p->launch.sync_fd,
						     .events = EPOLLIN,
						     .call = sync_ready };
		p->pid_watch = (struct loop_watch){ .fd = p->launch.pidfd,
						    .events = EPOLLIN,
						    .call = pid_ready };
		r = loop_add(p->loop, &p->sync_watch);
		if (r == 0)
			r = loop_add(p->loop, &p->pid_watch);
		if (r < 0)
			r = err_sys(err, -r, "watch the container");
	}
	if (r < 0) {
		process_free(&p->base);
		return r;
	}
	*ret = &p->base;
	return 0;
}

/* ---- backend_ops ---------------------------------------------------------------------------- */

static int container_check(const struct plan *plan, struct err *err)
{
	if (geteuid() != 0)
		return err_set(err, EPERM,
			       "running a container needs root; run proa as root (sudo proa …)");
	if ((plan->namespaces & PLAN_NS_USER) && !(plan->namespaces & PLAN_NS_NET))
		return err_set(
			err, EOPNOTSUPP,
			"--userns auto with --network host: a user namespace cannot mount the "
			"/sys of the host's network; use --network none");
	if (cgroup_has_limits(&plan->resources) && !cgroup_detect())
		return err_set(
			err, EOPNOTSUPP,
			"limits (-m, --cpus, --cpuset-cpus, --pids-limit) need cgroups, and none "
			"are mounted on " CGROUP_ROOT);
	return 0;
}

static int container_run(struct loop *loop, const struct plan *plan, const struct instance *inst,
			 const struct process_events *events, struct process **ret, struct err *err)
{
	struct container_process *p = process_new(loop, plan, inst, events);
	struct launch_spec spec = { .plan = plan,
				    .stage = inst->stage,
				    .cgroups = cgroup_detect(),
				    .target_pidfd = -EBADF };
	int r = 0;

	if (!p)
		return err_set(err, ENOMEM, "out of memory");
	p->cgroups = spec.cgroups;
	spec.cgroup = p->cgroup;
	if (spec.cgroups)
		r = spec.cgroups->create(p->cgroup, &plan->resources, err);
	if (r < 0) {
		process_free(&p->base);
		return r;
	}
	r = process_start(p, &spec, &plan->process, ret, err);
	if (r < 0 && spec.cgroups) {
		char buf[CGROUP_DEFAULT_MAX]; /* p is gone */

		(void)spec.cgroups->remove(cgroup_path_or_default(plan->cgroup, inst->id, buf),
					   NULL);
	}
	return r;
}

static int container_exec(struct loop *loop, const struct plan *plan, const struct instance *inst,
			  const struct plan_process *what, const struct process_events *events,
			  struct process **ret, struct err *err)
{
	_cleanup_close_ int target = proc_open(inst->pid, inst->pid_start);
	struct container_process *p;
	struct launch_spec spec = { .plan = plan,
				    .exec = what,
				    .stage = inst->stage,
				    .cgroups = cgroup_detect(),
				    .target_pidfd = target };

	if (target < 0)
		return err_set(err, ESRCH, "the container is not running");
	p = process_new(loop, plan, inst, events);
	if (!p)
		return err_set(err, ENOMEM, "out of memory");
	p->is_exec = true;
	spec.cgroup = p->cgroup;
	return process_start(p, &spec, what, ret, err);
}

static int container_kill(const struct instance *inst, int signo, struct err *err)
{
	_cleanup_close_ int fd = proc_open(inst->pid, inst->pid_start);

	if (fd < 0)
		return err_set(err, ESRCH, "the container is not running");
	if (sys_pidfd_send_signal(fd, signo) < 0)
		return err_sys(err, errno, "send signal %d to the container", signo);
	return 0;
}

static int container_cleanup(const struct instance *inst, struct err *err)
{
	const struct cgroup_ops *cgroups = cgroup_detect();
	_cleanup_close_ int fd = proc_open(inst->pid, inst->pid_start);
	struct pollfd wait_for = { .fd = fd, .events = POLLIN };
	char buf[CGROUP_DEFAULT_MAX];

	/* the owner's death kills it (PDEATHSIG); should it still live, then now */
	if (fd >= 0 && sys_pidfd_send_signal(fd, SIGKILL) == 0)
		(void)poll(&wait_for, 1, 5000);
	return cgroups ? cgroups->remove(cgroup_path_or_default(NULL, inst->id, buf), err) : 0;
}

static int container_update(const struct plan *plan, const struct instance *inst,
			    const struct plan_resources *limits, struct err *err)
{
	const struct cgroup_ops *cgroups = cgroup_detect();
	char buf[CGROUP_DEFAULT_MAX];

	if (!cgroups)
		return err_set(err, EOPNOTSUPP, "limits need cgroups, and none are mounted");
	return cgroups->update(cgroup_path_or_default(plan->cgroup, inst->id, buf), limits, err);
}

const struct backend_ops container_backend = {
	.name = "container",
	.check = container_check,
	.run = container_run,
	.exec = container_exec,
	.kill = container_kill,
	.update = container_update,
	.cleanup = container_cleanup,
};
