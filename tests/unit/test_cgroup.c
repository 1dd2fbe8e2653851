/* SPDX-License-Identifier: Apache-2.0 */
/* cgroup: making groups and removing them, their processes and their owners. */
#include "cgroup_live.h"

/* ---- making and removing -------------------------------------------------------------------- */

static void test_create(void)
{
	struct plan_resources none = { 0 };
	struct err err = ERR_INIT;
	const char *leaf = in("a/b/leaf");
	pid_t pid;

	ok_int(create(leaf, &none, &err), 0, "a group with three missing parents");
	for (const char *const *c = cgroup_v1_controllers; *c; c++)
		ok(exists(*c, leaf), "it is there for %s", *c);
	ok_int(create(leaf, &none, &err), 0, "an empty one is taken over");
	ok_int(ops->remove(leaf, &err), 0, "removed");
	ok(!exists("memory", leaf) && !exists("cpu", leaf), "and gone");
	ok_int(ops->remove(leaf, &err), 0, "absent is success");
	ok_int(create(leaf, &none, &err), 0, "and again");
	pid = spawn(leaf, idle);
	ok_int(create(leaf, &none, &err), -EBUSY, "one with processes is refused");
	ok(strstr(err.msg, "has processes already"), "with the reason");
	ok_int(ops->remove(leaf, &err), -EBUSY, "and not removed");
	ok(strstr(err.msg, "it has processes"), "with the reason");
	ok_int(ops->kill(leaf, SIGKILL, &err), 0, "killed");
	end_of(pid);
	ok_int(ops->remove(leaf, &err), 0, "then it can be removed");
	ok_int(create("../x", &none, &err), -EINVAL, "no path upwards");
	ok_int(ops->remove("a//b", &err), -EINVAL, "nor one with an empty name");
}

static void test_failed_create(void)
{
	struct plan_resources bad = { .cpuset_cpus = (char *)"4000", .pids_max = 5 };
	struct err err = ERR_INIT;

	ok(create(in("failed"), &bad, &err) < 0, "a limit that cannot be");
	ok_names(&err, "CPUs", "cpuset.cpus", "4000");
	for (const char *const *c = cgroup_v1_controllers; *c; c++)
		ok(!exists(*c, in("failed")), "nothing is left for %s", *c);
}

static void test_children(void)
{
	struct plan_resources none = { 0 };
	struct err err = ERR_INIT;
	const char *leaf = in("parent");
	char dir[CGROUP_DIR_MAX], sub[CGROUP_DIR_MAX + 16], procs[CGROUP_DIR_MAX + 48], number[16];
	_cleanup_free_ pid_t *pids = NULL;
	size_t n = 0;
	pid_t one, two;

	ok_int(create(leaf, &none, &err), 0, "a group");
	one = spawn(leaf, idle);
	two = spawn(leaf, idle);
	dir_of("freezer", leaf, dir);
	snprintf(sub, sizeof(sub), "%s/sub", dir);
	mkdir(sub, 0755);
	snprintf(procs, sizeof(procs), "%s/deeper", sub);
	mkdir(procs, 0755);
	snprintf(procs, sizeof(procs), "%s/deeper/cgroup.procs", sub);
	snprintf(number, sizeof(number), "%d", two);
	ok_int(io_write_knob(AT_FDCWD, procs, number), 0, "a process moves into a group below");
	snprintf(procs, sizeof(procs), "%s/%s", sub, v2 ? "cgroup.freeze" : "freezer.state");
	ok_int(io_write_knob(AT_FDCWD, procs, v2 ? "1" : "FROZEN"), 0, "which is frozen");
	ok_int(ops->pids(leaf, &pids, &n, &err), 0, "pids");
	ok(n == 2 && ((pids[0] == one && pids[1] == two) || (pids[0] == two && pids[1] == one)),
	   "both are listed");
	ok_int(ops->kill(leaf, SIGKILL, &err), 0, "kill");
	ok_int(end_of(one), SIGKILL, "the first died");
	ok_int(end_of(two), SIGKILL, "the one below died");
	ok_int(ops->remove(leaf, &err), 0, "remove takes the groups below along");
	ok(access(sub, F_OK) < 0 && access(dir, F_OK) < 0, "they are gone");
}

/* ---- freezing and signals ------------------------------------------------------------------- */

static bool is_moving(void)
{
	uint64_t before = shared->count;

	for (int i = 0; i < 500 && shared->count == before; i++)
		sleep_ms(1);
	return shared->count != before;
}

static bool is_still(void)
{
	uint64_t before;

	sleep_ms(20);
	before = shared->count;
	sleep_ms(100);
	return shared->count == before;
}

static void freeze_self(void)
{
	struct err err = ERR_INIT;

	_exit(ops->freeze(in("frozen"), true, &err) == -EDEADLK ? 42 : 43);
}

