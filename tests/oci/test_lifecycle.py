# SPDX-License-Identifier: Apache-2.0
"""create, start, state, kill, delete, run: the life of a container, and what each status allows."""
import datetime
import json
import os
import pathlib
import signal
import subprocess

import pytest

from oci.bundle import refused, until, wait_for_end


def test_create_start_state_kill_delete(bundle):
    bundle.config["annotations"] = {"org.example.key": "a value"}
    bundle.sh("trap 'exit 0' TERM; echo started; while :; do sleep 0.05; done").create()
    state = bundle.state()
    assert state["status"] == "created"
    assert state["id"] == bundle.id
    assert state["bundle"] == str(bundle.path)
    assert state["rootfs"] == str(bundle.rootfs)
    assert state["annotations"]["org.example.key"] == "a value"
    assert state["ociVersion"].startswith("1.")
    assert datetime.datetime.fromisoformat(state["created"][:19]).year >= 2024
    assert os.path.exists(f"/proc/{state['pid']}")
    assert bundle.output == b""
    bundle.start()
    bundle.expect("started")
    assert bundle.state()["status"] == "running"
    assert bundle.state()["pid"] == state["pid"]
    bundle.kill("TERM")
    bundle.wait_stopped()
    state = bundle.state()
    assert state["status"] == "stopped"
    assert state.get("pid", 0) == 0
    bundle.delete()
    assert bundle.status == "gone"


def test_the_command_does_not_run_before_start(box):
    box.sh("echo it ran; touch /ran").create()
    assert not (box.rootfs / "ran").exists()
    box.kill("KILL")
    box.wait_stopped()
    assert box.rest() == ""
    assert not (box.rootfs / "ran").exists()


@pytest.mark.parametrize("name", ["KILL", "SIGTERM", "9"])
def test_kill_of_a_created_container(box, name):
    box.create()
    box.kill(name)
    if name == "SIGTERM":  # nobody has to die of it before the command runs
        box.kill("KILL", check=False)
    box.wait_stopped()
    refused(box.start(check=False), "stopped")
    box.delete()


def test_kill_defaults_to_term(bundle):
    bundle.idle()
    bundle.runtime("kill", bundle.id, check=True)
    bundle.wait_stopped()


@pytest.mark.parametrize("name", ["USR1", "SIGUSR1", "usr1", "10"])
def test_kill_signal_names(box, name):
    box.sh("trap 'echo got it; exit 0' USR1; echo ready; while :; do sleep 0.05; done").up()
    box.expect("ready")
    box.kill(name)
    box.expect("got it")


def test_kill_of_an_unknown_signal(idle_box):
    refused(idle_box.kill("NOSUCH", check=False), "nosuch")
    assert idle_box.status == "running"


def test_kill_all(box):
    """--all reaches the processes of a container without a PID namespace of its own."""
    box.namespaces("network", "ipc", "uts", "mount")
    box.sh("sleep 1000 & echo ready $!; exec sleep 1000").up()
    box.expect("ready")
    pids = [int(p) for p in box.runtime("ps", "--format", "json", box.id).stdout.strip("[]\n").split(",")]
    assert len(pids) == 2
    box.kill("KILL", "--all")
    for pid in pids:
        wait_for_end(pid)


def test_delete_of_a_container_without_pid_namespace_ends_all(box):
    box.namespaces("network", "ipc", "uts", "mount")
    box.sh("sleep 1000 & echo ready $!; exec sleep 1000").up()
    box.expect("ready")
    pids = json.loads(box.runtime("ps", "--format", "json", box.id).stdout)
    box.delete("--force")
    for pid in pids:
        wait_for_end(pid)


def test_kill_of_a_stopped_container(bundle):
    bundle.args("true").up()
    bundle.wait_stopped()
    done = bundle.kill("KILL", check=False)
    if not bundle.runtime.lacks("kill-of-a-stopped-one-fails"):
        refused(done, "not running")


def test_delete_of_a_running_container_fails(bundle):
    bundle.idle()
    refused(bundle.delete(check=False), bundle.id)
    assert bundle.status == "running"
    bundle.delete("--force")
    assert bundle.status == "gone"
    wait_for_end(bundle.pid)


def test_delete_force_of_a_created_container(bundle):
    bundle.create()
    bundle.delete("--force")
    assert bundle.status == "gone"
    wait_for_end(bundle.pid)


def test_delete_force_of_what_is_not_there(runtime):
    assert runtime("delete", "--force", "absent").returncode == 0
    refused(runtime("delete", "absent"), "does not exist")


@pytest.mark.parametrize("verb", ["state", "start", "kill", "pause", "resume", "ps", "events", "delete"])
def test_verbs_on_an_absent_container(container_runtime, verb):
    refused(container_runtime(verb, "absent"), "does not exist")


@pytest.mark.parametrize("verb", ["create", "run", "state", "start", "kill", "delete", "exec", "ps"])
def test_verbs_without_a_container(container_runtime, verb):
    assert container_runtime(verb).returncode != 0


def test_start_twice(bundle):
    bundle.idle()
    refused(bundle.start(check=False), "running")


def test_an_id_is_used_once(make_box):
    first, second = make_box(), make_box()
    first.idle()
    second.write()
    done = second.runtime("create", "--bundle", second.path, first.id)
    refused(done, "exists")
    assert first.status == "running"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../up", "a b", "a\nb", "ä"])
def test_bad_ids(box, name):
    box.write()
    done = box.runtime("run", "--bundle", box.path, "--", name)
    assert done.returncode != 0, done
    assert not list(box.runtime.root.glob("*b*/b")) and not (box.runtime.root.parent / "up").exists()


