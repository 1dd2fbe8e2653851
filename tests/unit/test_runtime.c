/* SPDX-License-Identifier: Apache-2.0 */
/* runtime: config.json to plan, what is refused and with which words; JSON read and written. */
#include <errno.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include "tap.h"
#include "runtime/config.h"
#include "runtime/create.h"
#include "util/err.h"
#include "util/io.h"
#include "util/json_read.h"
#include "util/json_write.h"
#include "util/mem.h"

#define HEAD                                                                                       \
	"{\"ociVersion\":\"1.2.0\",\"root\":{\"path\":\"rootfs\"},"                                \
	"\"process\":{\"cwd\":\"/\",\"args\":[\"sh\"],\"user\":{\"uid\":7,\"gid\":8}},"

static int parse(const char *text, struct config *c, struct err *err)
{
	_cleanup_free_ char *copy = strdup(text);

	return config_parse(copy, strlen(text), "/b", "id", c, err);
}

static void test_minimal(void)
{
	struct err err = ERR_INIT;
	struct config c = { 0 };

	ok_int(parse(HEAD "\"linux\":{\"namespaces\":[{\"type\":\"mount\"},{\"type\":\"pid\"}]}}",
		     &c, &err),
	       0, "a small bundle: %s", err.msg);
	ok_str(c.plan.root.lowers[0], "/b/rootfs", "a relative root is in the bundle");
	ok_str(c.plan.process.user, "7:8", "user and group");
	ok(c.plan.process.exact_ids, "which no file of the image changes");
	ok_int((long)c.plan.device_count, 6, "the default devices are there");
	ok_int(c.plan.namespaces, PLAN_NS_MOUNT | PLAN_NS_PID, "two namespaces");
	ok(!c.plan.resources.device_rules[0].allow && c.plan.resources.device_rules[0].type == 'a',
	   "devices begin with deny all");
	ok_int(c.plan.root.propagation, MS_SLAVE, "the root receives mounts of the host");
	config_done(&c);
}

static void test_mounts(void)
{
	struct err err = ERR_INIT;
	struct config c = { 0 };
	const struct plan_mount *m;

	ok_int(parse(HEAD "\"mounts\":["
			  "{\"destination\":\"/"
			  "a\",\"type\":\"bind\",\"source\":\"x\",\"options\":[\"rbind\",\"ro\","
			  "\"rw\",\"nosuid\",\"rslave\"]},"
			  "{\"destination\":\"/"
			  "b\",\"type\":\"tmpfs\",\"source\":\"t\",\"options\":[\"size=1m\","
			  "\"noatime\",\"relatime\",\"tmpcopyup\"]},"
			  "{\"destination\":\"c\",\"source\":\"/"
			  "y\",\"options\":[\"bind\",\"rro\",\"sync\"],"
			  "\"uidMappings\":[{\"containerID\":0,\"hostID\":5,\"size\":1}],"
			  "\"gidMappings\":[{\"containerID\":0,\"hostID\":5,\"size\":1}]},"
			  "{\"destination\":\"/d\",\"type\":\"ext4\",\"source\":\"/dev/"
			  "x\",\"options\":[\"sync\"]}],"
			  "\"linux\":{\"namespaces\":[{\"type\":\"mount\"}]}}",
		     &c, &err),
	       0, "mounts: %s", err.msg);
	m = c.plan.mounts;
	ok(m[0].kind == PLAN_MOUNT_BIND && m[0].flags & PLAN_MOUNT_RECURSIVE, "rbind");
	ok_str(m[0].source, "/b/x", "its source is relative to the bundle");
	ok_int((long)m[0].attrs, MOUNT_ATTR_NOSUID, "the last of ro and rw counts");
	ok_int((long)m[0].attrs_clear, MOUNT_ATTR_RDONLY, "and takes the other away");
	ok(m[0].flags & PLAN_MOUNT_SLAVE && m[0].flags & PLAN_MOUNT_PROPAGATION_RECURSIVE,
	   "rslave");
	ok(m[1].kind == PLAN_MOUNT_TMPFS && m[1].flags & PLAN_MOUNT_COPY_UP, "tmpcopyup");
	ok_int((long)m[1].attrs, MOUNT_ATTR_RELATIME, "relatime in the place of noatime");
	ok_str(m[1].options[0], "size=1m", "options of the file system stay");
	ok_str(m[2].target, "/c", "a relative destination is below the root");
	ok_int((long)m[2].below.set, MOUNT_ATTR_RDONLY, "rro is for all below");
	ok(!m[2].options && m[2].uid_map_count == 1, "a bind has no options but an id map");
	ok(m[3].kind == PLAN_MOUNT_FS && !strcmp(m[3].fs, "ext4") &&
		   !strcmp(m[3].options[0], "sync"),
	   "any file system");
	config_done(&c);
}

