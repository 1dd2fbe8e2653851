/* SPDX-License-Identifier: Apache-2.0 */
/* References, digests, manifests, indexes and image configurations: good ones and bad ones. */
#include <errno.h>

#include "../unit/tap.h"
#include "oci/digest.h"
#include "oci/image_config.h"
#include "oci/manifest.h"
#include "oci/reference.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/str.h"

#define HEX    "6cfc105417891f82acd293975cc1fff7d3cc4a05d4151cca9797dde8b622047a"
#define DIGEST "sha256:" HEX

static void test_good_references(void)
{
	static const char *const table[][3] = {
		/* text, full, familiar */
		{ "debian", "docker.io/library/debian:latest", "debian:latest" },
		{ "debian:12", "docker.io/library/debian:12", "debian:12" },
		{ "docker.io/debian", "docker.io/library/debian:latest", "debian:latest" },
		{ "index.docker.io/library/debian", "docker.io/library/debian:latest",
		  "debian:latest" },
		{ "user/app:v1.2-rc_3", "docker.io/user/app:v1.2-rc_3", "user/app:v1.2-rc_3" },
		{ "docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest" },
		{ "docker.io/a.b/c", "docker.io/a.b/c:latest", "docker.io/a.b/c:latest" },
		{ "localhost/x", "localhost/x:latest", "localhost/x:latest" },
		{ "localhost:5000/a/b:1", "localhost:5000/a/b:1", "localhost:5000/a/b:1" },
		{ "registry.example.com/a", "registry.example.com/a:latest",
		  "registry.example.com/a:latest" },
		{ "[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a:latest" },
		{ "a__b/c---d.e_f", "docker.io/a__b/c---d.e_f:latest", "a__b/c---d.e_f:latest" },
		{ "debian@" DIGEST, "docker.io/library/debian@" DIGEST, "debian@" DIGEST },
		{ "debian:12@" DIGEST, "docker.io/library/debian:12@" DIGEST, "debian:12@" DIGEST },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct reference r = { 0 };
		struct err err = ERR_INIT;
		_cleanup_free_ char *full = NULL, *familiar = NULL;

		ok_int(reference_parse(table[i][0], &r, &err), 0, "\"%s\" is a name", table[i][0]);
		full = reference_full(&r);
		familiar = reference_familiar(&r);
		ok_str(full, table[i][1], "… in full");
		ok_str(familiar, table[i][2], "… in short");
		reference_done(&r);
	}
}

