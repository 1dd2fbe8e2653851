# SPDX-License-Identifier: Apache-2.0
"""The process: exit codes, arguments, environment, user, directory, input and output."""
import os
import signal
import subprocess

import pytest
from conftest import Terminal


@pytest.mark.parametrize("code", [0, 1, 7, 255])
def test_exit_code(run, code):
    assert run("sh", "-c", f"exit {code}").returncode == code


def test_killed_by_signal(run):
    # a shell that is process 1 cannot kill itself: the signal goes to a child, as in docker
    assert run("sh", "-c", "sh -c 'kill -TERM $$'; exit $?").returncode == 128 + signal.SIGTERM


def test_arguments_are_passed_as_they_are(run):
    args = ["a b", "", "*", "$HOME", "ü", "line\nbreak", "-rf", "--"]
    out = run("sh", "-c", 'for a; do printf "<%s>" "$a"; done', "sh", *args).stdout
    assert out == "".join(f"<{a}>" for a in args)


def test_image_command_is_the_default(proa, image, backend):
    done = proa("run", "--rm", "-i", f"--isolation={backend}", image, input="echo from-sh\n")
    assert (done.returncode, done.stdout) == (0, "from-sh\n")


def test_entrypoint(run):
    assert run("one", "two", opts=["--entrypoint", "/bin/echo"]).stdout == "one two\n"


def test_environment(run, tmp_path):
    (tmp_path / "env").write_text("# comment\nFILE=1\nBOTH=file\n\n")
    out = run("env", opts=["-e", "A=x y", "-e", "EMPTY=", "-e", "BOTH=option", "--env-file", tmp_path / "env"]).stdout
    lines = out.splitlines()
    for want in ("A=x y", "EMPTY=", "FILE=1", "BOTH=option", "FROM_IMAGE=yes", "HOME=/root"):
        assert want in lines
    assert len([line for line in lines if line.startswith("PATH=")]) == 1
    assert any(line.startswith("HOSTNAME=") for line in lines)


def test_environment_from_the_caller(run, monkeypatch, proa):
    monkeypatch.setitem(proa.env, "FROM_CALLER", "here")
    assert run("sh", "-c", "echo $FROM_CALLER${ABSENT-unset}", opts=["-e", "FROM_CALLER", "-e", "ABSENT"]).stdout == "hereunset\n"


@pytest.mark.parametrize("user, want", [
    ("user", "1000 1000 10 1000 /home/user"),
    ("1000", "1000 1000 10 1000 /home/user"),
    ("user:wheel", "1000 10 10 /home/user"),
    ("4321:8765", "4321 8765 8765 /"),
    ("4321", "4321 0 0 /"),
])
def test_user(run, user, want):
    out = run("sh", "-c", "echo $(id -u) $(id -g) $(id -G | tr ' ' '\\n' | sort -n | tr '\\n' ' ') $HOME",
              opts=["-u", user]).stdout.split()
    assert out == want.split()


def test_group_add(run):
    assert run("id", "-G", opts=["--group-add", "wheel", "--group-add", "77"]).stdout.split() == ["0", "10", "77"]


def test_working_directory_is_made(run):
    assert run("sh", "-c", "pwd; ls -ld . | cut -c1-10", opts=["-w", "/made/for me"]).stdout == "/made/for me\ndrwxr-xr-x\n"


def test_process_is_number_one(run):
    assert run("sh", "-c", "echo $$").stdout == "1\n"


def test_hostname(run):
    assert run("sh", "-c", "hostname; cat /etc/hostname", opts=["--hostname", "boat"]).stdout == "boat\nboat\n"


