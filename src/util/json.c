/* SPDX-License-Identifier: Apache-2.0 */
#include "util/json.h"

#include <errno.h>
#include "util/err.h"
#include "util/io.h"
#include "util/str.h"

#define JSON_FILE_MAX (16u << 20)

int json_parse(const char *bytes, size_t n, const char *what, json_t **ret, struct err *err)
{
	json_error_t e;
	json_t *j = json_loadb(bytes, n, JSON_REJECT_DUPLICATES, &e);

	if (!j)
		return err_set(err, EINVAL, "%s is not valid JSON: line %d: %s", what, e.line,
			       e.text);
	*ret = j;
	return 0;
}

int json_read_file(int dir_fd, const char *path, json_t **ret, struct err *err)
{
	_cleanup_free_ char *text = NULL;
	size_t n;
	int r = io_read_file(dir_fd, path, JSON_FILE_MAX, &text, &n);

	if (r < 0)
		return err_sys(err, -r, "read %s", path);
	return json_parse(text, n, path, ret, err);
}

const char *json_get_str(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

int64_t json_get_int(const json_t *object, const char *key, int64_t fallback)
{
	const json_t *v = json_object_get(object, key);

	return json_is_integer(v) ? json_integer_value(v) : fallback;
}

bool json_get_bool(const json_t *object, const char *key, bool fallback)
{
	const json_t *v = json_object_get(object, key);

	return json_is_boolean(v) ? json_is_true(v) : fallback;
}

int json_to_strv(const json_t *array, char ***ret)
{
	_cleanup_strv_ char **v = calloc(1, sizeof(char *));
	size_t i;
	json_t *item;

	if (!v)
		return -ENOMEM;
	if (array && !json_is_null(array) && !json_is_array(array))
		return -EINVAL;
	json_array_foreach (array, i, item) {
		if (!json_is_string(item))
			return -EINVAL;
		if (strv_add(&v, json_string_value(item)) < 0)
			return -ENOMEM;
	}
	*ret = TAKE_PTR(v);
	return 0;
}

json_t *json_from_strv(char *const *v)
{
	json_t *a = json_array();

	for (; v && *v; v++)
		json_array_append_new(a, json_string(*v));
	return a;
}
