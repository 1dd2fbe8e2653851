# SPDX-License-Identifier: Apache-2.0
"""A runtime and bundles for it: a root file system, a config.json from a dict, and the verbs.

The runtime under test is build/proa-oci, or PROA_OCI; with runc in its place the tests test themselves.
What Debian's runc has not got yet is in LACKS: a test calls `runtime.needs("…")` and is skipped with runc,
and with nothing else.
"""
import collections
import copy
import itertools
import json
import os
import pathlib
import select
import shutil
import socket
import subprocess
import time

import pytest

from conftest import TerminalEnd

LIMIT_S = 60
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CGROUP_PARENT = f"proa-oci-test-{os.getpid()}"  # several runs of the tests do not meet

# What runc 1.1.5 of Debian 12 does not have, or has otherwise.
LACKS = {
    "runc": {
        # properties of the spec that later versions have
        "time-namespace", "domainname", "idmap-mounts", "scheduler", "io-priority", "personality", "cpu-idle", "cpu-burst",
        "memory-check", "exec-cpu-affinity", "memory-policy", "net-devices", "seccomp-flags", "joined-user-namespace",
        "kernel-tcp", "tmpfs-mode", "root-propagation", "exec-umask", "rootless-groups",
        # fixed later
        "fixes-of-2025", "kill-of-a-stopped-one-fails",
        # where it is not, or not quite, what the spec says
        "poststart-after-start",  # its poststart hooks run at create
        "config-is-kept",  # exec reads config.json again
        "capabilities-that-cannot-be-granted",  # an error, not a warning
        "strict-config",  # lets some wrong values pass, and crashes on "null"
        "device-conflict", "clean-hooks", "root-without-proc",
        "same-id-at-once",  # two may get it
        "any-instant",  # a cgroup stays where it is killed before its state is written
        "terminal-size-at-start",  # it comes later, or not at all
        # ours
        "cgroup-manager",
    },
}

Done = collections.namedtuple("Done", "returncode stdout stderr")


def until(predicate, what, limit_s=LIMIT_S):
    """Waits for something that sends no event. Its value, which is true."""
    deadline = time.monotonic() + limit_s
    while True:
        value = predicate()
        if value:
            return value
        assert time.monotonic() < deadline, f"still not so after {limit_s} s: {what}"
        time.sleep(0.01)


