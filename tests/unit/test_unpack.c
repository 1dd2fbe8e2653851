/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unpacking layers: what an honest archive holds comes out as it was, and what a hostile one wants
 * does not leave the directory. Every hostile case runs beside a file "outside" that must not
 * change.
 */
#include <archive.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "../unit/tap.h"
#include "../unit/tarball.h"
#include "image/unpack.h"
#include "util/err.h"
#include "util/io.h"
#include "util/mem.h"

static char dir[] = "/tmp/proa-test-unpack-XXXXXX"; /* with root/ and outside */

static void fresh(void)
{
	io_remove_tree(AT_FDCWD, "root");
	io_remove_tree(AT_FDCWD, "outside");
	mkdir("root", 0755);
	io_write_file(AT_FDCWD, "outside", "untouched", 9, 0600, 0);
}

/* Unpacks into root/; the buffer is released. */
static int unpack(struct str_buf *b, uint64_t max_bytes, struct err *err)
{
	int fd = open("root", O_RDONLY | O_DIRECTORY);
	struct unpack_options options = { .root_fd = fd,
					  .max_bytes = max_bytes,
					  .max_entries = 1000,
					  .privileged = geteuid() == 0 };
	struct unpack_result result;
	struct archive *a = unpack_archive_new();
	int r;

	err_clear(err);
	if (archive_read_open_memory(a, b->data, b->len) != ARCHIVE_OK)
		r = err_set(err, EBADMSG, "%s", archive_error_string(a));
	else
		r = unpack_archive(a, &options, &result, err);
	archive_read_free(a);
	close(fd);
	str_buf_done(b);
	return r;
}

static bool has(const char *path, const char *text)
{
	_cleanup_free_ char *got = NULL;

	return io_read_file(AT_FDCWD, path, 1000, &got, NULL) == 0 && !strcmp(got, text);
}

static mode_t type_of(const char *path)
{
	struct stat st;

	return lstat(path, &st) < 0 ? 0 : st.st_mode & S_IFMT;
}

static bool is_whiteout(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == 0;
}

static bool is_opaque(const char *path)
{
	char v[4];
	const char *name = geteuid() == 0 ? "trusted.overlay.opaque" : "user.overlay.opaque";

	return lgetxattr(path, name, v, sizeof(v)) == 1 && *v == 'y';
}

static void test_plain(void)
{
	struct str_buf b = { 0 };
	struct err err = ERR_INIT;
	struct stat st, other;

	fresh();
	tarball_other(&b, "./", '5', "");
	tarball_header(&b, "./d/", '5', "", "00000000000", 02750);
	tarball_file(&b, "./d/f", "hello");
	tarball_header(&b, "d/s", '0', "", "00000000000", 04755);
	tarball_other(&b, "d/hard", '1', "./d/f");
	tarball_other(&b, "d/soft", '2', "/nowhere");
	tarball_other(&b, "d/fifo", '6', "");
	tarball_file(&b, "missing/parent/f", "x");
	tarball_end(&b);
	ok_int(unpack(&b, 1000, &err), 0, "a plain archive: %s", err.msg);
	ok(has("root/d/f", "hello"), "its file");
	ok(stat("root/d", &st) == 0 && (st.st_mode & 07777) == 02750 &&
		   st.st_mtime == 01450000000 * 8,
	   "its directory's mode and time, though files came after it");
	ok(stat("root/d/s", &st) == 0 && (st.st_mode & 07777) == 04755, "a setuid bit");
	ok(stat("root/d/f", &st) == 0 && stat("root/d/hard", &other) == 0 &&
		   st.st_ino == other.st_ino,
	   "a hard link");
	ok_int(type_of("root/d/soft"), S_IFLNK, "a symbolic link to nowhere");
	ok_int(type_of("root/d/fifo"), S_IFIFO, "a fifo");
	ok(has("root/missing/parent/f", "x"), "parents that the archive forgot");
}

