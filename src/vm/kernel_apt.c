/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packages of the distribution, with the distribution's own tools: apt-get knows the mirrors, the
 * proxies and the keys of this host, and checks the signatures. `apt-get download` needs no root
 * and installs nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "util/err.h"
#include "util/io.h"
#include "util/mem.h"
#include "util/str.h"
#include "vm/kernel_internal.h"
#include "vm/spawn.h"

static int find_apt(const struct kernel_apt *a, const char *name, char **ret, struct err *err)
{
	char why[128];

	snprintf(why, sizeof(why), "`%s` uses it (elsewhere: %s)", a->command, a->otherwise);
	return vm_find_program(name, why, "apt", ret, err);
}

static int run(const struct kernel_apt *a, const struct vm_spawn *s, struct err *err)
{
	return a->hold ? kernel_hold_run(a->hold, s, NULL, NULL, err) : vm_spawn_wait(s, err);
}

/* What the meta package depends on, "linux-image-6.1.0-56-cloud-amd64"; "" if it is unknown here.
 */
static int ask_package(const struct kernel_apt *a, char ret[KERNEL_PACKAGE_MAX], struct err *err)
{
	_cleanup_free_ char *apt_cache = NULL, *text = NULL;
	_cleanup_close_ int out = -EBADF;
	char *argv[] = { NULL, (char *)(uintptr_t) "depends", (char *)(uintptr_t)a->meta, NULL };
	struct vm_spawn s = { .argv = argv, .stderr_fd = -1 };
	static const char mark[] = "Depends: ";
	char path[] = "/tmp/proa-apt-XXXXXX";
	const char *found;
	int r = find_apt(a, "apt-cache", &apt_cache, err);

	if (r < 0)
		return r;
	argv[0] = apt_cache;
	out = mkostemp(path, O_CLOEXEC);
	if (out < 0)
		return err_sys(err, errno, "make a temporary file");
	s.stdout_fd = out;
	r = run(a, &s, err);
	if (r >= 0)
		r = io_read_file(AT_FDCWD, path, 1 << 20, &text, NULL);
	(void)unlink(path);
	if (r < 0)
		return r == -EINTR ? r : err_sys(err, -r, "ask apt-cache for %s", a->meta);
	ret[0] = 0;
	for (found = text; (found = strstr(found, mark)) && !ret[0];) {
		found += strlen(mark);
		if (str_starts(found, a->prefix))
			snprintf(ret, KERNEL_PACKAGE_MAX, "%.*s", (int)strcspn(found, " \n"),
				 found);
	}
	return 0;
}

static int enter_dir(void *data)
{
	return chdir(data) < 0 ? errno : 0;
}

int kernel_apt_get(const struct kernel_apt *a, const char *dir, const char *command,
		   const char *package, struct err *err)
{
	_cleanup_free_ char *binary = NULL;
	/* the sandbox user of apt has no access to our directory, and needs none */
	const char *argv[] = {
		NULL, "-q", "-o", "APT::Sandbox::User=root", command, package, NULL
	};
	struct vm_spawn s = { .argv = (char *const *)(uintptr_t)argv,
			      .stdout_fd = -1,
			      .stderr_fd = STDERR_FILENO,
			      .prepare = enter_dir,
			      .data = (void *)(uintptr_t)dir };
	int r = find_apt(a, "apt-get", &binary, err);

	if (r < 0)
		return r;
	argv[0] = binary;
	r = run(a, &s, err);
	return r > 0 ? err_set(err, EIO, "apt-get %s %s failed (exit code %d)", command,
			       package ? package : "", r)
		     : r;
}

int kernel_apt_find(const struct kernel_apt *a, char package[KERNEL_PACKAGE_MAX],
		    void (*progress)(const char *), struct err *err)
{
	int r = ask_package(a, package, err);

	if (r == 0 && !package[0]) {
		progress("updating the package lists (apt-get update)");
		r = kernel_apt_get(a, "/", "update", NULL, err);
		if (r == 0)
			r = ask_package(a, package, err);
	}
	if (r == 0 && !package[0])
		r = err_set(err, ENOENT, "this system's package lists have no %s: %s", a->meta,
			    a->otherwise);
	return r;
}
