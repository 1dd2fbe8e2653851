/* SPDX-License-Identifier: Apache-2.0 */
#include "util/self.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>
#include "util/err.h"
#include "util/mem.h"
#include "util/str.h"

static int find(const char *kind, const char *name, const char *installed, int mode, char **ret,
		struct err *err)
{
	const char *places[] = { "", installed };
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n < 0)
		return err_sys(err, errno, "find the %s %s: read /proc/self/exe", kind, name);
	self[n] = 0;
	*(strrchr(self, '/') + 1) = 0;
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		_cleanup_free_ char *path =
			str_printf("%s%s%s%s", self, places[i], *places[i] ? "/" : "", name);

		if (!path)
			return err_sys(err, ENOMEM, "find the %s %s", kind, name);
		if (access(path, mode) == 0) {
			*ret = TAKE_PTR(path);
			return 0;
		}
	}
	return err_set(err, ENOENT,
		       "the %s %s is neither in %s nor in %s%s: is the installation complete?",
		       kind, name, self, self, installed);
}

int self_find_helper(const char *name, char **ret, struct err *err)
{
	return find("helper", name, "../libexec/proa", X_OK, ret, err);
}

int self_find_file(const char *name, char **ret, struct err *err)
{
	return find("file", name, "../share/proa", R_OK, ret, err);
}
