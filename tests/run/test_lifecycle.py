# SPDX-License-Identifier: Apache-2.0
"""A second terminal looks into a foreground run: exec, ps, logs, stop, kill, rm; and after a crash."""
import os
import pathlib
import signal
import subprocess

import pytest

IDLE = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done"


@pytest.fixture
def idle(background, backend):
    name = f"idle-{backend}"
    with background(IDLE, opts=["--name", name, "-e", "GIVEN=at-run"]) as b:
        b.name = name
        yield b


def test_exec(proa, idle):
    done = proa("exec", idle.name, "sh", "-c", "echo out; echo err >&2; exit 4")
    assert (done.returncode, done.stdout, done.stderr) == (4, "out\n", "err\n")


def test_exec_is_inside(proa, idle):
    out = proa("exec", idle.name, "sh", "-c", "cat /proc/1/cmdline | tr '\\0' ' '; hostname; readlink /proc/self/ns/mnt; readlink /proc/1/ns/mnt").stdout
    lines = out.split("\n")
    assert IDLE in lines[0]
    assert lines[1] == lines[2] or lines[-3] == lines[-2]


def test_exec_options(proa, idle):
    out = proa("exec", "-u", "user", "-w", "/tmp", "-e", "A=b", idle.name, "sh", "-c", "echo $(id -u) $PWD $A $GIVEN $HOME").stdout
    assert out.split() == ["1000", "/tmp", "b", "at-run", "/home/user"]


def test_exec_has_the_limits_of_the_container(proa, idle):
    out = proa("exec", idle.name, "grep", "-E", "CapEff|Seccomp:", "/proc/self/status").stdout.split()
    assert out == ["CapEff:", "00000000a80425fb", "Seccomp:", "2"]


def test_exec_input_is_binary_clean(proa, idle):
    data = os.urandom(300000)
    assert proa("exec", "-i", idle.name, "cat", input=data, text=False).stdout == data


def test_exec_several_at_once(proa, idle):
    children = [proa.popen("exec", idle.name, "sh", "-c", f"seq 1 2000; exit {i}", stdout=subprocess.PIPE) for i in range(5)]
    for i, child in enumerate(children):
        out = child.communicate(timeout=60)[0]
        assert child.returncode == i
        assert out.decode().split() == [str(n) for n in range(1, 2001)]


def test_exec_terminal(proa, idle, terminal):
    t = terminal("exec", "-it", idle.name, "sh")
    t.expect("#")
    t.send("tty; exit 3\n")
    assert t.wait() == 3
    assert b"/dev/pts/" in t.output


@pytest.mark.parametrize("command, code, words", [
    (["absent"], 127, "absent"),
    (["/bin/not-a-program"], 126, "not a program"),
    (["/etc"], 126, "directory"),
])
def test_exec_of_what_cannot_run(proa, idle, command, code, words):
    done = proa("exec", idle.name, *command)
    assert done.returncode == code
    assert words in done.stderr


def test_exec_does_not_end_the_container(proa, idle):
    proa("exec", idle.name, "sh", "-c", "kill -9 $$")
    assert idle.name in proa("ps", "--format", "{{.Names}}").stdout.split()


def test_ps_and_inspect(proa, idle, backend):
    row = proa("ps", "--filter", f"name={idle.name}", "--format", "{{.State}} {{.Isolation}} {{.Image}} {{.Names}}").stdout
    assert row.split() == ["running", backend, "busybox", idle.name]
    out = proa("inspect", "-f", "{{.State.Running}} {{.Isolation}} {{.State.Pid}}", idle.name).stdout.split()
    assert out[:2] == ["true", backend]
    assert pathlib.Path(f"/proc/{out[2]}").exists()


def test_logs(proa, background, backend):
    # "ready" comes after standard error was seen by somebody: the two streams have no common order
    script = "echo one; echo two >&2; printf three; echo; read x; echo ready; " + IDLE.replace("echo ready; ", "")
    with background(script, opts=["-i", "--name", f"logs-{backend}"], stdin=subprocess.PIPE, ready="three") as b:
        assert os.read(b.process.stderr.fileno(), 100) == b"two\n"
        b.process.stdin.write(b"go\n")
        b.process.stdin.flush()
        b.wait_for("ready")
        done = proa("logs", f"logs-{backend}")
        assert (done.stdout, done.stderr) == ("one\nthree\nready\n", "two\n")
        assert proa("logs", "--tail", "1", f"logs-{backend}").stdout == "ready\n"
        stamped = proa("logs", "-t", f"logs-{backend}").stdout.splitlines()
        assert stamped[0].endswith("Z one") and stamped[0][4] == "-"
        follower = proa.popen("logs", "-f", f"logs-{backend}", stdout=subprocess.PIPE)
        proa("stop", f"logs-{backend}")
        assert b.wait() == 0
        assert follower.communicate(timeout=30)[0].decode() == "one\nthree\nready\n"


