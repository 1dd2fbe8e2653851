/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The terminal: a pair made in the container's own devpts, the master sent to the parent.
 *
 * /dev/console is a bind of the slave's descriptor itself, never of a path, so that nothing can be
 * slipped in between (CVE-2025-52565). In an exec the root belongs to others already: its /dev/ptmx
 * is only used when it really lies on a devpts.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <termios.h>
#include "container/stage_internal.h"
#include "util/io.h"
#include "util/linux.h"
#include "util/mem.h"

#ifndef DEVPTS_SUPER_MAGIC
#define DEVPTS_SUPER_MAGIC 0x1cd1
#endif
#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif

static int send_master(struct stage *s, int master, struct err *err)
{
	int e = stage_report(s, STAGE_REPORT_TERMINAL, NULL, master);

	return e < 0 ? err_sys(err, -e, "hand over the terminal") : 0;
}

/* Mounts the slave on /dev/console of a root that is being built. */
static int mount_console(struct stage *s, struct err *err)
{
	_cleanup_close_ int at = stage_root_target(s->root_fd, "/dev/console", false, err);
	_cleanup_close_ int clone = -EBADF;

	if (at < 0)
		return at;
	clone = sys_open_tree(s->terminal_fd, "",
			      OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	if (clone < 0 || sys_move_mount(clone, "", at, "",
					MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return err_sys(err, errno, "mount the terminal on /dev/console");
	return 0;
}

int stage_terminal_open(struct stage *s, struct err *err)
{
	const struct plan_process *p = &s->plan.process;
	_cleanup_close_ int master = -EBADF;
	struct winsize size = { .ws_row = p->rows, .ws_col = p->cols };
	struct statfs fs;
	int unlock = 0, r;

	master = sys_openat2(s->root_fd, "dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC, 0,
			     RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS);
	if (master < 0)
		return err_sys(err, errno, "open a terminal: the container's /dev/pts/ptmx");
	if (fstatfs(master, &fs) < 0 || fs.f_type != DEVPTS_SUPER_MAGIC)
		return err_set(err, EPERM,
			       "open a terminal: the container's /dev/pts is not a devpts");
	if (ioctl(master, TIOCSPTLCK, &unlock) < 0)
		return err_sys(err, errno, "unlock the terminal");
	s->terminal_fd = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (s->terminal_fd < 0)
		return err_sys(err, errno, "open the terminal's other side");
	if (size.ws_row && size.ws_col)
		(void)ioctl(master, TIOCSWINSZ, &size);
	r = s->mode == STAGE_RUN ? mount_console(s, err) : 0;
	return r < 0 ? r : send_master(s, master, err);
}

int stage_terminal_attach(struct stage *s, struct err *err)
{
	if (ioctl(s->terminal_fd, TIOCSCTTY, 0) < 0)
		return err_sys(err, errno, "take the terminal");
	/* `mesg`, `su` and ssh expect the terminal to be its user's */
	(void)!fchown(s->terminal_fd, s->uid, (gid_t)-1);
	for (int fd = 0; fd <= 2; fd++)
		if (dup2(s->terminal_fd, fd) < 0)
			return err_sys(err, errno, "attach the terminal");
	return 0;
}
