/* SPDX-License-Identifier: Apache-2.0 */
/* plan: option parsers, capability sets, Docker's defaults, and the wire in both directions. */
#include <errno.h>
#include <linux/mount.h>
#include <stdlib.h>
#include "oci/image_config.h"
#include "plan/options.h"
#include "tap.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/str.h"

static void test_volumes(void)
{
	struct err err = ERR_INIT;
	struct plan_mount m = { 0 };

	ok_int(plan_parse_volume("/a:/b", &m, &err), 0, "-v /a:/b");
	ok_str(m.source, "/a", "source");
	ok_str(m.target, "/b", "target");
	ok(m.flags & PLAN_MOUNT_RECURSIVE, "recursive, as docker's");
	plan_mount_done(&m);
	ok_int(plan_parse_volume("/a:/b:ro,rslave", &m, &err), 0, "-v /a:/b:ro,rslave");
	ok(m.attrs & MOUNT_ATTR_RDONLY && m.flags & PLAN_MOUNT_SLAVE &&
		   m.flags & PLAN_MOUNT_READ_ONLY_RECURSIVE,
	   "read-only all the way down, slave");
	plan_mount_done(&m);
	ok_int(plan_parse_volume("name:/b", &m, &err), -EINVAL, "a named volume");
	ok_int(plan_parse_volume("/a:/b:Z", &m, &err), -EOPNOTSUPP, "SELinux labels");
	ok_int(plan_parse_volume("/a:/../..", &m, &err), -EINVAL, "the root as target");
	ok_int(plan_parse_mount("type=bind,src=/a,dst=/b,ro=false,bind-recursive=disabled", &m,
				&err),
	       0, "--mount type=bind");
	ok(!(m.attrs & MOUNT_ATTR_RDONLY) && !(m.flags & PLAN_MOUNT_RECURSIVE),
	   "writable, not recursive");
	plan_mount_done(&m);
	ok_int(plan_parse_mount("type=tmpfs,dst=/t,tmpfs-size=1m", &m, &err), 0,
	       "--mount type=tmpfs");
	ok_str(m.options[0], "size=1m", "with its size");
	plan_mount_done(&m);
	ok_int(plan_parse_mount("type=bind,src=/a,dst=/b,tmpfs-size=1", &m, &err), -EINVAL,
	       "a bind with a tmpfs option");
	ok_int(plan_parse_mount("dst=/b,src=/a", &m, &err), -EOPNOTSUPP,
	       "type=volume is the default");
}

static void test_devices(void)
{
	struct err err = ERR_INIT;
	char *host, *inside;
	uint8_t access;

	ok_int(plan_parse_device("/dev/x", &host, &inside, &access, &err), 0, "--device /dev/x");
	ok(!strcmp(inside, "/dev/x") && access == 7, "the same path, all access");
	free(host);
	free(inside);
	plan_parse_device("/dev/x:/dev/y:r", &host, &inside, &access, &err);
	ok(!strcmp(inside, "/dev/y") && access == 1, "another path, read only");
	free(host);
	free(inside);
	plan_parse_device("/dev/x:rw", &host, &inside, &access, &err);
	ok(!strcmp(inside, "/dev/x") && access == 3, "access alone");
	free(host);
	free(inside);
	ok_int(plan_parse_device("x", &host, &inside, &access, &err), -EINVAL, "not absolute");
}

static void test_caps(void)
{
	char *all[] = { (char *)"ALL", NULL }, *net[] = { (char *)"net_admin", NULL };
	struct err err = ERR_INIT;
	uint64_t set;

	plan_caps_resolve(NULL, NULL, false, &set, &err);
	ok_int(set, 0xa80425fb, "Docker's default set");
	plan_caps_resolve(net, all, false, &set, &err);
	ok_int(set, 1 << 12, "--cap-drop ALL --cap-add net_admin");
	plan_caps_resolve(all, net, false, &set, &err);
	ok_int(set, PLAN_CAPS_ALL & ~(1ull << 12), "--cap-add ALL --cap-drop net_admin");
	plan_caps_resolve(NULL, NULL, true, &set, &err);
	ok_int(set, PLAN_CAPS_ALL, "--privileged");
}

static void test_numbers(void)
{
	struct err err = ERR_INIT;
	struct plan_rlimit l;
	uint64_t nano;

	ok(plan_parse_cpus("1.5", &nano, &err) == 0 && nano == 1500000000, "--cpus 1.5");
	ok_int(plan_parse_cpus("0", &nano, &err), -EINVAL, "--cpus 0");
	ok_int(plan_parse_cpus("1x", &nano, &err), -EINVAL, "--cpus 1x");
	ok_int(plan_parse_cpus("nan", &nano, &err), -EINVAL, "--cpus nan");
	ok(plan_parse_ulimit("nofile=1:2", &l, &err) == 0 && l.soft == 1 && l.hard == 2,
	   "--ulimit nofile=1:2");
	ok(plan_parse_ulimit("core=-1", &l, &err) == 0 && l.hard == UINT64_MAX, "--ulimit core=-1");
	ok_int(plan_check_name("a", &err), -EINVAL, "a name of one letter");
	ok_int(plan_check_name("../x", &err), -EINVAL, "a name with a path");
	ok_int(plan_check_name("web-1.a_b", &err), 0, "a name");
}

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static char *word(const char *s)
{
	return (char *)(uintptr_t)s;
}