static void test_attributes(void)
{
	static const uint8_t caps[20] = { 1, 0, 0, 2, 0, 4 }; /* cap_net_bind_service, effective */
	struct str_buf b = { 0 };
	struct err err = ERR_INIT;
	char value[64], name[300];

	fresh();
	memset(name, 'n', 220);
	name[220] = 0;
	tarball_pax(&b, "SCHILY.xattr.user.colour", "red", 3);
	tarball_file(&b, "coloured", "x");
	tarball_pax(&b, "SCHILY.xattr.security.capability", caps, sizeof(caps));
	tarball_file(&b, "capable", "x");
	tarball_pax(&b, "SCHILY.xattr.trusted.overlay.redirect", "/etc", 4);
	tarball_other(&b, "redirected/", '5', "");
	tarball_pax(&b, "path", name, 220);
	tarball_file(&b, "short", "long");
	tarball_pax(&b, "path", "na\xc3\xafve \xff", 8);
	tarball_file(&b, "short", "bytes");
	tarball_end(&b);
	ok_int(unpack(&b, 1000, &err), 0, "attributes: %s", err.msg);
	if (lgetxattr("root/coloured", "user.colour", value, sizeof(value)) < 0 &&
	    errno == EOPNOTSUPP)
		skip_one("no attributes on this file system");
	else
		ok(!strncmp(value, "red", 3), "a user attribute");
	if (geteuid() != 0)
		skip_one("file capabilities need root");
	else
		ok(lgetxattr("root/capable", "security.capability", value, sizeof(value)) == 20,
		   "file capabilities");
	ok(lgetxattr("root/redirected", "trusted.overlay.redirect", value, sizeof(value)) < 0,
	   "overlayfs's own attributes do not come from an archive");
	memmove(name + 5, name, 221);
	memcpy(name, "root/", 5);
	ok(has(name, "long"), "a name of 220 bytes");
	ok(has("root/na\xc3\xafve \xff", "bytes"), "a name that is no text in any encoding");
}

static void test_whiteouts(void)
{
	struct str_buf b = { 0 };
	struct err err = ERR_INIT;

	fresh();
	tarball_file(&b, ".wh.gone", "");
	tarball_other(&b, "d/", '5', "");
	tarball_file(&b, "d/.wh..wh..opq", "");
	tarball_file(&b, "d/f", "x");
	tarball_file(&b, "kept", "here");
	tarball_file(&b, ".wh.kept", "");
	tarball_other(&b, "dir-first/", '5', "");
	tarball_file(&b, ".wh.dir-first", "");
	tarball_file(&b, ".wh.dir-last", "");
	tarball_other(&b, "dir-last/", '5', "");
	tarball_file(&b, "sub/.wh.deep", "");
	tarball_file(&b, ".wh..wh.plnk/1.2", "");
	tarball_end(&b);
	ok_int(unpack(&b, 1000, &err), 0, "whiteouts: %s", err.msg);
	ok(is_whiteout("root/gone") && is_whiteout("root/sub/deep"), "become devices");
	ok(is_opaque("root/d") && has("root/d/f", "x"), "an opaque directory with a file");
	ok(has("root/kept", "here"), "a file of the same layer is not hidden");
	ok(is_opaque("root/dir-first"), "nor a directory, which hides the one below, before …");
	ok(is_opaque("root/dir-last"), "… and after its whiteout");
	ok_int(type_of("root/.wh..wh.plnk"), 0, "bookkeeping of aufs is left out");
}

static void test_duplicates(void)
{
	struct str_buf b = { 0 };
	struct err err = ERR_INIT;

	fresh();
	tarball_file(&b, "a", "first");
	tarball_file(&b, "a", "second");
	tarball_other(&b, "b", '2', "../outside");
	tarball_file(&b, "b", "file");
	tarball_other(&b, "c/", '5', "");
	tarball_file(&b, "c/x", "x");
	tarball_other(&b, "c", '2', "../../outside");
	tarball_other(&b, "e", '2', "d");
	tarball_other(&b, "e/", '5', "");
	tarball_file(&b, "e/x", "in a directory");
	tarball_file(&b, "f", "x");
	tarball_other(&b, "f", '1', "f");
	tarball_end(&b);
	ok_int(unpack(&b, 1000, &err), 0, "repeated names: %s", err.msg);
	ok(has("root/a", "second"), "the later one counts");
	ok(has("root/b", "file") && has("outside", "untouched"),
	   "a link is replaced, not followed");
	ok_int(type_of("root/c"), S_IFLNK, "a directory gives way to a link");
	ok(has("root/e/x", "in a directory"), "a link to a directory that replaces it");
	ok(has("root/f", "x"), "a hard link to itself");
}

