/* SPDX-License-Identifier: Apache-2.0 */
/* /etc/passwd, /etc/group and --user, cut out of the input at its first two NUL bytes. */
#include <stdlib.h>
#include <string.h>
#include "container/userdb.h"
#include "util/err.h"
#include "util/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_free_ char *text = calloc(1, n + 3);
	const char *passwd = text, *group, *spec;
	struct userdb_user u;
	struct err err = ERR_INIT;

	if (!text)
		return 0;
	memcpy(text, data, n);
	group = passwd + strlen(passwd) + 1;
	spec = group <= text + n ? group + strlen(group) + 1 : "";
	if (group > text + n)
		group = NULL;
	if (group && spec > text + n)
		spec = "";
	if (userdb_find(passwd, group, spec, NULL, &u, &err) == 0)
		userdb_user_done(&u);
	return 0;
}
