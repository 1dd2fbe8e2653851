# SPDX-License-Identifier: Apache-2.0
"""hooks: all six, their order, namespaces and input, and what their failures do."""
import json
import os
import time

import pytest

from oci.bundle import refused, until, wait_for_end

KINDS = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
BEFORE_CREATE_ENDS = ["prestart", "createRuntime", "createContainer"]


class Log:
    """A directory of the host, that is also in the container, in which hooks write what they see."""

    def __init__(self, box):
        self.box = box
        self.path = box.path / "log"
        self.path.mkdir()
        self.path.chmod(0o777)
        box.bind(self.path, "/log")
        box.config["hooks"] = {}

    def hook(self, kind, script, inside=None, **fields):
        """Adds a hook that runs a shell script with $LOG as its directory."""
        inside = kind == "startContainer" if inside is None else inside
        where = "/log" if inside else str(self.path)
        self.box.config["hooks"].setdefault(kind, []).append(
            {"path": "/bin/sh", "args": ["sh", "-c", f"LOG={where}; {script}"],
             "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], **fields})

    def __getitem__(self, name):
        return (self.path / name).read_text()

    def __contains__(self, name):
        return (self.path / name).exists()


@pytest.fixture
def log(box):
    return Log(box)


def test_order_of_all_six(box, log):
    box.runtime.needs("poststart-after-start")
    for kind in KINDS:
        log.hook(kind, f"echo {kind} 1 >>$LOG/order")
        log.hook(kind, f"echo {kind} 2 >>$LOG/order")
    box.sh("echo command >>/log/order; exec sleep 1000")
    box.create()
    assert log["order"].split("\n")[:-1] == [f"{kind} {n}" for kind in BEFORE_CREATE_ENDS for n in (1, 2)]
    box.start()
    until(lambda: "command" in log["order"] and "poststart 2" in log["order"], "the command and poststart ran", 20)
    lines = log["order"].split("\n")[:-1]
    assert lines[6:8] == ["startContainer 1", "startContainer 2"]
    assert sorted(lines[8:]) == ["command", "poststart 1", "poststart 2"]
    box.stop()
    assert "poststop" not in log["order"]
    box.delete()
    assert log["order"].split("\n")[-3:-1] == ["poststop 1", "poststop 2"]


def test_run_calls_all_six(box, log):
    for kind in KINDS:
        log.hook(kind, f"echo {kind} >>$LOG/order")
    assert box.sh("echo command >>/log/order").run().returncode == 0
    order = log["order"].split()
    assert order.index("startContainer") < order.index("command") and order[-1] == "poststop"
    assert set(order) == {*KINDS, "command"}


def test_state_on_standard_input(box, log):
    box.config["annotations"] = {"org.example": "a value"}
    for kind in KINDS:
        log.hook(kind, f"cat >$LOG/{kind}")
    box.args("true").run()
    for kind, statuses in (("prestart", {"creating", "created"}), ("createRuntime", {"creating", "created"}),
                           ("createContainer", {"creating", "created"}), ("startContainer", {"creating", "created"}),
                           ("poststart", {"running", "stopped"}), ("poststop", {"stopped"})):
        if kind == "poststart" and box.runtime.lacks("poststart-after-start"):
            continue
        state = json.loads(log[kind])
        assert state["id"] == box.id and state["bundle"] == str(box.path), kind
        assert state["status"] in statuses, (kind, state)
        assert state["annotations"] == {"org.example": "a value"}
        assert state["ociVersion"].startswith("1.")
        if kind in ("prestart", "createRuntime", "createContainer"):
            assert state["pid"] > 0


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "poststart"])
def test_pid_is_that_of_the_container_in_the_hooks_namespace(box, log, kind):
    """What Docker's network hook depends on: /proc/PID/ns of that pid."""
    log.hook(kind, "pid=$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/'); readlink /proc/$pid/ns/net >$LOG/ns; echo $pid >$LOG/pid")
    box.args("sleep", "1000").up()
    assert log["ns"].strip() == os.readlink(f"/proc/{box.pid}/ns/net") != os.readlink("/proc/self/ns/net")
    assert int(log["pid"]) == box.pid


def test_namespaces(box, log):
    for kind in KINDS:
        log.hook(kind, f"for n in mnt pid net uts; do readlink /proc/self/ns/$n; done >$LOG/{kind}",
                 inside=kind == "startContainer")
    box.args("sleep", "1000").up()
    container = {n: os.readlink(f"/proc/{box.pid}/ns/{n}") for n in ("mnt", "pid", "net", "uts")}
    mine = {n: os.readlink(f"/proc/self/ns/{n}") for n in ("mnt", "pid", "net", "uts")}
    box.stop()
    box.delete()

    def seen(kind):
        return dict(zip(("mnt", "pid", "net", "uts"), log[kind].split()))

    for kind in ("prestart", "createRuntime", "poststart", "poststop"):
        assert seen(kind) == mine, kind
    assert seen("createContainer")["mnt"] == container["mnt"]
    assert seen("createContainer")["net"] == container["net"]
    assert seen("startContainer") == container


def test_create_container_runs_before_pivot_root(box, log):
    """In the container's mount namespace, but paths are still those of the runtime; the root is mounted."""
    log.hook("createContainer", f"ls {box.rootfs} >$LOG/root; grep -c ' {box.rootfs}' /proc/self/mountinfo >$LOG/mounts")
    box.args("true").run(check=True)
    assert {"bin", "etc"} <= set(log["root"].split()) and int(log["mounts"]) >= 3