static void test_sparse(void)
{
	struct str_buf b = { 0 };
	struct err err = ERR_INIT;
	struct stat st;

	fresh();
	/* GNU sparse 1.0 through PAX: 1 MiB with four bytes at the beginning and the end */
	{
		static const char records[] = "22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"
					      "26 GNU.sparse.name=sparse\n"
					      "31 GNU.sparse.realsize=1048576\n";
		char size[32], map[512] = "2\n0\n4\n1048572\n4\n";

		snprintf(size, sizeof(size), "%011zo", strlen(records));
		tarball_header(&b, "pax", 'x', "", size, 0644);
		tarball_data(&b, records, strlen(records));
		tarball_header(&b, "GNUSparseFile/sparse", '0', "", "00000001010", 0644);
		tarball_data(&b, map, sizeof(map));
		tarball_data(&b, "headtail", 8);
	}
	tarball_end(&b);
	ok_int(unpack(&b, 2 << 20, &err), 0, "a sparse file: %s", err.msg);
	ok(stat("root/sparse", &st) == 0 && st.st_size == 1 << 20, "… has its size");
	ok(st.st_blocks < 100, "… and its holes");
}

struct hostile {
	const char *what;
	void (*make)(struct str_buf *b);
	const char *says; /* in the error; NULL: it is harmless and succeeds */
};

static void dot_dot(struct str_buf *b)
{
	tarball_file(b, "../outside", "pwned");
}
static void dot_dot_inside(struct str_buf *b)
{
	tarball_file(b, "a/../../outside", "pwned");
}
static void absolute(struct str_buf *b)
{
	tarball_file(b, "/outside", "inside");
}
static void link_then_write(struct str_buf *b)
{
	tarball_other(b, "link", '2', "..");
	tarball_file(b, "link/outside", "pwned");
}
static void absolute_link_then_write(struct str_buf *b)
{
	tarball_other(b, "link", '2', dir);
	tarball_file(b, "link/outside", "pwned");
}
static void link_chain(struct str_buf *b)
{
	tarball_other(b, "d/", '5', "");
	tarball_other(b, "d/up", '2', "..");
	tarball_other(b, "up2", '2', "d/up/..");
	tarball_file(b, "up2/outside", "pwned");
}
static void link_as_file(struct str_buf *b)
{
	tarball_other(b, "x", '2', "../outside");
	tarball_file(b, "x", "replaced");
}
static void hardlink_outside(struct str_buf *b)
{
	tarball_other(b, "x", '1', "../outside");
	tarball_file(b, "x", "pwned");
}
static void hardlink_absolute(struct str_buf *b)
{
	tarball_other(b, "x", '1', "/etc/passwd");
}
static void hardlink_through_link(struct str_buf *b)
{
	tarball_other(b, "up", '2', "..");
	tarball_other(b, "x", '1', "up/outside");
}
static void hardlink_to_dir(struct str_buf *b)
{
	tarball_other(b, "d/", '5', "");
	tarball_other(b, "x", '1', "d");
}
static void hardlink_to_root(struct str_buf *b)
{
	tarball_other(b, "x", '1', "/");
}
static void hardlink_to_link_then_write(struct str_buf *b)
{
	tarball_other(b, "l", '2', "../outside");
	tarball_other(b, "x", '1', "l");
	tarball_file(b, "x", "replaced");
}
static void whiteout_through_link(struct str_buf *b)
{
	tarball_other(b, "up", '2', "..");
	tarball_file(b, "up/.wh.outside", "");
}
static void opaque_through_link(struct str_buf *b)
{
	tarball_other(b, "up", '2', "..");
	tarball_file(b, "up/.wh..wh..opq", "");
}
static void whiteout_nameless(struct str_buf *b)
{
	tarball_file(b, ".wh.", "");
}
static void whiteout_dot(struct str_buf *b)
{
	tarball_file(b, ".wh..", "");
}
static void whiteout_dot_dot(struct str_buf *b)
{
	tarball_file(b, "a/.wh...", "");
}
static void whiteout_as_dir(struct str_buf *b)
{
	tarball_file(b, ".wh.a/b", "");
}
static void root_as_file(struct str_buf *b)
{
	tarball_file(b, "./.", "x");
}
static void root_as_link(struct str_buf *b)
{
	tarball_other(b, ".", '2', "/etc");
}
static void huge_size(struct str_buf *b)
{
	tarball_header(b, "x", '0', "", "77777777777", 0644);
	tarball_data(b, "x", 1);
}
static void negative_size(struct str_buf *b)
{
	tarball_header(b, "x", '0', "", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00", 0644);
}
static void file_as_parent(struct str_buf *b)
{
	tarball_file(b, "f", "x");
	tarball_file(b, "f/g", "x");
}
static void cut_off(struct str_buf *b)
{
	tarball_header(b, "x", '0', "", "00000010000", 0644);
	tarball_data(b, "x", 1);
}
static void long_component(struct str_buf *b)
{
	char name[300];

	memset(name, 'n', 280);
	tarball_pax(b, "path", name, 280);
	tarball_file(b, "x", "x");
}
static void circular_link(struct str_buf *b)
{
	tarball_other(b, "a", '2', "b");
	tarball_other(b, "b", '2', "a");
	tarball_file(b, "a/x", "x");
}
static void garbage(struct str_buf *b)
{
	for (int i = 0; i < 2000; i++)
		str_buf_add(b, &(uint8_t){ (uint8_t)(i * 31 + 7) }, 1);
}

static const struct hostile hostile[] = {
	{ "..", dot_dot, "\"..\"" },
	{ ".. in the middle", dot_dot_inside, "\"..\"" },
	{ "an absolute name stays inside", absolute, NULL },
	{ "writing through a link up stays inside", link_then_write, NULL },
	{ "writing through an absolute link", absolute_link_then_write, "leads nowhere" },
	{ "a chain of links stays inside", link_chain, NULL },
	{ "a file in the place of a link", link_as_file, NULL },
	{ "a hard link to outside", hardlink_outside, "\"..\"" },
	{ "an absolute hard link", hardlink_absolute, "hard link" },
	{ "a hard link through a link", hardlink_through_link, "hard link" },
	{ "a hard link to a directory", hardlink_to_dir, "directory" },
	{ "a hard link to the root", hardlink_to_root, "root" },
	{ "a hard link to a link, replaced", hardlink_to_link_then_write, NULL },
	{ "a whiteout through a link stays inside", whiteout_through_link, NULL },
	{ "an opaque mark through a link stays inside", opaque_through_link, NULL },
	{ "a whiteout of nothing", whiteout_nameless, "whiteout" },
	{ "a whiteout of .", whiteout_dot, "whiteout" },
	{ "a whiteout of ..", whiteout_dot_dot, "whiteout" },
	{ "a whiteout as a directory", whiteout_as_dir, "whiteout" },
	{ "the root as a file", root_as_file, "root" },
	{ "the root as a link", root_as_link, "root" },
	{ "a huge size", huge_size, "limit" },
	{ "a negative size", negative_size, "" },
	{ "a file as a parent", file_as_parent, "not a directory" },
	{ "an archive that was cut off", cut_off, "" },
	{ "a component that is too long", long_component, "longer" },
	{ "links in a circle", circular_link, "leads nowhere" },
	{ "no archive at all", garbage, "" },
};

static void test_hostile(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(hostile); i++) {
		const struct hostile *h = &hostile[i];
		struct str_buf b = { 0 };
		struct err err = ERR_INIT;
		struct stat st;
		int r;

		fresh();
		h->make(&b);
		tarball_end(&b);
		r = unpack(&b, 1 << 20, &err);
		ok(h->says ? r < 0 && strstr(err.msg, h->says) : r == 0, "%s: %s", h->what,
		   r < 0 ? err.msg : "done");
		ok(has("outside", "untouched") && stat("outside", &st) == 0 && st.st_nlink == 1 &&
			   !is_opaque("."),
		   "… and outside nothing changed");
	}
}

