/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bundles' config.json, process.json and resources from anyone. The first byte chooses which; what
 * a config.json makes is a plan that survives the way over the wire.
 */
#include <stdlib.h>
#include <string.h>
#include "runtime/config.h"
#include "util/err.h"
#include "util/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void config(char *text, size_t n)
{
	struct err err = ERR_INIT;
	_cleanup_free_ uint8_t *bytes = NULL, *again = NULL;
	struct config c;
	struct plan p;
	size_t len, len_again;

	if (config_parse(text, n, "/bundle", "id", &c, &err) < 0) {
		if (!err.msg[0])
			abort();
		return;
	}
	if (plan_encode(&c.plan, &bytes, &len) < 0 || plan_decode(bytes, len, &p, &err) < 0 ||
	    plan_encode(&p, &again, &len_again) < 0 || len != len_again ||
	    memcmp(bytes, again, len) != 0)
		abort();
	plan_done(&p);
	config_done(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_free_ char *text = malloc(n + 1);
	struct err err = ERR_INIT;
	struct plan_process p;
	struct plan_resources r;

	if (!text || n == 0)
		return 0;
	memcpy(text, data + 1, n - 1);
	switch (data[0]) {
	case 'p':
		if (config_parse_process(text, n - 1, &p, &err) == 0)
			plan_process_done(&p);
		break;
	case 'r':
		if (config_parse_resources(text, n - 1, &r, &err) == 0)
			plan_resources_done(&r);
		break;
	default: config(text, n - 1); break;
	}
	return 0;
}