def test_stop(proa, idle):
    assert proa("stop", idle.name).stdout == f"{idle.name}\n"
    assert idle.wait() == 0


def test_stop_kills_what_does_not_listen(proa, background, backend):
    name = f"deaf-{backend}"
    with background("trap '' TERM; echo ready; while :; do sleep 0.05; done", opts=["--name", name]) as b:
        assert proa("stop", "-t", "1", name).returncode == 0
        assert b.wait() == 137


def test_kill_with_a_signal(proa, background, backend):
    name = f"kill-{backend}"
    with background("trap 'echo hup; exit 8' HUP; echo ready; while :; do sleep 0.05; done", opts=["--name", name]) as b:
        assert proa("kill", "-s", "HUP", name).returncode == 0
        assert b.wait() == 8


def test_kill(proa, idle):
    assert proa("kill", idle.name).returncode == 0
    assert idle.wait() == 137


def test_rm_of_a_running_one(proa, idle):
    done = proa("rm", idle.name)
    assert done.returncode == 1
    assert "running" in done.stderr
    assert proa("rm", "-f", idle.name).returncode == 0
    assert idle.wait() == 137
    assert idle.name not in proa("ps", "-a").stdout


def test_name_in_use(proa, idle, image, backend):
    done = proa("run", "--rm", "--name", idle.name, image, "true")
    assert done.returncode == 125
    assert idle.name in done.stderr and "in use" in done.stderr


def test_owner_killed(proa, background, backend, store):
    """kill -9 of `proa run`: what it ran ends, and the next command tidies up."""
    name = f"orphan-{backend}"
    with background("echo ready; while :; do sleep 0.05; done", opts=["--name", name]) as b:
        pid = int(proa("inspect", "-f", "{{.State.Pid}}", name).stdout)
        fd = os.pidfd_open(pid)
        b.process.send_signal(signal.SIGKILL)
        b.process.wait(10)
        try:
            import select
            assert select.select([fd], [], [], 10)[0], "the process survived its owner"
        finally:
            os.close(fd)
        assert name not in proa("ps", "-a").stdout
        assert not list(store[1].glob("[0-9a-f]*"))
        assert not [d for d in (store[0] / "containers").iterdir() if d.name != "names"]


def test_owner_killed_without_rm(proa, image, backend):
    from conftest import Background
    name = f"orphan-kept-{backend}"
    with Background(proa, "run", "--name", name, f"--isolation={backend}", image, "sh", "-c", IDLE) as b:
        b.process.send_signal(signal.SIGKILL)
        b.process.wait(10)
    try:
        assert "Exited (137)" in proa("ps", "-a", "--filter", f"name={name}", "--format", "{{.Status}}").stdout
    finally:
        assert proa("rm", name).returncode == 0


def test_many_at_once(proa, image):
    """Forty containers in parallel: each with its own answer."""
    children = [proa.popen("run", "--rm", image, "sh", "-c", f"echo {i}; exit {i}", stdout=subprocess.PIPE) for i in range(40)]
    for i, child in enumerate(children):
        out = child.communicate(timeout=120)[0]
        assert (child.returncode, out) == (i, b"%d\n" % i)
    assert proa("ps", "-aq").stdout == ""


def test_same_name_in_parallel(proa, image):
    """Twenty runs want one name: each either runs or is told that it is in use."""
    children = [proa.popen("run", "--rm", "--name", "contended", image, "true", stderr=subprocess.PIPE) for _ in range(20)]
    codes = []
    for child in children:
        err = child.communicate(timeout=120)[1].decode()
        codes.append(child.returncode)
        assert child.returncode == 0 or (child.returncode == 125 and "in use" in err), err
    assert 0 in codes
    assert proa("ps", "-aq").stdout == ""