static void test_limits(void)
{
	struct str_buf b = { 0 };
	struct err err = ERR_INIT;

	fresh();
	for (int i = 0; i < 11; i++)
		tarball_file(&b, "same", "0123456789");
	tarball_end(&b);
	ok_int(unpack(&b, 100, &err), -EFBIG, "many small files: %s", err.msg);
	fresh();
	b = (struct str_buf){ 0 };
	for (int i = 0; i < 1001; i++)
		tarball_file(&b, "same", "");
	tarball_end(&b);
	ok_int(unpack(&b, 100, &err), -EFBIG, "many entries: %s", err.msg);
}

static void test_depth(void)
{
	struct str_buf b = { 0 }, name = { 0 };
	struct err err = ERR_INIT;

	fresh();
	for (int i = 0; i < 2000; i++)
		str_buf_puts(&name, "d/");
	str_buf_puts(&name, "f");
	tarball_pax(&b, "path", name.data, name.len);
	tarball_file(&b, "x", "deep");
	tarball_end(&b);
	ok_int(unpack(&b, 100, &err), 0, "two thousand directories deep: %s", err.msg);
	ok_int(io_remove_tree(AT_FDCWD, "root"), 0, "… and gone again");
	ok_int(type_of("root"), 0, "… indeed");
	str_buf_done(&name);
}

int main(void)
{
	umask(0);
	if (!mkdtemp(dir) || chdir(dir) < 0)
		return 1;
	test_plain();
	test_attributes();
	test_whiteouts();
	test_duplicates();
	test_sparse();
	test_hostile();
	test_limits();
	test_depth();
	io_remove_tree(AT_FDCWD, dir);
	return tap_done();
}
