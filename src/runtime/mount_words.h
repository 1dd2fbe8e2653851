/* SPDX-License-Identifier: Apache-2.0 */
/* The words of a mount's options that are not its file system's; also what `features` lists. */
#ifndef PROA_RUNTIME_MOUNT_WORDS_H
#define PROA_RUNTIME_MOUNT_WORDS_H

#include <stdint.h>

#ifndef MOUNT_ATTR__ATIME
#define MOUNT_ATTR__ATIME 0x70
#endif
#ifndef MOUNT_ATTR_NOSYMFOLLOW
#define MOUNT_ATTR_NOSYMFOLLOW 0x00200000
#endif

enum mount_word_kind {
	WORD_NOTHING = 0, /* accepted, for it says what is so anyway */
	WORD_ATTR,	  /* MOUNT_ATTR_* of the mount */
	WORD_BELOW,	  /* of it and all mounts below it */
	WORD_PROPAGATION, /* PLAN_MOUNT_*, in the place of an earlier one */
	WORD_BIND,
	WORD_FLAG, /* PLAN_MOUNT_* */
	WORD_IDMAP,
	WORD_FS, /* a word of all file systems that goes into their options (sync, lazytime) */
};

struct mount_word {
	const char *word;
	enum mount_word_kind what;
	uint64_t set, clear;
};

extern const struct mount_word mount_words[]; /* ends with .word == NULL; config_mounts.c */

#endif
