/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `run` in the foreground: this process is the container's owner from its first file to its last.
 *
 * The order keeps every instant recoverable. The lock and the name come first; the plan and the
 * directories next; then the backend starts the process. At the end the exit code is recorded (or,
 * with --rm, everything is removed), and the run directory with the lock goes last. Whoever finds a
 * run directory with a free lock knows that its owner died, and tidies up (engine_recover()).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <time.h>
#include "engine/engine.h"
#include "engine/internal.h"
#include "engine/logfile.h"
#include "engine/names.h"
#include "engine/machine_group.h"
#include "engine/relay.h"
#include "image/client.h"
#include "store/image.h"
#include "util/err.h"
#include "util/io.h"
#include "util/json.h"
#include "util/log.h"
#include "util/loop.h"
#include "util/mem.h"
#include "util/self.h"
#include "util/str.h"

#define RESOLV_CONF_MAX 65536
#define SUBID_FILE_MAX	(1u << 20)
#define SUBID_DEFAULT	1879048192u

struct running {
	struct store *store;
	struct engine_run *run;
	struct plan plan;
	struct container container; /* id, name, dirs: as the backend sees it */
	struct instance inst;
	struct plan_device *devices;
	uint8_t *device_access;
	size_t device_count;
	uint8_t *seccomp;
	char *stage, *upper, *work, *disk, *resolv_conf;
	char id[65], name[64];
	int lock;
	int pin;
	struct log_file log;
};

static void running_done(struct running *n)
{
	plan_done(&n->plan);
	container_done(&n->container);
	for (size_t i = 0; i < n->device_count; i++)
		free(n->devices[i].path);
	free(n->devices);
	free(n->device_access);
	free(n->seccomp);
	free(n->stage);
	free(n->upper);
	free(n->work);
	free(n->disk);
	free(n->resolv_conf);
	log_file_done(&n->log);
	n->pin = fd_close(n->pin);
	n->lock = fd_close(n->lock);
}

/* ---- facts of the host that the plan needs --------------------------------------------------- */

static int look_up_device(struct running *n, const char *text, struct err *err)
{
	_cleanup_free_ char *host = NULL, *inside = NULL;
	struct stat st;
	uint8_t access;
	int r = plan_parse_device(text, &host, &inside, &access, err);

	if (r < 0)
		return r;
	if (stat(host, &st) < 0)
		return err_sys(err, errno, "--device %s", host);
	if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_set(err, ENODEV, "--device %s: not a device", host);
	n->devices[n->device_count] = (struct plan_device){ .path = TAKE_PTR(inside),
							    .type = S_ISBLK(st.st_mode) ? 'b' : 'c',
							    .major = major(st.st_rdev),
							    .minor = minor(st.st_rdev),
							    .mode = st.st_mode & 07777,
							    .uid = st.st_uid,
							    .gid = st.st_gid };
	n->device_access[n->device_count++] = access;
	return 0;
}

static int look_up_devices(struct running *n, struct err *err)
{
	size_t count = strv_len(n->run->devices);

	n->devices = calloc(count + 1, sizeof(*n->devices));
	n->device_access = calloc(count + 1, 1);
	if (!n->devices || !n->device_access)
		return err_set(err, ENOMEM, "out of memory");
	for (size_t i = 0; i < count; i++) {
		int r = look_up_device(n, n->run->devices[i], err);

		if (r < 0)
			return r;
	}
	return 0;
}

static const char *next_line(const char *line)
{
	line = strchr(line, '\n');
	return line ? line + 1 : NULL;
}

/*
 * The ids of the host for --userns auto: the range of "containers" or "root" in /etc/subuid or
 * /etc/subgid (subuid(5)), or one that systemd's list of id ranges calls unused.
 */
