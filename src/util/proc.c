/* SPDX-License-Identifier: Apache-2.0 */
#include "util/proc.h"

#include <errno.h>
#include <stdio.h>
#include "util/linux.h"
#include "util/mem.h"

#define STAT_MAX 1024 /* numbers, and a name of 15 bytes */

/* Fields 3 (state) and 22 (start time) of /proc/PID/stat (proc(5)). 0 or -errno. */
static int read_stat(pid_t pid, char *ret_state, uint64_t *ret_ticks)
{
	char path[32], text[STAT_MAX + 1], *p;
	unsigned long long start;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, text, STAT_MAX);
	fd_close(fd);
	if (n <= 0)
		return n < 0 ? -errno : -ESRCH;
	text[n] = 0;
	/* the command's name may contain anything: count from its closing parenthesis (field 2) */
	p = strrchr(text, ')');
	if (!p ||
	    sscanf(p + 1,
		   " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d "
		   "%llu",
		   ret_state, &start) != 2)
		return -EBADMSG;
	*ret_ticks = start;
	return 0;
}

int proc_start_time(pid_t pid, uint64_t *ret_ticks)
{
	char state;

	return read_stat(pid, &state, ret_ticks);
}

bool proc_is_running(pid_t pid, uint64_t start_ticks)
{
	uint64_t start;
	char state;

	return pid > 0 && read_stat(pid, &state, &start) == 0 && start == start_ticks &&
	       state != 'Z' && state != 'X';
}

int proc_open(pid_t pid, uint64_t start_ticks)
{
	_cleanup_close_ int fd = pid > 0 ? sys_pidfd_open(pid, 0) : -1;
	uint64_t start;

	if (fd < 0)
		return -ESRCH;
	/* looked at after the descriptor was opened: what it holds is what was looked at */
	if (proc_start_time(pid, &start) < 0 || start != start_ticks)
		return -ESRCH;
	return TAKE_FD(fd);
}
