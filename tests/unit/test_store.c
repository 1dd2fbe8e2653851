/* SPDX-License-Identifier: Apache-2.0 */
/* The store: publishing, finding by name and ID, tags, removal, garbage, damage, dead processes. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../unit/tap.h"
#include "oci/digest.h"
#include "store/gc.h"
#include "store/image.h"
#include "store/publish.h"
#include "store/store.h"
#include "util/err.h"
#include "util/io.h"
#include "util/mem.h"
#include "util/str.h"

static char dir[] = "/tmp/proa-test-store-XXXXXX";
static struct store store;

/* An image of two layers: "base", which all share, and one of its own. Its ID goes to @id. */
static int publish_quietly(const char *own, const char *name, char id[DIGEST_LEN + 1])
{
	struct store_tmp tmp;
	struct publish p = { 0 };
	struct publish_image *image;
	struct err err = ERR_INIT;
	char digests[2][DIGEST_LEN + 1], manifest_digest[DIGEST_LEN + 1];
	_cleanup_free_ char *config = NULL, *manifest = NULL;
	int r;

	digest_of("base", 4, digests[0]);
	digest_of(own, strlen(own), digests[1]);
	config = str_printf("{\"os\":\"linux\",\"architecture\":\"amd64\",\"rootfs\":{\"diff_ids\":"
			    "[\"%s\",\"%s\",\"%s\"]}}",
			    digests[0], digests[1], digests[0]);
	digest_of(config, strlen(config), id);
	manifest = str_printf("{\"schemaVersion\":2,\"config\":{\"digest\":\"%s\",\"size\":%zu},"
			      "\"layers\":[{\"digest\":\"%s\",\"size\":4},{\"digest\":\"%s\","
			      "\"size\":9},{\"digest\":\"%s\",\"size\":4}]}",
			      id, strlen(config), digests[0], digests[1], digests[0]);
	digest_of(manifest, strlen(manifest), manifest_digest);
	if (store_tmp_new(&store, &tmp, &err) < 0)
		return -1;
	io_mkdir_all(tmp.fd, "base/diff", 0755);
	io_mkdir_all(tmp.fd, "own/diff", 0755);
	io_write_file(tmp.fd, "b0", "base", 4, 0644, 0);
	io_write_file(tmp.fd, "b1", own, strlen(own), 0644, 0);
	io_write_file(tmp.fd, "c", config, strlen(config), 0644, 0);
	io_write_file(tmp.fd, "m", manifest, strlen(manifest), 0644, 0);
	publish_add_layer(&p, "base", digests[0]);
	publish_add_layer(&p, "own", digests[1]);
	publish_add_blob(&p, "b0", digests[0]);
	publish_add_blob(&p, "b1", digests[1]);
	publish_add_blob(&p, "c", id);
	publish_add_blob(&p, "m", manifest_digest);
	image = publish_add_image(&p);
	image->media_type = strdup(OCI_MEDIA_MANIFEST);
	image->manifest_digest = strdup(manifest_digest);
	image->manifest_bytes = strlen(manifest);
	image->unpacked_bytes = 13;
	image->id = strdup(id);
	if (name)
		strv_add(&image->names, name);
	r = store_publish(&store, &tmp, &p, &err);
	publish_done(&p);
	store_tmp_done(&store, &tmp);
	return r;
}

static void publish_image(const char *own, const char *name, char id[DIGEST_LEN + 1])
{
	ok_int(publish_quietly(own, name, id), 0, "publish %s", own);
}

/* 0 or the error; the names are checked when @names is not NULL */
static int find(const char *text, const char *want_id, size_t names)
{
	struct store_image image = { 0 };
	struct err err = ERR_INIT;
	int r = store_image_find(&store, text, &image, &err);

	if (r == 0) {
		ok_str(image.id, want_id, "%s is the image", text);
		ok_int(strv_len(image.names), names, "… with its names");
		ok_int(strv_len(image.layer_dirs), 2, "… and two layers, the doubled one once");
		ok_int(image.size_bytes, 13, "… and its size");
		store_image_done(&image);
	} else {
		printf("# %s: %s\n", text, err.msg);
	}
	return r;
}

static size_t count_files(const char *sub)
{
	_cleanup_free_ char *command = str_printf("ls -1 %s/store/%s | wc -l", dir, sub);
	FILE *f = popen(command, "r");
	size_t n = 0;

	if (f && fscanf(f, "%zu", &n) != 1)
		n = 999;
	if (f)
		pclose(f);
	return n;
}

static int remove_image(const char *text, bool force, size_t untagged, size_t deleted)
{
	struct store_removal removal;
	struct err err = ERR_INIT;
	int r = store_image_remove(&store, text, force, &removal, &err);

	if (r < 0) {
		printf("# %s: %s\n", text, err.msg);
		return r;
	}
	ok_int(strv_len(removal.untagged), untagged, "rmi %s: names", text);
	ok_int(strv_len(removal.deleted), deleted, "rmi %s: things", text);
	store_removal_done(&removal);
	return 0;
}

