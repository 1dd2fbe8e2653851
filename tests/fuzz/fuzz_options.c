/* SPDX-License-Identifier: Apache-2.0 */
/* Values of options, which scripts may put together from what they were given. */
#include <stdlib.h>
#include <string.h>
#include "plan/options.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_free_ char *text = strndup((const char *)data, n), *host = NULL, *inside = NULL;
	struct err err = ERR_INIT;
	struct plan_mount m;
	struct plan_rlimit limit;
	uint64_t number;
	uint8_t access;
	unsigned cap;

	if (!text)
		return 0;
	if (plan_parse_volume(text, &m, &err) == 0)
		plan_mount_done(&m);
	if (plan_parse_mount(text, &m, &err) == 0)
		plan_mount_done(&m);
	if (plan_parse_tmpfs(text, &m, &err) == 0)
		plan_mount_done(&m);
	(void)plan_parse_device(text, &host, &inside, &access, &err);
	(void)plan_parse_ulimit(text, &limit, &err);
	(void)plan_parse_cpus(text, &number, &err);
	(void)plan_parse_cap(text, &cap, &err);
	(void)plan_check_name(text, &err);
	(void)str_to_bytes(text, &number);
	return 0;
}
