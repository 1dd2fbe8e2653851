/* SPDX-License-Identifier: Apache-2.0 */
/* container: users out of hostile passwd and group files. */
#include <errno.h>
#include "container/userdb.h"
#include "tap.h"
#include "util/err.h"
#include "util/mem.h"

static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\n"
			     "broken\n"
			     "::::::\n"
			     "neg:x:-1:5::/:\n"
			     "big:x:4294967295:5::/:\n"
			     "nohome:x:7:8\n"
			     "user:x:1000:1000:A,B:/home/user:/bin/sh:more:fields\n"
			     "last:x:1001:1001::/home/last:/bin/sh";
static const char group[] = "root:x:0:\nwheel:x:10:user,other\naudio:x:29:other,user\n"
			    "users:x:100:usertwo\nuser:x:1000:\nbad:x:x:user\n";

static void find(const char *spec, int result, uid_t uid, gid_t gid, size_t groups,
		 const char *home)
{
	struct userdb_user u = { 0 };
	struct err err = ERR_INIT;
	int r = userdb_find(passwd, group, spec, NULL, &u, &err);

	ok(r == result && (r < 0 || (u.uid == uid && u.gid == gid && u.group_count == groups)),
	   "user \"%s\"", spec);
	if (r == 0)
		ok_str(u.home, home, "and the home of \"%s\"", spec);
	userdb_user_done(&u);
}

static void test_userdb(void)
{
	char *extra[] = { (char *)"audio", (char *)"77", (char *)"77", NULL };
	struct userdb_user u = { 0 };
	struct err err = ERR_INIT;

	find("", 0, 0, 0, 0, "/root");
	find("root", 0, 0, 0, 0, "/root");
	find("user", 0, 1000, 1000, 2, "/home/user");
	find("1000", 0, 1000, 1000, 2, "/home/user");
	find("user:wheel", 0, 1000, 10, 0, "/home/user");
	find("user:55", 0, 1000, 55, 0, "/home/user");
	find("last", 0, 1001, 1001, 0, "/home/last");
	find("4242", 0, 4242, 0, 0, NULL);
	find("nohome", 0, 7, 8, 0, "/");
	find("absent", -ENOENT, 0, 0, 0, NULL);
	find("user:absent", -ENOENT, 0, 0, 0, NULL);
	find("4294967295", -ENOENT, 0, 0, 0, NULL);
	find("broken", -ENOENT, 0, 0, 0, NULL);
	ok_int(userdb_find(NULL, NULL, "5:6", NULL, &u, &err), 0, "numbers need no files");
	userdb_user_done(&u);
	ok_int(userdb_find(passwd, group, "root", extra, &u, &err), 0, "--group-add");
	ok_int(u.group_count, 2, "each once");
	userdb_user_done(&u);
}

int main(void)
{
	test_userdb();
	return tap_done();
}
