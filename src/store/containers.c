/* SPDX-License-Identifier: Apache-2.0 */
#include "store/containers.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include "util/err.h"
#include "util/io.h"
#include "util/json.h"
#include "util/mem.h"
#include "util/proc.h"
#include "util/str.h"

#define ID_LEN 64

void container_done(struct container *c)
{
	free(c->id);
	free(c->name);
	free(c->image_id);
	free(c->image_name);
	free(c->isolation);
	strv_free(c->command);
	json_decref(c->config);
	free(c->dir);
	free(c->run_dir);
	*c = (struct container){ 0 };
}

void container_new_id(char ret[65])
{
	uint8_t raw[32];

	do {
		if (getrandom(raw, sizeof(raw), 0) != sizeof(raw))
			abort();
		str_hex(raw, sizeof(raw), ret);
		/* as Docker: the first 12 digits must not look like a number */
	} while (!ret[strspn(ret, "0123456789")] || strspn(ret, "0123456789") >= 12);
}

static bool is_id(const char *s)
{
	return strlen(s) == ID_LEN && s[strspn(s, "0123456789abcdef")] == 0;
}

static int open_containers(struct store *s)
{
	int fd = openat(s->root_fd, "containers", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT) {
		if (io_mkdir_all(s->root_fd, "containers/names", 0711) < 0)
			return -errno;
		fd = openat(s->root_fd, "containers", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	return fd < 0 ? -errno : fd;
}

static int open_run_root(struct store *s)
{
	int fd = open(s->run_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT && io_mkdir_all(AT_FDCWD, s->run_root, 0711) == 0)
		fd = open(s->run_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* ---- the lock ------------------------------------------------------------------------------- */

/* Makes RUN/ID with its lock held. RUN's own lock keeps a concurrent clean-up away meanwhile. */
static int claim_run_dir(int run, const char *id, int *ret_lock)
{
	_cleanup_close_ int lock = -EBADF;
	_cleanup_free_ char *path = str_printf("%s/lock", id);
	int r = 0;

	if (!path)
		return -ENOMEM;
	if (flock(run, LOCK_SH) < 0)
		return -errno;
	if (mkdirat(run, id, 0700) < 0)
		r = -errno;
	if (r == 0) {
		lock = openat(run, path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		/* waits only for a look of is_owned() */
		if (lock < 0 || flock(lock, LOCK_EX) < 0)
			r = -errno;
	}
	flock(run, LOCK_UN);
	if (r == 0)
		*ret_lock = TAKE_FD(lock);
	return r;
}

/* Does a living process hold the lock of RUN/ID? */
static bool is_owned(int run, const char *id)
{
	_cleanup_free_ char *path = str_printf("%s/lock", id);
	_cleanup_close_ int lock = path ? openat(run, path, O_RDWR | O_CLOEXEC) : -1;

	return lock >= 0 && flock(lock, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

/* ---- names ---------------------------------------------------------------------------------- */

static int read_name(int dir, const char *name, char id[ID_LEN + 1])
{
	_cleanup_free_ char *path = str_printf("names/%s", name);
	ssize_t n = path ? readlinkat(dir, path, id, ID_LEN) : -1;

	if (n != ID_LEN)
		return -ENOENT;
	id[ID_LEN] = 0;
	return is_id(id) ? 0 : -ENOENT;
}

static int reserve_name(int dir, const char *name, const char *id, struct err *err)
{
	_cleanup_free_ char *path = str_printf("names/%s", name);
	char holder[ID_LEN + 1];

	if (!path)
		return err_set(err, ENOMEM, "out of memory");
	for (int tries = 0; tries < 3; tries++) {
		if (symlinkat(id, dir, path) == 0)
			return 0;
		if (errno == ENOENT && mkdirat(dir, "names", 0711) == 0)
			continue;
		if (errno != EEXIST)
			return err_sys(err, errno, "take the name \"%s\"", name);
		/* left behind by a removal that was cut short: its container is gone */
		if (read_name(dir, name, holder) == 0 && faccessat(dir, holder, F_OK, 0) == 0)
			return err_set(err, EEXIST,
				       "the name \"%s\" is in use by container %.12s; remove it "
				       "(proa rm %s) or choose another name",
				       name, holder, name);
		unlinkat(dir, path, 0);
	}
	return err_set(err, EEXIST, "the name \"%s\" is in use", name);
}

static void free_name(int dir, const char *name, const char *id)
{
	_cleanup_free_ char *path = str_printf("names/%s", name);
	char holder[ID_LEN + 1];

	if (path && read_name(dir, name, holder) == 0 && !strcmp(holder, id))
		unlinkat(dir, path, 0);
}

/* ---- making and ending ---------------------------------------------------------------------- */

static int write_json(int dir, const char *path, const json_t *j, struct err *err)
{
	_cleanup_free_ char *text = json_dumps(j, JSON_COMPACT);
	int r = text ? io_write_file(dir, path, text, strlen(text), 0600, 0) : -ENOMEM;

	return r < 0 ? err_sys(err, -r, "write %s", path) : 0;
}

static int fill_dir(int dir, const char *id, const json_t *config, struct err *err)
{
	_cleanup_free_ char *config_path = str_printf("%s/config.json", id);
	_cleanup_free_ char *image_path = str_printf("%s/image", id);
	const char *image = json_get_str(config, "image_id");
	int r;

	if (!config_path || !image_path)
		return err_set(err, ENOMEM, "out of memory");
	if (mkdirat(dir, id, 0711) < 0)
		return err_sys(err, errno, "make the container's directory");
	r = image ? io_write_file(dir, image_path, image, strlen(image), 0600, 0) : 0;
	if (r < 0)
		return err_sys(err, -r, "write %s", image_path);
	return write_json(dir, config_path, config, err);
}

int store_container_create(struct store *s, const json_t *config, int *ret_lock_fd, struct err *err)
{
	const char *id = json_get_str(config, "id"), *name = json_get_str(config, "name");
	_cleanup_close_ int run = open_run_root(s), dir = open_containers(s), lock = -EBADF;
	int r;

	if (run < 0)
		return err_sys(err, -run, "open %s", s->run_root);
	if (dir < 0)
		return err_sys(err, -dir, "open %s/containers", s->root);
	r = claim_run_dir(run, id, &lock);
	if (r < 0)
		return err_sys(err, -r, "make %s/%.12s…", s->run_root, id);
	r = reserve_name(dir, name, id, err);
	if (r == 0) {
		r = fill_dir(dir, id, config, err);
		if (r < 0) {
			free_name(dir, name, id);
			io_remove_tree(dir, id);
		}
	}
	if (r < 0) {
		io_remove_tree(run, id);
		return r;
	}
	*ret_lock_fd = TAKE_FD(lock);
	return 0;
}

int store_container_set_running(struct store *s, const char *id, pid_t pid, int64_t now_s,
				struct err *err)
{
	_cleanup_free_ char *path = str_printf("%s/%s/state.json", s->run_root, id);
	uint64_t start = 0, owner_start = 0;
	_cleanup_json_ json_t *j = NULL;

	if (pid > 0)
		(void)proc_start_time(pid, &start);
	(void)proc_start_time(getpid(), &owner_start);
	j = json_pack("{s:i, s:I, s:i, s:I, s:I}", "pid", (int)pid, "pid_start", (json_int_t)start,
		      "owner_pid", (int)getpid(), "owner_start", (json_int_t)owner_start, "started",
		      (json_int_t)now_s);
	if (!j || !path)
		return err_set(err, ENOMEM, "out of memory");
	return write_json(AT_FDCWD, path, j, err);
}

int store_container_set_exited(struct store *s, const char *id, int code, int64_t now_s,
			       struct err *err)
{
	_cleanup_free_ char *path = str_printf("containers/%s/exit.json", id);
	_cleanup_json_ json_t *j =
		json_pack("{s:i, s:I}", "exit_code", code, "finished", (json_int_t)now_s);

	if (!j || !path)
		return err_set(err, ENOMEM, "out of memory");
	return write_json(s->root_fd, path, j, err);
}

void store_container_release(struct store *s, const char *id)
{
	_cleanup_close_ int run = open_run_root(s);

	if (run >= 0)
		(void)io_remove_tree(run, id);
}

int store_container_remove(struct store *s, const struct container *c, struct err *err)
{
	_cleanup_close_ int dir = open_containers(s);
	int r;

	if (dir < 0)
		return err_sys(err, -dir, "open %s/containers", s->root);
	if (c->name)
		free_name(dir, c->name, c->id);
	r = io_remove_tree(dir, c->id);
	return r < 0 ? err_sys(err, -r, "remove %s/containers/%.12s…", s->root, c->id) : 0;
}

/* ---- reading -------------------------------------------------------------------------------- */

static char *copy_str(const json_t *j, const char *key)
{
	const char *s = json_get_str(j, key);

	return strdup(s ? s : "");
}

static void read_state(struct store *s, int run, struct container *c)
{
	_cleanup_json_ json_t *state = NULL, *end = NULL;
	_cleanup_free_ char *state_path = str_printf("%s/state.json", c->id);
	_cleanup_free_ char *end_path = str_printf("containers/%s/exit.json", c->id);
	bool owned = run >= 0 && is_owned(run, c->id);

	c->status = owned ? CONTAINER_CREATED : CONTAINER_DEAD;
	if (run >= 0 && state_path && json_read_file(run, state_path, &state, NULL) == 0) {
		c->pid = (pid_t)json_get_int(state, "pid", 0);
		c->pid_start = (uint64_t)json_get_int(state, "pid_start", 0);
		c->owner_pid = (pid_t)json_get_int(state, "owner_pid", 0);
		c->owner_start = (uint64_t)json_get_int(state, "owner_start", 0);
		c->started_s = json_get_int(state, "started", 0);
		if (owned)
			c->status = CONTAINER_RUNNING;
	}
	if (end_path && json_read_file(s->root_fd, end_path, &end, NULL) == 0) {
		c->status = CONTAINER_EXITED;
		c->exit_code = (int)json_get_int(end, "exit_code", 0);
		c->finished_s = json_get_int(end, "finished", 0);
	}
}

/* -ENOENT: not a container, or not any more. */
static int read_container(struct store *s, int dir, int run, const char *id, struct container *ret)
{
	_cleanup_free_ char *path = str_printf("%s/config.json", id);
	struct container c = { 0 };

	if (!path || json_read_file(dir, path, &c.config, NULL) < 0)
		return -ENOENT;
	c.id = strdup(id);
	c.name = copy_str(c.config, "name");
	c.image_id = copy_str(c.config, "image_id");
	c.image_name = copy_str(c.config, "image");
	c.isolation = copy_str(c.config, "isolation");
	c.created_s = json_get_int(c.config, "created", 0);
	c.auto_remove = json_get_bool(c.config, "auto_remove", false);
	c.stop_signal = (int32_t)json_get_int(c.config, "stop_signal", 15);
	c.dir = str_printf("%s/containers/%s", s->root, id);
	c.run_dir = str_printf("%s/%s", s->run_root, id);
	if (json_to_strv(json_object_get(c.config, "command"), &c.command) < 0 || !c.id ||
	    !c.name || !c.image_id || !c.image_name || !c.isolation || !c.dir || !c.run_dir) {
		container_done(&c);
		return -ENOMEM;
	}
	read_state(s, run, &c);
	*ret = c;
	return 0;
}

static int find_by_prefix(int dir, const char *prefix, char id[ID_LEN + 1], struct err *err)
{
	_cleanup_close_ int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	unsigned found = 0;

	if (!d)
		return -errno;
	(void)TAKE_FD(fd);
	while ((e = readdir(d)))
		if (is_id(e->d_name) && str_starts(e->d_name, prefix) && found++ == 0)
			memcpy(id, e->d_name, ID_LEN + 1);
	closedir(d);
	if (found > 1)
		return err_set(err, EINVAL,
			       "\"%s\" is the start of %u containers' IDs; give more of it", prefix,
			       found);
	return found ? 0 : -ENOENT;
}

int store_container_find(struct store *s, const char *name, struct container *ret, struct err *err)
{
	_cleanup_close_ int dir = open_containers(s), run = open_run_root(s);
	char id[ID_LEN + 1];
	int r = -ENOENT;

	if (dir < 0)
		return err_sys(err, -dir, "open %s/containers", s->root);
	if (*name && !strchr(name, '/'))
		r = read_name(dir, name, id);
	if (r == -ENOENT && *name && !name[strspn(name, "0123456789abcdef")]) {
		r = find_by_prefix(dir, name, id, err);
		if (r < 0 && r != -ENOENT)
			return r;
	}
	if (r == 0)
		r = read_container(s, dir, run, id, ret);
	if (r < 0)
		return err_set(err, ENOENT,
			       "no container or machine is called \"%s\"; see proa ps -a", name);
	return 0;
}

static int newest_first(const void *a, const void *b)
{
	const struct container *x = a, *y = b;

	return (x->created_s < y->created_s) - (x->created_s > y->created_s);
}

int store_container_list(struct store *s, struct container **ret, size_t *ret_count,
			 struct err *err)
{
	_cleanup_close_ int dir = open_containers(s), run = open_run_root(s);
	struct container *list = NULL;
	size_t n = 0;
	struct dirent *e;
	DIR *d;
	int r = 0;

	if (dir < 0)
		return err_sys(err, -dir, "open %s/containers", s->root);
	d = fdopendir(fcntl(dir, F_DUPFD_CLOEXEC, 3));
	if (!d)
		return err_sys(err, errno, "read %s/containers", s->root);
	while (r == 0 && (e = readdir(d))) {
		struct container c;

		if (!is_id(e->d_name) || read_container(s, dir, run, e->d_name, &c) < 0)
			continue;
		r = mem_grow(&list, n, sizeof(*list));
		if (r == 0)
			list[n++] = c;
		else
			container_done(&c);
	}
	closedir(d);
	if (r < 0) {
		while (n)
			container_done(&list[--n]);
		free(list);
		return err_set(err, ENOMEM, "out of memory");
	}
	if (n)
		qsort(list, n, sizeof(*list), newest_first);
	*ret = list;
	*ret_count = n;
	return 0;
}

/* ---- after a crash -------------------------------------------------------------------------- */

/* A run directory whose owner is dead: what is known of its container goes to @each. */
static void tidy(struct store *s, int dir, int run, const char *id,
		 void (*each)(struct store *s, struct container *c))
{
	struct container c;

	if (read_container(s, dir, run, id, &c) == 0) {
		each(s, &c);
		container_done(&c);
	} else {
		/* cut short before its configuration was whole */
		struct container rest = { .id = (char *)(uintptr_t)id };

		(void)store_container_remove(s, &rest, NULL);
	}
	(void)io_remove_tree(run, id);
}

int store_container_each_dead(struct store *s, void (*each)(struct store *s, struct container *c),
			      struct err *err)
{
	_cleanup_close_ int run = open_run_root(s), dir = -EBADF;
	struct dirent *e;
	DIR *d;

	if (run < 0)
		return err_sys(err, -run, "open %s", s->run_root);
	d = fdopendir(fcntl(run, F_DUPFD_CLOEXEC, 3));
	if (!d)
		return err_sys(err, errno, "read %s", s->run_root);
	while ((e = readdir(d))) {
		if (!is_id(e->d_name) || is_owned(run, e->d_name))
			continue;
		if (dir < 0)
			dir = open_containers(s);
		/* alone, and looked at again: a creator that is half way holds this lock shared */
		if (dir < 0 || flock(run, LOCK_EX) < 0)
			break;
		if (!is_owned(run, e->d_name))
			tidy(s, dir, run, e->d_name, each);
		flock(run, LOCK_UN);
	}
	closedir(d);
	return 0;
}

char *store_container_using_image(struct store *s, const char *image_id)
{
	_cleanup_close_ int dir = open_containers(s);
	DIR *d = dir < 0 ? NULL : fdopendir(fcntl(dir, F_DUPFD_CLOEXEC, 3));
	char *name = NULL;
	struct dirent *e;

	while (d && !name && (e = readdir(d))) {
		_cleanup_free_ char *path = NULL, *used = NULL;
		_cleanup_json_ json_t *config = NULL;

		if (!is_id(e->d_name))
			continue;
		path = str_printf("%s/image", e->d_name);
		if (!path || io_read_file(dir, path, 256, &used, NULL) < 0 ||
		    strcmp(used, image_id))
			continue;
		free(path);
		path = str_printf("%s/config.json", e->d_name);
		if (path && json_read_file(dir, path, &config, NULL) == 0)
			name = copy_str(config, "name");
		else
			name = strdup(e->d_name);
	}
	if (d)
		closedir(d);
	return name;
}
