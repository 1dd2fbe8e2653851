/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One client at a time: either the descriptor that we were started with, or whoever connects to the
 * socket, the latest. A client that does not read what it is told loses it; nothing waits for one.
 */
#include "vmm/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "util/err.h"
#include "util/mem.h"
#include "util/str.h"
#include "vmm/virtio/balloon.h"
#include "vmm/vmm.h"

#define LINE_MAX_BYTES 256

struct vmm_control {
	struct vmm *vmm;
	struct loop_watch listening, client;
	char line[LINE_MAX_BYTES];
	size_t filled;
};

static void tell(struct vmm_control *c, const char *word, const char *text)
{
	char line[LINE_MAX_BYTES];
	int n = snprintf(line, sizeof(line), "%s%s%s\n", word, *text ? " " : "", text);

	if (c->client.fd >= 0)
		(void)!send(c->client.fd, line, MIN((size_t)n, sizeof(line) - 1),
			    MSG_NOSIGNAL | MSG_DONTWAIT);
}

void control_event(struct vmm_control *c, const char *text)
{
	if (c)
		tell(c, "event", text);
}

static void drop_client(struct vmm_control *c)
{
	loop_remove(&c->vmm->loop, &c->client);
	c->client.fd = fd_close(c->client.fd);
	c->filled = 0;
}

/* ---- requests ------------------------------------------------------------------------------- */

static void do_status(struct vmm_control *c, const char *value _unused_)
{
	struct vmm *v = c->vmm;
	char text[160];

	snprintf(text, sizeof(text), "%s cpus=%u memory=%llu", v->paused ? "paused" : "running",
		 v->vcpu_count, (unsigned long long)v->config->memory_bytes);
	tell(c, "ok", text);
}

static void do_pause(struct vmm_control *c, const char *value _unused_)
{
	if (!c->vmm->paused)
		vmm_pause(c->vmm);
	tell(c, "ok", "");
}

static void do_resume(struct vmm_control *c, const char *value _unused_)
{
	if (c->vmm->paused)
		vmm_resume(c->vmm);
	tell(c, "ok", "");
}

static void do_power(struct vmm_control *c, const char *value _unused_)
{
	vmm_press_power(c->vmm);
	tell(c, "ok", "");
}

static void do_kill(struct vmm_control *c, const char *value _unused_)
{
	tell(c, "ok", "");
	vmm_end(c->vmm, VMM_KILLED, "ended by the control socket");
}

/* "balloon SIZE": the guest shall give so much of its memory; without a size: what it has given. */
static void do_balloon(struct vmm_control *c, const char *value)
{
	struct virtio_device *d = c->vmm->balloon;
	struct balloon_stats s;
	char text[160];
	uint64_t bytes;

	if (!d) {
		tell(c, "error", "this machine has no balloon (--balloon)");
	} else if (*value) {
		if (str_to_bytes(value, &bytes) < 0 || balloon_set_target(d, bytes >> 12) < 0)
			tell(c, "error", "not a size of this machine's memory");
		else
			tell(c, "ok", "");
	} else {
		s = balloon_stats(d);
		snprintf(text, sizeof(text), "given=%llu reported=%llu",
			 (unsigned long long)balloon_actual(d) << 12,
			 (unsigned long long)balloon_reported_bytes(d));
		if (s.free_bytes != UINT64_MAX)
			snprintf(text + strlen(text), sizeof(text) - strlen(text), " free=%llu",
				 (unsigned long long)s.free_bytes);
		(void)balloon_poll_stats(d);
		tell(c, "ok", text);
	}
}

static void request(struct vmm_control *c, char *line)
{
	static const struct {
		const char *name;
		void (*call)(struct vmm_control *c, const char *value);
	} requests[] = { { "status", do_status },   { "pause", do_pause }, { "resume", do_resume },
			 { "balloon", do_balloon }, { "power", do_power }, { "kill", do_kill } };
	char *value = strchr(line, ' ');

	if (value)
		*value++ = 0;
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++)
		if (!strcmp(line, requests[i].name)) {
			requests[i].call(c, value ? value : "");
			return;
		}
	tell(c, "error", "no such request (status, pause, resume, power, balloon SIZE, kill)");
}

static void client_ready(struct loop_watch *w, uint32_t events _unused_)
{
	struct vmm_control *c = container_of(w, struct vmm_control, client);
	ssize_t n = recv(w->fd, c->line + c->filled, sizeof(c->line) - c->filled, MSG_DONTWAIT);
	char *end;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		drop_client(c);
		return;
	}
	c->filled += (size_t)n;
	while ((end = memchr(c->line, '\n', c->filled))) {
		size_t used = (size_t)(end + 1 - c->line);

		*end = 0;
		request(c, c->line);
		if (c->client.fd < 0)
			return;
		memmove(c->line, c->line + used, c->filled - used);
		c->filled -= used;
	}
	if (c->filled == sizeof(c->line))
		drop_client(c); /* no request is so long */
}

static int set_client(struct vmm_control *c, int fd)
{
	drop_client(c);
	c->client = (struct loop_watch){ .fd = fd, .events = EPOLLIN, .call = client_ready };
	return loop_add(&c->vmm->loop, &c->client);
}

static void listening_ready(struct loop_watch *w, uint32_t events _unused_)
{
	struct vmm_control *c = container_of(w, struct vmm_control, listening);
	int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd >= 0 && set_client(c, fd) < 0)
		drop_client(c);
}

/* ---- making and unmaking -------------------------------------------------------------------- */

static int listen_at(struct vmm_control *c, const char *path, struct err *err)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(path) >= sizeof(a.sun_path))
		return err_set(err, ENAMETOOLONG, "the control socket's path is too long: %s",
			       path);
	memcpy(a.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	c->listening = (struct loop_watch){ .fd = fd, .events = EPOLLIN, .call = listening_ready };
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 4) < 0 ||
	    loop_add(&c->vmm->loop, &c->listening) < 0)
		return err_sys(err, errno, "listen at the control socket \"%s\"", path);
	return 0;
}

int control_new(struct vmm *v, struct vmm_control **ret, struct err *err)
{
	struct vmm_control *c;
	int r = 0;

	if (!v->config->control_path && v->config->control_fd < 0)
		return 0;
	c = calloc(1, sizeof(*c));
	if (!c)
		return err_set(err, ENOMEM, "out of memory");
	c->vmm = v;
	c->listening.fd = c->client.fd = -EBADF;
	if (v->config->control_path)
		r = listen_at(c, v->config->control_path, err);
	else
		r = set_client(c, v->config->control_fd);
	if (r < 0 && !v->config->control_path)
		err_sys(err, -r, "watch the control socket");
	if (r < 0) {
		control_free(c);
		return r;
	}
	*ret = c;
	return 0;
}

void control_free(struct vmm_control *c)
{
	if (!c)
		return;
	drop_client(c);
	loop_remove(&c->vmm->loop, &c->listening);
	fd_close(c->listening.fd);
	free(c);
}
