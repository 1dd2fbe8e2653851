/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/cgroup.h"

#include <fcntl.h>
#include <stdlib.h>
#include "util/err.h"
#include "util/io.h"
#include "util/mem.h"
#include "util/str.h"

int cgroup_join(const char *path, struct err *err)
{
	_cleanup_free_ char *file = path ? str_printf("%s/cgroup.procs", path) : NULL;
	int r;

	if (!path)
		return 0;
	/* "0" is whoever writes it */
	r = file ? io_write_knob(AT_FDCWD, file, "0") : -ENOMEM;
	return r < 0 ? err_sys(err, -r, "join the cgroup \"%s\"", path) : 0;
}
