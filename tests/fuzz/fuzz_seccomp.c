/* SPDX-License-Identifier: Apache-2.0 */
/* Seccomp profiles in JSON: compiled or refused with a reason. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include "seccomp/profile.h"
#include "util/err.h"
#include "util/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_close_ int out = open("/dev/null", O_WRONLY | O_CLOEXEC);
	struct err err = ERR_INIT;

	if (profile_compile((const char *)data, n, "profile", 0xa80425fb, out, &err) < 0 &&
	    !err.msg[0])
		abort();
	return 0;
}
