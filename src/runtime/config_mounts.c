/* SPDX-License-Identifier: Apache-2.0 */
/* `mounts` of config.json (runtime-spec, config.md, "Mounts" and "Linux mount options"). */
#include "runtime/config_internal.h"

#include <errno.h>
#include <linux/mount.h>
#include <string.h>
#include "runtime/mount_words.h"
#include "util/mem.h"
#include "util/str.h"

struct reading {
	struct plan_mount *m;
	char *type, *source; /* in the text */
	char **words;
	bool idmap, bind;
};

static void mount_destination(struct json_read *r, void *to)
{
	struct plan_mount *m = ((struct reading *)to)->m;
	const char *path = json_read_string(r);

	if (!path)
		return;
	free(m->target);
	/* a relative one is below the root, as runc takes it */
	m->target = path[0] == '/' ? strdup(path) : str_printf("/%s", path);
	if (!m->target)
		json_read_fail(r, ENOMEM, "out of memory");
	else if (!*path || (*path != '/' && strstr(path, "..")))
		json_read_fail(r, EINVAL, "\"%s\" is not a path in the container", path);
}

static void mount_type(struct json_read *r, void *to)
{
	((struct reading *)to)->type = json_read_string(r);
}

static void mount_source(struct json_read *r, void *to)
{
	((struct reading *)to)->source = json_read_string(r);
}

static void mount_options(struct json_read *r, void *to)
{
	json_read_strv(r, &((struct reading *)to)->words);
}

static void mount_uids(struct json_read *r, void *to)
{
	struct plan_mount *m = ((struct reading *)to)->m;

	config_id_maps(r, &m->uid_map, &m->uid_map_count);
}

static void mount_gids(struct json_read *r, void *to)
{
	struct plan_mount *m = ((struct reading *)to)->m;

	config_id_maps(r, &m->gid_map, &m->gid_map_count);
}

