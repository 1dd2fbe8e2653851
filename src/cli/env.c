/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/env.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include "util/err.h"
#include "util/io.h"
#include "util/mem.h"
#include "util/str.h"

#define ENV_FILE_MAX (1u << 20)

static int add(char ***ret, const char *text, const char *where, struct err *err)
{
	_cleanup_free_ char *both = NULL;
	const char *value;

	if (!*text || *text == '=')
		return err_set(err, EINVAL, "%s: \"%s\": a variable needs a name", where, text);
	if (!strchr(text, '=')) {
		value = getenv(text);
		if (!value)
			return 0;
		both = str_printf("%s=%s", text, value);
		text = both;
	}
	return text && strv_env_set(ret, text) == 0 ? 0 : err_set(err, ENOMEM, "out of memory");
}

static int add_file(char ***ret, const char *path, struct err *err)
{
	_cleanup_free_ char *text = NULL;
	char *save = NULL;
	size_t n;
	int r = io_read_file(AT_FDCWD, path, ENV_FILE_MAX, &text, &n);

	if (r < 0)
		return err_sys(err, -r, "--env-file %s", path);
	if (memchr(text, 0, n))
		return err_set(err, EINVAL, "--env-file %s: not a text file", path);
	for (char *line = strtok_r(text, "\n", &save); line && r == 0;
	     line = strtok_r(NULL, "\n", &save)) {
		size_t len = strlen(line);

		if (len && line[len - 1] == '\r')
			line[len - 1] = 0;
		line += strspn(line, " \t");
		if (*line && *line != '#')
			r = add(ret, line, path, err);
	}
	return r;
}

int cli_env(char *const *files, char *const *env, char ***ret, struct err *err)
{
	int r = 0;

	for (; r == 0 && files && *files; files++)
		r = add_file(ret, *files, err);
	for (; r == 0 && env && *env; env++)
		r = add(ret, *env, "-e", err);
	return r;
}
