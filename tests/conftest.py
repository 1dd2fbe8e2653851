# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests share: the built proa, a store of their own, images, both backends.

Every behaviour test takes the fixture `run` and thereby runs twice, as a container and as a machine,
from one body. Everything started here is ended here, by pid, and every wait has a limit.
"""
import fcntl
import hashlib
import io
import json
import os
import pathlib
import pty
import select
import shutil
import signal
import struct
import subprocess
import tarfile
import termios
import time

import pytest

TOP = pathlib.Path(__file__).resolve().parents[1]
BUILD = pathlib.Path(os.environ.get("PROA_BUILD", TOP / "build")).resolve()
LIMIT_S = 60


class Proa:
    """The command, bound to a store."""

    def __init__(self, root, run_root):
        self.root, self.run_root = pathlib.Path(root), pathlib.Path(run_root)
        self.exe = BUILD / "proa"
        self.env = dict(os.environ, PROA_ROOT=str(root), PROA_RUN_ROOT=str(run_root), LC_ALL="C.UTF-8")

    def argv(self, *args):
        return [str(self.exe), *map(str, args)]

    def __call__(self, *args, input=None, check=False, timeout=LIMIT_S, **kw):
        """Runs it to its end. Output is text unless text=False is given."""
        kw.setdefault("text", True)
        if input is None:
            kw.setdefault("stdin", subprocess.DEVNULL)
        done = subprocess.run(self.argv(*args), input=input, capture_output=True, timeout=timeout,
                              env=self.env, check=False, **kw)
        if check and done.returncode != 0:
            raise AssertionError(f"proa {' '.join(map(str, args))}: {done.returncode}\n"
                                 f"{done.stdout}\n{done.stderr}")
        return done

    def popen(self, *args, **kw):
        kw.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen(self.argv(*args), env=self.env, **kw)


class Background:
    """`proa run` that goes on while the test works; ended at the end of the with block."""

    def __init__(self, proa, *args, ready="ready", stdin=subprocess.DEVNULL):
        self.proa, self.ready = proa, ready
        self.process = proa.popen(*args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=stdin)
        self.output = b""

    def __enter__(self):
        try:
            self.wait_for(self.ready)
        except BaseException:
            self.end()
            raise
        return self

    def wait_for(self, text, limit_s=LIMIT_S):
        deadline = time.monotonic() + limit_s
        while text.encode() not in self.output:
            left = deadline - time.monotonic()
            readable, _, _ = select.select([self.process.stdout], [], [], max(left, 0))
            piece = os.read(self.process.stdout.fileno(), 65536) if readable else b""
            if not piece:
                self.process.kill()
                raise AssertionError(f"no {text!r}: {self.output!r} {self.process.stderr.read()!r}")
            self.output += piece

    def wait(self, timeout=LIMIT_S):
        """Its exit code; what it still printed is in .output."""
        rest, self.errors = self.process.communicate(timeout=timeout)
        self.output += rest
        return self.process.returncode

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(3)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(LIMIT_S)
        for pipe in (self.process.stdout, self.process.stderr, self.process.stdin):
            if pipe:
                pipe.close()

    def __exit__(self, *exc):
        self.end()


class TerminalEnd:
    """Our side of a terminal, and all that came out of it: .fd and .output."""

    fd = None
    output = b""

    def send(self, text):
        os.write(self.fd, text.encode())

    def expect(self, text, limit_s=LIMIT_S):
        deadline = time.monotonic() + limit_s
        while text.encode() not in self.output:
            readable, _, _ = select.select([self.fd], [], [], max(deadline - time.monotonic(), 0))
            try:
                piece = os.read(self.fd, 65536) if readable else b""
            except OSError:
                piece = b""
            assert piece, f"no {text!r} in {self.output!r}"
            self.output += piece


class Terminal(TerminalEnd):
    """A command on a pseudo-terminal, as a person would use it."""

    def __init__(self, argv, env, rows=24, cols=80):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
            os.execve(argv[0], argv, env)
        self.status = None

    def resize(self, rows, cols):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def wait(self, limit_s=LIMIT_S):
        deadline = time.monotonic() + limit_s
        while True:
            readable, _, _ = select.select([self.fd], [], [], max(deadline - time.monotonic(), 0))
            assert readable, f"still running: {self.output!r}"
            try:
                piece = os.read(self.fd, 65536)
            except OSError:
                piece = b""
            if not piece:
                break
            self.output += piece
        _, self.status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(self.status)

    def end(self):
        if self.status is None:
            os.kill(self.pid, signal.SIGTERM)
            try:
                self.wait(5)
            except AssertionError:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
        os.close(self.fd)


# ---- images ------------------------------------------------------------------------------------

PASSWD = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n"
GROUP = "root:x:0:\nuser:x:1000:\nwheel:x:10:user\n"


def add_file(tar, name, data=b"", mode=0o755, **fields):
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), mode
    for key, value in fields.items():
        setattr(info, key, value)
    tar.addfile(info, io.BytesIO(data))


def add_dir(tar, name, mode=0o755):
    add_file(tar, name, mode=mode, type=tarfile.DIRTYPE)


def busybox_tar(path):
    """A root file system: busybox under all its names, two users, and files for the tests."""
    busybox = pathlib.Path("/bin/busybox").read_bytes()
    names = subprocess.run(["/bin/busybox", "--list"], capture_output=True, text=True, check=True).stdout
    with tarfile.open(path, "w") as tar:
        for name, mode in (("bin", 0o755), ("etc", 0o755), ("root", 0o700), ("home", 0o755), ("var", 0o755),
                           ("home/user", 0o755), ("tmp", 0o1777), ("mnt", 0o755), ("secret", 0o711)):
            add_dir(tar, name, mode)
        add_file(tar, "bin/busybox", busybox)
        for name in names.split():
            if name != "busybox":
                add_file(tar, f"bin/{name}", type=tarfile.SYMTYPE, linkname="busybox")
        add_file(tar, "etc/passwd", PASSWD.encode(), 0o644)
        add_file(tar, "etc/group", GROUP.encode(), 0o644)
        add_file(tar, "bin/suid-id", (BUILD / "tests" / "suid-id").read_bytes(), 0o4755)
        add_file(tar, "bin/no-interpreter", b"#!/bin/absent\n")
        add_file(tar, "bin/windows-script", b"#!/bin/sh\r\necho hi\r\n")
        add_file(tar, "bin/not-a-program", b"just text\n")
        add_file(tar, "bin/empty", b"")
        add_file(tar, "bin/foreign", foreign_elf())
        add_file(tar, "bin/dynamic", pathlib.Path("/bin/true").read_bytes())
        add_file(tar, "out-link", type=tarfile.SYMTYPE, linkname="/../../../../../../etc")
    return path


def foreign_elf():
    """The start of an arm64 executable."""
    return (b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xb7\x00" + bytes(44)).ljust(256, b"\0")


def _fresh(path):
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """A store in the build directory. Kernels stay from run to run (they are downloaded), nothing else."""
    root = pathlib.Path(os.environ.get("PROA_TEST_STORE", BUILD / "test-store")).resolve()
    root.mkdir(exist_ok=True)
    lock = open(f"{root}.lock", "w", encoding="ascii")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pytest.exit(f"other tests are running on {root}; their store is there", returncode=4)
    for name in ("images", "layers", "erofs", "containers", "tmp", "seccomp"):
        shutil.rmtree(root / name, ignore_errors=True)
    # not under pytest's own directory: a Unix socket's path must be short; and nobody else's
    run_root = _fresh(pathlib.Path(os.environ.get("PROA_TEST_RUN", f"/run/proa-{os.getpid()}")))
    yield root, run_root
    shutil.rmtree(run_root, ignore_errors=True)
    lock.close()


@pytest.fixture(scope="session")
def proa(store):
    if os.geteuid() != 0:
        pytest.skip("needs root: containers of root are tested here")
    return Proa(*store)


@pytest.fixture(scope="session")
def busybox_archive(tmp_path_factory):
    return busybox_tar(tmp_path_factory.mktemp("image") / "busybox.tar")


@pytest.fixture(scope="session")
def image(proa, busybox_archive):
    """The name of the test image, in the store."""
    proa("import", "--change", "CMD [\"/bin/sh\"]", "--change", "ENV FROM_IMAGE=yes", busybox_archive,
         "busybox", check=True)
    return "busybox"


@pytest.fixture(scope="session")
def kernel(proa):
    """A guest kernel in the store; its name."""
    if not json.loads(proa("kernel", "ls", "--json", check=True).stdout):
        done = proa("kernel", "pull", timeout=600)
        if done.returncode != 0:
            pytest.skip(f"no guest kernel can be had: {done.stderr.strip()}")
    return "default"


@pytest.fixture(scope="session")
def fast_kernel(proa, kernel):
    """The name of a kernel that `proa kernel build` made; it stays, too, until its options change.

    After `kernel`: the first kernel of a store is the default, and that is to be the stock one.
    """
    lines = (BUILD / "kernel-x86_64.config").read_text().splitlines(keepends=True)
    options = "".join(line for line in lines if line.startswith("CONFIG_"))
    name = "fast-" + hashlib.sha256(options.encode()).hexdigest()[:12]
    names = [k["Name"] for k in json.loads(proa("kernel", "ls", "--json", check=True).stdout)]
    if name not in names:
        done = proa("kernel", "build", "--name", name, timeout=1800)
        if done.returncode != 0 and any(word in done.stderr for word in ("not installed here", "apt-get", "package lists")):
            pytest.skip(f"no kernel can be built: {done.stderr.strip()}")
        assert done.returncode == 0, done.stderr
        for old in names:
            if old.startswith("fast-"):
                proa("kernel", "rm", old, check=True)
    return name


@pytest.fixture(params=["container", "vm"])
def backend(request):
    if request.param == "vm":
        request.getfixturevalue("kernel")
    return request.param


@pytest.fixture
def run(proa, image, backend):
    """run("sh", "-c", …) runs a command of the test image with --rm; options in `opts`."""

    def call(*command, opts=(), **kw):
        return proa("run", "--rm", f"--isolation={backend}", *opts, image, *command, **kw)

    call.backend = backend
    return call


@pytest.fixture
def background(proa, image, backend):
    """background("script", opts=…): a running container or machine whose script says "ready"."""

    def call(script, opts=(), **kw):
        return Background(proa, "run", "--rm", f"--isolation={backend}", *opts, image, "sh", "-c", script, **kw)

    return call


@pytest.fixture
def terminal(proa):
    """terminal(args…): proa on a pseudo-terminal."""
    open_ones = []

    def call(*args, **kw):
        t = Terminal(proa.argv(*args), proa.env, **kw)
        open_ones.append(t)
        return t

    yield call
    for t in open_ones:
        t.end()


def _cgroups():
    return {path for path in pathlib.Path("/sys/fs/cgroup").glob("*/proa/*") if path.is_dir()}


@pytest.fixture(scope="session", autouse=True)
def nothing_left(store):
    """After all tests: no process of ours, no cgroup, no mount."""
    before = _cgroups()
    yield
    root, _ = store
    deadline = time.monotonic() + 5
    while left := _cgroups() - before:
        # what runs beside these tests has a run directory; what we left has none any more
        left = {path for path in left if path.name not in {p.name for p in pathlib.Path("/run").glob("proa*/*")}}
        if not left or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    assert not left
    assert str(root) not in pathlib.Path("/proc/self/mountinfo").read_text()
