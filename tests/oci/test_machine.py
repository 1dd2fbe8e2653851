# SPDX-License-Identifier: Apache-2.0
"""Bundles that are machines: what only they have. What they share with containers, the other files test with both.

One machine goes on for most of the tests here; it is made by proa-oci (not proa-oci-vm), by its annotation.
"""
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

import pytest

from oci.bundle import Bundle, Runtime, refused, until, wait_for_end
from oci.conftest import runtime_path

COUNTER = ("trap 'echo got usr1' USR1; trap 'echo bye; exit 5' TERM; echo ready; "
           "n=0; while :; do n=$((n+1)); echo $n; sleep 0.1; done")


@pytest.fixture(scope="module")
def kernel_image(proa, kernel):
    return (proa.root / "kernels" / kernel).resolve() / "vmlinux"


@pytest.fixture(scope="module")
def volumes(oci_dir):
    top = oci_dir / "volumes"
    for name in ("rw", "ro"):
        (top / name).mkdir(parents=True)
    (top / "ro/file").write_text("from the host\n")
    return top


def by_annotation(vm_runtime, store):
    """proa-oci, told by the bundle that it is a machine, with the kernels of @store."""
    runtime = Runtime(runtime_path("container"), "vm", vm_runtime.root)
    runtime.env.update(PROA_ROOT=str(store))
    return runtime


@pytest.fixture(scope="module")
def machine(vm_runtime, template, oci_dir, kernel_image, volumes, store):
    one = Bundle(by_annotation(vm_runtime, store[0]), template, oci_dir)
    one.config["annotations"] = {"run.oci.handler": "vm"}
    one.config["vm"] = {"kernel": {"path": str(kernel_image), "parameters": ["proa.test=yes", "quiet"]},
                        "hwConfig": {"memory": 768 << 20}}
    one.bind(volumes / "rw", "/rw").bind(volumes / "ro", "/ro", "ro").bind(volumes / "ro/file", "/etc/resolv.conf")
    try:
        one.sh(COUNTER).up()
        yield one.expect("ready")
    finally:
        one.end()


@pytest.fixture
def make_vm(vm_runtime, template, oci_dir):
    made = []

    def make():
        made.append(Bundle(vm_runtime, template, oci_dir))
        return made[-1]

    yield make
    for one in made:
        one.end()


