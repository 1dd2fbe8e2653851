# SPDX-License-Identifier: Apache-2.0
"""Terminals: the socket that gets the descriptor, a run in the foreground on a terminal, and wrong uses."""
import os
import socket
import termios

import pytest

from conftest import Terminal
from oci.bundle import refused


@pytest.fixture
def tty_bundle(bundle):
    bundle.process["terminal"] = True
    return bundle


def start_on_socket(bundle, console):
    """create and start with --console-socket; the terminal's other side."""
    sock = console()
    bundle.create("--console-socket", sock.path)
    sock.accept()
    bundle.start()
    return sock


def test_console_socket(tty_bundle, console):
    tty_bundle.process["consoleSize"] = {"height": 33, "width": 101}
    tty_bundle.sh("tty; stty size; test -t 0 && test -t 1 && test -t 2 && echo all three; read x; echo got $x; exit 4")
    sock = console()
    tty_bundle.create("--console-socket", sock.path)
    message = sock.accept()
    assert message  # runc sends the name of the terminal, engines ignore it
    assert os.isatty(sock.fd)
    tty_bundle.start()
    sock.expect("/dev/pts/0")
    sock.expect("33 101")
    sock.expect("all three")
    sock.send("abc\r")
    sock.expect("got abc")
    tty_bundle.wait_stopped()


def test_resize_through_the_descriptor(tty_bundle, console):
    tty_bundle.sh("trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done")
    sock = start_on_socket(tty_bundle, console)
    sock.expect("ready")
    termios.tcsetwinsize(sock.fd, (50, 120))
    sock.expect("50 120")


def test_the_terminal_is_the_controlling_one(tty_bundle, console):
    tty_bundle.sh("trap 'echo interrupted; exit 5' INT; echo ready; while :; do sleep 0.05; done")
    sock = start_on_socket(tty_bundle, console)
    sock.expect("ready")
    sock.send("\x03")
    sock.expect("interrupted")


def test_dev_console_is_the_terminal(tty_bundle, console):
    tty_bundle.sh("echo to console >/dev/console; ls -l /dev/console; readlink /dev/ptmx; read x")
    sock = start_on_socket(tty_bundle, console)
    sock.expect("to console")
    sock.expect("pts/ptmx")
    sock.send("\r")


def test_the_terminal_belongs_to_the_user(tty_bundle, console):
    tty_bundle.process["user"] = {"uid": 1000, "gid": 1000}
    tty_bundle.sh("stat -c %u $(tty); echo ok >$(tty); read x")
    sock = start_on_socket(tty_bundle, console)
    sock.expect("1000")
    sock.expect("ok")
    sock.send("\r")


def size_of(runtime):
    """A command that prints the size, which has to be there from the first instruction on."""
    if runtime.lacks("terminal-size-at-start"):
        return "until stty size 2>/dev/null; do sleep 0.05; done"
    return "stty size"


def test_run_in_the_foreground(tty_bundle):
    runtime = tty_bundle.runtime
    tty_bundle.sh(f"tty; {size_of(runtime)}; read x; echo got $x; exit 6").write()
    terminal = Terminal(runtime.argv("run", "--bundle", tty_bundle.path, tty_bundle.id), runtime.env, rows=30, cols=99)
    try:
        terminal.expect("/dev/pts/0")
        if runtime.lacks("terminal-size-at-start"):  # and sometimes it never comes by itself
            terminal.resize(30, 98)
            terminal.resize(30, 99)
        terminal.expect("30 99")
        terminal.send("abc\r")
        assert terminal.wait() == 6
        assert b"got abc" in terminal.output
    finally:
        terminal.end()


def test_run_in_the_foreground_follows_the_size(tty_bundle):
    tty_bundle.sh("trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.05; done").write()
    runtime = tty_bundle.runtime
    terminal = Terminal(runtime.argv("run", "--bundle", tty_bundle.path, tty_bundle.id), runtime.env)
    try:
        terminal.expect("ready")
        terminal.resize(41, 77)
        terminal.expect("41 77")
    finally:
        terminal.end()


def test_exec_in_the_foreground(idle):
    runtime = idle.runtime
    terminal = Terminal(runtime.argv("exec", "--tty", idle.id, "sh"), runtime.env, rows=31, cols=98)
    try:
        terminal.expect("#")
        terminal.send(f"{size_of(runtime)}; exit 3\r")
        assert terminal.wait() == 3
        assert b"31 98" in terminal.output
    finally:
        terminal.end()


def test_detached_terminal_needs_a_socket(box):
    box.process["terminal"] = True
    refused(box.create(check=False), "console")
    refused(box.create("--detach", verb="run", check=False), "console")


def test_socket_without_a_terminal(box, console):
    sock = console()
    refused(box.create("--console-socket", sock.path, check=False), "console")


def test_a_socket_that_is_not_there(box):
    box.process["terminal"] = True
    refused(box.create("--console-socket", box.path / "absent.sock", check=False), "absent.sock")


def test_a_socket_nobody_listens_to(box):
    box.process["terminal"] = True
    with socket.socket(socket.AF_UNIX) as nobody:
        nobody.bind(str(box.path / "dead"))
        refused(box.create("--console-socket", box.path / "dead", check=False))
    assert box.status == "gone"
