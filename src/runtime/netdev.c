/* SPDX-License-Identifier: Apache-2.0 */
/*
 * netDevices: interfaces of the host that a container gets (runtime-spec 1.3, config-linux.md). The
 * kernel moves an interface into another namespace and gives it its name there in one message
 * (RTM_NEWLINK with IFLA_NET_NS_PID and IFLA_IFNAME). That takes its addresses away; those of
 * global scope that were set by hand are put back inside, and the interface is switched on.
 *
 * rtnetlink by hand, for three messages: libmnl would be the only shared library of a program that
 * has none.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "runtime/create.h"
#include "util/err.h"
#include "util/mem.h"

#define MESSAGE_MAX   512
#define ADDRESSES_MAX 32
#define ANSWER_MAX    32768

struct message {
	struct nlmsghdr head;
	char body[MESSAGE_MAX];
};

struct address {
	struct ifaddrmsg head;
	unsigned char local[16], address[16], broadcast[4];
	size_t len;
	bool has_address, has_broadcast;
};

struct device {
	struct address addresses[ADDRESSES_MAX];
	size_t count;
};

static void begin(struct message *m, uint16_t type, uint16_t flags, const void *head, size_t n)
{
	memset(m, 0, sizeof(*m));
	m->head.nlmsg_type = type;
	m->head.nlmsg_flags = NLM_F_REQUEST | flags;
	m->head.nlmsg_len = (uint32_t)NLMSG_LENGTH(n);
	memcpy(m->body, head, n);
}

static void attribute(struct message *m, uint16_t type, const void *value, size_t n)
{
	struct rtattr *a = (struct rtattr *)((char *)m + NLMSG_ALIGN(m->head.nlmsg_len));

	a->rta_type = type;
	a->rta_len = (uint16_t)RTA_LENGTH(n);
	memcpy(RTA_DATA(a), value, n);
	m->head.nlmsg_len = NLMSG_ALIGN(m->head.nlmsg_len) + (uint32_t)RTA_ALIGN(a->rta_len);
}

/* Sends and waits for the kernel's yes or -errno. */
static int transact(int fd, struct message *m)
{
	char answer[1024];
	ssize_t n;

	m->head.nlmsg_flags |= NLM_F_ACK;
	if (send(fd, m, m->head.nlmsg_len, 0) < 0)
		return -errno;
	n = recv(fd, answer, sizeof(answer), 0);
	if (n < (ssize_t)NLMSG_LENGTH(sizeof(struct nlmsgerr)))
		return n < 0 ? -errno : -EIO;
	return ((struct nlmsgerr *)NLMSG_DATA((struct nlmsghdr *)answer))->error;
}

static void note_address(struct device *d, const struct nlmsghdr *h, unsigned index)
{
	const struct ifaddrmsg *a = NLMSG_DATA(h);
	struct address *to = &d->addresses[d->count];
	int left = (int)IFA_PAYLOAD(h);

	if (a->ifa_index != index || a->ifa_scope != RT_SCOPE_UNIVERSE ||
	    !(a->ifa_flags & IFA_F_PERMANENT) || d->count == ADDRESSES_MAX)
		return;
	*to = (struct address){ .head = *a };
	for (const struct rtattr *r = IFA_RTA(a); RTA_OK(r, left); r = RTA_NEXT(r, left)) {
		size_t n = RTA_PAYLOAD(r);

		if (n > 16)
			continue;
		if (r->rta_type == IFA_LOCAL) {
			memcpy(to->local, RTA_DATA(r), n);
			to->len = n;
		} else if (r->rta_type == IFA_ADDRESS) {
			memcpy(to->address, RTA_DATA(r), n);
			to->has_address = true;
			if (!to->len && a->ifa_family == AF_INET6) {
				memcpy(to->local, RTA_DATA(r), n);
				to->len = n;
			}
		} else if (r->rta_type == IFA_BROADCAST && n == 4) {
			memcpy(to->broadcast, RTA_DATA(r), n);
			to->has_broadcast = true;
		}
	}
	d->count += to->len > 0;
}