static void test_freeze(void)
{
	struct plan_resources none = { 0 };
	struct err err = ERR_INIT;
	const char *leaf = in("frozen");
	pid_t pid;

	ok_int(create(leaf, &none, &err), 0, "a group");
	pid = spawn(leaf, freeze_self);
	ok_int(WEXITSTATUS(end_of(pid)), 42, "nobody freezes itself");
	pid = spawn(leaf, spin);
	ok(is_moving(), "it runs");
	ok_int(ops->is_frozen(leaf), 0, "not frozen");
	ok_int(ops->freeze(leaf, true, &err), 0, "freeze");
	ok_int(ops->is_frozen(leaf), 1, "frozen");
	ok(is_still(), "it stands still");
	ok_int(ops->kill(leaf, SIGUSR1, &err), 0, "a signal to a frozen group");
	ok_int(ops->is_frozen(leaf), 1, "which stays frozen");
	ok_int(shared->signals, 0, "and does not see it yet");
	ok_int(ops->freeze(leaf, false, &err), 0, "thaw");
	ok_int(ops->is_frozen(leaf), 0, "thawed");
	ok(is_moving(), "it runs again");
	ok_int(shared->signals, 1, "and has the signal");
	ok_int(ops->kill(leaf, SIGUSR1, &err), 0, "a signal to a running group");
	ok(is_moving(), "it runs on");
	ok_int(shared->signals, 2, "and has it");
	ok_int(ops->freeze(leaf, true, &err), 0, "frozen again");
	ok_int(ops->kill(leaf, SIGKILL, &err), 0, "a frozen group can be killed");
	ok_int(end_of(pid), SIGKILL, "it died");
	ok_int(ops->freeze(leaf, true, &err), 0, "an empty one can be frozen");
	ok_int(create(leaf, &none, &err), -EBUSY, "and is not taken over, as nothing could start");
	ok(strstr(err.msg, "is frozen"), "with the reason");
	ok_int(ops->remove(leaf, &err), 0, "removed");
	ok(ops->freeze(leaf, true, &err) < 0, "an absent one cannot be frozen");
}

static void fork_on(void)
{
	for (;;) {
		pid_t pid = fork();

		if (pid == 0)
			idle();
		if (pid < 0)
			sleep_ms(1);
	}
}

static void test_kill_forking(void)
{
	struct plan_resources few = { .pids_max = 50 };
	struct err err = ERR_INIT;
	_cleanup_free_ pid_t *pids = NULL;
	size_t n = 99;
	pid_t pid;

	ok_int(create(in("forking"), &few, &err), 0, "a group of at most 50");
	pid = spawn(in("forking"), fork_on);
	sleep_ms(50);
	ok_int(ops->kill(in("forking"), SIGKILL, &err), 0, "kill one that forks all the time");
	ok_int(end_of(pid), SIGKILL, "it died");
	ok_int(ops->pids(in("forking"), &pids, &n, &err), 0, "pids");
	ok_int(n, 0, "nobody is left");
	ok_int(ops->remove(in("forking"), &err), 0, "removed");
}

/* ---- owners --------------------------------------------------------------------------------- */

static void test_delegate(void)
{
	struct plan_resources none = { 0 };
	struct err err = ERR_INIT;
	const char *leaf = in("delegated");
	char file[CGROUP_DIR_MAX + 32], dir[CGROUP_DIR_MAX];
	struct stat st = { 0 };
	uid_t want = v2 ? 4321 : 0;

	ok_int(create(leaf, &none, &err), 0, "a group");
	ok_int(ops->delegate(leaf, 4321, 4322, &err), 0, "delegate");
	dir_of("memory", leaf, dir);
	ok(stat(dir, &st) == 0 && st.st_uid == want, "owner of the directory");
	snprintf(file, sizeof(file), "%s/cgroup.procs", dir);
	ok(stat(file, &st) == 0 && st.st_uid == want, "owner of cgroup.procs");
	snprintf(file, sizeof(file), "%s/%s", dir, v2 ? "memory.max" : "memory.limit_in_bytes");
	ok(stat(file, &st) == 0 && st.st_uid == 0, "limits stay root's");
	ok(cgroup_can_create(in("delegated/x")), "root can make groups");
	ok_int(seteuid(4321), 0, "as that user");
	ok_int(cgroup_can_create(in("delegated/x/y")), v2, "who can in his own group, on v2");
	ok(!cgroup_can_create(in("other")), "but not beside it");
	ok_int(seteuid(0), 0, "root again");
	ok_int(ops->remove(leaf, &err), 0, "removed");
}

static void exit_own_path(void)
{
	_cleanup_free_ char *own = NULL;
	struct err err = ERR_INIT;

	_exit(cgroup_own_path(&own, &err) == 0 && !strcmp(own, in("own")) ? 42 : 43);
}

static void test_own_path(void)
{
	struct plan_resources none = { 0 };
	_cleanup_free_ char *own = NULL, *of = NULL;
	struct err err = ERR_INIT;
	pid_t pid;

	ok_int(create(in("own"), &none, &err), 0, "a group");
	pid = spawn(in("own"), exit_own_path);
	ok_int(WEXITSTATUS(end_of(pid)), 42, "a process finds its own group");
	pid = spawn(in("own"), idle);
	ok_int(cgroup_path_of(pid, v2 ? NULL : "pids", &of, &err), 0, "and another's");
	ok_str(of, in("own"), "the same");
	ok_int(cgroup_path_of(pid, "nonesuch", &own, &err), -ENOENT, "no such controller");
	ok_int(ops->kill(in("own"), SIGKILL, &err), 0, "killed");
	end_of(pid);
	ok_int(ops->remove(in("own"), &err), 0, "removed");
}

int main(void)
{
	static void (*const tests[])(void) = { test_create,  test_failed_create, test_children,
					       test_freeze,  test_kill_forking,	 test_delegate,
					       test_own_path };

	return live_main(tests, ARRAY_SIZE(tests));
}