static void test_limits(void)
{
	static const char text[] =
		"{\"memory\":{\"limit\":-1,\"swap\":5,\"swappiness\":0},\"cpu\":{\"quota\":-1,"
		"\"cpus\":\"\","
		"\"idle\":0},\"pids\":{\"limit\":-1},\"unified\":{\"memory.high\":\"7\"},"
		"\"devices\":[{\"allow\":true,\"access\":\"rw\",\"type\":\"c\",\"major\":1}]}";
	_cleanup_free_ char *copy = strdup(text);
	struct plan_resources r = { 0 };
	struct err err = ERR_INIT;

	ok_int(config_parse_resources(copy, strlen(text), &r, &err), 0, "resources: %s", err.msg);
	ok(r.memory_bytes == PLAN_UNLIMITED && r.memory_swap_bytes == 5, "-1 is no limit");
	ok(r.has_swappiness && r.swappiness == 0, "0 where 0 means something");
	ok(r.cpu_quota_us == PLAN_UNLIMITED && !r.cpuset_cpus, "an empty list is none");
	ok(r.has_cpu_idle && r.pids_max == -1, "idle and pids");
	ok_str(r.unified[0], "memory.high=7", "unified");
	ok(r.device_rules[0].access == 3 && r.device_rules[0].minor == -1,
	   "an absent minor is any");
	plan_resources_done(&r);
}

