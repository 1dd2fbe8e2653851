# SPDX-License-Identifier: Apache-2.0
"""Podman: run, a container that goes on and what can be done to it, options that change how it is set up."""
import json
import pathlib
import re
import subprocess

import pytest

from engines.engine import COUNTER, IMAGE, cgroup_value, until


@pytest.fixture(scope="module")
def idle(podman, kind):
    """A running container that the tests of this file share."""
    name = f"idle-{kind}"
    podman.detached("sh", "-c", f"echo to stdout; echo to stderr >&2; {COUNTER}",
                    opts=["--name", name, "-e", "GIVEN=at-run", "--health-cmd", "test -e /tmp",
                          "--health-interval", "disable"])
    until(lambda: "ready" in podman("logs", name).stdout, "it is ready")
    yield name
    podman("rm", "-f", "-t", "0", name)


def test_run(podman):
    done = podman.run("sh", "-c", "cat; echo out; echo err >&2; exit 42", opts=["-i"], input="in\n")
    assert (done.returncode, done.stdout, done.stderr) == (42, "in\nout\n", "err\n")


def test_the_runtime_is_the_one_that_was_asked_for(podman, idle):
    assert podman("inspect", "-f", "{{.OCIRuntime}}", idle).stdout.strip() == podman.prefix[-1]


@pytest.mark.parametrize("command, code", [("absent", 127), ("/bin/absent", 127), ("/etc/passwd", 126), ("/etc", 126)])
def test_what_cannot_run(podmans, container_only, command, code):
    done = podmans[container_only].run(command)
    assert done.returncode == code, done
    assert command in done.stderr


def test_bad_options_are_125(podmans, container_only):
    assert podmans[container_only].run("true", opts=["--no-such-option"]).returncode == 125


def test_options_of_the_process(podman):
    """One start for many options, for machines take a while."""
    script = "id -u; id -g; pwd; echo $A $FROM_IMAGE; hostname; ulimit -n; echo x >/tmpfs/x && cat /tmpfs/x; touch /new 2>&1; grep CapEff /proc/self/status"
    done = podman.run("sh", "-c", script, opts=[
        "-u", "1000:1000", "-w", "/home/user", "-e", "A=b", "-h", "box", "--ulimit", "nofile=100:200", "--ulimit",
        "nproc=999:999", "--read-only", "--tmpfs", "/tmpfs:mode=1777", "--cap-drop", "all"])
    lines = done.stdout.splitlines()
    assert lines[:7] == ["1000", "1000", "/home/user", "b yes", "box", "100", "x"], done
    assert "Read-only file system" in lines[7]
    assert lines[8].split() == ["CapEff:", "0000000000000000"]


def test_volumes(podman, tmp_path):
    (tmp_path / "rw").mkdir()
    (tmp_path / "ro").mkdir()
    (tmp_path / "ro/file").write_text("from the host\n")
    (tmp_path / "ro/file").chmod(0o640)
    subprocess.run(["chown", "1000:1000", tmp_path / "ro/file"], check=True)
    script = "cat /ro/file; stat -c '%u:%g %a' /ro/file; echo x 2>&1 >/ro/new; echo made >/rw/made; chown 1000:7 /rw/made"
    done = podman.run("sh", "-c", script, opts=["-v", f"{tmp_path}/ro:/ro:ro", "-v", f"{tmp_path}/rw:/rw"])
    assert done.stdout.splitlines()[:2] == ["from the host", "1000:1000 640"], done
    assert "Read-only file system" in done.stdout + done.stderr
    made = tmp_path / "rw/made"
    assert made.read_text() == "made\n" and (made.stat().st_uid, made.stat().st_gid) == (1000, 7)


def test_capabilities(podmans, container_only):
    def effective(*opts):
        return int(podmans[container_only].run("grep", "CapEff", "/proc/self/status", opts=opts).stdout.split()[1], 16)

    assert not effective("--cap-drop", "CHOWN") & 1
    assert effective("--cap-add", "SYS_ADMIN") & 1 << 21
    assert effective("--privileged") & 1 << 21


def test_memory_limit_is_enforced(podman):
    done = podman.run("sh", "-c", "tail -c 200m /dev/zero", opts=["-m", "48m", "--memory-swap", "48m"], text=False)
    assert done.returncode == 137, done.stderr


