/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a machine in its owner.
 *
 * Everything is prepared while QEMU is not needed yet, then QEMU starts, and while the guest boots
 * the plan already waits in the link. The guest greets; the host answers with its clock, in front
 * of what waits. From then on it is a session like any other.
 *
 * Who waits for its start (proa-oci) boots it without a plan, which then follows when it is up.
 *
 * Three things may end it: the session (its exit code arrived: QEMU is killed at once, for the
 * guest has nothing left to do that matters), QEMU's own end, and a broken rule of the protocol.
 * Whichever comes first decides what is told; machine_end() is called once.
 */
#include "vm/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include "plan/plan.h"
#include "util/err.h"
#include "util/io.h"
#include "util/linux.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/proc.h"
#include "util/str.h"
#include "vm/report.h"
#include "vm/share.h"
#include "vm/switch.h"

#define BOOT_LIMIT_S 120 /* until the agent's greeting; emulated on a busy host it takes a few */
#define KILL_LIMIT_S 3	 /* from SIGKILL for the command until the machine goes instead */
#define GONE_LIMIT_S 3	 /* from the end of the agent's port until QEMU's end */

static struct vm_machine *machine_of(struct vm_session *s)
{
	return container_of(s, struct vm_machine, session);
}

/*
 * Limits are counted in ticks of a second each: of a machine that was frozen for an hour (pause)
 * one tick has gone by, and it gets the rest of its time.
 */
static void set_timer(struct vm_machine *m, int seconds)
{
	struct itimerspec t = { .it_value.tv_sec = seconds ? 1 : 0,
				.it_interval.tv_sec = seconds ? 1 : 0 };

	m->seconds_left = seconds;
	(void)timerfd_settime(m->timer_watch.fd, 0, &t, NULL);
}

/* Tells the end; the user may free the machine in it. */
static void machine_end(struct vm_machine *m, int code, const struct err *why)
{
	if (m->hypervisor.pid > 0)
		(void)sys_pidfd_send_signal(m->hypervisor.pidfd, SIGKILL);
	vm_switch_free(TAKE_PTR(m->clients), why);
	vm_session_end(&m->session, code, why);
}

static void end_by_protocol(struct vm_machine *m)
{
	struct err why = ERR_INIT;

	err_set(&why, EPROTO, "the machine was ended: what its agent sent breaks the protocol");
	machine_end(m, EXIT_PROA, &why);
}

static void hypervisor_ended(struct loop_watch *w, uint32_t events _unused_)
{
	struct vm_machine *m = container_of(w, struct vm_machine, hypervisor_watch);
	struct err why = ERR_INIT;
	int status;

	if (!vm_helper_reap(&m->hypervisor, &status))
		return;
	loop_remove(m->loop, w);
	vm_tail_drain(&m->console);
	vm_tail_drain(&m->complaints);
	vm_report_end(m->kind->name, &m->console, &m->complaints, status, &why);
	machine_end(m, m->killed ? 128 + SIGKILL : EXIT_PROA, m->killed ? NULL : &why);
}

static void timer_ready(struct loop_watch *w, uint32_t events _unused_)
{
	struct vm_machine *m = container_of(w, struct vm_machine, timer_watch);
	struct err why = ERR_INIT;
	uint64_t ticks;

	if (read(w->fd, &ticks, sizeof(ticks)) != sizeof(ticks) || --m->seconds_left > 0)
		return;
	loop_remove(m->loop, w);
	if (m->killed) {
		machine_end(m, 128 + SIGKILL, NULL);
		return;
	}
	vm_tail_drain(&m->console);
	vm_report_silence(&m->console, m->greeted, BOOT_LIMIT_S, &why);
	machine_end(m, EXIT_PROA, &why);
}

/* ---- the link ------------------------------------------------------------------------------- */

static void remove_initrd(struct vm_machine *m)
{
	if (m->joined_initrd && m->dir_fd >= 0)
		(void)unlinkat(m->dir_fd, VM_INITRD_NAME, 0);
}

static int on_hello(struct vm_machine *m, const struct frame *f)
{
	struct frame_hello h;
	struct timespec now;

	frame_get(f, &h, sizeof(h));
	if (m->greeted || f->session != SESSION_FIRST || h.magic != PROTOCOL_MAGIC ||
	    h.version != PROTOCOL_VERSION)
		return -EBADMSG;
	m->greeted = true;
	set_timer(m, 0);
	/* QEMU has read it into the guest's memory */
	remove_initrd(m);
	clock_gettime(CLOCK_REALTIME, &now);
	h.realtime_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
	link_release(&m->link, FRAME_HELLO, &h, sizeof(h));
	return 0;
}

static int machine_frame(struct link *l, const struct frame *f)
{
	struct vm_machine *m = container_of(l, struct vm_machine, link);
	struct err why = ERR_INIT;
	int code, r;

	if (f->type == FRAME_HELLO)
		return on_hello(m, f);
	if (!m->greeted)
		return -EBADMSG;
	if (f->session != SESSION_FIRST)
		return m->clients ? vm_switch_frame(m->clients, f) : 0;
	if (f->type != FRAME_EXITED)
		return vm_session_frame(&m->session, f);
	r = vm_flow_from_guest(&m->session.flow, f);
	if (r == 0)
		r = frame_get_exited(f, &code, &why);
	if (r < 0)
		return r;
	machine_end(m, code, why.errnum ? &why : NULL);
	return LINK_FREED;
}