static void test_names(void)
{
	char one[DIGEST_LEN + 1], two[DIGEST_LEN + 1], prefix[8];
	struct err err = ERR_INIT;

	ok_int(find("debian", "", 0), -ENOENT, "nothing in an empty store");
	ok_int(find("Bad Name", "", 0), -EINVAL, "a bad name is not an absent image");
	publish_image("first one", "docker.io/library/debian:latest", one);
	publish_image("first one", "docker.io/library/debian:latest", one);
	ok_int(find("debian", one, 1), 0, "by name");
	ok_int(find("docker.io/library/debian:latest", one, 1), 0, "by its whole name");
	ok_int(find(one, one, 1), 0, "by ID");
	snprintf(prefix, sizeof(prefix), "%.7s", digest_hex(one));
	ok_int(find(prefix, one, 1), 0, "by a prefix of it");
	ok_int(find("sha256:", "", 0), -EINVAL, "no digits");
	ok_int(store_image_tag(&store, "debian", "localhost/x:1", &err), 0, "tag: %s", err.msg);
	ok_int(find("localhost/x:1", one, 2), 0, "by the new name");
	ok_int(store_image_tag(&store, "absent", "a", &err), -ENOENT, "tag what is not there");
	ok_int(store_image_tag(&store, "debian", "A", &err), -EINVAL, "tag badly");
	publish_image("second one", "docker.io/library/debian:latest", two);
	ok_int(find("debian", two, 1), 0, "a name moves on");
	ok_int(find("localhost/x:1", one, 1), 0, "… the other stays");
	ok_int(count_files("layers"), 3, "the shared layer is there once");
	ok_int(remove_image("localhost/x:1", false, 1, 2), 0, "remove the first");
	ok_int(find("localhost/x:1", "", 0), -ENOENT, "… it is gone");
	ok_int(count_files("layers"), 2, "… with its layer, not the shared one");
	ok_int(find("debian", two, 1), 0, "… the second stands");
	publish_image("third one", "docker.io/library/debian:latest", one);
	ok_int(find(two, two, 0), 0, "an image that lost its only name stays, nameless");
	ok_int(remove_image(two, false, 0, 2), 0, "… until it is removed by ID");
	ok_int(remove_image("debian", false, 1, 3), 0, "the last one");
	ok_int(count_files("layers") + count_files("images/blobs/sha256"), 0, "… leaves nothing");
}

static void test_use(void)
{
	char id[DIGEST_LEN + 1];
	struct err err = ERR_INIT;

	publish_image("used", "docker.io/library/used:latest", id);
	store_image_tag(&store, "used", "also", &err);
	ok_int(remove_image(id, false, 0, 0), -EBUSY, "two names: not by ID");
	ok_int(remove_image("also", false, 1, 0), 0, "a name goes, the image stays");
	ok_int(remove_image(id, true, 1, 3), 0, "by force, by ID");
}

static void test_pin(void)
{
	char id[DIGEST_LEN + 1];
	struct err err = ERR_INIT;
	int pin = -EBADF;

	publish_image("pinned", "docker.io/library/pinned:latest", id);
	ok_int(store_pin(&store, &pin, &err), 0, "pin: %s", err.msg);
	ok_int(remove_image("pinned", false, 1, 1), 0,
	       "the image goes while somebody relies on layers");
	ok_int(count_files("layers"), 2, "… and these stay");
	close(pin);
	store_gc(&store, NULL);
	ok_int(count_files("layers"), 0, "… until nobody does");
}

/* Two loaders at once, each with many images: none is lost. */
static void test_parallel(void)
{
	char id[DIGEST_LEN + 1], name[64];
	int status = 1, failed = 0;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "localhost/n%d:%s", i, pid ? "a" : "b");
		failed += publish_quietly(name, name, id) < 0;
	}
	if (pid == 0)
		_exit(failed ? 1 : 0);
	ok_int(failed, 0, "this one is content");
	ok(waitpid(pid, &status, 0) == pid && status == 0, "the other one is content");
	{
		struct store_image *list = NULL;
		struct err err = ERR_INIT;
		size_t n = 0;

		ok_int(store_image_list(&store, &list, &n, &err), 0, "list: %s", err.msg);
		ok_int(n, 40, "all forty are there");
		store_images_free(list, n);
	}
}

static void test_damage(void)
{
	char id[DIGEST_LEN + 1];
	_cleanup_free_ char *path = NULL;

	publish_image("broken", "localhost/broken:1", id);
	path = str_printf("%s/store/images/blobs/sha256/%s", dir, digest_hex(id));
	io_write_file(AT_FDCWD, path, "{}", 2, 0644, 0);
	ok_int(find("localhost/broken:1", "", 0), -EBADMSG, "a changed configuration is noticed");
	unlink(path);
	ok_int(find("localhost/broken:1", "", 0), -EBADMSG, "a missing one is damage, not absence");
	ok_int(remove_image("localhost/broken:1", true, 1, 2), 0, "… it can be removed");
}

static void test_dead_process(void)
{
	struct store_tmp mine, theirs;
	struct err err = ERR_INIT;
	pid_t pid;

	store_tmp_new(&store, &mine, &err);
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		_exit(store_tmp_new(&store, &theirs, &err) < 0);
	waitpid(pid, NULL, 0);
	ok_int(count_files("tmp"), 2, "a dead process left its directory");
	store_tmp_sweep(&store);
	ok_int(count_files("tmp"), 1, "… which is swept, and not that of a living one");
	store_tmp_done(&store, &mine);
}

int main(void)
{
	_cleanup_free_ char *root = NULL;
	struct err err = ERR_INIT;

	if (!mkdtemp(dir))
		return 1;
	root = str_printf("%s/store", dir);
	ok_int(store_open(root, dir, &store, &err), 0, "open a new store: %s", err.msg);
	test_names();
	test_use();
	test_pin();
	test_parallel();
	test_damage();
	test_dead_process();
	store_done(&store);
	ok_int(store_open("/proc/nowhere", dir, &store, &err), -ENOENT, "no place for a store: %s",
	       err.msg);
	io_remove_tree(AT_FDCWD, dir);
	return tap_done();
}