static void test_bad_references(void)
{
	static const char *const table[] = {
		"",
		"Debian",
		"a//b",
		"/a",
		"a/",
		"a:",
		"a:b:c",
		"a..b",
		"a___b",
		"-a",
		"a-",
		".",
		"..",
		"a b",
		"a\nb",
		"a@sha256:1",
		"a@md5:" HEX,
		"a:.tag",
		"a:-tag",
		HEX,
		"ex_ample.com/a",
		"[::1/a",
		"localhost:x/a",
		"a:ta/g",
		"a@" DIGEST "0",
	};
	char longer[400];
	struct reference r;
	struct err err = ERR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		ok_int(reference_parse(table[i], &r, &err), -EINVAL, "\"%s\" is no name: %s",
		       strchr(table[i], '\n') ? "a\\nb" : table[i], err.msg);
	memset(longer, 'a', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = 0;
	ok_int(reference_parse(longer, &r, &err), -EINVAL, "a name can be too long");
	longer[200] = 0;
	memcpy(longer + 10, ":", 1);
	ok_int(reference_parse(longer, &r, &err), -EINVAL, "a tag can be too long");
}

#define LAYER(hex) "{\"mediaType\":\"x\",\"digest\":\"" hex "\",\"size\":7}"

static void test_manifest(void)
{
	static const char good[] = "{\"schemaVersion\":2,\"config\":" LAYER(
		DIGEST) ",\"layers\":[" LAYER(DIGEST) "," LAYER(DIGEST) "]}";
	static const char *const bad[] = {
		"",
		"[]",
		"{}",
		"{\"schemaVersion\":1}",
		"{\"schemaVersion\":2,\"manifests\":[]}",
		"{\"schemaVersion\":2,\"config\":" LAYER(DIGEST) "}",
		"{\"schemaVersion\":2,\"config\":" LAYER("sha256:1") ",\"layers\":[]}",
		"{\"schemaVersion\":2,\"config\":" LAYER(DIGEST) ",\"layers\":[{}]}",
		"{\"schemaVersion\":2,\"config\":" LAYER(
			DIGEST) ",\"layers\":[{\"digest\":\"" DIGEST "\",\"size\":-1}]}",
		"{\"config\":" LAYER(DIGEST) ",\"config\":" LAYER(DIGEST) ",\"layers\":[]}",
	};
	struct oci_manifest m = { 0 };
	struct err err = ERR_INIT;
	char *text;

	ok_int(oci_manifest_parse(good, strlen(good), &m, &err), 0, "a manifest: %s", err.msg);
	ok_int(m.layer_count, 2, "… has two layers");
	ok_int(m.layers[1].size_bytes, 7, "… with a size");
	text = oci_manifest_format(&m);
	oci_manifest_done(&m);
	ok_int(oci_manifest_parse(text, strlen(text), &m, &err), 0, "… and survives the way back");
	ok_str(m.config.digest, DIGEST, "… whole");
	oci_manifest_done(&m);
	free(text);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		ok_int(oci_manifest_parse(bad[i], strlen(bad[i]), &m, &err), -EINVAL,
		       "bad manifest %zu: %s", i, err.msg);
}

static int pick(const char *platforms, size_t *at, struct err *err)
{
	_cleanup_free_ char *text =
		str_printf("{\"schemaVersion\":2,\"manifests\":[%s]}", platforms);
	struct oci_index x = { 0 };
	int r = oci_index_parse(text, strlen(text), &x, err);

	if (r == 0)
		r = oci_index_pick(&x, at, err);
	oci_index_done(&x);
	return r;
}

static void test_index(void)
{
#define FOR(os, arch)                                                                              \
	"{\"digest\":\"" DIGEST "\",\"size\":1,\"platform\":{\"os\":\"" os                         \
	"\",\"architecture\":\"" arch "\"}}"
	_cleanup_free_ char *ours =
		str_printf(FOR("linux", "none") "," FOR("linux", "%s"), oci_host_architecture());
	struct err err = ERR_INIT;
	size_t at = 99;

	ok_int(pick(ours, &at, &err), 0, "this host's platform is found");
	ok_int(at, 1, "… where it is");
	ok_int(pick(LAYER(DIGEST), &at, &err), 0, "a lone manifest needs no platform");
	ok_int(pick(FOR("linux", "none") "," FOR("plan9", "mips"), &at, &err), -ENOENT,
	       "no platform fits: %s", err.msg);
	ok(strstr(err.msg, "linux/none, plan9/mips"), "… and the line names those there are");
	ok_int(pick("", &at, &err), -ENOENT, "an empty index: %s", err.msg);
}

static void test_docker_archive(void)
{
	static const char good[] = "[{\"Config\":\"c.json\",\"RepoTags\":null,"
				   "\"Layers\":[\"a/layer.tar\"]}]";
	static const char *const bad[] = { "[]", "{}", "[1]", "[{}]",
					   "[{\"Config\":\"c\",\"Layers\":[1]}]" };
	struct docker_archive a = { 0 };
	struct err err = ERR_INIT;

	ok_int(docker_archive_parse(good, strlen(good), &a, &err), 0, "a manifest.json");
	ok_str(a.images[0].layers[0], "a/layer.tar", "… its layer");
	docker_archive_done(&a);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		ok_int(docker_archive_parse(bad[i], strlen(bad[i]), &a, &err), -EINVAL,
		       "bad manifest.json %zu: %s", i, err.msg);
}

static const char config_text[] =
	"{\"architecture\":\"amd64\",\"os\":\"linux\",\"created\":\"2024-02-29T12:00:00.123+01:"
	"00\","
	"\"config\":{\"User\":\"1000:5\",\"Env\":[\"A=1\"],\"Entrypoint\":[],\"Cmd\":null,"
	"\"WorkingDir\":\"/w\",\"Volumes\":{\"/data\":{}},\"ExposedPorts\":{\"80/tcp\":{}},"
	"\"Labels\":{\"k\":\"a=b\"},\"StopSignal\":\"SIGINT\","
	"\"Healthcheck\":{\"Test\":[\"CMD\",\"true\"],\"Interval\":5000000000}},"
	"\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" DIGEST "\"]},"
	"\"history\":[{\"created_by\":\"x\",\"empty_layer\":true},{\"comment\":\"y\"}]}";

static void check_config(const struct image_config *c)
{
	ok_str(c->user, "1000:5", "user");
	ok_str(c->env[0], "A=1", "environment");
	ok(c->entrypoint && !c->entrypoint[0], "an empty entrypoint is not an absent one");
	ok(!c->cmd, "a null command is absent");
	ok_str(c->volumes[0], "/data", "volume");
	ok_str(c->exposed_ports[0], "80/tcp", "port");
	ok_str(c->labels[0], "k=a=b", "label");
	ok_str(c->healthcheck.test[1], "true", "health check");
	ok_int(c->healthcheck.interval_ns, 5000000000, "… every five seconds");
	ok_str(c->diff_ids[0], DIGEST, "layer");
	ok_int(c->history_count, 2, "history");
	ok(c->history[0].empty_layer && !c->history[1].empty_layer,
	   "… of which one layer is empty");
	ok_int(c->created_s, 1709204400, "creation time, with its zone");
}

static void test_config(void)
{
	static const char *const bad[] = {
		"[]",
		"{}",
		"{\"rootfs\":{\"type\":\"base\"}}",
		"{\"rootfs\":{\"diff_ids\":[\"sha256:zz\"]}}",
		"{\"rootfs\":{\"diff_ids\":[]},\"config\":[]}",
		"{\"rootfs\":{\"diff_ids\":[]},\"config\":{\"Env\":\"A=1\"}}",
		"{\"rootfs\":{\"diff_ids\":[]},\"config\":{\"User\":5}}",
		"{\"rootfs\":{\"diff_ids\":[]},\"config\":{\"Labels\":{\"a\":1}}}",
		"{\"rootfs\":{\"diff_ids\":[]},\"config\":{\"Volumes\":[\"/a\"]}}",
		"{\"rootfs\":{\"diff_ids\":[]},\"config\":{\"Healthcheck\":{\"Retries\":-1}}}",
		"{\"rootfs\":{\"diff_ids\":[]},\"history\":{}}",
		"{\"rootfs\":{\"diff_ids\":[]},\"os\":\"li\\u0000nux\"}",
	};
	struct image_config c = { 0 };
	struct err err = ERR_INIT;
	char *text;

	ok_int(image_config_parse(config_text, strlen(config_text), &c, &err), 0, "a config: %s",
	       err.msg);
	check_config(&c);
	text = image_config_format(&c);
	image_config_done(&c);
	ok_int(image_config_parse(text, strlen(text), &c, &err), 0, "and after a round trip: %s",
	       err.msg);
	check_config(&c);
	image_config_done(&c);
	free(text);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		ok_int(image_config_parse(bad[i], strlen(bad[i]), &c, &err), -EINVAL,
		       "bad config %zu: %s", i, err.msg);
}

static void test_times(void)
{
	static const char *const bad[] = { "",
					   "2024",
					   "2024-13-01T00:00:00Z",
					   "2024-01-01 00:00:00Z",
					   "2024-01-01T00:00:00",
					   "2024-01-01T00:00:00+1:00",
					   "2024-01-01T24:00:00Z" };
	char buf[32];
	int64_t s;

	ok_int(image_time_parse("1970-01-01T00:00:00Z", &s), 0, "the epoch");
	ok_int(s, 0, "… is zero");
	ok_str(image_time_format(1709204400, buf), "2024-02-29T11:00:00Z", "a leap day");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		ok_int(image_time_parse(bad[i], &s), -EINVAL, "\"%s\" is no time", bad[i]);
}

static void test_digests(void)
{
	char digest[DIGEST_LEN + 1];
	struct err err = ERR_INIT;

	ok(digest_is_valid(DIGEST), "a digest");
	ok(!digest_is_valid(NULL) && !digest_is_valid("") && !digest_is_valid(HEX), "no digests");
	ok(!digest_is_valid(DIGEST "0") &&
		   !digest_is_valid(
			   "sha256:"
			   "6CFC105417891f82acd293975cc1fff7d3cc4a05d4151cca9797dde8b622047a"),
	   "too long, upper case");
	digest_of("abc", 3, digest);
	ok_int(digest_verify(digest, "abc", 3, "it", &err), 0, "the right bytes");
	ok_int(digest_verify(digest, "abd", 3, "it", &err), -EBADMSG, "the wrong ones: %s",
	       err.msg);
	ok_int(digest_require("sha512:00", "it", &err), -EINVAL, "sha512: %s", err.msg);
}

int main(void)
{
	test_good_references();
	test_bad_references();
	test_digests();
	test_manifest();
	test_index();
	test_docker_archive();
	test_config();
	test_times();
	return tap_done();
}
