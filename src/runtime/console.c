/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Terminals, and staying with a process in the foreground.
 *
 * Without a terminal the process has our own standard input and output, and all we do is pass
 * signals on and wait. With one, bytes go between its master and ours, with our terminal raw.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include "runtime/create.h"
#include "util/err.h"
#include "util/io.h"
#include "util/linux.h"
#include "util/mem.h"
#include "util/signal.h"

#define PIECE 16384

int runtime_connect(const char *path, const char *what, struct err *err)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(a.sun_path))
		return err_set(err, ENAMETOOLONG, "%s: the path is too long", what);
	memcpy(a.sun_path, path, strlen(path) + 1);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return err_sys(err, errno, "%s: connect to \"%s\"", what, path);
	return TAKE_FD(fd);
}

int console_send(const char *path, int master, struct err *err)
{
	static const char name[] = "/dev/ptmx"; /* what runc sends, and some listeners log */
	_cleanup_close_ int fd = runtime_connect(path, "--console-socket", err);
	int r;

	if (fd < 0)
		return fd;
	r = io_send_fd(fd, name, sizeof(name) - 1, master);
	return r < 0 ? err_sys(err, -r, "--console-socket: send the terminal to \"%s\"", path) : 0;
}

void console_prepare(bool subreaper)
{
	sigset_t all;

	signal_set_foreign(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	if (subreaper)
		prctl(PR_SET_CHILD_SUBREAPER, 1);
}

static void copy_size(int terminal)
{
	struct winsize size;

	if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0)
		(void)ioctl(terminal, TIOCSWINSZ, &size);
}

static void make_raw(struct termios *saved, bool *ret_raw)
{
	struct termios raw;

	*ret_raw = tcgetattr(STDIN_FILENO, saved) == 0;
	if (!*ret_raw)
		return;
	raw = *saved;
	cfmakeraw(&raw);
	(void)tcsetattr(STDIN_FILENO, TCSANOW, &raw);
}

/* Copies what there is. False: this direction is over. */
static bool copy_some(int from, int to)
{
	char piece[PIECE];
	ssize_t n = read(from, piece, sizeof(piece));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	return n > 0 && io_write_full(to, piece, (size_t)n) == 0;
}

static void pass_signal(int signals, int pidfd, int terminal)
{
	struct signalfd_siginfo si;

	if (read(signals, &si, sizeof(si)) != sizeof(si))
		return;
	if (si.ssi_signo == SIGWINCH && terminal >= 0)
		copy_size(terminal);
	else if (si.ssi_signo != SIGCHLD && si.ssi_signo != SIGPIPE && si.ssi_signo != SIGWINCH)
		(void)sys_pidfd_send_signal(pidfd, (int)si.ssi_signo);
}

static int wait_code(int pidfd)
{
	siginfo_t si = { 0 };

	while (waitid((idtype_t)P_PIDFD, (id_t)pidfd, &si, WEXITED) < 0)
		if (errno != EINTR)
			return -errno;
	return si.si_code == CLD_EXITED ? si.si_status : 128 + si.si_status;
}

/* The loop of console_stay(): until the process has ended and its output is written. */
static void relay(int pidfd, int signals, int terminal)
{
	struct pollfd fds[] = { { .fd = pidfd, .events = POLLIN },
				{ .fd = signals, .events = POLLIN },
				{ .fd = terminal, .events = POLLIN },
				{ .fd = terminal >= 0 ? STDIN_FILENO : -1, .events = POLLIN } };

	while (fds[0].fd >= 0 || fds[2].fd >= 0) {
		/* once it has ended, only what is still in its terminal */
		int n = poll(fds, ARRAY_SIZE(fds), fds[0].fd < 0 ? 0 : -1);

		if (n < 0 && errno != EINTR)
			return;
		if (n == 0)
			return;
		if (fds[0].revents)
			fds[0].fd = -1;
		if (fds[1].revents)
			pass_signal(signals, pidfd, terminal);
		if (fds[2].revents && !copy_some(terminal, STDOUT_FILENO))
			fds[2].fd = -1;
		if (fds[3].revents && !copy_some(STDIN_FILENO, terminal))
			fds[3].fd = -1;
	}
}

int console_stay(int pidfd, int terminal, struct err *err)
{
	_cleanup_close_ int signals = -EBADF;
	struct termios saved;
	bool raw = false;
	sigset_t all;
	int code;

	sigprocmask(SIG_SETMASK, NULL, &all);
	signals = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signals < 0)
		return err_sys(err, errno, "watch signals");
	if (terminal >= 0) {
		copy_size(terminal);
		make_raw(&saved, &raw);
	}
	relay(pidfd, signals, terminal);
	if (raw)
		(void)tcsetattr(STDIN_FILENO, TCSANOW, &saved);
	code = wait_code(pidfd);
	return code < 0 ? err_sys(err, -code, "wait for the container") : code;
}
