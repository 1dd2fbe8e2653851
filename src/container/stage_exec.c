/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Executing the command, and saying why it cannot be.
 *
 * execve() has one errno for many reasons: ENOENT is "no such file" as well as "its interpreter is
 * missing". The explanation looks at the file the way the kernel did (fs/binfmt_elf.c,
 * fs/binfmt_script.c) and names what is missing.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "container/probe.h"
#include "container/stage_internal.h"
#include "util/io.h"
#include "util/mem.h"
#include "util/str.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define INTERP_MAX   4096

static bool exists(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0;
}

/* "#!interpreter args": copies the interpreter's path. */
static bool script_interpreter(const char *head, size_t n, char *ret)
{
	size_t i = 2, o = 0;

	if (n < 3 || head[0] != '#' || head[1] != '!')
		return false;
	while (i < n && (head[i] == ' ' || head[i] == '\t'))
		i++;
	/* a carriage return is part of the name, for the kernel as well */
	while (i < n && o + 1 < INTERP_MAX && head[i] && !strchr(" \t\n", head[i]))
		ret[o++] = head[i++];
	ret[o] = 0;
	return o > 0;
}

/* PT_INTERP of a 64-bit little-endian ELF file; every offset checked against the file. */
static bool elf_interpreter(int fd, const char *head, size_t n, char *ret)
{
	Elf64_Ehdr e;
	Elf64_Phdr p;

	if (n < sizeof(e))
		return false;
	memcpy(&e, head, sizeof(e));
	if (memcmp(e.e_ident, ELFMAG, SELFMAG) || e.e_ident[EI_CLASS] != ELFCLASS64 ||
	    e.e_phentsize != sizeof(p) || e.e_phoff > INT64_MAX - 65536 * sizeof(p))
		return false;
	for (unsigned i = 0; i < e.e_phnum; i++) {
		ssize_t r = pread(fd, &p, sizeof(p), (off_t)(e.e_phoff + i * sizeof(p)));

		if (r != sizeof(p))
			return false;
		if (p.p_type != PT_INTERP)
			continue;
		if (!p.p_filesz || p.p_filesz > INTERP_MAX - 1 || p.p_offset > INT64_MAX)
			return false;
		r = pread(fd, ret, p.p_filesz, (off_t)p.p_offset);
		if (r <= 0)
			return false;
		ret[r] = 0;
		return true;
	}
	return false;
}

static const char *machine_name(unsigned machine)
{
	switch (machine) {
	case EM_X86_64: return "x86-64";
	case EM_AARCH64: return "arm64";
	case EM_386: return "32-bit x86";
	case EM_ARM: return "32-bit arm";
	case EM_RISCV: return "riscv";
	case EM_S390: return "s390x";
	case EM_PPC64: return "ppc64";
	default: return "another processor";
	}
}

/* execve(@path) failed with @errnum: fills @err with the reason and the exit code. */
static int explain(const char *path, int errnum, struct err *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	char head[256] = { 0 }, interp[INTERP_MAX];
	struct stat st;
	ssize_t n = 0;

	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		n = io_read_full(fd, head, sizeof(head) - 1);
	if (n < 0)
		n = 0;
	if (errnum == ENOENT && n > 0) {
		bool script = script_interpreter(head, (size_t)n, interp);

		if ((script || elf_interpreter(fd, head, (size_t)n, interp)) && !exists(interp))
			return err_exit(
				err, ENOENT, EXIT_NOT_FOUND,
				"%s: its interpreter %s is not in the image%s", path, interp,
				script && strchr(head, '\r') ? " (the file has Windows line ends)"
							     : "");
	}
	if (errnum == ENOENT || errnum == ENOTDIR)
		return err_exit(err, errnum, EXIT_NOT_FOUND,
				"\"%s\": no such file or directory (it is not in the image)", path);
	if (errnum == ENOEXEC && n >= (ssize_t)sizeof(Elf64_Ehdr) &&
	    !memcmp(head, ELFMAG, SELFMAG)) {
		Elf64_Ehdr e;

		memcpy(&e, head, sizeof(e));
		return err_exit(err, ENOEXEC, EXIT_CANNOT_RUN,
				"%s: built for %s, which this machine cannot execute", path,
				machine_name(e.e_machine));
	}
	if (errnum == ENOEXEC)
		return err_exit(err, ENOEXEC, EXIT_CANNOT_RUN, "%s: not a program: %s", path,
				n == 0 ? "the file is empty"
				       : "a script needs a first line like #!/bin/sh");
	if (errnum == EACCES && fd >= 0 && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
		return err_exit(err, EISDIR, EXIT_CANNOT_RUN,
				"%s: permission denied: it is a directory", path);
	if (errnum == EACCES)
		return err_exit(err, EACCES, EXIT_CANNOT_RUN,
				"%s: permission denied (is it executable for this user?)", path);
	return err_exit(err, errnum, EXIT_CANNOT_RUN, "%s: %s", path, strerror(errnum));
}

/* Could @path be executed by this user? 0 or the positive errno that execve() would have. */
static int check_file(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return errno;
	if (!S_ISREG(st.st_mode) || faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0)
		return EACCES;
	return 0;
}

/*
 * As execvp(3) with the command's own PATH: what there is goes into @found. A file that is there
 * but cannot run is only taken when no other can.
 */
static int find_in_path(const struct plan_process *p, char *found, size_t size, struct err *err)
{
	const char *name = p->args[0], *path = strv_env_get(p->env, "PATH");
	char candidate[4096], denied[4096] = "";

	if (str_empty(path))
		path = DEFAULT_PATH;
	for (;;) {
		size_t n = strcspn(path, ":");
		int len = n ? snprintf(candidate, sizeof(candidate), "%.*s/%s", (int)n, path, name)
			    : snprintf(candidate, sizeof(candidate), "./%s", name);

		if (len > 0 && (size_t)len < size) {
			int errnum = check_file(candidate);

			if (errnum == 0) {
				memcpy(found, candidate, (size_t)len + 1);
				return 0;
			}
			if (errnum == EACCES && !denied[0])
				memcpy(denied, candidate, sizeof(denied));
		}
		if (!path[n])
			break;
		path += n + 1;
	}
	if (denied[0])
		return explain(denied, EACCES, err);
	/* the words are those that Docker and Podman know */
	return err_exit(err, ENOENT, EXIT_NOT_FOUND,
			"exec: \"%s\": executable file not found in $PATH (it is not in the image)",
			name);
}

int stage_exec_find(struct stage *s, struct err *err)
{
	const struct plan_process *p = &s->plan.process;
	int errnum;

	if (p->probe)
		return 0;
	if (!p->args[0][0])
		return err_exit(err, ENOENT, EXIT_NOT_FOUND, "the command is an empty string");
	if (!strchr(p->args[0], '/'))
		return find_in_path(p, s->command, sizeof(s->command), err);
	if (strlen(p->args[0]) >= sizeof(s->command))
		return explain(p->args[0], ENAMETOOLONG, err);
	memcpy(s->command, p->args[0], strlen(p->args[0]) + 1);
	errnum = check_file(s->command);
	return errnum ? explain(s->command, errnum, err) : 0;
}

int stage_exec(struct stage *s, struct err *err)
{
	struct plan_process *p = &s->plan.process;

	if (p->probe) {
		close(s->sync_fd); /* as a successful exec would */
		probe_run(p->probe);
	}
	execve(s->command, p->args, p->env);
	return explain(s->command, errno, err);
}
