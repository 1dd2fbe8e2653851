/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader of JSON, walked through whole, against jansson: what jansson takes for an object, we
 * take as well (but for depth, and for NUL characters, which jansson passes over).
 */
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <jansson.h>
#include "util/err.h"
#include "util/json_read.h"
#include "util/json_write.h"
#include "util/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void walk(struct json_read *r, struct json_write *w)
{
	char *key;
	uint64_t number = 0;

	if (r->failed) {
		json_write_string(w, NULL);
		return;
	}
	if (json_read_null(r)) {
		json_write_string(w, NULL);
		return;
	}
	switch (*r->at) {
	case '{':
		json_write_object(w);
		for (json_read_object(r); json_read_key(r, &key);) {
			json_write_key(w, key);
			walk(r, w);
		}
		json_write_close(w, '}');
		break;
	case '[':
		json_write_array(w);
		for (json_read_array(r); json_read_item(r);)
			walk(r, w);
		json_write_close(w, ']');
		break;
	case '"': json_write_string(w, json_read_string(r)); break;
	case 't':
	case 'f': json_write_bool(w, json_read_bool(r)); break;
	default: json_read_u64(r, &number); json_write_u64(w, number);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_free_ char *text = malloc(n + 1), *copy = malloc(n + 1);
	struct json_write w = { 0 };
	struct json_read r;
	struct err err = ERR_INIT;
	json_error_t why;
	json_t *theirs;

	if (!text || !copy)
		return 0;
	memcpy(text, data, n);
	memcpy(copy, data, n);
	json_read_init(&r, copy, n, "input", &err);
	json_read_skip(&r);
	theirs = json_loadb(text, n, 0, &why);
	if (theirs && !memchr(data, 0, n) && json_read_end(&r) < 0 && r.failed != -E2BIG)
		abort();
	json_decref(theirs);
	json_read_init(&r, text, n, "input", &err);
	walk(&r, &w);
	/* what we wrote of what we read whole is JSON */
	if (json_read_end(&r) == 0 && !w.out.failed) {
		theirs = json_loadb(w.out.data, w.out.len, JSON_DECODE_ANY, &why);
		if (!theirs)
			abort();
		json_decref(theirs);
	}
	str_buf_done(&w.out);
	return 0;
}