/* Each is refused with a line that has the words. */
static void test_refusals(void)
{
	static const struct {
		const char *text, *words;
	} cases[] = {
		{ "{}", "ociVersion is missing" },
		{ "{\"ociVersion\":\"2.0.0\"}", "2.0.0" },
		{ "{\"ociVersion\":1}", "ociVersion: must be a string" },
		{ "{\"ociVersion\":\"1.0.0\",\"process\":{\"args\":[\"a\",5]}}",
		  "process.args[1]" },
		{ "{\"process\":{\"cwd\":\"x\"}}", "process.cwd" },
		{ "{\"process\":{\"cwd\":\"/\"}}", "args is missing" },
		{ "{\"process\":{\"cwd\":\"/"
		  "\",\"args\":[\"a\"],\"rlimits\":[{\"type\":\"RLIMIT_X\"}]}}",
		  "RLIMIT_X" },
		{ "{\"process\":{\"rlimits\":[{\"type\":\"RLIMIT_CPU\"},{\"type\":\"RLIMIT_CPU\"}]}"
		  "}",
		  "twice" },
		{ "{\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"pid\"}]}}", "twice" },
		{ "{\"linux\":{\"namespaces\":[{\"type\":\"moon\"}]}}", "moon" },
		{ "{\"linux\":{\"namespaces\":[{\"type\":\"pid\",\"path\":\"rel\"}]}}",
		  "absolute" },
		{ "{\"linux\":{\"resources\":{\"memory\":{\"limit\":\"5\"}}}}",
		  "linux.resources.memory.limit: must be a whole number" },
		{ "{\"linux\":{\"resources\":{\"memory\":{\"kernel\":5}}}}", "5.16" },
		{ "{\"linux\":{\"personality\":{\"domain\":\"LINUX\",\"flags\":[\"x\"]}}}",
		  "flags" },
		{ "{\"linux\":{\"seccomp\":{\"defaultAction\":\"SCMP_ACT_NOTIFY\"}}}", "default" },
		{ "{\"hooks\":{\"poststop\":[{\"path\":\"/x\",\"timeout\":0}]}}",
		  "greater than zero" },
		{ "{\"mounts\":[{\"destination\":\"/a\"}]}", "type is missing" },
		{ "{\"mounts\":[{\"destination\":\"/a\",\"type\":\"bind\"}]}",
		  "source is missing" },
		{ "{\"vm\":{\"image\":{\"path\":\"/x\",\"format\":\"qcow2\"}}}", "qcow2" },
		{ HEAD "\"linux\":{\"namespaces\":[{\"type\":\"pid\"}]}}", "mount namespace" },
		{ HEAD "\"hostname\":\"a\",\"linux\":{\"namespaces\":[{\"type\":\"mount\"}]}}",
		  "uts" },
		{ HEAD "\"linux\":{\"namespaces\":[{\"type\":\"mount\"},{\"type\":\"user\"}]}}",
		  "uidMappings" },
		{ HEAD "\"linux\":{\"namespaces\":[{\"type\":\"mount\"}],\"sysctl\":{\"kernel."
		       "panic\":\"1\"}}}",
		  "kernel.panic" },
		{ HEAD "\"linux\":{\"namespaces\":[{\"type\":\"mount\"}],\"sysctl\":{\"net.core."
		       "somaxconn\":\"1\"}}}",
		  "shares that namespace" },
		{ HEAD "\"linux\":{\"namespaces\":[{\"type\":\"mount\"}],\"timeOffsets\":{"
		       "\"boottime\":{\"secs\":1}}}}",
		  "time namespace" },
		{ "{\"a\": tru}", "line 1" },
		{ "{\"a\":\n\n\"x}", "line 3" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err err = ERR_INIT;
		struct config c = { 0 };
		int r = parse(cases[i].text, &c, &err);

		ok(r < 0 && strstr(err.msg, cases[i].words) && strstr(err.msg, CONFIG_NAME),
		   "refused: %s: %s", cases[i].words, err.msg);
		if (r == 0)
			config_done(&c);
	}
}

static void test_seccomp_text(void)
{
	struct err err = ERR_INIT;
	struct config c = { 0 };

	ok_int(parse(HEAD "\"linux\":{\"namespaces\":[{\"type\":\"mount\"}],\"seccomp\":{"
			  "\"defaultAction\":"
			  "\"SCMP_ACT_ALLOW\",\"listenerPath\":\"/"
			  "l\",\"syscalls\":[{\"names\":[\"a\\u0062\"],"
			  "\"action\":\"SCMP_ACT_ERRNO\"}]}}}",
		     &c, &err),
	       0, "seccomp: %s", err.msg);
	ok(strstr(c.seccomp.profile, "\"a\\u0062\""), "the profile's text is kept as it stands");
	ok(!c.plan.process.notify.listener, "a listener that nothing notifies is passed over");
	config_done(&c);
}

static void test_vm(void)
{
	struct err err = ERR_INIT;
	struct config c = { 0 };

	ok_int(parse(HEAD "\"vm\":{\"kernel\":{\"path\":\"/"
			  "k\",\"parameters\":[\"a\",\"b=c\"]},\"hwConfig\":"
			  "{\"vcpus\":3}},\"linux\":{\"namespaces\":[{\"type\":\"mount\"}]}}",
		     &c, &err),
	       0, "vm: %s", err.msg);
	ok_int(c.plan.isolation, PLAN_VM, "a bundle with vm is a machine");
	ok_str(c.plan.vm.parameters, "a b=c", "parameters become one line");
	ok_int(c.plan.vm.cpus, 3, "vcpus");
	config_done(&c);
	ok_int(parse(HEAD "\"annotations\":{\"run.oci.handler\":\"vm\"},\"linux\":{\"namespaces\":["
			  "{\"type\":"
			  "\"mount\"}]}}",
		     &c, &err),
	       0, "handler");
	ok_int(c.plan.isolation, PLAN_VM, "and one with the annotation");
	config_done(&c);
}

/* resctrl is a directory of files: here one of our own. */
static void test_rdt(void)
{
	char dir[] = "/tmp/proa-rdt-XXXXXX", path[64];
	struct plan p = { .id = (char *)(uintptr_t) "box" };
	struct err err = ERR_INIT;
	_cleanup_free_ char *text = NULL;

	if (!mkdtemp(dir))
		exit(1);
	p.rdt = (struct plan_rdt){ .set = true, .clos_id = (char *)(uintptr_t) "gold" };
	ok_int(rdt_join(&p, dir, 5, &err), -EOPNOTSUPP, "no resctrl there: %s", err.msg);
	snprintf(path, sizeof(path), "%s/schemata", dir);
	io_write_file(AT_FDCWD, path, "", 0, 0644, 0);
	ok_int(rdt_join(&p, dir, 5, &err), -ENOENT, "a class that must be there: %s", err.msg);
	snprintf(path, sizeof(path), "%s/gold", dir);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/gold/schemata", dir);
	io_write_file(AT_FDCWD, path, "    L3:0=f\n    MB:0=20\n", 23, 0644, 0);
	snprintf(path, sizeof(path), "%s/gold/tasks", dir);
	io_write_file(AT_FDCWD, path, "", 0, 0644, 0);
	ok_int(rdt_join(&p, dir, 5, &err), 0, "joined without rules: %s", err.msg);
	io_read_file(AT_FDCWD, path, 100, &text, NULL);
	ok_str(text, "5", "the process is in tasks");
	p.rdt.l3_schema = (char *)(uintptr_t) "L3:0=f";
	ok_int(rdt_join(&p, dir, 5, &err), 0, "the same rules: %s", err.msg);
	p.rdt.l3_schema = (char *)(uintptr_t) "L3:0=7";
	ok_int(rdt_join(&p, dir, 5, &err), -EINVAL, "other rules are refused: %s", err.msg);
	io_remove_tree(AT_FDCWD, dir);
}

static void test_json_write(void)
{
	struct json_write w = { 0 };

	json_write_object(&w);
	json_write_member(&w, "a\"\\\n\x01", "\xff\xc3\xa9");
	json_write_key(&w, "l");
	json_write_array(&w);
	json_write_u64(&w, 18446744073709551615u);
	json_write_bool(&w, true);
	json_write_string(&w, NULL);
	json_write_close(&w, ']');
	json_write_close(&w, '}');
	ok_str(w.out.data,
	       "{\"a\\\"\\\\\\n\\u0001\":\"\\ufffd\xc3\xa9\",\"l\":[18446744073709551615,true,null]"
	       "}",
	       "escapes, bytes that are no text, numbers");
	str_buf_done(&w.out);
}

static void test_json_read(void)
{
	char text[] = "{\"a\": \"x\\u00e9\\ud83d\\ude00\\n\", \"n\": -5, \"skip\": [{\"b\": "
		      "[1,2]}, \"}\"], \"u\": 7}";
	struct err err = ERR_INIT;
	struct json_read r;
	int64_t n = 0;
	uint64_t u = 0;
	char *key, *a = NULL;

	json_read_init(&r, text, sizeof(text) - 1, "text", &err);
	for (json_read_object(&r); json_read_key(&r, &key);)
		if (!strcmp(key, "a"))
			a = json_read_string(&r);
		else if (!strcmp(key, "n"))
			json_read_i64(&r, &n);
		else if (!strcmp(key, "u"))
			json_read_u64(&r, &u);
		else
			json_read_skip(&r);
	ok_int(json_read_end(&r), 0, "read: %s", err.msg);
	ok_str(a, "x\xc3\xa9\xf0\x9f\x98\x80\n", "escapes are decoded in place");
	ok(n == -5 && u == 7, "numbers on both sides of what was passed over");
}

int main(void)
{
	test_minimal();
	test_mounts();
	test_limits();
	test_refusals();
	test_seccomp_text();
	test_vm();
	test_rdt();
	test_json_write();
	test_json_read();
	return tap_done();
}
