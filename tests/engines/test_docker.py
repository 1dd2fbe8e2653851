# SPDX-License-Identifier: Apache-2.0
"""Docker: run, a container that goes on and what can be done to it, health checks, limits, restarts."""
import json
import pathlib
import re

import pytest

from engines.engine import COUNTER, IMAGE, cgroup_value, until


@pytest.fixture(scope="module")
def idle(docker, kind):
    """A running container that the tests of this file share."""
    name = f"idle-{kind}"
    docker.detached("sh", "-c", f"echo to stdout; echo to stderr >&2; {COUNTER}",
                    opts=["--name", name, "-e", "GIVEN=at-run"])
    until(lambda: "ready" in docker("logs", name).stdout, "it is ready")
    yield name
    docker("rm", "-f", name)


@pytest.fixture
def box(dockers, container_only):
    """box(command…, opts=): a detached container of the container runtime, removed at the end."""
    docker, made = dockers[container_only], []

    def call(*command, **kw):
        made.append(docker.detached(*command, **kw))
        return made[-1]

    yield call
    if made:
        docker("rm", "-f", *made)


@pytest.fixture
def dock(dockers, container_only):
    """Docker with the container runtime."""
    return dockers[container_only]


def test_info_knows_the_runtimes(dock):
    assert "proa-container" in json.loads(dock("info", "-f", "{{json .Runtimes}}").stdout)


def test_run(docker):
    done = docker.run("sh", "-c", "cat; echo out; echo err >&2; exit 42", opts=["-i"], input="in\n")
    assert (done.returncode, done.stdout, done.stderr) == (42, "in\nout\n", "err\n")


def test_run_terminal(docker):
    terminal = docker.terminal("run", "--rm", "-it", *docker.options(), IMAGE, "sh", rows=35, cols=95)
    try:
        terminal.expect("#")
        terminal.send("tty; exit 6\r")
        assert terminal.wait() == 6
        assert b"/dev/pts/0" in terminal.output
    finally:
        terminal.end()


@pytest.mark.parametrize("command, code, words", [
    ("absent", 127, "executable file not found"), ("/bin/absent", 127, "no such file or directory"),
    ("/etc/passwd", 126, "permission denied"), ("/etc", 126, "permission denied")])
def test_what_cannot_run(dock, command, code, words):
    done = dock.run(command)
    assert done.returncode == code, done
    assert words in done.stderr and command in done.stderr


def test_options_of_the_process(docker):
    """One start for many options, for machines take a while."""
    script = "id -u; id -g; pwd; echo $A $FROM_IMAGE; hostname; ulimit -n; echo x >/tmpfs/x && cat /tmpfs/x; touch /new 2>&1; grep CapEff /proc/self/status"
    done = docker.run("sh", "-c", script, opts=[
        "-u", "1000:1000", "-w", "/home/user", "-e", "A=b", "-h", "box", "--ulimit", "nofile=100:200", "--read-only",
        "--tmpfs", "/tmpfs:mode=1777", "--cap-drop", "all"])
    lines = done.stdout.splitlines()
    assert lines[:7] == ["1000", "1000", "/home/user", "b yes", "box", "100", "x"], done
    assert "Read-only file system" in lines[7]
    assert lines[8].split() == ["CapEff:", "0000000000000000"]


def test_volumes(docker, tmp_path):
    (tmp_path / "ro").mkdir()
    (tmp_path / "ro/file").write_text("from the host\n")
    script = "cat /ro/file; echo x 2>&1 >/ro/new; echo made >/rw/made; cat /etc/resolv.conf >/dev/null && echo resolv"
    done = docker.run("sh", "-c", script, opts=["-v", f"{tmp_path}/ro:/ro:ro", "-v", f"{tmp_path}/rw:/rw"])
    assert done.stdout.splitlines()[0] == "from the host" and "resolv" in done.stdout, done
    assert "Read-only file system" in done.stdout + done.stderr
    assert (tmp_path / "rw/made").read_text() == "made\n"


def test_named_volume(dock):
    """What the image has at the place of a new volume is copied into it, by Docker."""
    assert dock.run("sh", "-c", "echo kept >/vol/x", opts=["-v", "proa-vol:/vol"]).returncode == 0
    assert dock.run("cat", "/vol/x", opts=["-v", "proa-vol:/vol"]).stdout == "kept\n"
    dock("volume", "rm", "proa-vol", check=True)


