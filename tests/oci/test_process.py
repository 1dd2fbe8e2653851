# SPDX-License-Identifier: Apache-2.0
"""process: who it runs as, where, with what rights, limits, environment and descriptors."""
import os
import subprocess

import pytest

from oci.bundle import PATH, refused


def status(text):
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def of_status(box, *fields):
    found = status(box.args("cat", "/proc/self/status").run(check=True).stdout)
    return [found[field] for field in fields]


def caps(*numbers):
    return f"{sum(1 << n for n in numbers):016x}"


CHOWN, KILL, NET_BIND, SYS_ADMIN = 0, 5, 10, 21


# ---- one start for what both kinds must agree on -----------------------------------------------------

def test_everything_of_an_ordinary_user(bundle):
    bundle.process.update(user={"uid": 1000, "gid": 1001, "additionalGids": [5, 6], "umask": 0o027}, cwd="/home/user",
                          env=[PATH, "A=b c", "EMPTY=", "HOME=/given"],
                          rlimits=[{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
                                   {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}])
    out = bundle.out("id -u; id -g; id -G; umask; pwd; echo \"$A|$EMPTY|$HOME\"; ulimit -n; ulimit -Hn; ulimit -c; "
                     "grep -E 'Cap|NoNew' /proc/self/status").splitlines()
    assert out[:2] == ["1000", "1001"]
    assert sorted(out[2].split()) == ["1001", "5", "6"]
    assert out[3:9] == ["0027", "/home/user", "b c||/given", "100", "200", "0"]
    rights = dict(line.split(":\t") for line in out[9:])
    assert rights["CapEff"] == rights["CapPrm"] == rights["CapInh"] == caps()
    assert rights["CapBnd"] == "00000000a80425fb" and rights["NoNewPrivs"] == "1"


# ---- user ------------------------------------------------------------------------------------------

def test_ids_need_not_be_in_passwd(box):
    box.process["user"] = {"uid": 4242, "gid": 2424}
    assert box.out("id -u; id -g; id -G").split() == ["4242", "2424", "2424"]


def test_groups_of_passwd_are_not_added(box):
    """The config has the numbers; the image's files add none."""
    box.process["user"] = {"uid": 1000, "gid": 1000}
    assert box.out("id -G").split() == ["1000"]


def test_no_umask_is_022(box):
    assert box.out("umask").strip() == "0022"


def test_umask_of_zero_is_kept(box):
    box.process["user"]["umask"] = 0
    assert box.out("umask").strip() == "0000"


def test_home_is_that_of_the_user(box):
    box.process["user"] = {"uid": 1000, "gid": 1000}
    assert box.out("echo $HOME").strip() == "/home/user"


# ---- rights ------------------------------------------------------------------------------------------

def test_each_set_of_capabilities(box):
    box.process["capabilities"] = {
        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE"], "permitted": ["CAP_CHOWN", "CAP_KILL"],
        "effective": ["CAP_CHOWN"], "inheritable": ["CAP_KILL"], "ambient": []}
    bounding, permitted, inheritable = of_status(box, "CapBnd", "CapPrm", "CapInh")
    assert bounding == caps(CHOWN, KILL, NET_BIND)
    assert permitted == caps(CHOWN, KILL) and inheritable == caps(KILL)
    # root gets, by executing, all of the bounding set, if it may get new rights at all
    box.process["noNewPrivileges"] = False
    assert of_status(box, "CapPrm", "CapEff") == [caps(CHOWN, KILL, NET_BIND)] * 2


def test_ambient_capabilities_of_an_ordinary_user(box):
    box.process["user"] = {"uid": 1000, "gid": 1000}
    box.capabilities("CAP_NET_BIND_SERVICE", "CAP_KILL",
                     sets=("bounding", "effective", "permitted", "inheritable", "ambient"))
    wanted = caps(KILL, NET_BIND)
    assert of_status(box, "CapAmb", "CapEff", "CapPrm", "CapInh", "CapBnd") == [wanted] * 5


def test_an_ordinary_user_without_ambient_ones_has_none(box):
    box.process["user"] = {"uid": 1000, "gid": 1000}
    assert of_status(box, "CapEff", "CapPrm", "CapAmb") == [caps()] * 3


def test_no_capabilities_at_all(box):
    box.process["capabilities"] = {}
    assert of_status(box, "CapBnd", "CapEff", "CapPrm", "CapInh", "CapAmb") == [caps()] * 5
    del box.process["capabilities"]
    assert box.run().returncode == 0


def test_unknown_capability_is_no_error(box):
    """The spec: it is warned about."""
    box.capabilities("CAP_KILL", "CAP_NO_SUCH_THING")
    assert of_status(box, "CapEff") == [caps(KILL)]


def test_a_capability_that_cannot_be_granted_is_no_error(box):
    box.runtime.needs("capabilities-that-cannot-be-granted")
    box.capabilities("CAP_KILL", "CAP_SYS_RESOURCE", "CAP_SYS_ADMIN")
    mine = int(status(open("/proc/self/status").read())["CapBnd"], 16)
    assert of_status(box, "CapEff") == [f"{(1 << KILL | 1 << 24 | 1 << SYS_ADMIN) & mine:016x}"]


def test_set_uid_and_no_new_privileges(box):
    box.process["user"] = {"uid": 1000, "gid": 1000}
    assert box.out("suid-id") == "1000\n"
    box.process["noNewPrivileges"] = False
    assert box.out("suid-id") == "0\n"


@pytest.mark.parametrize("score", [-100, 0, 500, 1000])
def test_oom_score(box, score):
    own = int(open("/proc/self/oom_score_adj").read())
    if score < own:
        pytest.skip("needs CAP_SYS_RESOURCE")
    box.process["oomScoreAdj"] = score
    assert box.out("cat /proc/self/oom_score_adj") == f"{score}\n"


def test_oom_score_is_inherited(box):
    assert box.out("cat /proc/self/oom_score_adj") == open("/proc/self/oom_score_adj").read()


def test_oom_score_out_of_range(box):
    box.process["oomScoreAdj"] = 1001
    refused(box.create(check=False))


# ---- limits ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind, words", [
    ("NOFILE", "Max open files"), ("NPROC", "Max processes"), ("CORE", "Max core file size"), ("CPU", "Max cpu time"),
    ("FSIZE", "Max file size"), ("DATA", "Max data size"), ("STACK", "Max stack size"), ("RSS", "Max resident set"),
    ("MEMLOCK", "Max locked memory"), ("AS", "Max address space"), ("LOCKS", "Max file locks"),
    ("SIGPENDING", "Max pending signals"), ("MSGQUEUE", "Max msgqueue size"), ("NICE", "Max nice priority"),
    ("RTPRIO", "Max realtime priority"), ("RTTIME", "Max realtime timeout")])