const struct mount_word mount_words[] = {
	/* word, what it is, bits set, bits cleared */
	{ "acl", WORD_FS, 0, 0 },
	{ "async", WORD_FS, 0, 0 },
	{ "atime", WORD_ATTR, 0, MOUNT_ATTR_NOATIME },
	{ "bind", WORD_BIND, 0, 0 },
	{ "defaults", WORD_NOTHING, 0, 0 },
	{ "dest-nofollow", WORD_FLAG, PLAN_MOUNT_TARGET_NOFOLLOW, 0 },
	{ "dev", WORD_ATTR, 0, MOUNT_ATTR_NODEV },
	{ "diratime", WORD_ATTR, 0, MOUNT_ATTR_NODIRATIME },
	{ "dirsync", WORD_FS, 0, 0 },
	{ "exec", WORD_ATTR, 0, MOUNT_ATTR_NOEXEC },
	{ "idmap", WORD_IDMAP, 0, 0 },
	{ "iversion", WORD_FS, 0, 0 },
	{ "lazytime", WORD_FS, 0, 0 },
	{ "loud", WORD_NOTHING, 0, 0 },
	{ "mand", WORD_FS, 0, 0 },
	{ "noacl", WORD_FS, 0, 0 },
	{ "noatime", WORD_ATTR, MOUNT_ATTR_NOATIME, 0 },
	{ "nodev", WORD_ATTR, MOUNT_ATTR_NODEV, 0 },
	{ "nodiratime", WORD_ATTR, MOUNT_ATTR_NODIRATIME, 0 },
	{ "noexec", WORD_ATTR, MOUNT_ATTR_NOEXEC, 0 },
	{ "noiversion", WORD_FS, 0, 0 },
	{ "nolazytime", WORD_FS, 0, 0 },
	{ "nomand", WORD_FS, 0, 0 },
	{ "norelatime", WORD_ATTR, 0, MOUNT_ATTR_RELATIME },
	{ "nostrictatime", WORD_ATTR, 0, MOUNT_ATTR_STRICTATIME },
	{ "nosuid", WORD_ATTR, MOUNT_ATTR_NOSUID, 0 },
	{ "nosymfollow", WORD_ATTR, MOUNT_ATTR_NOSYMFOLLOW, 0 },
	{ "private", WORD_PROPAGATION, PLAN_MOUNT_PRIVATE, 0 },
	{ "ratime", WORD_BELOW, 0, MOUNT_ATTR_NOATIME },
	{ "rbind", WORD_BIND, PLAN_MOUNT_RECURSIVE, 0 },
	{ "rdev", WORD_BELOW, 0, MOUNT_ATTR_NODEV },
	{ "rdiratime", WORD_BELOW, 0, MOUNT_ATTR_NODIRATIME },
	{ "relatime", WORD_ATTR, MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME },
	{ "remount", WORD_NOTHING, 0, 0 },
	{ "rexec", WORD_BELOW, 0, MOUNT_ATTR_NOEXEC },
	{ "ridmap", WORD_IDMAP, PLAN_MOUNT_IDMAP_RECURSIVE, 0 },
	{ "rnoatime", WORD_BELOW, MOUNT_ATTR_NOATIME, 0 },
	{ "rnodev", WORD_BELOW, MOUNT_ATTR_NODEV, 0 },
	{ "rnodiratime", WORD_BELOW, MOUNT_ATTR_NODIRATIME, 0 },
	{ "rnoexec", WORD_BELOW, MOUNT_ATTR_NOEXEC, 0 },
	{ "rnorelatime", WORD_BELOW, 0, MOUNT_ATTR_RELATIME },
	{ "rnostrictatime", WORD_BELOW, 0, MOUNT_ATTR_STRICTATIME },
	{ "rnosuid", WORD_BELOW, MOUNT_ATTR_NOSUID, 0 },
	{ "rnosymfollow", WORD_BELOW, MOUNT_ATTR_NOSYMFOLLOW, 0 },
	{ "ro", WORD_ATTR, MOUNT_ATTR_RDONLY, 0 },
	{ "rprivate", WORD_PROPAGATION, PLAN_MOUNT_PRIVATE | PLAN_MOUNT_PROPAGATION_RECURSIVE, 0 },
	{ "rrelatime", WORD_BELOW, MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME },
	{ "rro", WORD_BELOW, MOUNT_ATTR_RDONLY, 0 },
	{ "rrw", WORD_BELOW, 0, MOUNT_ATTR_RDONLY },
	{ "rshared", WORD_PROPAGATION, PLAN_MOUNT_SHARED | PLAN_MOUNT_PROPAGATION_RECURSIVE, 0 },
	{ "rslave", WORD_PROPAGATION, PLAN_MOUNT_SLAVE | PLAN_MOUNT_PROPAGATION_RECURSIVE, 0 },
	{ "rstrictatime", WORD_BELOW, MOUNT_ATTR_STRICTATIME, 0 },
	{ "rsuid", WORD_BELOW, 0, MOUNT_ATTR_NOSUID },
	{ "rsymfollow", WORD_BELOW, 0, MOUNT_ATTR_NOSYMFOLLOW },
	{ "runbindable", WORD_PROPAGATION, PLAN_MOUNT_UNBINDABLE | PLAN_MOUNT_PROPAGATION_RECURSIVE,
	  0 },
	{ "rw", WORD_ATTR, 0, MOUNT_ATTR_RDONLY },
	{ "shared", WORD_PROPAGATION, PLAN_MOUNT_SHARED, 0 },
	{ "silent", WORD_NOTHING, 0, 0 },
	{ "slave", WORD_PROPAGATION, PLAN_MOUNT_SLAVE, 0 },
	{ "src-nofollow", WORD_FLAG, PLAN_MOUNT_SOURCE_NOFOLLOW, 0 },
	{ "strictatime", WORD_ATTR, MOUNT_ATTR_STRICTATIME, 0 },
	{ "suid", WORD_ATTR, 0, MOUNT_ATTR_NOSUID },
	{ "symfollow", WORD_ATTR, 0, MOUNT_ATTR_NOSYMFOLLOW },
	{ "sync", WORD_FS, 0, 0 },
	{ "tmpcopyup", WORD_FLAG, PLAN_MOUNT_COPY_UP, 0 },
	{ "unbindable", WORD_PROPAGATION, PLAN_MOUNT_UNBINDABLE, 0 },
	{ NULL, WORD_NOTHING, 0, 0 },
};

#define PROPAGATION                                                                                \
	(PLAN_MOUNT_SHARED | PLAN_MOUNT_SLAVE | PLAN_MOUNT_PRIVATE | PLAN_MOUNT_UNBINDABLE |       \
	 PLAN_MOUNT_PROPAGATION_RECURSIVE)

/* The last word about a bit counts, as with mount(8). */
static void change(uint64_t *set, uint64_t *clear, const struct mount_word *w)
{
	if ((w->set | w->clear) & MOUNT_ATTR__ATIME)
		*set &= ~(uint64_t)MOUNT_ATTR__ATIME;
	*set = (*set & ~w->clear) | w->set;
	*clear = (*clear & ~w->set) | w->clear;
}

