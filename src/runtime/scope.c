/* SPDX-License-Identifier: Apache-2.0 */
/* systemd makes the group: a transient scope, by way of the helper proa-systemd. */
#include <errno.h>
#include "runtime/create.h"
#include "util/err.h"

int cgroups_make_scope(struct config *c, const struct cgroup_ops *ops, struct cgroup_choice *ret,
		       struct err *err)
{
	(void)c;
	(void)ops;
	(void)ret;
	return err_set(err, EOPNOTSUPP, "--systemd-cgroup");
}

void cgroups_stop_scope(const char *scope)
{
	(void)scope;
}

void cgroups_release(struct cgroup_choice *g)
{
	(void)g;
}
