/* SPDX-License-Identifier: Apache-2.0 */
/* `exec`: a further process in what runs. Its plan is the first process's, with the user's changes.
 */
#include <errno.h>
#include <string.h>
#include "engine/internal.h"
#include "engine/relay.h"
#include "util/err.h"
#include "util/loop.h"
#include "util/mem.h"
#include "util/self.h"
#include "util/str.h"

static int no_memory(struct err *err)
{
	return err_set(err, ENOMEM, "out of memory");
}

static int replace(char **field, const char *value, struct err *err)
{
	char *copy;

	if (!value)
		return 0;
	copy = strdup(value);
	if (!copy)
		return no_memory(err);
	free(*field);
	*field = copy;
	return 0;
}

/* Changes the plan's process into the exec's: Docker keeps user, directory and environment. */
static int make_process(const struct engine_exec *e, struct plan_process *p, struct err *err)
{
	int r;

	strv_free(p->args);
	p->args = strv_copy(e->args);
	if (!p->args)
		return no_memory(err);
	r = replace(&p->user, e->user, err);
	if (r == 0)
		r = replace(&p->cwd, e->workdir, err);
	if (r < 0)
		return r;
	if (p->cwd[0] != '/')
		return err_set(err, EINVAL, "-w %s: the working directory must be an absolute path",
			       p->cwd);
	/* HOME belongs to the user, who may be another one */
	for (char **v = e->env; v && *v; v++)
		if (strv_env_set(&p->env, *v) < 0)
			return no_memory(err);
	if (e->terminal && !strv_env_get(p->env, "TERM") && strv_env_set(&p->env, "TERM=xterm") < 0)
		return no_memory(err);
	p->terminal = e->terminal;
	p->init = false;
	p->rows = p->cols = 0;
	if (e->terminal)
		relay_terminal_size(&p->rows, &p->cols);
	if (e->privileged) {
		p->caps = (struct plan_caps){ PLAN_CAPS_ALL, PLAN_CAPS_ALL, PLAN_CAPS_ALL, 0, 0 };
		free(TAKE_PTR(p->seccomp));
		p->seccomp_len = 0;
	}
	return 0;
}

static int run_exec(const struct container *c, struct plan *plan, const struct instance *inst,
		    const struct engine_exec *e, int *ret_code, struct err *err)
{
	struct relay relay;
	struct loop loop = LOOP_INIT;
	struct relay_options o = { .interactive = e->interactive,
				   .terminal = e->terminal,
				   .stdout_fd = 1,
				   .stderr_fd = 2 };
	/* the plan keeps describing the container; its process is the exec's from here on */
	struct plan_process what = plan->process;
	int r = loop_init(&loop, err);

	if (r < 0)
		return r;
	r = relay_init(&relay, &loop, &o, err);
	if (r == 0)
		r = engine_backend(c->isolation)
			    ->exec(&loop, plan, inst, &what, &relay.events, &relay.process, err);
	if (r == 0)
		r = relay_run(&relay, err);
	relay_done(&relay);
	loop_done(&loop);
	return r < 0 ? r : relay_result(&relay, ret_code, err);
}

int engine_exec(struct store *s, const struct engine_exec *e, int *ret_code, struct err *err)
{
	_cleanup_free_ char *stage = NULL;
	struct container c = { 0 };
	struct instance inst;
	struct plan plan = { 0 };
	int r = store_container_find(s, e->container, &c, err);

	if (r < 0)
		return r;
	if (c.status != CONTAINER_RUNNING)
		r = err_set(err, ESRCH, "\"%s\" is not running", c.name);
	if (r == 0)
		r = self_find_helper("proa-init", &stage, err);
	if (r == 0)
		r = engine_read_plan(&c, &plan, err);
	if (r == 0)
		r = make_process(e, &plan.process, err);
	if (r == 0) {
		engine_instance(s, &c, stage, &inst);
		r = run_exec(&c, &plan, &inst, e, ret_code, err);
	}
	plan_done(&plan);
	container_done(&c);
	return r;
}
