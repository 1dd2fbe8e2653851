/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files of the kernel store only. */
#ifndef PROA_VM_KERNEL_INTERNAL_H
#define PROA_VM_KERNEL_INTERNAL_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct str_buf;
struct vm_spawn;

/* STORE/kernels as a descriptor, made if @make; or -errno. */
int kernel_store_open(const char *store, bool make, struct err *err);
/* May a kernel be called so? 0 or -EINVAL. */
int kernel_name_check(const char *name, struct err *err);

/* The payload of a bzImage (Documentation/x86/boot.rst): what is packed in it, and how. */
struct kernel_payload {
	size_t offset, length; /* in the file; without what the unpacker does not understand */
	const char *tool;      /* "lz4", which unpacks it with -dc; NULL: unknown packing */
	const char *package;   /* that has the tool */
};
enum kernel_format {
	KERNEL_ELF,
	KERNEL_BZIMAGE,
	KERNEL_UNKNOWN,
};
/* What kind of file this is. The bytes may be anything. @ret is set for a bzImage. */
enum kernel_format kernel_format_of(const uint8_t *bytes, size_t n, struct kernel_payload *ret);
/* "6.1.0-56-cloud-amd64" from an image of either kind, into @ret; false: none was found. */
bool kernel_version_of(const uint8_t *bytes, size_t n, char *ret, size_t size);

/* The signals that end a command, held back while there is something to tidy up (kernel_hold.c). */
struct kernel_hold {
	int fd;
	sigset_t before;
};
int kernel_hold_begin(struct kernel_hold *h, struct err *err);
void kernel_hold_end(struct kernel_hold *h);
/*
 * Runs a program to its end and returns its exit code (128 + N by signal N), or -errno; -EINTR with
 * the exit code of a signal in @err when one of ours came: the program is ended then, with its
 * children. @tick (may be NULL) is called every 20 s.
 */
int kernel_hold_run(const struct kernel_hold *h, const struct vm_spawn *s, void (*tick)(void *data),
		    void *data, struct err *err);

/* A package of the distribution. */
#define KERNEL_PACKAGE_MAX 128
struct kernel_apt {
	const char *meta;		/* the package that depends on the newest one */
	const char *prefix;		/* of that one's name */
	const char *command;		/* for errors: what needs it, */
	const char *otherwise;		/* and what to do where it cannot be had */
	const struct kernel_hold *hold; /* NULL: signals end us */
};
/* What the meta package depends on now; the lists of packages are updated if they do not know it.
 */
int kernel_apt_find(const struct kernel_apt *a, char package[KERNEL_PACKAGE_MAX],
		    void (*progress)(const char *), struct err *err);
/* `apt-get COMMAND [PACKAGE]` in the directory @dir. */
int kernel_apt_get(const struct kernel_apt *a, const char *dir, const char *command,
		   const char *package, struct err *err);

/* Is @fragment (of the file @path) made of CONFIG_NAME=value and comments? 0 or -EINVAL. */
int kernel_config_read(const char *fragment, const char *path, struct err *err);
/* Is all that @fragment asks for so in @config? 0, or -EINVAL with the options that are not. */
int kernel_config_check(const char *fragment, const char *config, struct err *err);
/* The ELF @bytes without sections, symbols and filler, into @ret (kernel_pack.c). */
int kernel_pack(const uint8_t *bytes, size_t n, struct str_buf *ret, struct err *err);
/* The lines of a build's log that tell why it failed: the first error, and the end. */
void kernel_log_quote(const char *log, struct str_buf *ret);

#endif
