/* SPDX-License-Identifier: Apache-2.0 */
#include "image/client.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "store/image.h"
#include "store/store.h"
#include "util/err.h"
#include "util/io.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/self.h"
#include "util/str.h"

extern char **environ;

/* The helper's command line up to the verb. NULL without memory. */
static char **command(const char *helper, const char *root, const char *run_root)
{
	char **argv = NULL;

	if (strv_add(&argv, helper) < 0 ||
	    (root && strv_take(&argv, str_printf("--root=%s", root)) < 0) ||
	    (run_root && strv_take(&argv, str_printf("--run-root=%s", run_root)) < 0) ||
	    (log_is_verbose() && strv_add(&argv, "--verbose") < 0)) {
		strv_free(argv);
		return NULL;
	}
	return argv;
}

int image_tool_exec(const char *root, const char *run_root, char *const *args, struct err *err)
{
	_cleanup_free_ char *helper = NULL;
	_cleanup_strv_ char **argv = NULL;
	int r = self_find_helper("proa-image", &helper, err);

	if (r < 0)
		return r;
	argv = command(helper, root, run_root);
	for (; argv && *args; args++)
		if (strv_add(&argv, *args) < 0)
			return err_sys(err, ENOMEM, "run proa-image");
	if (!argv)
		return err_sys(err, ENOMEM, "run proa-image");
	execv(helper, argv);
	return err_sys(err, errno, "run %s", helper);
}

/* Reads all that comes, of which the last line without its newline is kept. */
static void last_line(int fd, char *buf, size_t size)
{
	size_t len = 0;
	char chunk[1024], *nl;

	for (;;) {
		ssize_t n = read(fd, chunk, sizeof(chunk));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		if (len + (size_t)n >= size) /* warnings before the end are not the reason */
			len = 0;
		n = (ssize_t)MIN((size_t)n, size - 1 - len);
		memcpy(buf + len, chunk, (size_t)n);
		len += (size_t)n;
	}
	while (len && buf[len - 1] == '\n')
		len--;
	buf[len] = 0;
	nl = strrchr(buf, '\n');
	if (nl)
		memmove(buf, nl + 1, strlen(nl + 1) + 1);
}

/* Runs it with its output thrown away and its errors in a pipe. */
static int run(const char *helper, char **argv, char *text, size_t size, struct err *err)
{
	posix_spawn_file_actions_t actions;
	int pipe_fds[2], status, r;
	pid_t pid;

	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return err_sys(err, errno, "run %s", helper);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, pipe_fds[1], 2);
	r = posix_spawn(&pid, helper, &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(pipe_fds[1]);
	if (r != 0) {
		close(pipe_fds[0]);
		return err_sys(err, r, "run %s", helper);
	}
	last_line(pipe_fds[0], text, size);
	close(pipe_fds[0]);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_sys(err, errno, "wait for %s", helper);
	if (status == 0)
		return 0;
	if (WIFSIGNALED(status))
		return err_set(err, EIO, "%s was ended by signal %d", helper, WTERMSIG(status));
	return err_set(err, EIO, "%s", str_starts(text, "proa: ") ? text + strlen("proa: ") : text);
}

int image_erofs_ensure(struct store *s, const struct store_image *image, char **ret_path,
		       struct err *err)
{
	_cleanup_free_ char *path = NULL, *helper = NULL;
	_cleanup_strv_ char **argv = NULL;
	char text[ERR_MSG_MAX];
	int r = store_image_erofs_path(s, image, &path);

	if (r < 0)
		return err_sys(err, -r, "find the image's EROFS file");
	if (access(path, F_OK) < 0) {
		log_verbose("making the EROFS file of the image, once");
		r = self_find_helper("proa-image", &helper, err);
		if (r < 0)
			return r;
		argv = command(helper, s->root, s->run_root);
		if (!argv || strv_add(&argv, "erofs") < 0 || strv_add(&argv, image->id) < 0)
			return err_sys(err, ENOMEM, "run proa-image");
		r = run(helper, argv, text, sizeof(text), err);
		if (r < 0)
			return r;
	}
	*ret_path = TAKE_PTR(path);
	return 0;
}