@pytest.mark.parametrize("name", ["a", "A.b_c-d+e", "x" * 64, "0"])
def test_good_ids(box, name):
    box.write()
    done = box.runtime("run", "--bundle", box.path, name)
    assert done.returncode == 0, done
    assert box.runtime("state", name).returncode != 0


@pytest.mark.parametrize("script, code", [("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -9 $$", 137),
                                          ("kill -TERM $$; sleep 1", None)])
def test_run_exit_code(box, script, code):
    """The first process of a PID namespace is not ended by signals of its own: only a direct SIGKILL is."""
    done = box.namespaces("network", "ipc", "uts", "mount").sh(script).run()
    assert done.returncode == (143 if code is None else code), done


def test_run_exit_code_and_streams(bundle):
    done = bundle.sh("cat; echo out; echo err >&2; exit 42").run(input="in\n")
    assert (done.returncode, done.stdout, done.stderr) == (42, "in\nout\n", "err\n")
    assert bundle.status == "gone"


def test_run_detach_and_pid_file(bundle):
    pid_file = bundle.path / "pid"
    bundle.sh("echo ready; exec sleep 1000").create("--detach", "--pid-file", pid_file, verb="run")
    bundle.expect("ready")
    assert bundle.status == "running"
    assert pid_file.read_text() == str(bundle.state()["pid"])


def test_create_pid_file(box):
    pid_file = box.path / "pid"
    box.create("--pid-file", pid_file)
    assert int(pid_file.read_text()) == box.pid


def test_run_keep(box):
    box.sh("exit 3")
    done = box.run("--keep")
    assert done.returncode == 3
    assert box.status == "stopped"
    box.delete()


def test_run_forwards_signals(bundle):
    bundle.sh("trap 'echo term; exit 9' TERM; echo ready; while :; do sleep 0.05; done").write()
    child = bundle.runtime.popen("run", "--bundle", bundle.path, bundle.id, stdout=subprocess.PIPE)
    try:
        assert child.stdout.readline() == b"ready\n"
        child.send_signal(signal.SIGTERM)
        assert child.stdout.read() == b"term\n"
        assert child.wait(30) == 9
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def test_bundle_is_the_current_directory_by_default(box):
    box.args("echo", "here").write()
    done = box.runtime("run", box.id, cwd=box.path)
    assert done.stdout == "here\n", done


def test_the_first_process_is_a_child_of_the_caller(box):
    """Engines are subreapers and wait for the container themselves: nobody of the runtime may stand between."""
    box.write()
    script = ("import ctypes, json, os, subprocess, sys\n"
              "ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)\n"
              "argv = sys.argv[1:]\n"
              "subprocess.run(argv[:-1] + ['create', '--bundle', os.getcwd(), argv[-1]], check=True)\n"
              "pid = json.loads(subprocess.check_output(argv[:-1] + ['state', argv[-1]]))['pid']\n"
              "subprocess.run(argv[:-1] + ['start', argv[-1]], check=True)\n"
              "got, status = os.waitpid(pid, 0)\n"
              "print(got == pid, os.waitstatus_to_exitcode(status))\n")
    box.sh("exit 5").write()
    done = subprocess.run(["/usr/bin/python3", "-c", script, *box.runtime.argv(), box.id], cwd=box.path,
                          stdout=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.stdout == "True 5\n"


def test_nothing_stays_after_a_failed_create(box):
    done = box.args("absent-command").create(check=False)
    refused(done, "absent-command")
    assert box.status == "gone"
    assert not box.cgroup_dir("memory").exists()
    assert box.runtime("list", "--quiet").stdout.split().count(box.id) == 0
    box.args("true")
    assert box.run().returncode == 0


@pytest.mark.parametrize("command, words", [
    ("absent", ['"absent"', "executable file not found"]),
    ("/bin/absent", ["/bin/absent", "no such file or directory"]),
    ("/etc/passwd", ["/etc/passwd", "permission denied"]),
    ("/etc", ["/etc", "permission denied"]),
])
def test_what_cannot_be_executed_fails_at_create(box, command, words):
    """The words are those that Docker and Podman look for to give exit codes 127 and 126."""
    refused(box.args(command).create(check=False), *words)


def test_command_is_looked_up_in_path_of_its_own(box):
    (box.rootfs / "opt").mkdir()
    (box.rootfs / "opt/mine").write_text("#!/bin/sh\necho mine $0\n")
    (box.rootfs / "opt/mine").chmod(0o755)
    box.process["env"] = ["PATH=/nowhere:/opt:/bin"]
    done = box.args("mine").run()
    assert done.stdout == "mine /opt/mine\n", done


def test_stopped_containers_leave_no_process_behind(box):
    box.sh("sleep 1000 & echo ready; wait").up()
    box.expect("ready")
    pids = json.loads(box.runtime("ps", "--format", "json", box.id).stdout)
    os.kill(box.pid, signal.SIGKILL)
    for pid in pids:
        wait_for_end(pid)
    box.wait_stopped()
    box.delete()
    assert not any(pathlib.Path("/sys/fs/cgroup").glob(f"*/{box.cgroup}"))


def test_a_killed_runtime_does_not_block_the_id(box):
    """The runtime is killed in the middle of things: delete --force gets the id free."""
    box.sh("sleep 1000").write()
    child = box.runtime.popen("run", "--bundle", box.path, box.id)
    until(lambda: box.state().get("status") == "running", "the container runs")
    child.kill()
    child.wait()
    box.delete("--force")
    assert box.args("true").run().returncode == 0