static void machine_link_ended(struct link *l, int error)
{
	struct vm_machine *m = container_of(l, struct vm_machine, link);

	if (error == -EBADMSG)
		end_by_protocol(m);
	else /* QEMU's end, which says more, follows */
		set_timer(m, GONE_LIMIT_S);
}

static void machine_drained(struct link *l)
{
	vm_switch_drained(container_of(l, struct vm_machine, link)->clients);
}

/* ---- the session ---------------------------------------------------------------------------- */

static int machine_signal(struct vm_session *s, int signo)
{
	struct vm_machine *m = machine_of(s);
	int r = vm_session_signal(s, signo);

	/* what must end it ends it, also when the guest hangs or has nothing to end yet */
	if (r == 0 && signo == SIGKILL && !m->killed) {
		bool command = m->greeted && m->run_sent;

		m->killed = true;
		set_timer(m, command ? KILL_LIMIT_S : 0);
		if (!command)
			(void)sys_pidfd_send_signal(m->hypervisor.pidfd, SIGKILL);
	}
	return r;
}

static int client_signal(void *data, int signo)
{
	struct vm_machine *m = data;

	return machine_signal(&m->session, signo);
}

static void remove_state(struct vm_machine *m)
{
	static const char *const names[] = { VM_STATE_NAME, VM_SOCKET_NAME };

	for (size_t i = 0; m->run_dir_fd >= 0 && i < ARRAY_SIZE(names); i++)
		(void)unlinkat(m->run_dir_fd, names[i], 0);
	if (m->run_dir_fd >= 0)
		(void)unlinkat(m->run_dir_fd, VM_BINDS_NAME, AT_REMOVEDIR);
	remove_initrd(m);
	m->run_dir_fd = fd_close(m->run_dir_fd);
	m->dir_fd = fd_close(m->dir_fd);
}

static void machine_free(struct vm_session *s)
{
	struct vm_machine *m = machine_of(s);

	vm_switch_free(TAKE_PTR(m->clients), NULL);
	loop_remove(m->loop, &m->hypervisor_watch);
	loop_remove(m->loop, &m->timer_watch);
	m->timer_watch.fd = fd_close(m->timer_watch.fd);
	link_done(&m->link);
	/* both are told before either is waited for */
	if (m->share.pid > 0)
		(void)sys_pidfd_send_signal(m->share.pidfd, SIGKILL);
	vm_helper_end(&m->hypervisor);
	vm_helper_end(&m->share);
	vm_tail_done(&m->console);
	vm_tail_done(&m->complaints);
	if (m->plan->auto_remove && m->disk)
		(void)unlink(m->disk);
	remove_state(m);
	free(m->joined_initrd);
	vm_kernel_done(&m->kernel);
	free(m->initramfs);
	free(m->disk);
	free(m->binary);
	free(m);
}

/* ---- the start ------------------------------------------------------------------------------ */

static int write_state(struct vm_machine *m, struct err *err)
{
	const struct vm_helper *helpers[] = { &m->hypervisor, &m->share };
	_cleanup_free_ char *path = str_printf("%s/" VM_STATE_NAME, m->inst->run_dir);
	struct str_buf b = { 0 };
	int r = -ENOMEM;

	for (size_t i = 0; i < ARRAY_SIZE(helpers); i++) {
		uint64_t start;

		if (helpers[i]->pid > 0 && proc_start_time(helpers[i]->pid, &start) == 0)
			str_buf_printf(&b, "%d %llu\n", helpers[i]->pid, (unsigned long long)start);
	}
	if (path && !b.failed && b.data)
		r = io_write_file(AT_FDCWD, path, b.data, b.len, 0600, 0);
	str_buf_done(&b);
	return r < 0 ? err_sys(err, -r, "write the machine's state in %s", m->inst->run_dir) : 0;
}

static int start_share(struct vm_machine *m, int stderr_fd, int *ret_fd, struct err *err)
{
	_cleanup_free_ char *dir = str_printf("%s/" VM_BINDS_NAME, m->inst->run_dir);

	if (vm_share_count(m->plan) == 0)
		return 0;
	if (!dir)
		return err_set(err, ENOMEM, "out of memory");
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return err_sys(err, errno, "make %s", dir);
	return vm_share_start(m->plan, m->inst, dir, stderr_fd, &m->share, ret_fd, err);
}