/* What CMD, ENTRYPOINT and arguments make together. */
static void test_args(void)
{
	char *entry[] = { word("/entry"), NULL }, *cmd[] = { word("cmd"), NULL };
	char *user[] = { word("arg"), NULL }, *none[] = { NULL };
	const struct {
		char **entrypoint, **cmd, **args;
		const char *option, *want;
	} cases[] = {
		{ NULL, cmd, none, NULL, "cmd" },	  { entry, cmd, none, NULL, "/entry cmd" },
		{ entry, cmd, user, NULL, "/entry arg" }, { NULL, cmd, user, NULL, "arg" },
		{ entry, cmd, none, "/x", "/x" },	  { entry, cmd, user, "/x", "/x arg" },
		{ entry, cmd, user, "", "arg" },	  { entry, NULL, none, "", NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct image_config image = { .entrypoint = cases[i].entrypoint,
					      .cmd = cases[i].cmd,
					      .env = none };
		struct plan_options o = { .id = ID,
					  .args = cases[i].args,
					  .entrypoint = cases[i].option,
					  .layer_dirs = user };
		struct err err = ERR_INIT;
		struct plan p = { 0 };
		struct str_buf text = { 0 };
		int r = plan_make(&o, &image, &p, &err);

		for (char **a = p.process.args; r == 0 && *a; a++)
			str_buf_printf(&text, "%s%s", a == p.process.args ? "" : " ", *a);
		ok_str(text.data, cases[i].want, "command %zu", i);
		str_buf_done(&text);
		plan_done(&p);
	}
}

static int make_full(struct plan *p, struct err *err)
{
	static char *lists[] = { (char *)"SYS_TIME", NULL }, *env[] = { (char *)"A=b", NULL };
	static char *args[] = { (char *)"sh", (char *)"", NULL }, *none[] = { NULL };
	static char *volumes[] = { (char *)"/tmp:/data/deep:ro", (char *)"/var:/data", NULL };
	static char *tmpfs[] = { (char *)"/dev/shm:size=1m", NULL };
	static char *ulimits[] = { (char *)"nofile=1:2", NULL };
	static uint8_t filter[16] = { 6, 0, 0, 0, 0, 0, 0xff, 0x7f };
	struct image_config image = { .env = none, .stop_signal = (char *)"SIGQUIT" };
	struct plan_options o = { .isolation = PLAN_VM,
				  .id = ID,
				  .name = "n",
				  .args = args,
				  .env = env,
				  .cap_add = lists,
				  .volumes = volumes,
				  .tmpfs = tmpfs,
				  .ulimits = ulimits,
				  .memory_bytes = 64u << 20,
				  .cpus_nano = 1500000000,
				  .seccomp = filter,
				  .seccomp_len = sizeof(filter),
				  .layer_dirs = args,
				  .upper = "/u",
				  .work = "/w",
				  .disk = "/d",
				  .probe = "first" };

	return plan_make(&o, &image, p, err);
}

static void test_make(void)
{
	struct err err = ERR_INIT;
	struct plan p = { 0 };
	size_t shm = 0, data = 0, deep = 0;

	ok_int(make_full(&p, &err), 0, "a plan with everything");
	for (size_t i = 0; i < p.mount_count; i++) {
		if (!strcmp(p.mounts[i].target, "/data"))
			data = i;
		if (!strcmp(p.mounts[i].target, "/data/deep"))
			deep = i;
		shm += !strcmp(p.mounts[i].target, "/dev/shm");
	}
	ok(data && deep > data,
	   "parents are mounted first, whatever the order on the command line");
	ok_int(shm, 1, "a mount replaces the default one of the same target");
	ok_int(p.stop_signal, 3, "the image's stop signal");
	ok_int(p.vm.cpus, 2, "1.5 CPUs are two of a machine");
	ok_int(p.resources.cpu_quota_us, 150000, "and a quota");
	ok_str(p.hostname, "0123456789ab", "the host name is the start of the ID");
	plan_done(&p);
}

static void test_wire(void)
{
	_cleanup_free_ uint8_t *bytes = NULL, *again = NULL;
	struct err err = ERR_INIT;
	struct plan p = { 0 }, q = { 0 };
	size_t n = 0, m = 0, refused = 0;

	make_full(&p, &err);
	ok_int(plan_encode(&p, &bytes, &n), 0, "encode");
	ok_int(plan_decode(bytes, n, &q, &err), 0, "decode");
	plan_encode(&q, &again, &m);
	ok(n == m && !memcmp(bytes, again, n), "the same bytes come out again");
	ok_str(q.process.args[1], "", "an empty argument stays one");
	plan_done(&q);
	for (size_t cut = 0; cut < n; cut++)
		refused += plan_decode(bytes, cut, &q, &err) < 0;
	ok_int(refused, n, "every shorter text is refused");
	bytes[4] ^= 1;
	ok_int(plan_decode(bytes, n, &q, &err), -EPROTO, "another version is named as such");
	plan_done(&p);
}

int main(void)
{
	test_volumes();
	test_devices();
	test_caps();
	test_numbers();
	test_args();
	test_make();
	test_wire();
	return tap_done();
}