def helpers_of(pid):
    """QEMU and virtiofsd of the machine whose owner is @pid."""
    return [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def counted(machine):
    while machine._read(0.05):
        pass
    return len(machine.output)


# ---- the machine that goes on ------------------------------------------------------------------------

def test_kernel_parameters_and_memory(machine):
    words = machine.exec("cat", "/proc/cmdline", check=True).stdout.split()
    assert "proa.test=yes" in words
    total = machine.exec("sh", "-c", "grep MemTotal /proc/meminfo", check=True).stdout.split()[1]
    assert 600 << 10 < int(total) < 768 << 10


def test_what_is_written_is_in_the_root_on_the_host(machine):
    machine.exec("sh", "-c", "echo text >/made; chmod 640 /made; chown 1000:7 /made; ln -s made /link", check=True)
    made = machine.rootfs / "made"
    assert made.read_text() == "text\n"
    assert (made.stat().st_uid, made.stat().st_gid, made.stat().st_mode & 0o7777) == (1000, 7, 0o640)
    assert os.readlink(machine.rootfs / "link") == "made"
    (machine.rootfs / "from-host").write_text("seen\n")
    assert machine.exec("cat", "/from-host").stdout == "seen\n"


def test_volumes(machine, volumes):
    done = machine.exec("sh", "-c", "cat /ro/file /etc/resolv.conf; echo x >/rw/made; echo x >/ro/made")
    assert done.stdout == "from the host\n" * 2 and "Read-only file system" in done.stderr
    assert (volumes / "rw/made").read_text() == "x\n"
    assert not (volumes / "ro/made").exists()
    (volumes / "ro/file").write_text("from the host\n")
    assert machine.exec("cat", "/ro/file").stdout == "from the host\n"


@pytest.mark.parametrize("script, code", [("exit 3", 3), ("kill -TERM $$", 143)])
def test_exit_code_of_an_exec(machine, script, code):
    assert machine.exec("sh", "-c", script).returncode == code


def test_input_and_output_of_an_exec_are_whole(machine):
    data = os.urandom(3_000_000)
    done = machine.exec("sh", "-c", "cat; echo end >&2", input=data, text=False)
    assert done.stdout == data and done.stderr == b"end\n"


def test_an_exec_that_is_killed_ends_inside(machine):
    process = machine.runtime.popen("exec", machine.id, "sleep", "4321")

    def inside():
        return "sleep 4321" in machine.exec("ps").stdout

    until(inside, "it runs")
    helper = helpers_of(process.pid)[0]
    os.kill(helper, signal.SIGKILL)
    assert process.wait(10) == 137
    until(lambda: not inside(), "it is gone", 10)


def test_signals_by_the_verb_and_by_kill(machine):
    machine.kill("USR1")
    until(lambda: counted(machine) and machine.output.count(b"got usr1") == 1, "the verb's")
    os.kill(machine.pid, signal.SIGUSR1)
    until(lambda: counted(machine) and machine.output.count(b"got usr1") == 2, "kill's")


def test_the_process_shows_the_root_to_engines(machine):
    """podman cp goes through this: it must never lead to the host's files."""
    root = pathlib.Path(f"/proc/{machine.pid}/root")
    assert (root / "etc/hello").read_text() == "hello\n"
    assert not (root / machine.path.relative_to("/")).exists()


def test_pause_and_resume(machine):
    machine.runtime("pause", machine.id, check=True)
    assert machine.status == "paused"
    before = counted(machine)
    time.sleep(2)
    assert counted(machine) == before
    machine.kill("USR1")
    machine.runtime("resume", machine.id, check=True)
    until(lambda: counted(machine) > before, "it goes on")
    until(lambda: counted(machine) and machine.output.count(b"got usr1") == 3, "the signal that waited")
    now = int(machine.exec("date", "+%s", check=True).stdout)
    assert abs(now - time.time()) < 2


def test_term_is_handled_inside(machine):
    """The last test of this machine."""
    helpers = helpers_of(machine.pid)
    assert len(helpers) == 2
    machine.kill("TERM")
    assert machine.rest().endswith("bye\n")
    machine.wait_stopped()
    assert not [p for p in helpers if pathlib.Path(f"/proc/{p}").exists()]
    machine.delete()


# ---- machines of their own ---------------------------------------------------------------------------

def test_exit_code_and_errors(make_vm):
    one = make_vm()
    done = one.sh("echo out; echo err >&2; exit 42").run()
    assert (done.returncode, done.stdout, done.stderr) == (42, "out\n", "err\n")


def test_terminal(make_vm, console):
    one = make_vm()
    one.process["terminal"] = True
    one.sh("stty size; trap 'stty size' WINCH; cat; exit 6")
    one.process["consoleSize"] = {"height": 33, "width": 99}
    sock = console()
    one.create("--console-socket", sock.path)
    sock.accept()
    one.start()
    sock.expect("33 99\r\n")
    sock.send("typed\n")
    sock.expect("typed\r\ntyped\r\n")
    sock.send("\x04")
    one.wait_stopped()


def test_created_but_not_started(make_vm):
    one = make_vm()
    one.sh("echo ran").create()
    assert one.status == "created" and counted(one) == 0
    refused(one.exec("true"), "not running")
    one.kill("TERM")
    assert one.status == "created"
    one.kill("KILL")
    one.wait_stopped()
    assert counted(one) == 0


def test_killed_owner_leaves_nothing(make_vm):
    one = make_vm().idle()
    helpers = helpers_of(one.pid)
    os.kill(one.pid, signal.SIGKILL)
    for pid in (one.pid, *helpers):
        wait_for_end(pid)
    assert one.status == "stopped"
    one.delete()


def test_kill_of_a_paused_machine(make_vm):
    one = make_vm().idle()
    one.runtime("pause", one.id, check=True)
    one.kill("KILL")
    one.wait_stopped()


def test_a_state_directory_with_a_long_path(vm_runtime, template, oci_dir):
    root = oci_dir / ("a" * 60) / ("b" * 60)
    root.mkdir(parents=True)
    runtime = Runtime(vm_runtime.exe, "vm", root)
    one = Bundle(runtime, template, oci_dir)
    try:
        one.idle()
        assert one.exec("echo", "inside").stdout == "inside\n"
        one.stop()
    finally:
        one.end()


def test_a_disk_image_as_root(make_vm, template, tmp_path):
    image = tmp_path / "root.ext4"
    with open(image, "wb") as f:
        f.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-d", template, image], check=True)
    one = make_vm()
    one.config["vm"] = {"image": {"path": str(image), "format": "raw"}}
    done = one.sh("grep ' / ' /proc/mounts; echo x >/written; exit 3").run()
    assert done.returncode == 3 and " / ext4 rw" in done.stdout, done
    subprocess.run(["e2fsck", "-fn", image], check=True, capture_output=True)
    seen = subprocess.run(["debugfs", "-R", "cat /written", image], capture_output=True, text=True, check=True)
    assert seen.stdout == "x\n"
    assert not (one.rootfs / "written").exists()


# ---- what a machine is not -----------------------------------------------------------------------------

def _vm(**section):
    return lambda one: one.config.update(vm=section)


REFUSED = {
    "a path that is no kernel": (_vm(kernel={"path": "/etc/passwd"}), ["/etc/passwd", "not a kernel"]),
    "no such kernel": (_vm(kernel={"path": "/absent"}), ["/absent", "No such file"]),
    "no such hypervisor": (_vm(hypervisor={"path": "/absent"}), ["/absent", "hypervisor"]),
    "an option that QEMU does not know": (_vm(hypervisor={"path": "/usr/bin/qemu-system-x86_64",
                                                          "parameters": ["-no-such-option"]}),
                                          ["qemu failed", "-no-such-option"]),
    "no such image": (_vm(image={"path": "/absent", "format": "raw"}), ["/absent", "image"]),
    "no such source": (lambda b: b.bind("/absent", "/x"), ["/absent", "No such file"]),
    "a device": (lambda b: b.linux.update(devices=[{"path": "/dev/x", "type": "b", "major": 7, "minor": 0}]),
                 ["/dev/x", "host's devices"]),
    "the host's network": (lambda b: b.namespaces("pid", "ipc", "uts", "mount"), ["--network host"]),
    "the host's pids": (lambda b: b.namespaces("network", "ipc", "uts", "mount"), ["--pid host"]),
    "an AppArmor profile": (lambda b: b.process.update(apparmorProfile="x"), ["AppArmor", "machine"]),
    "a user namespace": (lambda b: (b.linux["namespaces"].append({"type": "user"}), b.linux.update(
        uidMappings=[{"containerID": 0, "hostID": 100000, "size": 65536}],
        gidMappings=[{"containerID": 0, "hostID": 100000, "size": 65536}])), ["users of its own"]),
    "an overlay of the host's paths": (lambda b: b.mount("/x", type="overlay", source="overlay",
                                                         options=["lowerdir=/etc:/usr"]), ["overlay", "/x"]),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(make_vm, what):
    one = make_vm()
    change, words = REFUSED[what]
    change(one)
    done = one.create(check=False)
    assert refused(done, *words)
    assert one.status == "gone"


def test_a_seccomp_listener_is_refused(make_vm, oci_dir):
    path = oci_dir / "listener"
    one = make_vm()
    one.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": str(path),
                            "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_NOTIFY"}]}
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        refused(one.create(check=False), "seccomp", "out of the machine")


