/* SPDX-License-Identifier: Apache-2.0 */
/* What one process does to another's container: signals, stop, removal, and tidying after a crash.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include "engine/internal.h"
#include "engine/machine_group.h"
#include "util/err.h"
#include "util/io.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/proc.h"
#include "util/str.h"

#define TIDY_LIMIT_MS 15000 /* an owner that has not tidied up by then is stuck */

const struct backend_ops *engine_backend(const char *isolation)
{
	return !strcmp(isolation, "vm") ? &vm_backend : &container_backend;
}

void engine_instance(const struct store *s, const struct container *c, const char *stage,
		     struct instance *ret)
{
	*ret = (struct instance){ .id = c->id,
				  .store = s->root,
				  .dir = c->dir,
				  .run_dir = c->run_dir,
				  .stage = stage,
				  .pid = c->pid,
				  .pid_start = c->pid_start };
}

int engine_read_plan(const struct container *c, struct plan *ret, struct err *err)
{
	_cleanup_free_ char *path = str_printf("%s/" PLAN_NAME, c->dir), *bytes = NULL;
	size_t n;
	int r = path ? io_read_file(AT_FDCWD, path, PLAN_WIRE_MAX, &bytes, &n) : -ENOMEM;

	if (r < 0)
		return err_sys(err, -r, "read the plan of \"%s\"", c->name);
	return plan_decode((const uint8_t *)bytes, n, ret, err);
}

int engine_kill(struct store *s, const struct container *c, int signo, struct err *err)
{
	struct instance inst;

	if (c->status != CONTAINER_RUNNING)
		return err_set(err, ESRCH, "\"%s\" is not running", c->name);
	engine_instance(s, c, NULL, &inst);
	return engine_backend(c->isolation)->kill(&inst, signo, err);
}

/* Waits for the owner's end: it ends last, when all is tidied up. -ETIMEDOUT. */
static int wait_for_owner(const struct container *c, int limit_ms)
{
	_cleanup_close_ int owner = proc_open(c->owner_pid, c->owner_start);
	struct pollfd p = { .fd = owner, .events = POLLIN };
	int n;

	if (owner < 0)
		return 0;
	do
		n = poll(&p, 1, limit_ms);
	while (n < 0 && errno == EINTR);
	return n == 0 ? -ETIMEDOUT : 0;
}

int engine_stop(struct store *s, const struct container *c, uint32_t timeout_s, struct err *err)
{
	int limit_ms = timeout_s > 3600 * 24 ? -1 : (int)timeout_s * 1000, r;

	if (c->status != CONTAINER_RUNNING && c->status != CONTAINER_CREATED)
		return 0;
	r = engine_kill(s, c, c->stop_signal, err);
	if (r < 0)
		return r == -ESRCH ? 0 : r;
	if (wait_for_owner(c, limit_ms) == 0)
		return 0;
	r = engine_kill(s, c, SIGKILL, err);
	if (r < 0 && r != -ESRCH)
		return r;
	if (wait_for_owner(c, TIDY_LIMIT_MS) < 0)
		return err_set(err, ETIMEDOUT,
			       "\"%s\" was killed, and its owner (pid %d) does not end", c->name,
			       c->owner_pid);
	return 0;
}

int engine_remove(struct store *s, const struct container *c, bool force, struct err *err)
{
	int r;

	if (c->status == CONTAINER_RUNNING || c->status == CONTAINER_CREATED) {
		if (!force)
			return err_set(err, EBUSY,
				       "\"%s\" is running: stop it first (proa stop %s) or use -f",
				       c->name, c->name);
		r = engine_kill(s, c, SIGKILL, err);
		if (r < 0 && r != -ESRCH)
			return r;
		if (wait_for_owner(c, TIDY_LIMIT_MS) < 0)
			return err_set(err, ETIMEDOUT,
				       "\"%s\" was killed, and its owner (pid %d) does not end",
				       c->name, c->owner_pid);
	}
	return store_container_remove(s, c, err);
}

/* An owner died before it could: what it would have done. */
static void tidy_dead(struct store *s, struct container *c)
{
	struct instance inst;
	struct err err = ERR_INIT;

	engine_instance(s, c, NULL, &inst);
	if (engine_backend(c->isolation)->cleanup(&inst, &err) < 0)
		log_warning("%s", err.msg);
	if (engine_backend(c->isolation) == &vm_backend)
		machine_group_remove(&inst);
	if (c->auto_remove || !c->started_s)
		(void)store_container_remove(s, c, NULL);
	else if (c->status != CONTAINER_EXITED)
		(void)store_container_set_exited(s, c->id, 128 + SIGKILL, time(NULL), NULL);
}

void engine_recover(struct store *s)
{
	struct err err = ERR_INIT;

	if (store_container_each_dead(s, tidy_dead, &err) < 0)
		log_verbose("%s", err.msg);
}