static int read_addresses(int fd, unsigned index, struct device *d)
{
	struct ifaddrmsg any = { .ifa_family = AF_UNSPEC };
	_cleanup_free_ char *answer = malloc(ANSWER_MAX);
	struct message m;

	if (!answer)
		return -ENOMEM;
	begin(&m, RTM_GETADDR, NLM_F_DUMP, &any, sizeof(any));
	if (send(fd, &m, m.head.nlmsg_len, 0) < 0)
		return -errno;
	for (;;) {
		ssize_t n = recv(fd, answer, ANSWER_MAX, 0);
		size_t left = n > 0 ? (size_t)n : 0;

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		for (struct nlmsghdr *h = (struct nlmsghdr *)answer; NLMSG_OK(h, left);
		     h = NLMSG_NEXT(h, left)) {
			if (h->nlmsg_type == NLMSG_DONE)
				return 0;
			if (h->nlmsg_type == NLMSG_ERROR)
				return -EIO;
			if (h->nlmsg_type == RTM_NEWADDR)
				note_address(d, h, index);
		}
	}
}

static int move(int fd, unsigned index, const char *name, pid_t pid)
{
	struct ifinfomsg link = { .ifi_family = AF_UNSPEC, .ifi_index = (int)index };
	uint32_t number = (uint32_t)pid;
	struct message m;

	begin(&m, RTM_NEWLINK, 0, &link, sizeof(link));
	attribute(&m, IFLA_NET_NS_PID, &number, sizeof(number));
	attribute(&m, IFLA_IFNAME, name, strlen(name) + 1);
	return transact(fd, &m);
}

/* In the container's network namespace. */
static int configure(const char *name, const struct device *d)
{
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	unsigned index = if_nametoindex(name);
	struct ifinfomsg up = { .ifi_family = AF_UNSPEC,
				.ifi_index = (int)index,
				.ifi_flags = IFF_UP,
				.ifi_change = IFF_UP };
	struct message m;
	int r = 0;

	if (fd < 0 || !index)
		return -errno;
	for (size_t i = 0; r == 0 && i < d->count; i++) {
		struct address a = d->addresses[i];

		a.head.ifa_index = index;
		begin(&m, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &a.head, sizeof(a.head));
		attribute(&m, IFA_LOCAL, a.local, a.len);
		if (a.has_address)
			attribute(&m, IFA_ADDRESS, a.address, a.len);
		if (a.has_broadcast)
			attribute(&m, IFA_BROADCAST, a.broadcast, 4);
		r = transact(fd, &m);
	}
	if (r < 0)
		return r;
	begin(&m, RTM_NEWLINK, 0, &up, sizeof(up));
	return transact(fd, &m);
}

/* A process of its own enters the namespace, so that ours is not left. */
static int configure_inside(const char *name, const struct device *d, pid_t pid)
{
	char path[40];
	int status, ns;
	pid_t child;

	snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	ns = open(path, O_RDONLY | O_CLOEXEC);
	if (ns < 0)
		return -errno;
	child = fork();
	if (child == 0)
		_exit(setns(ns, CLONE_NEWNET) < 0 ? errno : -configure(name, d));
	close(ns);
	if (child < 0)
		return -errno;
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
}

static int move_one(int fd, const struct plan_net_device *n, pid_t pid, struct err *err)
{
	_cleanup_free_ struct device *d = calloc(1, sizeof(*d));
	unsigned index = if_nametoindex(n->host_name);
	int r;

	if (!d)
		return err_set(err, ENOMEM, "out of memory");
	if (!index)
		return err_set(err, ENODEV, "netDevices: the host has no interface \"%s\"",
			       n->host_name);
	r = read_addresses(fd, index, d);
	if (r == 0)
		r = move(fd, index, n->name, pid);
	if (r < 0)
		return err_sys(err, -r, "netDevices: move \"%s\" into the container as \"%s\"",
			       n->host_name, n->name);
	r = configure_inside(n->name, d, pid);
	return r < 0 ? err_sys(err, -r, "netDevices: set \"%s\" up", n->name) : 0;
}

int netdev_move(const struct plan *plan, pid_t pid, struct err *err)
{
	_cleanup_close_ int fd = -EBADF;
	int r = 0;

	if (!plan->net_device_count)
		return 0;
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (fd < 0)
		return err_sys(err, errno, "netDevices: reach the kernel");
	for (size_t i = 0; r == 0 && i < plan->net_device_count; i++)
		r = move_one(fd, &plan->net_devices[i], pid, err);
	return r;
}
