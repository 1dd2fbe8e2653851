/* SPDX-License-Identifier: Apache-2.0 */
#include "container/cpulist.h"

#include <errno.h>
#include <stdbool.h>

/* Digits at *@text; false if there are none or too many. */
static bool number(const char **text, unsigned *ret)
{
	const char *p = *text;
	unsigned v = 0;

	for (; *p >= '0' && *p <= '9'; p++) {
		v = v * 10 + (unsigned)(*p - '0');
		if (v > 1000000)
			return false;
	}
	if (p == *text)
		return false;
	*text = p;
	*ret = v;
	return true;
}

int cpulist_parse(const char *text, cpu_set_t *ret)
{
	CPU_ZERO(ret);
	for (;; text++) {
		unsigned first, last;

		if (!number(&text, &first))
			return -EINVAL;
		last = first;
		if (*text == '-' && (text++, !number(&text, &last) || last < first))
			return -EINVAL;
		if (last >= CPU_SETSIZE)
			return -ERANGE;
		for (unsigned i = first; i <= last; i++)
			CPU_SET(i, ret);
		if (!*text)
			return 0;
		if (*text != ',')
			return -EINVAL;
	}
}