def test_memory_limit_is_visible(podmans, container_only):
    podman = podmans[container_only]
    name = podman.detached("sleep", "1000", opts=["-m", "64m", "--pids-limit", "20", "--cpu-shares", "300"])
    pid = podman("inspect", "-f", "{{.State.Pid}}", name).stdout.strip()
    assert cgroup_value(pid, "memory", "memory.limit_in_bytes") == str(64 << 20)
    assert cgroup_value(pid, "pids", "pids.max") == "20"
    assert cgroup_value(pid, "cpu", "cpu.shares") == "300"
    podman("rm", "-f", "-t", "0", name, check=True)


def test_pids_limit(podman):
    done = podman.run("sh", "-c", "i=0; while [ $i -lt 50 ]; do sleep 5 & i=$((i+1)); done; echo all", opts=["--pids-limit", "20"])
    assert "all" not in done.stdout and "fork" in done.stderr, done


def test_logs(podman, idle):
    done = podman("logs", idle)
    assert done.stdout.startswith("to stdout\n") and done.stderr == "to stderr\n"


def test_exec(podman, idle):
    done = podman("exec", "-i", idle, "sh", "-c", "cat; echo err >&2; exit 9", input="in\n")
    assert (done.returncode, done.stdout, done.stderr) == (9, "in\n", "err\n")


def test_exec_options(podman, idle):
    done = podman("exec", "-u", "user", "-w", "/tmp", "-e", "A=b", idle, "sh", "-c", "id -u; pwd; echo $A $GIVEN")
    assert done.stdout.split() == ["1000", "/tmp", "b", "at-run"], done


@pytest.mark.parametrize("command, code", [("absent", 127), ("/etc/passwd", 126)])
def test_exec_of_what_cannot_run(podman, idle, command, code):
    assert podman("exec", idle, command).returncode == code


def test_exec_detached(podman, idle):
    podman("exec", "-d", idle, "touch", "/made", check=True)
    until(lambda: podman("exec", idle, "test", "-e", "/made").returncode == 0, "the file is there")


def test_exec_terminal(podman, idle):
    terminal = podman.terminal("exec", "-it", idle, "sh", rows=33, cols=90)
    try:
        terminal.expect("#")
        terminal.send("tty; stty size; exit 5\r")
        terminal.expect("/dev/pts/")
        assert terminal.wait() == 5
        assert b"33 90" in terminal.output
    finally:
        terminal.end()


def test_run_terminal(podman):
    terminal = podman.terminal("run", "--rm", "-it", *podman.options(), IMAGE, "sh")
    try:
        terminal.expect("#")
        terminal.send("tty; exit 6\r")
        assert terminal.wait() == 6
        assert b"/dev/pts/0" in terminal.output
    finally:
        terminal.end()


def test_top(podman, idle, kind):
    out = podman("top", idle, check=True).stdout
    assert out.splitlines()[0].split()[:3] == ["USER", "PID", "PPID"]
    if kind == "container":
        assert "ready" in out


def test_stats(podman, idle):
    row = json.loads(podman("stats", "--no-stream", "--format", "json", idle, check=True).stdout)[0]
    assert row["name"] == idle and int(row["pids"]) >= 1
    assert re.match(r"[\d.]+[kMG]?B / ", row["mem_usage"]) and not row["mem_usage"].startswith("0B")


def test_inspect_pid_is_a_process(podman, idle):
    pid = int(podman("inspect", "-f", "{{.State.Pid}}", idle).stdout)
    assert pathlib.Path(f"/proc/{pid}").exists()


def test_health_check(podman, idle):
    assert podman("healthcheck", "run", idle).returncode == 0
    assert podman("inspect", "-f", "{{.State.Health.Status}}", idle).stdout.strip() in ("healthy", "starting")
    podman("exec", idle, "mv", "/tmp", "/tmq", check=True)
    assert podman("healthcheck", "run", idle).returncode == 1
    podman("exec", idle, "mv", "/tmq", "/tmp", check=True)


def test_cp(podman, kind, idle, tmp_path):
    (tmp_path / "in").write_text("copied in\n")
    podman("cp", tmp_path / "in", f"{idle}:/copied", check=True)
    podman("cp", f"{idle}:/etc/passwd", tmp_path / "out", check=True)
    assert "user:x:1000" in (tmp_path / "out").read_text()
    if kind == "container":
        assert podman("exec", idle, "cat", "/copied").stdout == "copied in\n"


def test_pause_and_unpause(podman, idle):
    def lines():
        return podman("logs", idle).stdout.count("\n")

    podman("pause", idle, check=True)
    assert podman("inspect", "-f", "{{.State.Status}}", idle).stdout.strip() == "paused"
    # what was on its way arrives, then no more does
    until(lambda: lines() == lines(), "it stands still", 5)
    podman("unpause", idle, check=True)
    before = lines()
    until(lambda: lines() > before, "it goes on", 10)
    assert podman("exec", idle, "true").returncode == 0