def test_memory_limit_is_enforced(docker):
    done = docker.run("sh", "-c", "tail -c 200m /dev/zero", opts=["-m", "48m", "--memory-swap", "48m"], text=False)
    assert done.returncode == 137, done.stderr


def test_oom_is_recorded(dock, box):
    name = box("sh", "-c", "tail -c 200m /dev/zero >/dev/null", opts=["-m", "32m", "--memory-swap", "32m"])
    dock("wait", name, check=True)
    assert dock.inspect(name, "{{.State.OOMKilled}} {{.State.ExitCode}}") == "true 137"


def test_pids_limit(docker):
    done = docker.run("sh", "-c", "i=0; while [ $i -lt 50 ]; do sleep 5 & i=$((i+1)); done; echo all", opts=["--pids-limit", "20"])
    assert "all" not in done.stdout and "fork" in done.stderr, done


# ---- a running one -----------------------------------------------------------------------------------

def test_logs(docker, idle):
    done = docker("logs", idle)
    assert done.stdout.startswith("to stdout\n") and done.stderr == "to stderr\n"


def test_exec(docker, idle):
    done = docker("exec", "-i", idle, "sh", "-c", "cat; echo err >&2; exit 9", input="in\n")
    assert (done.returncode, done.stdout, done.stderr) == (9, "in\n", "err\n")
    assert docker("exec", idle, "sh", "-c", "kill -9 $$").returncode == 137


def test_exec_options(docker, idle):
    done = docker("exec", "-u", "user", "-w", "/tmp", "-e", "A=b", idle, "sh", "-c", "id -u; pwd; echo $A $GIVEN")
    assert done.stdout.split() == ["1000", "/tmp", "b", "at-run"], done


def test_exec_of_what_cannot_run(docker, idle):
    done = docker("exec", idle, "absent")
    # Docker 20.10 makes 126 of it, later ones 127
    assert done.returncode in (126, 127) and "executable file not found" in done.stdout + done.stderr, done
    done = docker("exec", idle, "/etc/passwd")
    assert done.returncode == 126 and "permission denied" in done.stdout + done.stderr, done


def test_exec_terminal(docker, idle):
    terminal = docker.terminal("exec", "-it", idle, "sh", rows=33, cols=90)
    try:
        terminal.expect("#")
        terminal.send("tty; exit 5\r")
        terminal.expect("/dev/pts/")
        assert terminal.wait() == 5
    finally:
        terminal.end()


def test_terminal_is_resized(docker, idle):
    terminal = docker.terminal("exec", "-it", idle, "sh", "-c", "while :; do stty size; sleep 0.05; done")
    try:
        terminal.expect("24 80")
        for rows in (40, 44):  # the client may not look yet
            terminal.resize(rows, 111)
        terminal.expect("44 111")
    finally:
        terminal.end()


def test_top(docker, idle, kind):
    lines = docker("top", idle, check=True).stdout.splitlines()
    assert "PID" in lines[0] and len(lines) >= 2
    if kind == "container":
        assert any("ready" in line for line in lines)


def test_stats(docker, idle):
    row = json.loads(docker("stats", "--no-stream", "--format", "{{json .}}", idle, check=True).stdout)
    assert row["Name"] == idle and int(row["PIDs"]) >= 1
    assert re.match(r"[\d.]+[KMG]?iB / ", row["MemUsage"]) and not row["MemUsage"].startswith("0B")


def test_inspect_pid_is_a_process(docker, idle):
    assert pathlib.Path(f"/proc/{docker.inspect(idle, '{{.State.Pid}}')}").exists()


def test_pause_and_unpause(docker, idle):
    def lines():
        return docker("logs", idle).stdout.count("\n")

    docker("pause", idle, check=True)
    assert docker.inspect(idle, "{{.State.Status}}") == "paused"
    until(lambda: lines() == lines(), "it stands still", 5)
    assert docker("exec", idle, "true").returncode != 0
    docker("unpause", idle, check=True)
    before = lines()
    until(lambda: lines() > before, "it goes on", 10)


def test_update(docker, idle, kind):
    docker("update", "--memory", "96m", "--memory-swap", "96m", "--cpus", "0.5", idle, check=True)
    if kind == "container":
        pid = docker.inspect(idle, "{{.State.Pid}}")
        assert cgroup_value(pid, "memory", "memory.limit_in_bytes") == str(96 << 20)
        assert cgroup_value(pid, "cpu", "cpu.cfs_quota_us") == "50000"
    assert docker("exec", idle, "sh", "-c", "tail -c 200m /dev/zero >/dev/null").returncode == 137