static void take_word(struct json_read *r, struct reading *to, const char *word)
{
	struct plan_mount *m = to->m;
	const struct mount_word *w = mount_words;

	while (w->word && strcmp(w->word, word) != 0)
		w++;
	switch (w->word ? w->what : WORD_FS) {
	case WORD_NOTHING: break;
	case WORD_BIND: to->bind = true; /* fall through */
	case WORD_FLAG: m->flags |= (uint32_t)w->set; break;
	case WORD_IDMAP:
		to->idmap = true;
		m->flags |= (uint32_t)w->set;
		break;
	case WORD_PROPAGATION:
		m->flags = (m->flags & ~(uint32_t)PROPAGATION) | (uint32_t)w->set;
		break;
	case WORD_ATTR: change(&m->attrs, &m->attrs_clear, w); break;
	case WORD_BELOW: change(&m->below.set, &m->below.clear, w); break;
	case WORD_FS:
		if (strv_add(&m->options, word) < 0)
			json_read_fail(r, ENOMEM, "out of memory");
		break;
	}
}

static void choose_kind(struct json_read *r, struct reading *to)
{
	static const struct {
		const char *type;
		uint8_t kind;
	} kinds[] = {
		{ "tmpfs", PLAN_MOUNT_TMPFS },	  { "proc", PLAN_MOUNT_PROC },
		{ "sysfs", PLAN_MOUNT_SYSFS },	  { "devpts", PLAN_MOUNT_DEVPTS },
		{ "mqueue", PLAN_MOUNT_MQUEUE },  { "cgroup", PLAN_MOUNT_CGROUP },
		{ "cgroup2", PLAN_MOUNT_CGROUP },
	};
	struct plan_mount *m = to->m;

	if (to->bind || (to->type && !strcmp(to->type, "bind"))) {
		m->kind = PLAN_MOUNT_BIND;
		/* options of a file system mean nothing to a bind, for any runtime */
		strv_free(m->options);
		m->options = NULL;
		return;
	}
	for (size_t i = 0; to->type && i < ARRAY_SIZE(kinds); i++)
		if (!strcmp(kinds[i].type, to->type)) {
			m->kind = kinds[i].kind;
			return;
		}
	if (str_empty(to->type) || !strcmp(to->type, "none")) {
		json_read_fail(r, EINVAL, "type is missing (and it is no bind)");
		return;
	}
	m->kind = PLAN_MOUNT_FS;
	m->fs = strdup(to->type);
	if (!m->fs)
		json_read_fail(r, ENOMEM, "out of memory");
}

static void take_source(struct json_read *r, struct reading *to, const char *bundle)
{
	struct plan_mount *m = to->m;

	if (m->kind == PLAN_MOUNT_BIND) {
		if (str_empty(to->source)) {
			json_read_fail(r, EINVAL, "source is missing");
			return;
		}
		m->source = to->source[0] == '/' ? strdup(to->source)
						 : str_printf("%s/%s", bundle, to->source);
	} else if (to->source) {
		m->source = strdup(to->source);
	}
	if (to->source && !m->source)
		json_read_fail(r, ENOMEM, "out of memory");
}

static void take_id_maps(struct json_read *r, struct reading *to)
{
	struct plan_mount *m = to->m;

	if (!m->uid_map_count != !m->gid_map_count)
		json_read_fail(r, EINVAL, "uidMappings and gidMappings go together");
	if ((m->uid_map_count || to->idmap) && m->kind != PLAN_MOUNT_BIND)
		json_read_fail(r, EINVAL, "%s: only binds can have mapped ids", m->target);
	if (to->idmap && !m->uid_map_count)
		m->flags |= PLAN_MOUNT_IDMAP_CONTAINER;
}

static void read_mount(struct json_read *r, struct plan_mount *m, const char *bundle)
{
	static const struct config_member members[] = {
		{ "destination", mount_destination },
		{ "type", mount_type },
		{ "source", mount_source },
		{ "options", mount_options },
		{ "uidMappings", mount_uids },
		{ "gidMappings", mount_gids },
		{ NULL, NULL },
	};
	struct reading to = { .m = m };

	config_members(r, members, &to);
	for (char **w = to.words; w && *w; w++)
		take_word(r, &to, *w);
	if (!r->failed && !m->target)
		json_read_fail(r, EINVAL, "destination is missing");
	if (!r->failed)
		choose_kind(r, &to);
	if (!r->failed)
		take_source(r, &to, bundle);
	if (!r->failed)
		take_id_maps(r, &to);
	if ((m->flags & PLAN_MOUNT_COPY_UP) && m->kind != PLAN_MOUNT_TMPFS)
		json_read_fail(r, EINVAL, "tmpcopyup is for a tmpfs only");
	strv_free(to.words);
}

void config_mounts(struct json_read *r, void *config)
{
	struct config *c = config;

	for (json_read_array(r); json_read_item(r);) {
		struct plan_mount *m =
			config_grow(r, &c->plan.mounts, &c->plan.mount_count, sizeof(*m));

		if (m)
			read_mount(r, m, c->plan.bundle);
	}
}
