/* SPDX-License-Identifier: Apache-2.0 */
#include "util/proc.h"

#include <errno.h>
#include <stdio.h>
#include "util/io.h"
#include "util/linux.h"
#include "util/mem.h"

int proc_start_time(pid_t pid, uint64_t *ret_ticks)
{
	_cleanup_free_ char *text = NULL;
	unsigned long long start;
	char path[32], *p;
	int r;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	r = io_read_file(AT_FDCWD, path, 65536, &text, NULL);
	if (r < 0)
		return r;
	/* the command's name may contain anything: count from its closing parenthesis (field 2) */
	p = strrchr(text, ')');
	if (!p ||
	    sscanf(p + 1,
		   " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d "
		   "%llu",
		   &start) != 1)
		return -EBADMSG;
	*ret_ticks = start;
	return 0;
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
