/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/state.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include "container/cgroup.h"
#include "plan/plan.h"
#include "runtime/config.h"
#include "runtime/runtime.h"
#include "util/err.h"
#include "util/io.h"
#include "util/json_read.h"
#include "util/json_write.h"
#include "util/mem.h"
#include "util/proc.h"
#include "util/str.h"

#define ID_MAX	  255
#define STATE_MAX (PLAN_WIRE_MAX + (1u << 20))

const char *state_status_name(enum state_status status)
{
	static const char *const names[] = { "creating", "created", "running", "paused",
					     "stopped" };

	return names[status];
}

static int check_id(const char *id, struct err *err)
{
	static const char allowed[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-.";
	size_t n = strlen(id);

	if (n && n <= ID_MAX && strspn(id, allowed) == n && strcmp(id, ".") != 0 &&
	    strcmp(id, "..") != 0)
		return 0;
	return err_set(
		err, EINVAL,
		"invalid container ID \"%.64s\": it may have letters, digits and _ + - . only", id);
}

static int open_root(const struct runtime *rt, bool make, struct err *err)
{
	int fd = open(rt->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;

	if (fd < 0 && errno == ENOENT && make) {
		r = io_mkdir_all(AT_FDCWD, rt->root, 0711);
		if (r < 0)
			return err_sys(err, -r, "make the state directory %s", rt->root);
		fd = open(rt->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	return fd < 0 ? err_sys(err, errno, "open the state directory %s", rt->root) : fd;
}

int state_reserve(const struct runtime *rt, const char *id, int *ret_dir, struct err *err)
{
	_cleanup_close_ int root = -EBADF, fd = -EBADF;
	int r = check_id(id, err);

	if (r < 0)
		return r;
	root = open_root(rt, true, err);
	if (root < 0)
		return root;
	if (mkdirat(root, id, 0711) < 0) {
		if (errno == EEXIST)
			return err_set(err, EEXIST, "container with given ID already exists: %s",
				       id);
		return err_sys(err, errno, "make %s/%s", rt->root, id);
	}
	fd = openat(root, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || flock(fd, LOCK_EX) < 0) {
		r = err_sys(err, errno, "lock %s/%s", rt->root, id);
		(void)unlinkat(root, id, AT_REMOVEDIR);
		return r;
	}
	*ret_dir = TAKE_FD(fd);
	return 0;
}

int state_note_cgroup(const struct state *s, const char *path, struct err *err)
{
	if (symlinkat(path, s->dir_fd, STATE_CGROUP) < 0)
		return err_sys(err, errno, "note the cgroup of \"%s\"", s->id);
	return 0;
}

/* ---- writing -------------------------------------------------------------------------------- */

void state_write_members(struct json_write *w, const struct state *s, enum state_status status)
{
	json_write_member(w, "ociVersion", s->oci_version ? s->oci_version : OCI_VERSION);
	json_write_member(w, "id", s->id);
	json_write_member_u64(w, "pid", status == STATE_STOPPED ? 0 : (uint64_t)s->pid);
	json_write_member(w, "status", state_status_name(status));
	json_write_member(w, "bundle", s->bundle);
	json_write_member(w, "rootfs", s->rootfs ? s->rootfs : "");
}

void state_write_annotations(struct json_write *w, char *const *annotations)
{
	json_write_object(w);
	for (; annotations && *annotations; annotations++) {
		_cleanup_free_ char *key = strndup(*annotations, strcspn(*annotations, "="));
		const char *value = strchr(*annotations, '=');

		if (key && value)
			json_write_member(w, key, value + 1);
	}
	json_write_close(w, '}');
}

static void write_header(struct json_write *w, const struct state *s)
{
	json_write_object(w);
	json_write_member(w, "ociVersion", s->oci_version ? s->oci_version : OCI_VERSION);
	json_write_member_u64(w, "pid", (uint64_t)s->pid);
	json_write_member_u64(w, "pidStart", s->pid_start);
	json_write_member_u64(w, "created", (uint64_t)s->created_s);
	json_write_member_u64(w, "createdNs", (uint64_t)s->created_ns);
	json_write_member(w, "bundle", s->bundle);
	json_write_member(w, "rootfs", s->rootfs);
	json_write_member(w, "cgroup", s->cgroup);
	json_write_member(w, "scope", s->scope);
	json_write_member_u64(w, "owner", s->owner);
	json_write_key(w, "vm");
	json_write_bool(w, s->vm);
	json_write_key(w, "ownPids");
	json_write_bool(w, s->own_pids);
	json_write_key(w, "annotations");
	state_write_annotations(w, s->annotations);
	json_write_close(w, '}');
	str_buf_puts(&w->out, "\n");
}

int state_save(const struct state *s, const struct plan *plan, struct err *err)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	struct json_write w = { 0 };
	size_t n;
	int r = plan_encode(plan, &bytes, &n);

	if (r == 0) {
		write_header(&w, s);
		str_buf_add(&w.out, bytes, n);
		r = w.out.failed
			    ? -ENOMEM
			    : io_write_file(s->dir_fd, STATE_NAME, w.out.data, w.out.len, 0600, 0);
	}
	str_buf_done(&w.out);
	return r < 0 ? err_sys(err, -r, "write the state of \"%s\"", s->id) : 0;
}

/* ---- reading -------------------------------------------------------------------------------- */

static void member_string(struct json_read *r, void *to)
{
	json_read_dup(r, to);
}

static void read_member(struct json_read *r, const char *key, struct state *s)
{
	const struct {
		const char *key;
		char **field;
	} strings[] = { { "ociVersion", &s->oci_version },
			{ "bundle", &s->bundle },
			{ "rootfs", &s->rootfs },
			{ "cgroup", &s->cgroup },
			{ "scope", &s->scope } };

	for (size_t i = 0; i < ARRAY_SIZE(strings); i++)
		if (!strcmp(strings[i].key, key)) {
			member_string(r, strings[i].field);
			return;
		}
	if (!strcmp(key, "pid"))
		s->pid = (pid_t)json_read_uint(r, INT32_MAX);
	else if (!strcmp(key, "pidStart"))
		json_read_u64(r, &s->pid_start);
	else if (!strcmp(key, "created"))
		json_read_i64(r, &s->created_s);
	else if (!strcmp(key, "createdNs"))
		s->created_ns = (long)json_read_uint(r, 999999999);
	else if (!strcmp(key, "owner"))
		s->owner = (uint32_t)json_read_uint(r, UINT32_MAX);
	else if (!strcmp(key, "vm"))
		s->vm = json_read_bool(r);
	else if (!strcmp(key, "ownPids"))
		s->own_pids = json_read_bool(r);
	else if (!strcmp(key, "annotations"))
		json_read_pairs(r, &s->annotations);
	else
		json_read_skip(r);
}

/* What a creation that broke off left: an empty cgroup, if it came that far. */
static int read_cgroup(struct state *s, struct err *err)
{
	char path[PATH_MAX];
	ssize_t n = readlinkat(s->dir_fd, STATE_CGROUP, path, sizeof(path));

	s->own_pids = true; /* none of its processes lives on */
	if (n < 0 || n == (ssize_t)sizeof(path))
		return 0;
	s->cgroup = strndup(path, (size_t)n);
	return s->cgroup ? 0 : err_set(err, ENOMEM, "out of memory");
}

static int read_state(struct state *s, struct err *err)
{
	struct json_read r;
	size_t n, line;
	char *key, *end;
	int e = io_read_file(s->dir_fd, STATE_NAME, STATE_MAX, &s->text, &n);

	if (e == -ENOENT)
		return read_cgroup(s, err); /* STATE_CREATING */
	if (e < 0)
		return err_sys(err, -e, "read the state of \"%s\"", s->id);
	end = memchr(s->text, '\n', n);
	line = end ? (size_t)(end - s->text) : n;
	s->plan_at = MIN(line + 1, n);
	s->plan_len = n - s->plan_at;
	json_read_init(&r, s->text, line, STATE_NAME, err);
	for (json_read_object(&r); json_read_key(&r, &key);)
		read_member(&r, key, s);
	e = json_read_end(&r);
	return e < 0 ? err_wrap(err, "container \"%s\"", s->id) : 0;
}

int state_open(const struct runtime *rt, const char *id, bool lock, struct state *ret,
	       struct err *err)
{
	_cleanup_(state_done) struct state s = STATE_INIT;
	_cleanup_close_ int root = -EBADF;
	int r = check_id(id, err);

	if (r < 0)
		return r;
	root = open_root(rt, false, NULL);
	if (root >= 0)
		s.dir_fd = openat(root, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (root < 0 || (s.dir_fd < 0 && errno == ENOENT))
		return err_set(err, ENOENT, "container does not exist: %s", id);
	if (s.dir_fd < 0 || (lock && flock(s.dir_fd, LOCK_EX) < 0))
		return err_sys(err, errno, "open %s/%s", rt->root, id);
	s.id = strdup(id);
	if (!s.id)
		return err_set(err, ENOMEM, "out of memory");
	r = read_state(&s, err);
	if (r < 0)
		return r;
	/* it was deleted while we waited for the lock */
	if (lock && faccessat(root, id, F_OK, 0) < 0)
		return err_set(err, ENOENT, "container does not exist: %s", id);
	*ret = s;
	s = (struct state)STATE_INIT;
	return 0;
}

int state_read_plan(const struct state *s, struct plan *ret, struct err *err)
{
	int r;

	if (!s->text)
		return err_set(err, EAGAIN, "container \"%s\" is still being created", s->id);
	r = plan_decode((const uint8_t *)s->text + s->plan_at, s->plan_len, ret, err);
	return r < 0 ? err_wrap(err, "container \"%s\"", s->id) : 0;
}

int state_process(const struct state *s)
{
	_cleanup_close_ int fd = s->pid > 0 ? proc_open(s->pid, s->pid_start) : -ESRCH;
	struct pollfd ended = { .fd = fd, .events = POLLIN };

	/* one that has ended and was not waited for yet still has its number */
	if (fd < 0 || poll(&ended, 1, 0) != 0)
		return -ESRCH;
	return TAKE_FD(fd);
}

const struct cgroup_ops *state_cgroups(const struct state *s)
{
	return s->cgroup ? cgroup_detect() : NULL;
}

enum state_status state_status_of(const struct state *s)
{
	const struct cgroup_ops *cgroups;

	if (s->pid == 0)
		return STATE_CREATING;
	if (!proc_is_running(s->pid, s->pid_start))
		return STATE_STOPPED;
	cgroups = state_cgroups(s);
	if (cgroups && cgroups->is_frozen(s->cgroup) > 0)
		return STATE_PAUSED;
	return faccessat(s->dir_fd, STATE_START, F_OK, AT_SYMLINK_NOFOLLOW) == 0 ? STATE_CREATED
										 : STATE_RUNNING;
}

int state_remove(const struct runtime *rt, const char *id, struct err *err)
{
	_cleanup_close_ int root = open_root(rt, false, err);
	int r = root < 0 ? root : io_remove_tree(root, id);

	return r < 0 && root >= 0 ? err_sys(err, -r, "remove %s/%s", rt->root, id) : r;
}

void state_done(struct state *s)
{
	fd_close(s->dir_fd);
	free(s->id);
	free(s->bundle);
	free(s->rootfs);
	free(s->oci_version);
	free(s->cgroup);
	free(s->scope);
	strv_free(s->annotations);
	free(s->text);
	*s = (struct state)STATE_INIT;
}
