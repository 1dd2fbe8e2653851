/* SPDX-License-Identifier: Apache-2.0 */
/* Filters: from the bundle's profile to the plan, and notifications to who listens for them. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "container/seccomp_cache.h"
#include "runtime/create.h"
#include "util/err.h"
#include "util/io.h"
#include "util/json_write.h"
#include "util/mem.h"
#include "util/str.h"

/* Where filters are kept: for root what proa's engine has for all that dies with a reboot. */
static char *cache_dir(void)
{
	const char *dir = getenv("XDG_RUNTIME_DIR");

	if (geteuid() == 0)
		return strdup("/run/proa/seccomp");
	return str_empty(dir) ? NULL : str_printf("%s/proa/seccomp", dir);
}

int seccomp_prepare(struct config *c, struct err *err)
{
	_cleanup_free_ char *dir = NULL;
	struct stat st = { 0 };
	struct seccomp_profile p = { .text = c->seccomp.profile,
				     .len = c->seccomp.profile_len,
				     .name = "linux.seccomp" };

	if (!p.text)
		return 0;
	/* who listens is connected to once the filter is there, at the start; that it can be is
	 * known now */
	if (c->plan.process.notify.listener &&
	    (stat(c->plan.process.notify.listener, &st) < 0 || !S_ISSOCK(st.st_mode)))
		return err_sys(err, st.st_mode ? ENOTSOCK : errno, "seccomp listenerPath \"%s\"",
			       c->plan.process.notify.listener);
	dir = cache_dir();
	return seccomp_cache_get(dir, &p, &c->plan.process.seccomp, &c->plan.process.seccomp_len,
				 err);
}

int seccomp_notify(const struct plan_process *p, const struct state *s, pid_t pid,
		   enum state_status status, int fd, struct err *err)
{
	static const char *const fds[] = { "seccompFd", NULL };
	_cleanup_close_ int to = -EBADF;
	struct json_write w = { 0 };
	int r;

	if (!p->notify.listener)
		return err_set(err, EPROTO, "a filter notifies that was not to");
	to = runtime_connect(p->notify.listener, "seccomp listenerPath", err);
	if (to < 0)
		return to;
	json_write_object(&w);
	json_write_member(&w, "ociVersion", OCI_VERSION);
	json_write_key(&w, "fds");
	json_write_strv(&w, fds);
	json_write_member_u64(&w, "pid", (uint64_t)pid);
	json_write_member(&w, "metadata", p->notify.metadata ? p->notify.metadata : "");
	json_write_key(&w, "state");
	json_write_object(&w);
	state_write_members(&w, s, status);
	json_write_key(&w, "annotations");
	state_write_annotations(&w, s->annotations);
	json_write_close(&w, '}');
	json_write_close(&w, '}');
	r = w.out.failed ? -ENOMEM : io_send_fd(to, w.out.data, w.out.len, fd);
	str_buf_done(&w.out);
	return r < 0 ? err_sys(err, -r, "seccomp listenerPath: send to \"%s\"", p->notify.listener)
		     : 0;
}
