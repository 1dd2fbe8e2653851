# SPDX-License-Identifier: Apache-2.0
"""containerd with its runc shim, by ctr: tasks and everything that can be done to one."""
import json
import os
import pathlib

import pytest

from engines.engine import CGROUP_PARENT, IMAGE, until


@pytest.fixture(scope="module")
def idle(ctr, kind):
    name = f"idle-{kind}"
    ctr("run", "-d", *ctr.run_options(), IMAGE, name, "sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.05; done", check=True)
    yield name
    ctr("tasks", "kill", "-s", "9", name)
    ctr("tasks", "rm", "-f", name)
    ctr("containers", "rm", name)


def task(ctr, name):
    """(pid, status) of a task."""
    for line in ctr("tasks", "ls", check=True).stdout.splitlines():
        fields = line.split()
        if fields[0] == name:
            return int(fields[1]), fields[2]
    return None, None


def test_run(ctr, kind):
    done = ctr.run(f"run-{kind}", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")


def test_run_terminal(ctr, kind):
    terminal = ctr.terminal("run", "--rm", "-t", *ctr.run_options(), IMAGE, f"tty-{kind}", "sh")
    try:
        terminal.expect("#")
        terminal.send("tty; exit 4\r")
        assert terminal.wait() == 4
        assert b"/dev/pts/0" in terminal.output
    finally:
        terminal.end()


def test_what_cannot_run(ctrs, container_only):
    done = ctrs[container_only].run("bad", "absent")
    assert done.returncode != 0 and 'exec: "absent": executable file not found in $PATH' in done.stderr, done
    ctrs[container_only]("containers", "rm", "bad")


def test_exec(ctr, idle):
    done = ctr("tasks", "exec", "--exec-id", "e1", idle, "sh", "-c", "echo out; exit 5")
    assert (done.returncode, done.stdout) == (5, "out\n"), done
    done = ctr("tasks", "exec", "--exec-id", "e2", "--user", "1000:1000", "--cwd", "/tmp", idle, "sh", "-c", "id -u; pwd")
    assert done.stdout.split() == ["1000", "/tmp"], done
    done = ctr("tasks", "exec", "--exec-id", "e3", idle, "absent")
    assert done.returncode != 0 and "executable file not found" in done.stderr


def test_ls_and_ps(ctr, idle):
    pid, status = task(ctr, idle)
    assert status == "RUNNING" and pathlib.Path(f"/proc/{pid}").exists()
    rows = [line.split() for line in ctr("tasks", "ps", idle, check=True).stdout.splitlines()]
    assert rows[0] == ["PID", "INFO"] and str(pid) in [row[0] for row in rows[1:]]


def test_pause_and_resume(ctr, idle):
    ctr("tasks", "pause", idle, check=True)
    assert task(ctr, idle)[1] == "PAUSED"
    ctr("tasks", "resume", idle, check=True)
    assert task(ctr, idle)[1] == "RUNNING"


def test_metrics(ctr, idle):
    metrics = json.loads(ctr("tasks", "metrics", "--format", "json", idle, check=True).stdout)
    memory = metrics["memory"]["usage"]
    assert int(memory["usage"]) > 0 and int(metrics["cpu"]["usage"]["total"]) > 0
    assert int(metrics["pids"]["current"]) >= 1


def test_memory_limit(ctr, kind):
    done = ctr.run(f"oom-{kind}", "sh", "-c", "tail -c 200m /dev/zero >/dev/null", opts=["--memory-limit", str(48 << 20)])
    assert done.returncode == 137, done


def test_kill_and_delete(ctr, kind):
    name = f"life-{kind}"
    ctr("run", "-d", *ctr.run_options(), IMAGE, name, "sh", "-c", "trap 'exit 3' TERM; touch /ready; while :; do sleep 0.05; done",
        check=True)
    until(lambda: ctr("tasks", "exec", "--exec-id", "r", name, "test", "-e", "/ready").returncode == 0, "it is ready")
    assert ctr("tasks", "rm", name).returncode != 0  # it runs
    ctr("tasks", "kill", name, check=True)
    until(lambda: task(ctr, name)[1] == "STOPPED", "it has ended", 15)
    assert "exit code 3" in ctr("tasks", "rm", name).stderr
    ctr("containers", "rm", name, check=True)
    assert not list(pathlib.Path("/sys/fs/cgroup").glob(f"*/{CGROUP_PARENT}/{name}"))
    assert not (ctr.directory / "state" / CGROUP_PARENT / name).exists()


def test_kill_all(ctrs, container_only):
    ctr = ctrs[container_only]
    ctr("run", "-d", *ctr.run_options(), IMAGE, "all", "sh", "-c", "sleep 1000 & sleep 1000", check=True)
    ctr("tasks", "kill", "-a", "-s", "9", "all", check=True)
    until(lambda: task(ctr, "all")[1] == "STOPPED", "it has ended", 15)
    ctr("tasks", "rm", "all")
    ctr("containers", "rm", "all", check=True)


def test_a_killed_shim_leaves_nothing(ctrs, container_only):
    """containerd cleans up after a shim that died: it calls delete --force."""
    ctr = ctrs[container_only]
    ctr("run", "-d", *ctr.run_options(), IMAGE, "crash", "sleep", "1000", check=True)
    pid, _ = task(ctr, "crash")
    shim = int(next(line.split()[1] for line in open(f"/proc/{pid}/status") if line.startswith("PPid:")))
    assert b"shim" in pathlib.Path(f"/proc/{shim}/cmdline").read_bytes()
    os.kill(shim, 9)
    until(lambda: not pathlib.Path(f"/proc/{pid}").exists(), "the container is gone", 20)
    until(lambda: not (ctr.directory / "state" / CGROUP_PARENT / "crash").exists(), "its state is gone", 20)
    until(lambda: task(ctr, "crash")[0] is None, "the task is gone", 20)
    ctr("containers", "rm", "crash", check=True)