def wait_for_end(pid, limit_s=LIMIT_S):
    """Waits until process @pid, anybody's child, has ended."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        readable, _, _ = select.select([fd], [], [], limit_s)
        assert readable, f"process {pid} is still running after {limit_s} s"
    finally:
        os.close(fd)


class Runtime:
    """The command, bound to a root directory."""

    def __init__(self, exe, kind, root):
        self.exe, self.kind, self.root = str(exe), kind, pathlib.Path(root)
        self.env = dict(os.environ, LC_ALL="C.UTF-8")
        version = subprocess.run([self.exe, "--version"], capture_output=True, text=True, timeout=LIMIT_S,
                                 check=True).stdout
        self.name = version.split()[0]

    def argv(self, *args, globals=()):
        return [self.exe, "--root", str(self.root), *map(str, globals), *map(str, args)]

    def __call__(self, *args, globals=(), check=False, timeout=LIMIT_S, **kw):
        kw.setdefault("text", True)
        if "input" not in kw:
            kw.setdefault("stdin", subprocess.DEVNULL)
        kw.setdefault("env", self.env)
        done = subprocess.run(self.argv(*args, globals=globals), capture_output=True, timeout=timeout,
                              check=False, **kw)
        assert not check or done.returncode == 0, \
            f"{self.name} {' '.join(map(str, args))}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def popen(self, *args, globals=(), **kw):
        kw.setdefault("stdin", subprocess.DEVNULL)
        kw.setdefault("env", self.env)
        return subprocess.Popen(self.argv(*args, globals=globals), **kw)

    def lacks(self, feature):
        assert feature in LACKS["runc"], f"no such feature: {feature}"
        return feature in LACKS.get(self.name, set())

    def needs(self, *features):
        for feature in features:
            if self.lacks(feature):
                pytest.skip(f"{self.name} is not able to do this: {feature}")


def refused(done, *words, code=None):
    """The command failed with one line that has all of @words; warnings may come before it."""
    assert done.returncode != 0, done
    assert code is None or done.returncode == code, done
    text = done.stderr.replace('\\"', '"').strip()
    # runc's first stage, written in C, says what happened in lines of its own
    lines = [line for line in text.split("\n") if "level=warning" not in line and '"nsexec' not in line]
    assert len(lines) == 1 and lines[0], done.stderr
    for word in words:
        assert word.lower() in (text if '"nsexec' in text else lines[0]).lower(), (word, text)
    return lines[0]


CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
                "CAP_MKNOD", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP",
                "CAP_SETUID", "CAP_SYS_CHROOT"]

MOUNTS = [
    {"destination": "/proc", "type": "proc", "source": "proc"},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
     "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
    {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
     "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
    {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
     "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
    {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
    {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
    {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
     "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]},
]

CONFIG = {
    "ociVersion": "1.0.2",
    "process": {
        "terminal": False,
        "user": {"uid": 0, "gid": 0},
        "args": ["true"],
        "env": [PATH, "TERM=xterm"],
        "cwd": "/",
        "capabilities": {kind: CAPABILITIES for kind in ("bounding", "effective", "permitted")},
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
        "noNewPrivileges": True,
    },
    "root": {"path": "rootfs"},
    "hostname": "bundle",
    "mounts": MOUNTS,
    "linux": {
        "resources": {"devices": [{"allow": False, "access": "rwm"}]},
        "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")],
        "maskedPaths": ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                        "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"],
        "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
    },
}


class Bundle:
    """A bundle and the container that is made of it. `end()` takes both away."""

    counter = itertools.count(1)

    def __init__(self, runtime, template, parent):
        self.runtime = runtime
        self.id = f"b{os.getpid()}-{next(self.counter)}"
        self.path = pathlib.Path(parent) / self.id
        self.rootfs = self.path / "rootfs"
        self.config = copy.deepcopy(CONFIG)
        self.cgroup = f"{CGROUP_PARENT}/{self.id}"
        self.config["linux"]["cgroupsPath"] = f"/{self.cgroup}"
        self.pid = None
        self._out = None
        self.output = b""
        self._make_rootfs(template)

    def _make_rootfs(self, template):
        """A cheap copy of @template: an overlay where the file system can do that, else a true copy."""
        for name in ("rootfs", "upper", "work"):
            (self.path / name).mkdir(parents=True)
        options = f"lowerdir={template},upperdir={self.path}/upper,workdir={self.path}/work"
        done = subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, self.rootfs],
                              capture_output=True, check=False)
        self._mounted = done.returncode == 0
        if not self._mounted:
            subprocess.run(["cp", "-a", f"{template}/.", self.rootfs], check=True)

    # ---- the configuration -------------------------------------------------------------------

    @property
    def process(self):
        return self.config["process"]

    @property
    def linux(self):
        return self.config["linux"]

    def args(self, *args):
        self.process["args"] = list(args)
        return self

    def sh(self, script):
        return self.args("sh", "-c", script)

    def mount(self, destination, **fields):
        self.config["mounts"].append(dict(destination=destination, **fields))
        return self

    def bind(self, source, destination, *options):
        return self.mount(destination, type="bind", source=str(source), options=["bind", *options])

    def namespaces(self, *kinds, **paths):
        """Exactly these namespaces; those given by keyword are joined by their path."""
        self.linux["namespaces"] = [{"type": kind} for kind in kinds] + \
            [{"type": kind, "path": str(path)} for kind, path in paths.items()]
        return self

    def capabilities(self, *names, sets=("bounding", "effective", "permitted")):
        self.process["capabilities"] = {kind: list(names) for kind in sets}
        return self

    def write(self):
        (self.path / "config.json").write_text(json.dumps(self.config))

    # ---- the verbs ---------------------------------------------------------------------------

    def run(self, *opts, globals=(), write=True, **kw):
        """`run` in the foreground, to its end."""
        if write:
            self.write()
        return self.runtime("run", *opts, "--bundle", self.path, self.id, globals=globals, **kw)

    def out(self, script, **kw):
        """What a shell script prints in the container, which has to succeed."""
        done = self.sh(script).run(**kw)
        assert done.returncode == 0, done
        return done.stdout

    def create(self, *opts, verb="create", globals=(), check=True, stdin=subprocess.DEVNULL, write=True, **kw):
        """`create`: its standard output is a pipe that expect() reads, errors are in stderr."""
        if write:
            self.write()
        self._close_out()
        self._out, writer = os.pipe()
        kw.setdefault("env", self.runtime.env)
        try:
            with open(self.path / "err", "wb") as err:
                done = subprocess.run(
                    self.runtime.argv(verb, *opts, "--bundle", self.path, self.id, globals=globals),
                    stdin=stdin, stdout=writer, stderr=err, timeout=LIMIT_S, check=False, **kw)
        finally:
            os.close(writer)
        errors = (self.path / "err").read_text(errors="replace")
        assert not check or done.returncode == 0, f"{verb}: {done.returncode}: {errors}"
        if done.returncode == 0:
            self.pid = self.state().get("pid")
        return Done(done.returncode, "", errors)

    def start(self, check=True):
        return self.runtime("start", self.id, check=check)

    def up(self, *opts, **kw):
        """create and start; the container."""
        self.create(*opts, **kw)
        self.start()
        return self

    def idle(self, *opts, **kw):
        """A container that waits for a signal to end, and has begun to."""
        self.sh("trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done").up(*opts, **kw)
        return self.expect("ready")

    def state(self):
        done = self.runtime("state", self.id)
        return json.loads(done.stdout) if done.returncode == 0 else {}

    @property
    def status(self):
        return self.state().get("status", "gone")

    def kill(self, signal="KILL", *opts, check=True):
        return self.runtime("kill", *opts, self.id, signal, check=check)

    def delete(self, *opts, check=True):
        return self.runtime("delete", *opts, self.id, check=check)

    def exec(self, *args, opts=(), **kw):
        return self.runtime("exec", *opts, self.id, *args, **kw)

    def wait_stopped(self):
        wait_for_end(self.pid)
        until(lambda: self.status == "stopped", f"{self.id} is stopped, not {self.status}", 10)
        return self

    def stop(self):
        self.kill("KILL", check=False)
        return self.wait_stopped()

    # ---- output of a created container ---------------------------------------------------------

    def _read(self, limit_s):
        readable, _, _ = select.select([self._out], [], [], max(limit_s, 0))
        piece = os.read(self._out, 65536) if readable else None
        self.output += piece or b""
        return piece

    def expect(self, text, limit_s=LIMIT_S):
        """Waits until @text was printed."""
        deadline = time.monotonic() + limit_s
        while text.encode() not in self.output:
            assert self._read(deadline - time.monotonic()), \
                f"no {text!r}: {self.output!r} {(self.path / 'err').read_text(errors='replace')}"
        return self

    def rest(self, limit_s=LIMIT_S):
        """All that it printed, once nothing can print any more."""
        deadline = time.monotonic() + limit_s
        while (piece := self._read(deadline - time.monotonic())) != b"":
            assert piece is not None, f"its output is still open: {self.output!r}"
        return self.output.decode()

    def errors(self):
        return (self.path / "err").read_text(errors="replace")

    def _close_out(self):
        if self._out is not None:
            os.close(self._out)
        self._out, self.output = None, b""

    # ---- the host's view -----------------------------------------------------------------------

    def cgroup_dir(self, controller):
        return pathlib.Path("/sys/fs/cgroup") / controller / self.cgroup

    def end(self):
        self.runtime("delete", "--force", self.id)
        self._close_out()
        if self._mounted:
            subprocess.run(["umount", "-l", self.rootfs], check=False, capture_output=True)
        shutil.rmtree(self.path, ignore_errors=True)


class ConsoleSocket(TerminalEnd):
    """What --console-socket points at: takes the terminal's descriptor that the runtime sends."""

    def __init__(self, path):
        self.path = str(path)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.path)
        self._listener.listen(1)
        self._listener.settimeout(LIMIT_S)

    def accept(self):
        """Waits for the descriptor, which becomes .fd; the message that came along."""
        connection, _ = self._listener.accept()
        with connection:
            connection.settimeout(LIMIT_S)
            message, fds, _, _ = socket.recv_fds(connection, 4096, 2)
        assert len(fds) == 1, fds
        self.fd = fds[0]
        return message

    def end(self):
        self._listener.close()
        if self.fd is not None:
            os.close(self.fd)
