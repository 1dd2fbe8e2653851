/* SPDX-License-Identifier: Apache-2.0 */
#include "vm/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include "util/err.h"
#include "util/io.h"
#include "util/mem.h"

int vm_socket_listen(const char *dir, const char *name, int backlog, struct err *err)
{
	_cleanup_close_ int at = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un a;

	if (at < 0 || fd < 0 || io_socket_address(at, name, &a) < 0)
		return err_sys(err, errno, "listen on %s/%s", dir, name);
	(void)unlinkat(at, name, 0); /* of an owner that died */
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || fchmodat(at, name, 0600, 0) < 0 ||
	    listen(fd, backlog) < 0)
		return err_sys(err, errno, "listen on %s/%s", dir, name);
	return TAKE_FD(fd);
}

int vm_socket_connect(const char *dir, const char *name, struct err *err)
{
	_cleanup_close_ int at = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un a;

	if (fd < 0 || io_socket_address(at, name, &a) < 0)
		return err_sys(err, errno, "talk to the machine");
	if (at < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
		if (errno == ENOENT || errno == ECONNREFUSED)
			return err_set(err, ESRCH, "the machine is not running");
		return err_sys(err, errno, "talk to the machine through %s/%s", dir, name);
	}
	return TAKE_FD(fd);
}
