/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stage's side of the stream to who launched it, and of the socket on which a start in two
 * halves waits (stage.h has the protocol).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "container/stage_internal.h"
#include "util/io.h"
#include "util/linux.h"
#include "util/mem.h"
#include "util/str.h"

#define PRESERVED_MAX 1024u

int stage_report(struct stage *s, uint32_t type, const struct err *err, int fd)
{
	struct stage_report r = { .type = type };

	if (err)
		r.err = *err;
	return io_send_fd(s->sync_fd, &r, sizeof(r), fd);
}

void stage_warn(struct stage *s, const struct err *err)
{
	(void)stage_report(s, STAGE_REPORT_WARNING, err, -1);
}

/* The root, then the binds, each with a byte that says whether there is one (launch.c). */
static int receive_sources(struct stage *s, uint32_t count, struct err *err)
{
	char byte;

	if (count == 0)
		return 0;
	if (count != s->plan.mount_count + 1)
		return err_set(err, EPROTO, "the stage got %u mounts, not %zu", count,
			       s->plan.mount_count + 1);
	s->sources.binds = calloc(count, sizeof(int));
	if (!s->sources.binds)
		return err_set(err, ENOMEM, "out of memory");
	s->sources.count = count - 1;
	for (uint32_t i = 0; i < count; i++) {
		int *fd = i ? &s->sources.binds[i - 1] : &s->sources.root;

		if (io_recv_fd(s->sync_fd, &byte, 1, fd) != 1)
			return err_set(err, EPROTO, "the stage got too few mounts");
	}
	return 0;
}

int stage_read_start(int fd, const char *who, struct stage_start *ret, struct plan *plan,
		     struct err *err)
{
	_cleanup_free_ uint8_t *payload = NULL;

	if (io_read_full(fd, ret, sizeof(*ret)) != sizeof(*ret) ||
	    ret->payload_bytes > PLAN_WIRE_MAX)
		return err_set(err, EPROTO, "%s got no plan", who);
	payload = malloc(ret->payload_bytes + 1u);
	if (!payload)
		return err_set(err, ENOMEM, "out of memory for a plan of %u bytes",
			       ret->payload_bytes);
	if (io_read_full(fd, payload, ret->payload_bytes) != (ssize_t)ret->payload_bytes)
		return err_set(err, EPROTO, "%s got half a plan", who);
	switch (ret->mode) {
	case STAGE_RUN: return plan_decode(payload, ret->payload_bytes, plan, err);
	case STAGE_EXEC:
		return plan_process_decode(payload, ret->payload_bytes, &plan->process, err);
	default: return err_set(err, EPROTO, "%s got no plan", who);
	}
}

static int receive_start(struct stage *s, struct err *err)
{
	struct stage_start start;
	int r = stage_read_start(s->sync_fd, "the stage", &start, &s->plan, err);

	if (r < 0)
		return r;
	s->mode = start.mode;
	s->flags = start.flags;
	s->cgroup_version = start.cgroup_version;
	return s->mode == STAGE_RUN ? receive_sources(s, start.source_count, err) : 0;
}

int stage_link_open(struct stage *s, int argc, char **argv, struct err *err)
{
	uint32_t preserved = 0;
	struct stat st;
	int fd;

	if (argc > 1 && (str_to_u32(argv[1], &preserved) < 0 || preserved > PRESERVED_MAX))
		return -EINVAL;
	fd = STAGE_FIRST_FD + (int)preserved;
	if (fstat(fd, &st) < 0 || !S_ISSOCK(st.st_mode))
		return -EINVAL;
	s->sync_fd = fd;
	/* whatever descriptors came along (systemd's, a shell's), the command gets 0, 1, 2 and
	 * those it was promised */
	sys_close_range((unsigned)fd, ~0u, CLOSE_RANGE_CLOEXEC);
	return receive_start(s, err);
}

int stage_wait_for_hooks(struct stage *s, struct err *err)
{
	char byte;
	int r = stage_report(s, STAGE_REPORT_HOOKS, NULL, -1);

	if (r < 0 || io_read_full(s->sync_fd, &byte, 1) != 1)
		return err_set(err, ECANCELED, "the start was given up");
	return 0;
}

/*
 * The listening socket is ours alone: who connects has been let in by the permissions of its
 * directory. It goes on with a connection, and ends with a signal.
 */
int stage_wait_for_start(struct stage *s, struct err *err)
{
	int listening = s->sync_fd + 1;

	if (!(s->flags & STAGE_WAIT))
		return 0;
	if (s->flags & STAGE_DETACHED)
		prctl(PR_SET_PDEATHSIG, 0);
	if (stage_report(s, STAGE_REPORT_READY, NULL, -1) < 0)
		return err_set(err, ECANCELED, "the start was given up");
	close(s->sync_fd);
	do
		s->sync_fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
	while (s->sync_fd < 0 && errno == EINTR);
	if (s->sync_fd < 0)
		return err_sys(err, errno, "wait for the start");
	close(listening);
	return 0;
}