def test_every_rlimit(box, kind, words):
    line = next(row for row in open("/proc/self/limits") if row.startswith(words))
    hard = line[len(words):].replace(words, "").split()[-2 if line.split()[-1].isalpha() and
                                                        line.split()[-1] != "unlimited" else -1]
    value = 2 ** 33 if hard == "unlimited" else int(hard) // 2
    box.process["rlimits"] = [{"type": f"RLIMIT_{kind}", "soft": value // 2, "hard": value}]
    row = next(r for r in box.out("cat /proc/self/limits").splitlines() if r.startswith(words))
    assert row[26:].split()[:2] == [str(value // 2), str(value)], row


@pytest.mark.parametrize("limits, words", [
    ([{"type": "RLIMIT_BOGUS", "soft": 1, "hard": 1}], ["RLIMIT_BOGUS"]),
    ([{"type": "RLIMIT_NOFILE", "soft": 2000, "hard": 1000}], []),
])
def test_bad_rlimits(box, limits, words):
    box.process["rlimits"] = limits
    refused(box.create(check=False), *words)


def test_the_same_rlimit_twice(box):
    box.runtime.needs("strict-config")
    box.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 100}] * 2
    refused(box.create(check=False), "RLIMIT_NOFILE")


def test_exec_has_the_rlimits_too(box):
    box.process["rlimits"] = [{"type": "RLIMIT_SIGPENDING", "soft": 77, "hard": 88}]
    box.idle()
    assert box.exec("grep", "pending signals", "/proc/self/limits").stdout.split()[3:5] == ["77", "88"]


# ---- place, arguments, environment -------------------------------------------------------------------

def test_cwd_is_made(bundle):
    bundle.process["cwd"] = "/made/for/me"
    assert bundle.out("pwd") == "/made/for/me\n"


def test_cwd_must_be_absolute(box):
    box.process["cwd"] = "relative"
    refused(box.create(check=False), "cwd")


def test_cwd_is_not_a_directory(box):
    box.process["cwd"] = "/etc/passwd"
    refused(box.create(check=False), "/etc/passwd")


def test_cwd_that_only_the_user_may_enter(box):
    (box.rootfs / "private").mkdir(mode=0o700)
    os.chown(box.rootfs / "private", 1000, 1000)
    box.process.update(user={"uid": 1000, "gid": 1000}, cwd="/private")
    assert box.out("pwd") == "/private\n"


def test_arguments_are_passed_as_they_are(box):
    words = ["printf", "%s|", "", "a b", "*", "$HOME", "\"'", "ä\n", "x" * 5000]
    assert box.args(*words).run(check=True).stdout == "".join(w + "|" for w in words[2:])


def test_environment_is_exactly_what_is_given(box):
    box.process["env"] = [PATH, "A=1", "B=x=y", "C=" + "z" * 3000]
    out = box.args("env").run(check=True, env=dict(box.runtime.env, LEAK="from the host")).stdout.splitlines()
    assert set(out) - {"HOME=/root"} == {PATH, "A=1", "B=x=y", "C=" + "z" * 3000}


def test_no_environment(box):
    del box.process["env"]
    out = box.args("/bin/env").run(check=True).stdout.splitlines()
    assert not [line for line in out if not line.startswith(("HOME=", "PATH="))]


def test_scripts_and_bad_programs(box):
    assert "no-interpreter" in box.args("/bin/no-interpreter").run().stderr
    assert box.args("/bin/empty").run().returncode != 0


# ---- scheduling ----------------------------------------------------------------------------------------

def test_scheduler(box):
    box.runtime.needs("scheduler")
    box.process["scheduler"] = {"policy": "SCHED_BATCH", "nice": 5}
    fields = box.out("cut -d ' ' -f 19,41 /proc/self/stat").split()
    assert fields == ["5", "3"]


def test_bad_scheduler(box):
    box.runtime.needs("scheduler")
    box.process["scheduler"] = {"policy": "SCHED_BOGUS"}
    refused(box.create(check=False), "SCHED_BOGUS")


@pytest.mark.parametrize("klass, level, shown", [("IOPRIO_CLASS_BE", 6, "best-effort: prio 6"),
                                                 ("IOPRIO_CLASS_IDLE", 0, "idle")])
def test_io_priority(box, klass, level, shown):
    box.runtime.needs("io-priority")
    box.process["ioPriority"] = {"class": klass, "priority": level}
    assert shown in box.out("ionice")


def test_exec_cpu_affinity(box):
    box.runtime.needs("exec-cpu-affinity")
    box.process["execCPUAffinity"] = {"initial": "0", "final": "0"}
    box.idle()
    out = status(box.exec("cat", "/proc/self/status").stdout)
    assert out["Cpus_allowed_list"] == "0"


def test_memory_policy(box):
    box.runtime.needs("memory-policy")
    box.linux["memoryPolicy"] = {"mode": "MPOL_INTERLEAVE", "nodes": "0"}
    if "interleave" not in box.out("cat /proc/self/numa_maps || true"):
        pytest.skip("this kernel has no NUMA")


def test_bad_memory_policy(box):
    box.runtime.needs("memory-policy")
    box.linux["memoryPolicy"] = {"mode": "MPOL_BOGUS", "nodes": "0"}
    refused(box.create(check=False), "MPOL_BOGUS")


@pytest.mark.parametrize("domain, machine", [("LINUX32", "i686"), ("LINUX", "x86_64")])
def test_personality(box, domain, machine):
    box.runtime.needs("personality")
    box.linux["personality"] = {"domain": domain}
    assert box.out("uname -m").strip() == machine
    box.idle()
    assert box.exec("uname", "-m").stdout.strip() == machine


# ---- descriptors ---------------------------------------------------------------------------------------

def listed(text):
    return sorted(map(int, text.split()))


def test_descriptors_of_run(bundle):
    """0, 1, 2, and the one that reads the directory."""
    assert listed(bundle.args("ls", "/proc/self/fd").run(check=True).stdout) == [0, 1, 2, 3]


def test_descriptors_of_create(box):
    box.args("ls", "/proc/self/fd").up()
    box.wait_stopped()
    assert listed(box.rest()) == [0, 1, 2, 3]


def test_descriptors_of_exec(idle):
    assert listed(idle.exec("ls", "/proc/self/fd").stdout) == [0, 1, 2, 3]


def with_fds(box, script, *argv):
    """Runs the runtime's command with descriptor 3 and 4 open, as a careless caller would."""
    done = subprocess.run(["sh", "-c", f'exec 3</etc/hostname 4</etc/passwd "$@" {script}', "sh", *argv], text=True,
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done
    return done.stdout


def test_descriptors_of_the_caller_do_not_get_in(box):
    box.args("ls", "/proc/self/fd").write()
    assert listed(with_fds(box, "", *box.runtime.argv("run", "--bundle", box.path, box.id))) == [0, 1, 2, 3]
    box.idle()
    assert listed(with_fds(box, "", *box.runtime.argv("exec", box.id, "ls", "/proc/self/fd"))) == [0, 1, 2, 3]


def test_preserve_fds(box):
    box.args("ls", "/proc/self/fd").write()
    argv = box.runtime.argv("run", "--preserve-fds", "1", "--bundle", box.path, box.id)
    assert listed(with_fds(box, "", *argv)) == [0, 1, 2, 3, 4]
    argv = box.runtime.argv("run", "--preserve-fds=2", "--bundle", box.path, box.id)
    assert listed(with_fds(box, "", *argv)) == [0, 1, 2, 3, 4, 5]


def test_preserve_fds_that_are_not_open(box):
    box.write()
    done = box.runtime("run", "--preserve-fds", "20", "--bundle", box.path, box.id)
    refused(done)


def test_socket_activation(box):
    """LISTEN_FDS of the environment: the descriptors and the variables are passed on."""
    box.sh("ls /proc/self/fd; echo $LISTEN_FDS $LISTEN_PID").write()
    script = 'LISTEN_FDS=1 LISTEN_PID=$$ exec 3</etc/hostname; export LISTEN_FDS=1 LISTEN_PID=$$; exec "$@"'
    done = subprocess.run(["sh", "-c", script, "sh", *box.runtime.argv("run", "--bundle", box.path, box.id)], text=True,
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
    assert done.stdout.split()[-2:] == ["1", "1"], done
    assert listed(" ".join(done.stdout.split()[:-2])) == [0, 1, 2, 3, 4]