def test_cp(docker, idle, tmp_path):
    (tmp_path / "in").write_text("copied in\n")
    docker("cp", tmp_path / "in", f"{idle}:/copied", check=True)
    docker("cp", f"{idle}:/etc/passwd", tmp_path / "out", check=True)
    assert "user:x:1000" in (tmp_path / "out").read_text()
    docker("exec", idle, "sh", "-c", "echo out >/made", check=True)
    docker("cp", f"{idle}:/made", tmp_path / "made", check=True)
    assert (tmp_path / "made").read_text() == "out\n"


def test_attach_and_wait(dock, box):
    name = box("sh", "-c", "read x; echo got $x; exit 4", opts=["-i"])
    waiter = dock.popen("wait", name, stdout=-1, text=True)
    dock("attach", name, input="abc\n")
    assert waiter.communicate(timeout=60)[0].strip() == "4"
    assert dock("logs", name).stdout == "got abc\n"


# ---- the life of a container ---------------------------------------------------------------------------

TERM = "trap 'echo bye; exit 3' TERM; trap 'echo got usr1' USR1; echo ready; while :; do sleep 0.05; done"


def test_stop_restart_kill(docker, kind):
    name = f"life-{kind}"
    docker.detached("sh", "-c", TERM, opts=["--name", name])
    try:
        until(lambda: "ready" in docker("logs", name).stdout, "it is ready")
        docker("kill", "-s", "USR1", name, check=True)
        until(lambda: "got usr1" in docker("logs", name).stdout, "the signal arrives", 10)
        docker("stop", "-t", "20", name, check=True)
        assert docker.inspect(name, "{{.State.ExitCode}} {{.State.Status}}") == "3 exited"
        docker("restart", "-t", "20", name, check=True)
        until(lambda: docker("logs", name).stdout.count("ready") == 2, "it is ready again")
        docker("kill", name, check=True)
        until(lambda: docker.inspect(name, "{{.State.Running}}") == "false", "it is dead", 10)
        assert docker.inspect(name, "{{.State.ExitCode}}") == "137"
    finally:
        docker("rm", "-f", name)


def test_stop_kills_what_does_not_listen(dock, box):
    name = box("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done")
    until(lambda: "ready" in dock("logs", name).stdout, "it is ready")
    dock("stop", "-t", "1", name, check=True)
    assert dock.inspect(name, "{{.State.ExitCode}}") == "137"


def test_restart_policy(dock, box):
    name = box("sh", "-c", "echo run; exit 1", opts=["--restart", "on-failure:2"])
    until(lambda: dock.inspect(name, "{{.RestartCount}} {{.State.Status}}") == "2 exited", "it gives up")
    assert dock("logs", name).stdout == "run\n" * 3


def test_health_check_becomes_healthy(docker, kind):
    name = f"health-{kind}"
    docker.detached("sh", "-c", "touch /well; sleep 1000", opts=[
        "--name", name, "--health-cmd", "test -e /well", "--health-interval", "1s", "--health-retries", "1"])
    try:
        until(lambda: docker.inspect(name, "{{.State.Health.Status}}") == "healthy", "it is healthy")
        docker("exec", name, "rm", "/well", check=True)
        until(lambda: docker.inspect(name, "{{.State.Health.Status}}") == "unhealthy", "it is not")
    finally:
        docker("rm", "-f", name)


def test_events(dock, box):
    reader = dock.popen("events", "--format", "{{json .}}", stdout=-1, text=True)
    try:
        name = box("true")
        actions = []
        while "die" not in actions:
            event = json.loads(reader.stdout.readline())
            if event.get("id") == name:
                actions.append(event["status"])
        assert actions[-2:] == ["start", "die"]
    finally:
        reader.kill()
        reader.wait()
        reader.stdout.close()


def test_many_at_once(dock):
    children = [dock.popen("run", "--rm", *dock.options(), IMAGE, "sh", "-c", f"echo {n}; exit {n}", stdout=-1, text=True)
                for n in range(6)]
    for number, child in enumerate(children):
        assert child.communicate(timeout=90)[0] == f"{number}\n"
        assert child.returncode == number


def test_init(dock):
    done = dock.run("sh", "-c", "cat /proc/1/cmdline | tr '\\0' ' '; echo; echo $$", opts=["--init"])
    assert "docker-init" in done.stdout.splitlines()[0] and done.stdout.splitlines()[1] != "1", done
