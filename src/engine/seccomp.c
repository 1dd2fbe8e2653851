/* SPDX-License-Identifier: Apache-2.0 */
/* --security-opt seccomp: the default profile, a file, or none. Filters are kept in ROOT/seccomp.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include "container/seccomp_cache.h"
#include "engine/engine.h"
#include "util/err.h"
#include "util/io.h"
#include "util/mem.h"
#include "util/str.h"

#define PROFILE_MAX (4u << 20)

int engine_seccomp(struct store *s, const char *profile, uint64_t caps, uint8_t **ret,
		   size_t *ret_len, struct err *err)
{
	_cleanup_free_ char *text = NULL, *dir = NULL;
	struct seccomp_profile p = { .name = profile, .caps = caps };
	int r;

	if (profile && !strcmp(profile, "unconfined")) {
		*ret = NULL;
		*ret_len = 0;
		return 0;
	}
	if (profile) {
		r = io_read_file(AT_FDCWD, profile, PROFILE_MAX, &text, &p.len);
		if (r < 0)
			return err_sys(err, -r, "--security-opt seccomp=%s", profile);
		p.text = text;
	}
	dir = str_printf("%s/seccomp", s->root);
	if (!dir)
		return err_set(err, ENOMEM, "out of memory");
	r = seccomp_cache_get(dir, &p, ret, ret_len, err);
	return r < 0 ? err_wrap(err, "--security-opt seccomp") : 0;
}
