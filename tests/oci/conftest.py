# SPDX-License-Identifier: Apache-2.0
"""The runtimes under test and bundles for them; after all tests nothing of theirs may be left."""
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

from conftest import BUILD
from oci.bundle import CGROUP_PARENT, Bundle, ConsoleSocket, Runtime


def runtime_path(kind):
    """The executable of a kind, or a skip with the reason."""
    variable, name = {"container": ("PROA_OCI", "proa-oci"), "vm": ("PROA_OCI_VM", "proa-oci-vm")}[kind]
    path = pathlib.Path(os.environ.get(variable) or BUILD / name)
    if not path.exists():
        pytest.skip(f"no {path}: {variable} names another")
    return path if variable in os.environ or kind != "vm" else _with_test_store(path)


def _with_test_store(path):
    """The same, with the tests' own store for its kernel: engines hand no environment on."""
    wrapper = BUILD / "test-bin" / path.name
    wrapper.parent.mkdir(exist_ok=True)
    wrapper.write_text(f'#!/bin/sh\nexport PROA_ROOT="{BUILD}/test-store"\nexec "{path}" "$@"\n')
    wrapper.chmod(0o755)
    return wrapper


@pytest.fixture(scope="session")
def oci_dir():
    """A directory with a short path: Unix sockets are made below it."""
    if os.geteuid() != 0:
        pytest.skip("needs root: containers of root are tested here")
    path = pathlib.Path(tempfile.mkdtemp(prefix="proa-oci-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    mounts = pathlib.Path("/proc/self/mountinfo").read_text()
    for line in reversed(mounts.splitlines()):
        if line.split()[4].startswith(f"{path}/"):
            subprocess.run(["umount", "-l", line.split()[4]], check=False)
    shutil.rmtree(path, ignore_errors=True)
    assert str(path) not in mounts, mounts


@pytest.fixture(scope="session")
def template(oci_dir, busybox_archive):
    """The root file system that bundles are copies of."""
    path = oci_dir / "template"
    path.mkdir()
    subprocess.run(["tar", "-xf", busybox_archive, "-C", path], check=True)
    for name in ("proc", "sys", "dev", "run"):
        (path / name).mkdir()
    (path / "etc/hello").write_text("hello\n")
    return path


def _make_runtime(oci_dir, kind, env=None):
    root = oci_dir / f"root-{kind}"
    root.mkdir(mode=0o700)
    runtime = Runtime(runtime_path(kind), kind, root)
    runtime.env.update(env or {})
    yield runtime
    left = [p.name for p in root.iterdir()] if root.exists() else []
    assert not left, f"state left in {root}: {left}"
    for controller in pathlib.Path("/sys/fs/cgroup").glob(f"*/{CGROUP_PARENT}"):
        groups = [p.name for p in controller.iterdir() if p.is_dir()]
        assert not groups, f"left in {controller}: {groups}"
        controller.rmdir()


@pytest.fixture(scope="session")
def container_runtime(oci_dir):
    yield from _make_runtime(oci_dir, "container")


@pytest.fixture(scope="session")
def vm_runtime(oci_dir, kernel):
    yield from _make_runtime(oci_dir, "vm")


@pytest.fixture(scope="session", params=["container", "vm"])
def runtime(request):
    """Tests that use it, or `bundle`, run with both runtimes."""
    return request.getfixturevalue(f"{request.param}_runtime")


def _factory(runtime, template, oci_dir):
    made = []

    def make():
        made.append(Bundle(runtime, template, oci_dir))
        return made[-1]

    yield make
    for one in reversed(made):
        one.end()


@pytest.fixture
def make_bundle(runtime, template, oci_dir):
    yield from _factory(runtime, template, oci_dir)


@pytest.fixture
def bundle(make_bundle):
    """A bundle, with both runtimes."""
    return make_bundle()


@pytest.fixture
def make_box(container_runtime, template, oci_dir):
    yield from _factory(container_runtime, template, oci_dir)


@pytest.fixture
def box(make_box):
    """A bundle for the container runtime only: for what is about this kernel, or needs many starts."""
    return make_box()


@pytest.fixture(scope="module")
def idle(runtime, template, oci_dir):
    """A running container that the tests of a file share."""
    one = Bundle(runtime, template, oci_dir)
    try:
        yield one.idle()
    finally:
        one.end()


@pytest.fixture(scope="module")
def idle_box(container_runtime, template, oci_dir):
    """The same, for the container runtime only."""
    one = Bundle(container_runtime, template, oci_dir)
    try:
        yield one.idle()
    finally:
        one.end()


@pytest.fixture
def console(oci_dir):
    """console(): a new socket for --console-socket."""
    made = []

    def make():
        made.append(ConsoleSocket(oci_dir / f"tty{len(made)}"))
        return made[-1]

    yield make
    for one in made:
        one.end()
        os.unlink(one.path)


@pytest.fixture(scope="session")
def ordinary_user():
    """A user for the time of the tests, with ranges of subordinate ids; its name."""
    name = f"proa-oci-{os.getpid()}"
    if not shutil.which("useradd"):
        pytest.skip("useradd is not installed")
    subprocess.run(["userdel", "-r", name], capture_output=True, check=False)
    done = subprocess.run(["useradd", "-m", "-s", "/bin/sh", name], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no user can be made: {done.stderr.strip()}")
    for kind in ("uid", "gid"):
        if not any(line.startswith(f"{name}:") for line in open(f"/etc/sub{kind}")):
            subprocess.run(["usermod", f"--add-sub{kind}s", "200000-265535", name], check=True)
    yield name
    subprocess.run(["userdel", "-r", name], capture_output=True, check=False)
