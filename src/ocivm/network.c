/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine has its own loopback interface and no other yet. Engines give a container its network
 * by interfaces in a network namespace: one that they made before (Podman, Kubernetes), or the new
 * one of the container's process, found under its pid after create or in a hook (Docker). So this
 * process is in that namespace, in the place of the container's, and what appears there shows
 * whether more was meant than a machine has.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include "ocivm/ocivm.h"
#include "util/err.h"
#include "util/linux.h"
#include "util/mem.h"

int network_enter(const struct plan *p, struct err *err)
{
	_cleanup_close_ int fd = -EBADF;
	const char *path = p->joined_paths[__builtin_ctz(PLAN_NS_NET)];

	if (!(p->namespaces & PLAN_NS_NET))
		return 0;
	if (!(p->joined & PLAN_NS_NET))
		return sys_unshare(CLONE_NEWNET) < 0
			       ? err_sys(err, errno, "make a network namespace")
			       : 0;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || sys_setns(fd, CLONE_NEWNET) < 0)
		return err_sys(err, errno, "join the network namespace \"%s\"", path);
	return 0;
}

/* Those that the kernel's tunnel modules put into every new namespace, switched off. */
static bool is_fallback(const char *name)
{
	static const char *const names[] = { "tunl0",	"sit0",	   "ip6tnl0", "gre0",	 "gretap0",
					     "erspan0", "ip6gre0", "ip_vti0", "ip6_vti0" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(names[i], name))
			return true;
	return false;
}

static bool counts(int fd, const char *name)
{
	struct ifreq request = { 0 };

	if (!strcmp(name, "lo"))
		return false;
	if (!is_fallback(name))
		return true;
	memcpy(request.ifr_name, name, strnlen(name, IFNAMSIZ - 1));
	return ioctl(fd, SIOCGIFFLAGS, &request) == 0 && (request.ifr_flags & IFF_UP);
}

int network_check(const struct plan *p, struct err *err)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct if_nameindex *list;
	int r = 0;

	if (!(p->namespaces & PLAN_NS_NET))
		return 0;
	list = if_nameindex();
	if (!list)
		return err_sys(err, errno, "look at the interfaces of the network namespace");
	for (struct if_nameindex *i = list; r == 0 && i->if_index; i++)
		if (counts(fd, i->if_name))
			r = err_set(err, EOPNOTSUPP,
				    "the machine has no network yet besides its own loopback: use "
				    "--network none (the namespace has %s)",
				    i->if_name);
	if_freenameindex(list);
	return r;
}