def test_mounts_of_create_container_are_seen_inside(box, log):
    log.hook("createContainer", f"mount -t tmpfs hooked {box.rootfs}/mnt && touch {box.rootfs}/mnt/from-hook")
    assert box.out("ls /mnt") == "from-hook\n"
    assert not (box.rootfs / "mnt/from-hook").exists()


def test_start_container_runs_inside(box, log):
    log.hook("startContainer", "cat /etc/hello >$LOG/hello; id -u >$LOG/uid")
    box.process["user"] = {"uid": 1000, "gid": 1000}
    box.args("true").run(check=True)
    assert log["hello"] == "hello\n"


def test_arguments_and_environment(box, log):
    """args[0] is the hook's name for itself; nothing of the runtime's environment comes along."""
    script = log.path / "hook"
    script.write_text("#!/bin/sh\nIFS= read -r -d '' x </proc/self/cmdline 2>/dev/null\n"
                      f"tr '\\0' '|' </proc/$$/cmdline >{log.path}/args; env >{log.path}/env; pwd >{log.path}/cwd\n")
    script.chmod(0o755)
    box.config["hooks"]["createRuntime"] = [{"path": "/bin/sh", "args": ["my-name", str(script), "a b", ""],
                                             "env": ["ONLY=this"]}]
    box.args("true").run(check=True, env=dict(box.runtime.env, LEAK="from the caller"))
    assert log["args"].startswith("my-name|") and "|a b||" in log["args"]
    assert "ONLY=this" in log["env"] and "LEAK" not in log["env"]
    assert log["cwd"].strip() == str(box.path)


def test_without_args_the_path_is_the_name(box, log):
    script = log.path / "hook"
    script.write_text(f"#!/bin/sh\necho $# >{log.path}/count\n")
    script.chmod(0o755)
    box.config["hooks"]["createRuntime"] = [{"path": str(script)}]
    box.args("true").run(check=True)
    assert log["count"] == "0\n"


# ---- failures ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer"])
def test_failure_at_create(box, log, kind):
    log.hook(kind, "echo what went wrong >&2; exit 3")
    log.hook("poststop", "echo yes >$LOG/poststop")
    box.sh("echo x >/log/ran")
    done = box.create(check=False)
    assert done.returncode != 0 and "hook" in done.stderr, done
    assert box.status == "gone" and "ran" not in log
    assert not box.cgroup_dir("pids").exists()


def test_failure_of_start_container(box, log):
    log.hook("startContainer", "exit 3")
    box.sh("echo x >/log/ran")
    done = box.run()
    assert done.returncode != 0 and "ran" not in log
    assert box.status == "gone"


def test_failure_of_start_container_at_start(box, log):
    log.hook("startContainer", "exit 3")
    box.sh("echo x >/log/ran").create()
    box.start(check=False)
    wait_for_end(box.pid)
    assert box.status in ("stopped", "gone") and "ran" not in log


def test_failure_of_poststart(box, log):
    """The command has begun by then; the spec wants a warning, runc ends the container."""
    box.runtime.needs("poststart-after-start")
    log.hook("poststart", "exit 3")
    box.sh("echo x >/log/ran; sleep 1000").create()
    box.start(check=False)
    assert box.status in ("running", "stopped", "gone")


def test_failure_of_poststop_is_a_warning(box, log):
    log.hook("poststop", "echo first >>$LOG/order; exit 3")
    log.hook("poststop", "echo second >>$LOG/order")
    box.args("true").up()
    box.wait_stopped()
    box.runtime("delete", box.id)
    assert box.status == "gone"
    assert "first" in log["order"]
    if box.runtime.name != "runc":
        assert "second" in log["order"]


@pytest.mark.parametrize("hook, words", [
    ({"path": "relative"}, []), ({"path": "/absent/hook"}, ["/absent/hook"]), ({"path": "/etc/passwd"}, ["/etc/passwd"]),
    ({"args": ["x"]}, [])])
def test_bad_hooks(box, hook, words):
    box.config["hooks"] = {"createRuntime": [hook]}
    done = box.create(check=False)
    refused(done, *words)
    assert box.status == "gone"


def test_timeout(box, log):
    log.hook("createRuntime", "echo $$ >$LOG/pid; exec sleep 1000", timeout=1)
    begin = time.monotonic()
    done = box.create(check=False)
    assert done.returncode != 0 and time.monotonic() - begin < 15
    assert box.status == "gone"
    wait_for_end(int(log["pid"]), 5)


def test_a_hook_in_time(box, log):
    log.hook("createRuntime", "echo ran >$LOG/ran", timeout=30)
    assert box.args("true").run().returncode == 0 and "ran" in log


def test_descriptors_of_hooks(box, log):
    box.runtime.needs("clean-hooks")
    for kind in ("createRuntime", "createContainer", "startContainer", "poststart", "poststop"):
        log.hook(kind, f"ls /proc/self/fd >$LOG/{kind}")
    box.args("true").run(check=True)
    for kind in ("createRuntime", "createContainer", "startContainer", "poststart", "poststop"):
        assert log[kind].split() == ["0", "1", "2", "3"], kind


def test_output_of_hooks_is_not_the_containers(box, log):
    log.hook("createRuntime", "echo from the hook; echo and its errors >&2")
    done = box.args("echo", "mine").run()
    assert done.stdout == "mine\n", done
