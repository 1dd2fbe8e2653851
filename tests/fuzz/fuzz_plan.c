/* SPDX-License-Identifier: Apache-2.0 */
/* Plans from the wire: whatever decodes encodes to the same bytes. */
#include <stdlib.h>
#include <string.h>
#include "plan/plan.h"
#include "util/err.h"
#include "util/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct err err = ERR_INIT;
	struct plan p = { 0 };
	struct plan_process q = { 0 };

	if (plan_decode(data, n, &p, &err) == 0) {
		_cleanup_free_ uint8_t *again = NULL;
		size_t m;

		if (plan_encode(&p, &again, &m) < 0 || m != n || memcmp(again, data, n) != 0)
			abort();
		plan_done(&p);
	}
	if (plan_process_decode(data, n, &q, &err) == 0)
		plan_process_done(&q);
	return 0;
}