static int spawn_hypervisor(struct vm_machine *m, struct vm_spec *spec, const int theirs[2],
			    int console, int complaints, struct err *err)
{
	_cleanup_close_ int config = -EBADF;
	_cleanup_strv_ char **argv = NULL;
	int fds[] = { theirs[0], theirs[1], -EBADF };
	struct vm_spawn spawn = { .stdout_fd = console,
				  .stderr_fd = complaints,
				  .fds = fds,
				  .fd_count = ARRAY_SIZE(fds),
				  .inst = m->inst,
				  .own_pids = m->kind->own_pids };
	int r;

	spec->agent_fd = SPAWN_FIRST_FD;
	spec->share_fd = fds[1] >= 0 ? SPAWN_FIRST_FD + 1 : -1;
	spec->config_fd = SPAWN_FIRST_FD + 2;
	r = m->kind->command(spec, &argv, &config);
	if (r < 0)
		return err_sys(err, -r, "make the command line of %s", m->kind->name);
	fds[2] = config;
	spawn.argv = argv;
	return vm_spawn(&spawn, &m->hypervisor, err);
}

static int watch_link(struct vm_machine *m, int fd, struct err *err)
{
	static const struct link_handler handler = { .frame = machine_frame,
						     .ended = machine_link_ended,
						     .drained = machine_drained };
	int r = link_init(&m->link, m->loop, fd, FROM_GUEST, &handler);

	if (r < 0)
		return err_sys(err, -r, "watch the machine");
	link_hold(&m->link);
	return 0;
}

static int start_processes(struct vm_machine *m, struct vm_spec *spec, struct err *err)
{
	_cleanup_close_ int theirs = -EBADF, share_fd = -EBADF, console = -EBADF,
			    complaints = -EBADF;
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, errno, "make a socket pair");
	theirs = pair[1];
	r = watch_link(m, pair[0], err);
	if (r == 0 && (vm_tail_open(&m->console, m->loop, &console) < 0 ||
		       vm_tail_open(&m->complaints, m->loop, &complaints) < 0))
		r = err_sys(err, errno, "make the machine's console");
	if (r == 0)
		r = start_share(m, complaints, &share_fd, err);
	if (r == 0)
		r = spawn_hypervisor(m, spec, (int[]){ theirs, share_fd }, console, complaints,
				     err);
	return r;
}

static int watch_machine(struct vm_machine *m, struct err *err)
{
	struct vm_switch_owner owner = { .signal = client_signal, .data = m };
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK), r;

	if (timer < 0)
		return err_sys(err, errno, "watch the machine");
	m->timer_watch = (struct loop_watch){ .fd = timer, .events = EPOLLIN, .call = timer_ready };
	m->hypervisor_watch = (struct loop_watch){ .fd = m->hypervisor.pidfd,
						   .events = EPOLLIN,
						   .call = hypervisor_ended };
	set_timer(m, BOOT_LIMIT_S);
	r = loop_add(m->loop, &m->timer_watch);
	if (r == 0)
		r = loop_add(m->loop, &m->hypervisor_watch);
	if (r < 0)
		return err_sys(err, -r, "watch the machine");
	return vm_switch_open(m->loop, m->inst->run_dir, &m->link, &owner, &m->clients, err);
}

int vm_machine_boot(struct loop *loop, const struct plan *plan, const struct instance *inst,
		    const char *facts, const struct process_events *events, struct vm_machine **ret,
		    struct err *err)
{
	static const struct vm_session_owner owner = { .signal = machine_signal,
						       .free = machine_free };
	struct vm_machine *m = calloc(1, sizeof(*m));
	struct vm_spec spec = { .memory_bytes = vm_machine_memory(plan),
				.cpus = vm_machine_cpus(plan),
				.verbose_console = log_is_verbose() };
	int r;

	if (!m)
		return err_set(err, ENOMEM, "out of memory");
	m->loop = loop;
	m->plan = plan;
	m->inst = inst;
	m->hypervisor = m->share = (struct vm_helper)VM_HELPER_INIT;
	m->timer_watch.fd = -EBADF;
	m->dir_fd = open(inst->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	m->run_dir_fd = open(inst->run_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	vm_session_init(&m->session, &m->link, SESSION_FIRST, events, &owner);
	r = vm_machine_prepare(m, facts, &spec, err);
	if (r == 0)
		r = start_processes(m, &spec, err);
	if (r == 0) {
		m->session.pid = m->hypervisor.pid;
		r = watch_machine(m, err);
	}
	if (r == 0)
		r = write_state(m, err);
	if (r < 0) {
		machine_free(&m->session);
		return r;
	}
	*ret = m;
	return 0;
}

int vm_machine_start(struct loop *loop, const struct plan *plan, const struct instance *inst,
		     const struct process_events *events, struct vm_machine **ret, struct err *err)
{
	/* what is known of the host is kept in the directory of all run directories */
	_cleanup_free_ char *facts = strdup(inst->run_dir);
	char *slash = facts ? strrchr(facts, '/') : NULL;
	int r;

	if (!slash)
		return err_set(err, ENOMEM, "out of memory");
	*slash = 0;
	r = vm_machine_boot(loop, plan, inst, facts, events, ret, err);
	if (r < 0)
		return r;
	r = vm_machine_run(*ret, err);
	if (r < 0)
		machine_free(&(*ret)->session);
	return r;
}