def test_kill_with_a_signal(podmans, container_only):
    podman = podmans[container_only]
    name = podman.detached("sh", "-c", "trap 'echo got usr1' USR1; echo ready; while :; do sleep 0.05; done")
    until(lambda: "ready" in podman("logs", name).stdout, "it is ready")
    podman("kill", "-s", "USR1", name, check=True)
    until(lambda: "got usr1" in podman("logs", name).stdout, "the signal arrives", 10)
    podman("kill", name, check=True)
    assert podman("wait", name).stdout.strip() == "137"
    podman("rm", name, check=True)


def test_stop_and_restart(podman):
    name = podman.detached("sh", "-c", "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.05; done")
    until(lambda: "ready" in podman("logs", name).stdout, "it is ready")
    podman("stop", "-t", "20", name, check=True)
    assert podman("inspect", "-f", "{{.State.ExitCode}} {{.State.Status}}", name).stdout.split() == ["3", "exited"]
    podman("start", name, check=True)
    until(lambda: podman("logs", name).stdout.count("ready") == 2, "it is ready again")
    podman("rm", "-f", "-t", "0", name, check=True)


def test_init(podmans, container_only):
    init = pathlib.Path("/usr/bin/tini-static")
    if not init.exists():
        pytest.skip("no static init program is here")
    done = podmans[container_only].run("sh", "-c", "cat /proc/1/cmdline | tr '\\0' ' '; echo $$",
                                       opts=["--init", "--init-path", init])
    assert done.stdout.startswith("/run/podman-init --") or "podman-init" in done.stdout, done
    assert done.stdout.split()[-1] != "1"


def test_preserve_fds(podmans, container_only, tmp_path):
    podman = podmans[container_only]
    (tmp_path / "f").write_text("through 3\n")
    argv = podman.argv("run", "--rm", *podman.options(), "--preserve-fds", "1", IMAGE, "sh", "-c", "cat <&3")
    done = subprocess.run(["sh", "-c", 'exec 3<"$0" "$@"', tmp_path / "f", *argv], env=podman.env, text=True,
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
    assert done.stdout == "through 3\n", done


def test_update(podmans, container_only):
    podman = podmans[container_only]
    name = podman.detached("sleep", "1000")
    pid = podman("inspect", "-f", "{{.State.Pid}}", name).stdout.strip()
    podman("update", "--memory", "96m", "--cpu-shares", "400", name, check=True)
    assert cgroup_value(pid, "memory", "memory.limit_in_bytes") == str(96 << 20)
    assert cgroup_value(pid, "cpu", "cpu.shares") == "400"
    podman("rm", "-f", "-t", "0", name, check=True)


def test_user_namespace(podmans, container_only):
    done = podmans[container_only].run("cat", "/proc/self/uid_map", opts=["--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536"])
    assert done.stdout.split() == ["0", "100000", "65536"], done


def test_pod(podmans, container_only):
    """Containers of a pod share namespaces, which are joined by path."""
    podman = podmans[container_only]
    first = podman.detached("sleep", "1000", opts=["--name", "pod-first"])
    argv = ["--network", f"container:{first}", "--ipc", f"container:{first}", "--pid", f"container:{first}"]
    done = podman("run", "--rm", "--cgroup-parent", podman.options()[-1], *argv, IMAGE, "sh", "-c",
                  "for n in net ipc pid; do [ $(readlink /proc/1/ns/$n) = $(readlink /proc/self/ns/$n) ] && echo $n; done; cat /proc/1/cmdline | tr '\\0' ' '")
    assert done.stdout == "net\nipc\npid\nsleep 1000 ", done
    podman("rm", "-f", "-t", "0", first, check=True)


def test_checkpoint_and_restore(podmans, container_only):
    check = subprocess.run("criu check", shell=True, capture_output=True, check=False)
    if check.returncode != 0:
        pytest.skip(f"criu does not work here: {check.stderr.decode().strip()[-200:]}")
    podman = podmans[container_only]
    name = podman.detached("sh", "-c", COUNTER)
    until(lambda: "5" in podman("logs", name).stdout, "it counts")
    podman("container", "checkpoint", name, check=True)
    podman("container", "restore", name, check=True)
    assert podman("inspect", "-f", "{{.State.Running}}", name).stdout.strip() == "true"
    podman("rm", "-f", "-t", "0", name, check=True)
