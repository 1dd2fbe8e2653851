/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each client of run_dir/agent.sock has one session. It calls it 0; in the guest it has a number of
 * its own. Frames are checked as those of a stranger on both sides, counted (vm_flow), renumbered
 * and passed on.
 *
 * No side can be held up: what is queued towards a client is bounded by its own windows, and a
 * client is not read from while more than a little is queued towards the guest.
 */
#include "vm/switch.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include "plan/plan.h"
#include "util/err.h"
#include "util/mem.h"
#include "vm/machine.h"
#include "vm/session.h"
#include "vm/socket.h"

#define CLIENTS_MAX   96u
#define GUEST_BACKLOG (256u << 10) /* bytes queued towards the guest above which clients wait */

struct client {
	struct link link;
	struct vm_switch *owner;
	struct client *next;
	struct vm_flow flow;
	uint16_t session; /* in the guest; 0: none yet */
	size_t plan_bytes;
	bool exec_sent;
};

struct vm_switch {
	struct loop *loop;
	struct loop_watch listening;
	struct link *guest;
	struct vm_switch_owner owner;
	struct client *clients;
	unsigned count;
	uint16_t last_session;
	bool backlog; /* clients are paused */
};

static void client_free(struct client *c)
{
	struct client **at = &c->owner->clients;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	c->owner->count--;
	if (c->session && !c->flow.ended)
		link_send(c->owner->guest, FRAME_CLOSE, c->session, NULL, 0);
	link_done(&c->link);
	free(c);
}

static struct client *find(struct vm_switch *s, uint16_t session)
{
	struct client *c = s->clients;

	while (c && c->session != session)
		c = c->next;
	return c;
}

static uint16_t new_session(struct vm_switch *s)
{
	do
		s->last_session++;
	while (s->last_session == SESSION_FIRST || find(s, s->last_session));
	return s->last_session;
}

static void pause_clients(struct vm_switch *s, bool on)
{
	struct client *next;

	s->backlog = on;
	for (struct client *c = s->clients; c; c = next) {
		next = c->next; /* going on may end this client */
		link_pause(&c->link, on || c->flow.ended);
		if (s->backlog != on)
			return;
	}
}

/* The order of a session, which the guest insists on: plan, exec, then the rest. */
static int check_order(struct client *c, const struct frame *f)
{
	if (f->type == FRAME_PLAN) {
		c->plan_bytes += f->length;
		return c->exec_sent || c->plan_bytes > PLAN_WIRE_MAX ? -EBADMSG : 0;
	}
	if (f->type == FRAME_EXEC) {
		struct frame_exec exec;

		frame_get(f, &exec, sizeof(exec));
		if (c->exec_sent || !c->plan_bytes || (exec.flags & ~(uint32_t)EXEC_FLAGS_ALL))
			return -EBADMSG;
		c->exec_sent = true;
		return 0;
	}
	if (f->type == FRAME_UPDATE) {
		if (c->exec_sent || !c->plan_bytes)
			return -EBADMSG;
		c->exec_sent = true;
		return 0;
	}
	return c->exec_sent ? 0 : -EBADMSG;
}

static int on_kill(struct client *c, const struct frame *f)
{
	struct err err = ERR_INIT;
	struct frame_signal k;
	int r;

	frame_get(f, &k, sizeof(k));
	r = k.signo > 0 && k.signo <= 64 ? c->owner->owner.signal(c->owner->owner.data, k.signo)
					 : -EINVAL;
	if (r < 0)
		err_sys(&err, -r, "send signal %d to the machine's command", k.signo);
	link_send_exited(&c->link, 0, 0, r < 0 ? &err : NULL);
	return 0;
}

static int client_frame(struct link *l, const struct frame *f)
{
	struct client *c = container_of(l, struct client, link);
	struct vm_switch *s = c->owner;
	int r;

	if (f->type == FRAME_KILL)
		return on_kill(c, f);
	r = check_order(c, f);
	if (r == 0)
		r = vm_flow_to_guest(&c->flow, f);
	if (r < 0)
		return r;
	if (!c->session)
		c->session = new_session(s);
	link_send(s->guest, f->type, c->session, f->payload, f->length);
	if (link_queued(s->guest) > GUEST_BACKLOG && !s->backlog)
		pause_clients(s, true);
	return 0;
}

static void client_ended(struct link *l, int error _unused_)
{
	client_free(container_of(l, struct client, link));
}

/* Only root and the user this machine belongs to. */
static bool may_connect(int fd)
{
	struct ucred peer;
	socklen_t n = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0 &&
	       (peer.uid == 0 || peer.uid == geteuid());
}

static void listening_ready(struct loop_watch *w, uint32_t events _unused_)
{
	static const struct link_handler handler = { .frame = client_frame, .ended = client_ended };
	struct vm_switch *s = container_of(w, struct vm_switch, listening);
	int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct client *c;

	if (fd < 0)
		return;
	c = s->count < CLIENTS_MAX && may_connect(fd) ? calloc(1, sizeof(*c)) : NULL;
	if (!c) {
		close(fd);
		return;
	}
	c->owner = s;
	c->next = s->clients;
	s->clients = c;
	s->count++;
	vm_flow_init(&c->flow);
	if (link_init(&c->link, s->loop, fd, FROM_CLIENT, &handler) < 0)
		client_free(c);
	else if (s->backlog)
		link_pause(&c->link, true);
}

int vm_switch_open(struct loop *loop, const char *dir, struct link *guest,
		   const struct vm_switch_owner *owner, struct vm_switch **ret, struct err *err)
{
	struct vm_switch *s = calloc(1, sizeof(*s));
	int fd, r;

	if (!s)
		return err_set(err, ENOMEM, "out of memory");
	*s = (struct vm_switch){ .loop = loop, .guest = guest, .owner = *owner };
	fd = vm_socket_listen(dir, VM_SOCKET_NAME, 16, err);
	s->listening = (struct loop_watch){ .fd = fd, .events = EPOLLIN, .call = listening_ready };
	r = fd < 0 ? fd : loop_add(loop, &s->listening);
	if (fd >= 0 && r < 0)
		err_sys(err, -r, "listen for clients");
	if (r < 0) {
		vm_switch_free(s, NULL);
		return r;
	}
	*ret = s;
	return 0;
}

int vm_switch_frame(struct vm_switch *s, const struct frame *f)
{
	struct client *c = find(s, f->session);
	int r;

	/* of a client that left while this was under way */
	if (!c)
		return 0;
	r = vm_flow_from_guest(&c->flow, f);
	if (r < 0)
		return r;
	link_send(&c->link, f->type, 0, f->payload, f->length);
	/* after the end it is only waited for to read that and go */
	return 0;
}

void vm_switch_drained(struct vm_switch *s)
{
	if (s && s->backlog)
		pause_clients(s, false);
}

void vm_switch_free(struct vm_switch *s, const struct err *why)
{
	if (!s)
		return;
	while (s->clients) {
		struct client *c = s->clients;

		/* without a reason: the command ended, and what ran beside it was killed with it */
		if (c->session && !c->flow.ended)
			link_send_exited(&c->link, 0, why ? why->exit_code : 128 + SIGKILL, why);
		c->session = 0;
		client_free(c);
	}
	loop_remove(s->loop, &s->listening);
	fd_close(s->listening.fd);
	free(s);
}