def test_stdout_and_stderr_are_apart(run):
    done = run("sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == ("out\n", "err\n")


def test_binary_clean_both_ways(run):
    data = os.urandom(1 << 20) + bytes(range(256)) * 16
    done = run("cat", opts=["-i"], input=data, text=False)
    assert done.returncode == 0
    assert done.stdout == data


def test_much_output_arrives_whole(run):
    out = run("sh", "-c", "yes 0123456789abcdef | head -n 200000").stdout
    assert len(out) == 17 * 200000
    assert set(out.split("\n")) == {"0123456789abcdef", ""}


def test_end_of_input(run):
    assert run("sh", "-c", "cat; echo done", opts=["-i"], input="x").stdout == "xdone\n"


def test_no_input_without_i(run):
    assert run("cat", input="lost").stdout == ""


def test_slow_reader_loses_nothing(proa, image, backend):
    child = proa.popen("run", "--rm", f"--isolation={backend}", image, "sh", "-c", "yes | head -c 1000000",
                       stdout=subprocess.PIPE, bufsize=0)
    first = child.stdout.read(10)
    rest = child.communicate(timeout=60)[0]
    assert first + rest == b"y\n" * 500000
    assert child.returncode == 0


def test_reader_that_goes_away(proa, image, backend):
    """Like `proa run … | head -n 1`: ends, and does not hang."""
    child = proa.popen("run", "--rm", f"--isolation={backend}", image, "sh", "-c",
                       "i=0; while [ $i -lt 200 ]; do echo $i || exit 3; i=$((i+1)); done", stdout=subprocess.PIPE)
    child.stdout.read(2)
    child.stdout.close()
    assert child.wait(60) in (0, 3, 128 + signal.SIGPIPE)


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "USR1", "USR2"])
def test_signals_are_forwarded(background, name):
    script = f"trap 'echo got {name}; exit 42' {name}; echo ready; while :; do sleep 0.05; done"
    with background(script) as b:
        b.process.send_signal(getattr(signal, "SIG" + name))
        assert b.wait() == 42
        assert f"got {name}" in b.output.decode()


def test_third_interrupt_kills(background):
    with background("trap '' INT; echo ready; while :; do sleep 0.05; done") as b:
        for _ in range(3):
            b.process.send_signal(signal.SIGINT)
            # signals of one number merge while they wait: let each be taken
            try:
                b.process.wait(0.3)
            except subprocess.TimeoutExpired:
                pass
        assert b.wait() == 137


def test_init_reaps_and_forwards(background):
    script = ("trap 'echo caught; exit 9' TERM; (sleep 0.01 &) ; sleep 0.3; "
              "ps -o stat | grep -c Z; echo ready; while :; do sleep 0.05; done")
    with background(script, opts=["--init"]) as b:
        b.process.send_signal(signal.SIGTERM)
        assert b.wait() == 9
        assert b.output.decode().split() == ["0", "ready", "caught"]


def test_init_is_process_one(run):
    assert run("sh", "-c", "cat /proc/1/comm; echo $$", opts=["--init"]).stdout.split() == ["proa-init", "2"]


def test_terminal(terminal, image, backend):
    t = terminal("run", "--rm", "-it", f"--isolation={backend}", image, "sh", rows=33, cols=101)
    t.expect("#")
    t.send("tty; stty size; echo $TERM; test -t 0 && test -t 1 && test -t 2 && echo all-$((40+2))\n")
    t.expect("all-42")
    assert b"/dev/pts/0" in t.output or b"/dev/console" in t.output
    assert b"33 101" in t.output
    assert b"xterm" in t.output
    t.resize(40, 120)
    t.send("until test \"$(stty size)\" = '40 120'; do sleep 0.05; done; echo resi''zed\n")
    t.expect("resized")
    t.send("exit 6\n")
    assert t.wait() == 6


def test_terminal_control_c(terminal, image, backend):
    t = terminal("run", "--rm", "-it", f"--isolation={backend}", image, "sh", "-c",
                 "trap 'echo intr; exit 5' INT; echo go; while :; do sleep 0.05; done")
    t.expect("go")
    t.send("\x03")
    assert t.wait() == 5
    assert b"intr" in t.output


def test_terminal_is_restored(proa, image, backend, tmp_path):
    argv = " ".join(proa.argv("run", "--rm", "-it", f"--isolation={backend}", image, "true"))
    shell = Terminal(["/bin/sh", "-c", f"stty -a > {tmp_path}/before; {argv}; stty -a > {tmp_path}/after"], proa.env)
    try:
        assert shell.wait() == 0
        assert (tmp_path / "before").read_text() == (tmp_path / "after").read_text()
    finally:
        shell.end()


def test_working_directory_of_the_caller_does_not_matter(run, tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    assert run("pwd", cwd=gone).stdout == "/\n"
