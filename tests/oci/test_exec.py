# SPDX-License-Identifier: Apache-2.0
"""exec: a further process in a running container, with what it inherits and what it is given."""
import json
import os
import subprocess

import pytest

from oci.bundle import PATH, refused, until, wait_for_end


def process_file(directory, **fields):
    path = directory / "process.json"
    path.write_text(json.dumps({"args": ["true"], "cwd": "/", "env": [PATH], "user": {"uid": 0, "gid": 0}, **fields}))
    return path


def test_streams_and_exit_code(idle):
    done = idle.exec("sh", "-c", "cat; echo err >&2; exit 12", input="in\n")
    assert (done.returncode, done.stdout, done.stderr) == (12, "in\n", "err\n")


def test_binary_data(idle):
    data = os.urandom(300000)
    assert idle.exec("cat", input=data, text=False).stdout == data


def test_it_is_inside(idle):
    script = "for n in mnt pid ipc uts net; do [ $(readlink /proc/1/ns/$n) = $(readlink /proc/self/ns/$n) ] || echo $n; done; hostname"
    assert idle.exec("sh", "-c", script).stdout == "bundle\n"


def test_cgroups_and_namespaces_are_those_of_the_container(idle_box):
    with subprocess.Popen(idle_box.runtime.argv("exec", idle_box.id, "sh", "-c", "echo x; exec sleep 1000"),
                          stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as child:
        sleeper = None
        try:
            assert child.stdout.readline() == b"x\n"
            pids = json.loads(idle_box.runtime("ps", "-f", "json", idle_box.id).stdout)
            sleeper = next(pid for pid in pids if b"1000" in open(f"/proc/{pid}/cmdline", "rb").read())
            of = {pid: {line.split(":")[1]: line.split(":")[2] for line in open(f"/proc/{pid}/cgroup")}
                  for pid in (sleeper, idle_box.pid)}
            assert of[sleeper] == of[idle_box.pid]
            for kind in ("mnt", "pid", "ipc", "uts", "net", "cgroup", "user"):
                assert os.readlink(f"/proc/{sleeper}/ns/{kind}") == os.readlink(f"/proc/{idle_box.pid}/ns/{kind}")
            assert open(f"/proc/{sleeper}/oom_score_adj").read() == open(f"/proc/{idle_box.pid}/oom_score_adj").read()
        finally:
            os.kill(sleeper or child.pid, 9)
            child.wait(30)


def test_flags(idle):
    opts = ["--user", "1000:1000", "--cwd", "/tmp", "--env", "A=b c", "--env", "D=e", "-g", "7", "-g", "8"]
    done = idle.exec("sh", "-c", "id -u; id -g; id -G; pwd; echo $A $D", opts=opts)
    assert done.returncode == 0, done
    out = done.stdout.splitlines()
    assert out[:2] == ["1000", "1000"]
    assert set(out[2].split()) == {"1000", "7", "8"}
    assert out[3:] == ["/tmp", "b c e"]


def test_what_is_inherited_from_the_config(idle):
    status = idle.exec("cat", "/proc/self/status").stdout
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["NoNewPrivs"] == "1"
    assert fields["CapBnd"] == fields["CapEff"] == "00000000a80425fb"
    assert idle.exec("sh", "-c", "ulimit -n; echo $TERM").stdout == "1024\nxterm\n"


def test_cap_adds_to_the_sets(idle):
    """As runc has it: the sets get it as far as the bounding set of the container's config."""
    done = idle.exec("grep", "CapEff", "/proc/self/status", opts=["--cap", "CAP_SYS_ADMIN"])
    assert done.returncode == 0, done
    assert int(done.stdout.split()[1], 16) & 1 << 21


def test_unknown_capability(idle):
    done = idle.exec("true", opts=["--cap", "CAP_NO_SUCH"])
    assert done.returncode == 0 or "CAP_NO_SUCH" in done.stderr


def test_no_new_privs_flag(make_box):
    box = make_box()
    box.process["noNewPrivileges"] = False
    box.idle()
    assert box.exec("grep", "NoNewPrivs", "/proc/self/status").stdout.split() == ["NoNewPrivs:", "0"]
    assert box.exec("grep", "NoNewPrivs", "/proc/self/status", opts=["--no-new-privs"]).stdout.split()[1] == "1"


def test_process_file(idle, tmp_path):
    path = process_file(tmp_path, args=["sh", "-c", "id -u; pwd; echo $X; grep CapEff /proc/self/status; umask"],
                        cwd="/etc", env=[PATH, "X=y"], user={"uid": 1000, "gid": 1000, "umask": 0o077},
                        capabilities={"bounding": ["CAP_KILL"], "effective": []})
    done = idle.runtime("exec", "--process", path, idle.id)
    assert done.returncode == 0, done
    assert done.stdout.split() == ["1000", "/etc", "y", "CapEff:", "0000000000000000",
                                   "0022" if idle.runtime.lacks("exec-umask") else "0077"]


def test_detach_with_pid_file(idle_box, tmp_path):
    """How an engine does it: the descriptors belong to the command, the runtime returns at once."""
    path = process_file(tmp_path, args=["sh", "-c", "echo here; exec sleep 1000"])
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as out:
        done = subprocess.run(idle_box.runtime.argv("exec", "--process", path, "--detach", "--pid-file",
                                                    tmp_path / "pid", idle_box.id),
                              stdin=subprocess.DEVNULL, stdout=writer, stderr=writer, timeout=60, check=False)
        os.close(writer)
        assert done.returncode == 0, done
        pid = int((tmp_path / "pid").read_text())
        assert out.readline() == b"here\n"
        assert pid in json.loads(idle_box.runtime("ps", "-f", "json", idle_box.id).stdout)
        os.kill(pid, 9)
        wait_for_end(pid)


def test_detach(idle):
    done = subprocess.run(idle.runtime.argv("exec", "-d", idle.id, "touch", "/made-by-exec"), timeout=60, check=False,
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert done.returncode == 0, done
    until(lambda: idle.exec("test", "-e", "/made-by-exec").returncode == 0, "the file is there", 20)


def test_terminal(idle, console):
    socket = console()
    done = idle.runtime("exec", "--tty", "--detach", "--console-socket", socket.path, idle.id, "sh", "-c",
                        "tty; stty size; read x; echo got $x")
    assert done.returncode == 0, done
    socket.accept()
    socket.expect("/dev/pts/")
    socket.send("abc\n")
    socket.expect("got abc")


def test_terminal_from_a_process_file(idle, console, tmp_path):
    socket = console()
    path = process_file(tmp_path, args=["sh", "-c", "stty size; read x"], terminal=True,
                        consoleSize={"height": 17, "width": 91})
    done = idle.runtime("exec", "--process", path, "--detach", "--console-socket", socket.path, idle.id)
    assert done.returncode == 0, done
    socket.accept()
    socket.expect("17 91")
    socket.send("\n")


@pytest.mark.parametrize("command, words", [
    ("absent", ['"absent"', "executable file not found in $PATH"]),
    ("/bin/absent", ["/bin/absent", "no such file or directory"]),
    ("/etc/passwd", ["/etc/passwd", "permission denied"]),
    ("/etc", ["/etc", "permission denied"]),
])
def test_what_cannot_be_executed(idle, command, words):
    refused(idle.exec(command), *words)


def test_cwd_must_be_there_or_is_made(idle):
    done = idle.exec("pwd", opts=["--cwd", "/absent/dir"])
    assert done.returncode != 0 or done.stdout == "/absent/dir\n"


def test_killed_by_a_signal(idle):
    assert idle.exec("sh", "-c", "kill -9 $$").returncode == 137
    assert idle.status == "running"


def test_environment_is_that_of_the_config(make_box):
    box = make_box()
    box.process["env"].append("GIVEN=at-create")
    box.idle()
    assert box.exec("sh", "-c", "echo $GIVEN $HOME").stdout == "at-create /root\n"


def test_container_must_run(make_box):
    created, stopped, paused = make_box(), make_box(), make_box()
    created.create()
    assert created.exec("true").returncode == 0  # runc allows it: the namespaces are there
    stopped.args("true").up()
    stopped.wait_stopped()
    refused(stopped.exec("true"), "stopped")
    paused.idle()
    paused.runtime("pause", paused.id, check=True)
    refused(paused.exec("true"), "paused")
    refused(paused.runtime("exec", "absent", "true"), "does not exist")


@pytest.mark.parametrize("opts", [["--user", "nobody"], ["--user", "1:x"], ["--env", ""],
                                  ["--process", "/absent.json"], ["--preserve-fds", "70000"]])
def test_bad_options(idle_box, opts):
    done = idle_box.exec("true", opts=opts)
    assert done.returncode != 0 or opts == ["--env", ""], done


def test_ignore_paused(make_box):
    box = make_box()
    box.idle()
    box.runtime("pause", box.id, check=True)
    child = subprocess.Popen(box.runtime.argv("exec", "--ignore-paused", box.id, "echo", "thawed"),
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        box.runtime("resume", box.id, check=True)
        assert child.communicate(timeout=30)[0] == "thawed\n"
    finally:
        child.kill()
        child.wait()


def test_many_at_once(idle_box):
    children = [subprocess.Popen(idle_box.runtime.argv("exec", idle_box.id, "sh", "-c", f"seq 1 1000; exit {n}"),
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) for n in range(8)]
    for number, child in enumerate(children):
        out = child.communicate(timeout=60)[0]
        assert child.returncode == number
        assert out.split() == [str(n) for n in range(1, 1001)]


def test_preserve_fds(idle_box, tmp_path):
    (tmp_path / "file").write_text("through 3\n")
    argv = idle_box.runtime.argv("exec", "--preserve-fds", "1", idle_box.id, "sh", "-c", "cat <&3")
    done = subprocess.run(["sh", "-c", 'exec 3<"$0" "$@"', tmp_path / "file", *argv], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "through 3\n", done


def test_it_ends_with_the_container(make_box):
    box = make_box()
    box.idle()
    child = subprocess.Popen(box.runtime.argv("exec", box.id, "sh", "-c", "echo up; exec sleep 1000"),
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        assert child.stdout.readline() == b"up\n"
        box.kill("KILL")
        assert child.wait(30) == 137
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def test_signals_are_forwarded(idle):
    child = subprocess.Popen(idle.runtime.argv("exec", idle.id, "sh", "-c",
                                               "trap 'echo usr1; exit 3' USR1; echo up; while :; do sleep 0.05; done"),
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        assert child.stdout.readline() == b"up\n"
        child.send_signal(10)
        assert child.stdout.read() == b"usr1\n"
        assert child.wait(30) == 3
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
