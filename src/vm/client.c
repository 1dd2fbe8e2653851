/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An exec is a session of its own on a connection of its own (switch.c is the other end). A signal,
 * or new limits, are a question and its answer, waited for without a loop.
 */
#include "vm/client.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include "plan/plan.h"
#include "util/err.h"
#include "util/io.h"
#include "util/mem.h"
#include "vm/machine.h"
#include "vm/socket.h"

struct client {
	struct vm_session session;
	struct link link;
};

static int connect_owner(const struct instance *inst, struct err *err)
{
	return vm_socket_connect(inst->run_dir, VM_SOCKET_NAME, err);
}

static int client_frame(struct link *l, const struct frame *f)
{
	struct client *c = container_of(l, struct client, link);

	return f->session == 0 ? vm_session_frame(&c->session, f) : -EBADMSG;
}

static void client_ended(struct link *l, int error)
{
	struct client *c = container_of(l, struct client, link);
	struct err why = ERR_INIT;

	err_set(&why, EPIPE,
		error == -EBADMSG ? "the machine's owner sent what breaks the protocol"
				  : "the machine's owner ended");
	vm_session_end(&c->session, EXIT_PROA, &why);
}

static void client_free(struct vm_session *s)
{
	struct client *c = container_of(s, struct client, session);

	link_done(&c->link);
	free(c);
}

int vm_client_exec(struct loop *loop, const struct instance *inst, const struct plan_process *what,
		   unsigned flags, const struct process_events *events, struct process **ret,
		   struct err *err)
{
	struct frame_exec exec = { .flags = flags & VM_CLIENT_TIED ? EXEC_TIED : 0 };
	static const struct link_handler handler = { .frame = client_frame, .ended = client_ended };
	static const struct vm_session_owner owner = { .signal = vm_session_signal,
						       .free = client_free };
	_cleanup_free_ uint8_t *bytes = NULL;
	struct client *c;
	size_t n;
	int fd, r = plan_process_encode(what, &bytes, &n);

	if (r < 0)
		return err_sys(err, -r, "encode the command");
	if (n > PLAN_WIRE_MAX)
		return err_set(err, E2BIG, "the command line and environment are too long");
	fd = connect_owner(inst, err);
	if (fd < 0)
		return fd;
	c = calloc(1, sizeof(*c));
	if (!c) {
		close(fd);
		return err_set(err, ENOMEM, "out of memory");
	}
	vm_session_init(&c->session, &c->link, 0, events, &owner);
	r = link_init(&c->link, loop, fd, FROM_GUEST, &handler);
	if (r < 0) {
		client_free(&c->session);
		return err_sys(err, -r, "watch the machine");
	}
	link_send_all(&c->link, FRAME_PLAN, 0, bytes, n);
	link_send(&c->link, FRAME_EXEC, 0, &exec, sizeof(exec));
	*ret = &c->session.base;
	return 0;
}

/* Sends frames and waits for the one that answers them. -EPIPE: the owner ended instead. */
static int ask(const struct instance *inst, const void *bytes, size_t n, int patience_ms,
	       struct err *err)
{
	_cleanup_close_ int fd = connect_owner(inst, err);
	_cleanup_free_ struct frame_reader *reader = calloc(1, sizeof(*reader));
	struct err why = ERR_INIT;
	struct frame f;
	int code, r = 0;

	if (fd < 0)
		return fd;
	if (!reader)
		return err_set(err, ENOMEM, "out of memory");
	for (size_t done = 0; done < n;) {
		ssize_t sent = send(fd, (const char *)bytes + done, n - done, MSG_NOSIGNAL);

		if (sent < 0)
			return err_sys(err, errno, "talk to the machine's owner");
		done += (size_t)sent;
	}
	while (r == 0) {
		struct pollfd p = { .fd = fd, .events = POLLIN };

		if (poll(&p, 1, patience_ms) <= 0)
			return err_set(err, ETIMEDOUT, "the machine's owner does not answer");
		r = frame_reader_fill(reader, fd);
		if (r <= 0)
			return err_set(err, EPIPE, "the machine's owner ended");
		r = frame_reader_next(reader, &f);
	}
	if (r < 0 || frame_check(&f, FROM_GUEST) < 0 || f.type != FRAME_EXITED ||
	    frame_get_exited(&f, &code, &why) < 0)
		return err_set(err, EPROTO, "the machine's owner sent what breaks the protocol");
	if (why.errnum) {
		*err = why;
		return -why.errnum;
	}
	return 0;
}

int vm_client_kill(const struct instance *inst, int signo, int patience_ms, struct err *err)
{
	struct {
		struct frame_header h;
		struct frame_signal f;
	} __attribute__((packed)) frame = {
		.h = { .length = sizeof(struct frame_signal), .type = FRAME_KILL },
		.f = { .signo = signo },
	};
	struct err own = ERR_INIT;
	int r = ask(inst, &frame, sizeof(frame), patience_ms, &own);

	/* SIGKILL may end the owner's machine before it answers */
	if (r == -EPIPE && signo == SIGKILL)
		return 0;
	if (r < 0 && err)
		*err = own;
	return r;
}

int vm_client_update(const struct instance *inst, const void *plan, size_t n, struct err *err)
{
	struct frame_header h = { .type = FRAME_PLAN };
	struct str_buf b = { 0 };
	int r;

	for (size_t at = 0; at < n; at += h.length) {
		h.length = (uint32_t)MIN(n - at, (size_t)FRAME_MAX);
		str_buf_add(&b, &h, sizeof(h));
		str_buf_add(&b, (const char *)plan + at, h.length);
	}
	h = (struct frame_header){ .type = FRAME_UPDATE };
	str_buf_add(&b, &h, sizeof(h));
	r = b.failed ? err_set(err, ENOMEM, "out of memory")
		     : ask(inst, b.data, b.len, VM_CLIENT_PATIENCE_MS, err);
	str_buf_done(&b);
	return r;
}