static uint32_t subordinate_ids(const char *file)
{
	static const char *const owners[] = { "containers:", "root:" };
	_cleanup_free_ char *text = NULL;

	if (io_read_file(AT_FDCWD, file, SUBID_FILE_MAX, &text, NULL) < 0)
		return SUBID_DEFAULT;
	for (size_t i = 0; i < ARRAY_SIZE(owners); i++)
		for (const char *line = text; line; line = next_line(line)) {
			unsigned first, count;

			if (str_starts(line, owners[i]) &&
			    sscanf(line + strlen(owners[i]), "%u:%u", &first, &count) == 2 &&
			    first > 0 && count >= PLAN_ID_COUNT)
				return first;
		}
	return SUBID_DEFAULT;
}

/* -v makes a missing source, as Docker does; --mount refuses it. */
static int prepare_binds(struct running *n, struct err *err)
{
	for (char **v = n->run->plan.volumes; v && *v; v++) {
		struct plan_mount m;
		int r = plan_parse_volume(*v, &m, err);

		if (r < 0)
			return r;
		r = access(m.source, F_OK) == 0 ? 0 : io_mkdir_all(AT_FDCWD, m.source, 0755);
		if (r < 0)
			r = err_sys(err, -r, "-v: make the missing directory \"%s\"", m.source);
		plan_mount_done(&m);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < n->plan.mount_count; i++) {
		struct plan_mount *m = &n->plan.mounts[i];
		struct stat st;

		if (m->kind != PLAN_MOUNT_BIND)
			continue;
		if (stat(m->source, &st) < 0)
			return err_sys(err, errno, "mount \"%s\" on %s", m->source, m->target);
		if (!S_ISDIR(st.st_mode))
			m->flags |= PLAN_MOUNT_FILE;
	}
	return 0;
}

/* ---- steps ---------------------------------------------------------------------------------- */

static int choose_name(struct running *n, struct err *err)
{
	container_new_id(n->id);
	if (n->run->plan.name) {
		int r = plan_check_name(n->run->plan.name, err);

		return r < 0 ? err_wrap(err, "--name") : 0;
	}
	names_generate(n->name, sizeof(n->name));
	n->run->plan.name = n->name;
	return 0;
}

static int make_paths(struct running *n, const struct store_image *image, struct err *err)
{
	struct container *c = &n->container;

	c->id = strdup(n->id);
	c->name = strdup(n->run->plan.name);
	c->image_id = strdup(image->id);
	c->isolation = strdup(n->run->plan.isolation == PLAN_VM ? "vm" : "container");
	c->dir = str_printf("%s/containers/%s", n->store->root, n->id);
	c->run_dir = str_printf("%s/%s", n->store->run_root, n->id);
	n->upper = str_printf("%s/upper", c->dir);
	n->work = str_printf("%s/work", c->dir);
	c->auto_remove = n->run->plan.auto_remove;
	if (!c->id || !c->name || !c->image_id || !c->isolation || !c->dir || !c->run_dir ||
	    !n->upper || !n->work)
		return err_set(err, ENOMEM, "out of memory");
	return self_find_helper("proa-init", &n->stage, err);
}

static int make_plan(struct running *n, const struct store_image *image, struct err *err)
{
	struct plan_options *o = &n->run->plan;
	struct utsname uts;
	uint64_t caps;
	int r = look_up_devices(n, err);

	if (r == 0)
		r = plan_caps_resolve(o->cap_add, o->cap_drop, o->privileged, &caps, err);
	if (r == 0 && !(o->privileged && !n->run->seccomp))
		r = engine_seccomp(n->store, n->run->seccomp, caps, &n->seccomp, &o->seccomp_len,
				   err);
	if (r == 0 && o->isolation == PLAN_VM)
		r = image_erofs_ensure(n->store, image, &n->disk, err);
	if (r < 0)
		return r;
	(void)io_read_file(AT_FDCWD, "/etc/resolv.conf", RESOLV_CONF_MAX, &n->resolv_conf, NULL);
	if (uname(&uts) == 0)
		o->host_hostname = uts.nodename;
	if (o->userns && !strcmp(o->userns, "auto")) {
		o->subuid = subordinate_ids("/etc/subuid");
		o->subgid = subordinate_ids("/etc/subgid");
	}
	o->id = n->id;
	o->image_id = image->id;
	o->host_resolv_conf = n->resolv_conf;
	o->seccomp = n->seccomp;
	o->devices = n->devices;
	o->device_access = n->device_access;
	o->device_count = n->device_count;
	o->layer_dirs = image->layer_dirs;
	o->upper = n->upper;
	o->work = n->work;
	o->disk = n->disk;
	r = plan_make(o, &image->config, &n->plan, err);
	return r < 0 ? r : prepare_binds(n, err);
}

