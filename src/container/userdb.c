/* SPDX-License-Identifier: Apache-2.0 */
#include "container/userdb.h"

#include <errno.h>
#include <stdint.h>
#include "util/err.h"
#include "util/mem.h"
#include "util/str.h"

#define FIELDS	   7
#define GROUPS_MAX 65536

/* A line cut at its colons; fields point into the text and are not NUL-terminated. */
struct line {
	const char *field[FIELDS];
	size_t len[FIELDS];
	size_t count;
};

/* Cuts the next line off *@text. False at the end. */
static bool next_line(const char **text, struct line *l)
{
	const char *p = *text, *end;

	if (!p || !*p)
		return false;
	end = p + strcspn(p, "\n");
	l->count = 0;
	while (l->count < FIELDS) {
		const char *colon = memchr(p, ':', (size_t)(end - p));
		const char *stop = colon && l->count + 1 < FIELDS ? colon : end;

		l->field[l->count] = p;
		l->len[l->count++] = (size_t)(stop - p);
		if (stop == end)
			break;
		p = stop + 1;
	}
	*text = *end ? end + 1 : end;
	return true;
}

static bool field_is(const struct line *l, size_t i, const char *s, size_t n)
{
	return i < l->count && l->len[i] == n && !memcmp(l->field[i], s, n);
}

/* A field as an id: digits only, below 2^32-1 (which means "none" to the kernel). */
static bool field_id(const struct line *l, size_t i, uint32_t *ret)
{
	char text[16];
	uint32_t v;

	if (i >= l->count || l->len[i] >= sizeof(text))
		return false;
	memcpy(text, l->field[i], l->len[i]);
	text[l->len[i]] = 0;
	if (str_to_u32(text, &v) < 0 || v == UINT32_MAX)
		return false;
	*ret = v;
	return true;
}

static int add_group(struct userdb_user *u, gid_t gid)
{
	for (size_t i = 0; i < u->group_count; i++)
		if (u->groups[i] == gid)
			return 0;
	if (u->group_count >= GROUPS_MAX || mem_grow(&u->groups, u->group_count, sizeof(gid_t)) < 0)
		return -ENOMEM;
	u->groups[u->group_count++] = gid;
	return 0;
}

static bool lists_member(const struct line *l, const char *name, size_t n)
{
	const char *p, *end;

	if (l->count < 4)
		return false;
	p = l->field[3];
	end = p + l->len[3];
	while (p < end) {
		const char *comma = memchr(p, ',', (size_t)(end - p));
		size_t len = (size_t)((comma ? comma : end) - p);

		if (len == n && !memcmp(p, name, n))
			return true;
		if (!comma)
			break;
		p = comma + 1;
	}
	return false;
}

/* The passwd entry by name, or by number. */
static bool find_passwd(const char *passwd, const char *key, size_t n, bool numeric, uint32_t uid,
			struct line *ret)
{
	while (next_line(&passwd, ret)) {
		uint32_t id;

		if (field_is(ret, 0, key, n) && field_id(ret, 2, &id))
			return true;
		if (numeric && field_id(ret, 2, &id) && id == uid)
			return true;
	}
	return false;
}

static int find_group(const char *group, const char *key, gid_t *ret, struct err *err)
{
	struct line l;
	uint32_t id;

	for (const char *p = group; next_line(&p, &l);)
		if (field_is(&l, 0, key, strlen(key)) && field_id(&l, 2, &id)) {
			*ret = id;
			return 0;
		}
	if (str_to_u32(key, &id) < 0 || id == UINT32_MAX)
		return err_set(err, ENOENT, "group \"%s\" is not in the image's /etc/group", key);
	*ret = id;
	return 0;
}

/* The groups that list the user as a member (only those of a user with a name). */
static int add_memberships(struct userdb_user *u, const char *group, const struct line *user)
{
	struct line l;
	uint32_t gid;

	while (next_line(&group, &l))
		if (lists_member(&l, user->field[0], user->len[0]) && field_id(&l, 2, &gid) &&
		    add_group(u, gid) < 0)
			return -ENOMEM;
	return 0;
}

static int fill(const char *passwd, const char *group, const char *spec, char *const *extra,
		struct userdb_user *u, struct err *err)
{
	size_t n = strcspn(spec, ":");
	const char *group_spec = spec[n] ? spec + n + 1 : NULL;
	_cleanup_free_ char *name = n ? strndup(spec, n) : strdup("0");
	struct line l;
	uint32_t uid = 0;
	bool numeric;
	int r;

	if (!name)
		return err_set(err, ENOMEM, "out of memory");
	numeric = str_to_u32(name, &uid) == 0 && uid != UINT32_MAX;
	if (find_passwd(passwd, name, strlen(name), numeric, uid, &l)) {
		field_id(&l, 2, &u->uid);
		if (!field_id(&l, 3, &u->gid))
			u->gid = 0;
		u->home = l.count > 5 && l.len[5] ? strndup(l.field[5], l.len[5]) : strdup("/");
		if (!u->home || (!group_spec && add_memberships(u, group, &l) < 0))
			return err_set(err, ENOMEM, "out of memory");
	} else if (numeric) {
		u->uid = uid;
	} else {
		return err_set(err, ENOENT, "user \"%s\" is not in the image's /etc/passwd", name);
	}
	if (group_spec && *group_spec) {
		r = find_group(group, group_spec, &u->gid, err);
		if (r < 0)
			return r;
	}
	for (; extra && *extra; extra++) {
		gid_t gid;

		r = find_group(group, *extra, &gid, err);
		if (r < 0)
			return r;
		if (add_group(u, gid) < 0)
			return err_set(err, ENOMEM, "out of memory");
	}
	return 0;
}

int userdb_find(const char *passwd, const char *group, const char *spec, char *const *extra,
		struct userdb_user *ret, struct err *err)
{
	struct userdb_user u = { 0 };
	int r = fill(passwd, group, spec ? spec : "", extra, &u, err);

	if (r < 0) {
		userdb_user_done(&u);
		return r;
	}
	*ret = u;
	return 0;
}

void userdb_user_done(struct userdb_user *u)
{
	free(u->groups);
	free(u->home);
	*u = (struct userdb_user){ 0 };
}
