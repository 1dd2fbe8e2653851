/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>
#include "ocivm/ocivm.h"
#include "util/err.h"
#include "util/mem.h"

/* Editing, echo and signals are the business of the guest's terminal: here bytes only pass. */
static int make_raw(int slave, const struct plan_process *p)
{
	struct winsize size = { .ws_row = p->rows, .ws_col = p->cols };
	struct termios t;

	if (tcgetattr(slave, &t) < 0)
		return -errno;
	cfmakeraw(&t);
	if (tcsetattr(slave, TCSANOW, &t) < 0)
		return -errno;
	return ioctl(slave, TIOCSWINSZ, &size) < 0 ? -errno : 0;
}

int terminal_open(const struct plan_process *p, int *ret_master, int *ret_slave, struct err *err)
{
	_cleanup_close_ int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), slave = -EBADF;
	char name[64];
	int r;

	if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0 ||
	    ptsname_r(master, name, sizeof(name)) != 0)
		return err_sys(err, errno, "make a terminal");
	slave = open(name, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (slave < 0)
		return err_sys(err, errno, "open the terminal %s", name);
	r = make_raw(slave, p);
	if (r < 0)
		return err_sys(err, -r, "set up the terminal");
	if (setsid() < 0 && getsid(0) != getpid())
		return err_sys(err, errno, "make a session");
	if (ioctl(slave, TIOCSCTTY, 0) < 0)
		return err_sys(err, errno, "make the terminal ours");
	*ret_master = TAKE_FD(master);
	*ret_slave = TAKE_FD(slave);
	return 0;
}
