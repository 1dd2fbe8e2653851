/* SPDX-License-Identifier: Apache-2.0 */
#include "util/self.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>
#include "util/err.h"
#include "util/mem.h"
#include "util/str.h"

int self_find_helper(const char *name, char **ret, struct err *err)
{
	static const char *const places[] = { "", "../libexec/proa/" };
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n < 0)
		return err_sys(err, errno, "find the helper %s: read /proc/self/exe", name);
	self[n] = 0;
	*(strrchr(self, '/') + 1) = 0;
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		_cleanup_free_ char *path = str_printf("%s%s%s", self, places[i], name);

		if (!path)
			return err_sys(err, ENOMEM, "find the helper %s", name);
		if (access(path, X_OK) == 0) {
			*ret = TAKE_PTR(path);
			return 0;
		}
	}
	return err_set(err, ENOENT,
		       "the helper %s is neither in %s nor in %s../libexec/proa: is the "
		       "installation complete?",
		       name, self, self);
}