static json_t *labels_json(const struct engine_run *run, const struct store_image *image)
{
	json_t *labels = json_object();
	char **const sources[] = { image->config.labels, run->labels };

	for (size_t i = 0; i < ARRAY_SIZE(sources); i++)
		for (char **l = sources[i]; l && *l; l++) {
			_cleanup_free_ char *key = strndup(*l, strcspn(*l, "="));
			const char *value = strchr(*l, '=');

			if (key)
				json_object_set_new(labels, key,
						    json_string(value ? value + 1 : ""));
		}
	return labels;
}

static json_t *mounts_json(const struct plan *p)
{
	json_t *mounts = json_array();

	for (size_t i = 0; i < p->mount_count; i++) {
		const struct plan_mount *m = &p->mounts[i];

		if (m->kind == PLAN_MOUNT_BIND)
			json_array_append_new(mounts, json_pack("{s:s, s:s, s:s, s:b}", "Type",
								"bind", "Source", m->source,
								"Destination", m->target, "RW",
								!(m->attrs & MOUNT_ATTR_RDONLY)));
	}
	return mounts;
}

/* What `ps` and `inspect` show later. */
static json_t *config_json(const struct running *n, const struct store_image *image)
{
	const struct plan_options *o = &n->run->plan;

	return json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:o, s:I, s:b, s:i, s:o, s:o, s:s, s:I, s:I, s:I, "
		"s:b, s:b, s:s, s:b}",
		"id", n->id, "name", o->name, "image_id", image->id, "image", n->run->image,
		"isolation", n->container.isolation, "command",
		json_from_strv(n->plan.process.args), "created", (json_int_t)time(NULL),
		"auto_remove", o->auto_remove, "stop_signal", n->plan.stop_signal, "labels",
		labels_json(n->run, image), "mounts", mounts_json(&n->plan), "network",
		o->network ? o->network : "none", "memory",
		(json_int_t)n->plan.resources.memory_bytes, "nano_cpus", (json_int_t)o->cpus_nano,
		"pids_limit", (json_int_t)o->pids_limit, "privileged", o->privileged, "read_only",
		o->read_only, "hostname", n->plan.hostname, "tty", o->terminal);
}

/* Claims name and directories, and writes what must be there before the process starts. */
static int claim(struct running *n, const struct store_image *image, struct err *err)
{
	_cleanup_json_ json_t *config = config_json(n, image);
	_cleanup_free_ uint8_t *wire = NULL;
	_cleanup_free_ char *plan_path = str_printf("%s/" PLAN_NAME, n->container.dir);
	size_t len;
	int r;

	if (!config || !plan_path || plan_encode(&n->plan, &wire, &len) < 0)
		return err_set(err, ENOMEM, "out of memory");
	r = store_container_create(n->store, config, &n->lock, err);
	if (r < 0)
		return r;
	n->pin = fd_close(n->pin); /* from here on the container's `image` file holds the image */
	r = io_write_file(AT_FDCWD, plan_path, wire, len, 0600, 0);
	if (r < 0)
		return err_sys(err, -r, "write %s", plan_path);
	if (n->run->plan.isolation == PLAN_CONTAINER &&
	    (mkdir(n->upper, 0755) < 0 || mkdir(n->work, 0700) < 0))
		return err_sys(err, errno, "make the writable layer");
	return log_file_open(n->container.dir, &n->log, err);
}