def test_no_kernel(vm_runtime, template, oci_dir, tmp_path):
    one = Bundle(by_annotation(vm_runtime, tmp_path), template, oci_dir)
    one.config["annotations"] = {"run.oci.handler": "vm"}
    try:
        refused(one.create(check=False), "proa kernel pull")
    finally:
        one.end()


def test_descriptors_do_not_reach_into_it(make_vm):
    one = make_vm()
    with open("/dev/null", "rb") as f:
        os.dup2(f.fileno(), 3)
        done = one.create("--preserve-fds", "1", check=False, pass_fds=[3])
    refused(done, "--preserve-fds")


@pytest.fixture
def network_namespace():
    name = f"proa-vm-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    yield name
    subprocess.run(["ip", "netns", "del", name], check=True)


def test_interfaces_are_refused(make_vm, network_namespace):
    """At create those that are there, at start those that an engine puts there in between."""
    add = ["ip", "-n", network_namespace, "link", "add", "eth0", "type", "veth", "peer", "name", "other"]
    one = make_vm().namespaces("pid", "ipc", "uts", "mount", network=f"/run/netns/{network_namespace}").sh("true")
    one.create()
    subprocess.run(add, check=True)
    done = one.start(check=False)
    refused(done, "--network none")
    one.wait_stopped()
    one.delete()
    done = one.create(check=False)
    refused(done, "--network none", "the namespace has")


def test_hooks(make_vm, tmp_path):
    """All on the host but startContainer, whose path is the root's."""
    log = tmp_path / "log"
    script = tmp_path / "hook"
    script.write_text(f'#!/bin/sh\necho "$1 $(cat)" >>{log}\n')
    script.chmod(0o755)
    one = make_vm()
    inside = one.rootfs / "bin/hook"
    inside.write_text('#!/bin/sh\necho "$1 $(cat)" >/hooked\n')
    inside.chmod(0o755)
    points = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
    one.config["hooks"] = {p: [{"path": str(script), "args": ["hook", p]}] for p in points}
    one.config["hooks"]["startContainer"] = [{"path": "/bin/hook", "args": ["hook", "startContainer"]}]
    done = one.sh("cat /hooked").run()
    assert done.returncode == 0 and done.stdout.startswith("startContainer {"), done
    lines = [line.split(" ", 1) for line in log.read_text().splitlines()]
    assert [name for name, _ in lines] == list(points)
    assert [json.loads(state)["status"] for _, state in lines] == ["creating", "creating", "creating", "running",
                                                                   "stopped"]