static void on_started(void *data, pid_t pid)
{
	struct running *n = data;
	struct err err = ERR_INIT;

	if (store_container_set_running(n->store, n->id, pid, time(NULL), &err) < 0)
		log_warning("%s", err.msg);
}

static int run_process(struct running *n, int *ret_code, struct err *err)
{
	const struct backend_ops *backend = engine_backend(n->container.isolation);
	struct loop loop = LOOP_INIT;
	struct relay relay;
	struct relay_options o = { .interactive = n->run->plan.interactive,
				   .terminal = n->run->plan.terminal,
				   .stdout_fd = n->run->stdout_fd,
				   .stderr_fd = n->run->stderr_fd,
				   .log = &n->log,
				   .started = on_started,
				   .data = n };
	int r = loop_init(&loop, err);

	if (r < 0)
		return r;
	r = relay_init(&relay, &loop, &o, err);
	if (r == 0 && backend == &vm_backend)
		machine_group_make(&n->inst);
	if (r == 0)
		r = backend->run(&loop, &n->plan, &n->inst, &relay.events, &relay.process, err);
	if (r == 0)
		r = relay_run(&relay, err);
	relay_done(&relay);
	loop_done(&loop);
	return r < 0 ? r : relay_result(&relay, ret_code, err);
}

/* The owner's last acts; failures are warnings, for the result is known. */
static void tidy_up(struct running *n, bool ran, int code)
{
	const struct backend_ops *backend = engine_backend(n->container.isolation);
	struct err err = ERR_INIT;

	if (backend->cleanup(&n->inst, &err) < 0)
		log_warning("%s", err.msg);
	if (backend == &vm_backend)
		machine_group_remove(&n->inst);
	if (!ran || n->run->plan.auto_remove) {
		if (store_container_remove(n->store, &n->container, &err) < 0)
			log_warning("%s", err.msg);
	} else if (store_container_set_exited(n->store, n->id, code, time(NULL), &err) < 0) {
		log_warning("%s", err.msg);
	}
	store_container_release(n->store, n->id);
}

static int run_image(struct running *n, const struct store_image *image, int *ret_code,
		     struct err *err)
{
	const struct backend_ops *backend;
	bool ran;
	int r = choose_name(n, err);

	if (r == 0)
		r = make_paths(n, image, err);
	if (r == 0)
		r = make_plan(n, image, err);
	if (r < 0)
		return r;
	backend = engine_backend(n->container.isolation);
	r = backend->check(&n->plan, err);
	if (r == 0)
		r = claim(n, image, err);
	if (r < 0) {
		if (n->lock >= 0)
			tidy_up(n, false, 0);
		return r;
	}
	engine_instance(n->store, &n->container, n->stage, &n->inst);
	r = run_process(n, ret_code, err);
	/* a command that could not be started leaves a container behind, as with docker, but not
	 * one that proa itself could not set up */
	ran = r == 0 || err->exit_code != EXIT_PROA;
	tidy_up(n, ran, r < 0 ? err->exit_code : *ret_code);
	return r;
}

int engine_run(struct store *s, struct engine_run *run, int *ret_code, struct err *err)
{
	struct running n;
	struct store_image image = { 0 };
	int r;

	n = (struct running){
		.store = s, .run = run, .lock = -EBADF, .pin = -EBADF, .log = LOG_FILE_INIT
	};
	engine_recover(s);
	r = store_pin(s, &n.pin, err);
	if (r == 0)
		r = store_image_find(s, run->image, &image, err);
	if (r == 0)
		r = run_image(&n, &image, ret_code, err);
	store_image_done(&image);
	running_done(&n);
	return r;
}
