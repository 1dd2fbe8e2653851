# SPDX-License-Identifier: Apache-2.0
"""Private engines, one of each a session, all of their state in one directory; nothing may be left of them."""
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

from engines.engine import (CGROUP_PARENT, IMAGE, Cli, Daemon, cgroups_of, docker_archive, mounts_below, processes_of,
                            sweep, until)
from oci.bundle import Runtime
from oci.conftest import ordinary_user, runtime_path  # noqa: F401 (a fixture)

CONTAINERS_CONF = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime_supports_json = ["proa-oci", "proa-oci-vm"]
"""


@pytest.fixture(scope="session")
def engine_dir():
    if os.geteuid() != 0:
        pytest.skip("needs root: engines of root are tested here")
    path = pathlib.Path(tempfile.mkdtemp(prefix="pe", dir="/tmp"))
    path.chmod(0o711)
    yield path
    sweep(path, [CGROUP_PARENT])
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def archive(engine_dir, busybox_archive):
    return docker_archive(busybox_archive, engine_dir / "image.tar")


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")


@pytest.fixture(scope="session")
def kinds(request, engine_dir):
    """Path of each runtime that is here, by kind."""
    found = {}
    for kind in ("container", "vm"):
        try:
            path = runtime_path(kind)
            found[kind] = str(machine_runtime(request, engine_dir, path) if kind == "vm" else path)
        except pytest.skip.Exception:
            pass
    return found


def machine_runtime(request, engine_dir, path):
    """A script for the runtime, because engines do not pass the environment on that says where kernels are."""
    request.getfixturevalue("kernel")
    root, run_root = request.getfixturevalue("store")
    script = engine_dir / "proa-oci-vm"
    script.write_text(f'#!/bin/sh\nexport PROA_ROOT="{root}" PROA_RUN_ROOT="{run_root}"\nexec "{path}" "$@"\n')
    script.chmod(0o755)
    return script


@pytest.fixture(params=["container", "vm"], scope="session")
def kind(request):
    """Tests that use it run with both runtimes."""
    runtime_path(request.param)
    if request.param == "vm":
        request.getfixturevalue("kernel")
    return request.param


@pytest.fixture(scope="session")
def container_only():
    """For what only a container can do: the name of its kind."""
    runtime_path("container")
    return "container"


@pytest.fixture
def needs(kinds, request):
    """needs("…"): skips the test with a runtime that has not got this (oci/bundle.py has the list)."""
    kind = request.getfixturevalue("kind") if "kind" in request.fixturenames else "container"
    return Runtime(kinds[kind], kind, "/nowhere").needs


def check_left(directory, parent, roots, what):
    """After all containers of an engine were removed: no mount, cgroup, process or state of any."""
    for root in roots:
        left = list(root.iterdir()) if root.exists() else []
        assert not left, f"{what}: state of the runtime left: {left}"
    until(lambda: not cgroups_of(parent), f"{what}: no cgroups are left: {cgroups_of(parent)}", 10)
    mounts = [m for m in mounts_below(directory) if "/containers/" in m or "/merged" in m or "rootfs" in m]
    assert not mounts, f"{what}: mounts left: {mounts}"


# ---- Podman ----------------------------------------------------------------------------------------

class Podman(Cli):
    """Podman with one of the runtimes; `run` gives the options that every container here has."""

    def __init__(self, directory, runtime):
        self.directory = directory
        super().__init__("podman", "--root", directory / "s", "--runroot", directory / "r", "--tmpdir", directory / "t",
                         "--storage-driver", "overlay", "--runtime", runtime,
                         env={"CONTAINERS_CONF": str(directory / "containers.conf"), "TMPDIR": str(directory)})

    @staticmethod
    def options():
        return ["--network", "none", "--cgroup-parent", f"/{CGROUP_PARENT}/podman"]

    def run(self, *args, opts=(), **kw):
        return self("run", "--rm", *self.options(), *opts, IMAGE, *args, **kw)

    def detached(self, *args, opts=(), **kw):
        return self("run", "-d", *self.options(), *opts, IMAGE, *args, check=True, **kw).stdout.strip()


@pytest.fixture(scope="session")
def podmans(engine_dir, archive, kinds):
    """A Podman for each runtime, over the same storage."""
    need("podman", "conmon")
    directory = engine_dir / "p"
    directory.mkdir()
    (directory / "containers.conf").write_text(CONTAINERS_CONF)
    made = {}
    for kind, path in kinds.items():
        # a script, because Podman has no option for the runtime's root that its clean-up process gets as well
        wrapper = directory / ("proa-oci" if kind == "container" else "proa-oci-vm")
        wrapper.write_text(f'#!/bin/sh\nexec "{path}" --root "{directory}/state-{kind}" "$@"\n')
        wrapper.chmod(0o755)
        made[kind] = Podman(directory, wrapper)
    if not made:
        pytest.skip("no runtime is here")
    first = next(iter(made.values()))
    first("load", "-i", archive, check=True)
    yield made
    first("rm", "-f", "-t", "0", "-a")
    # its clean-up processes go on for a moment
    until(lambda: not processes_of(directory), f"Podman's processes end: {processes_of(directory)}", 20)
    check_left(directory, f"{CGROUP_PARENT}/podman", [directory / f"state-{kind}" for kind in made], "podman")
    sweep(directory, [CGROUP_PARENT])


@pytest.fixture(scope="session")
def podman(podmans, kind):
    return podmans[kind]


# ---- containerd ------------------------------------------------------------------------------------

class Ctr(Cli):
    """ctr, bound to our containerd, with one of the runtimes."""

    def __init__(self, directory, runtime):
        self.directory, self.runtime = directory, runtime
        super().__init__("ctr", "-a", directory / "s", "-n", CGROUP_PARENT)

    def run_options(self):
        return ["--runc-binary", self.runtime, "--runc-root", str(self.directory / "state")]

    def run(self, name, *args, opts=(), **kw):
        return self("run", "--rm", *self.run_options(), *opts, IMAGE, name, *args, **kw)


@pytest.fixture(scope="session")
def containerd(engine_dir):
    """A containerd; the directory that it is in. Its socket is "s" there."""
    need("containerd", "containerd-shim-runc-v2", "ctr")
    directory = engine_dir / "c"
    directory.mkdir()
    (directory / "config.toml").write_text(
        f'version = 2\nroot = "{directory}/root"\nstate = "{directory}/run"\n'
        'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
        f'[grpc]\naddress = "{directory}/s"\n[ttrpc]\naddress = "{directory}/s.ttrpc"\n')
    cli = Cli("ctr", "-a", directory / "s")
    daemon = Daemon(["containerd", "-c", directory / "config.toml"], directory / "log",
                    lambda: cli("version").returncode == 0)
    yield directory
    daemon.end()
    shims = processes_of(directory)
    sweep(directory, [CGROUP_PARENT])
    assert not shims, f"shims left: {shims}"


@pytest.fixture(scope="session")
def ctrs(containerd, archive, kinds):
    made = {kind: Ctr(containerd, path) for kind, path in kinds.items()}
    if not made:
        pytest.skip("no runtime is here")
    first = next(iter(made.values()))
    first("images", "import", archive, check=True)
    yield made
    for name in first("containers", "ls", "-q").stdout.split():
        first("tasks", "rm", "-f", name)
        first("containers", "rm", name)
    check_left(containerd, CGROUP_PARENT, [containerd / "state" / CGROUP_PARENT], "containerd")


@pytest.fixture(scope="session")
def ctr(ctrs, kind):
    return ctrs[kind]


# ---- Docker ----------------------------------------------------------------------------------------

class Docker(Cli):
    """The client, bound to our daemon, with one of the runtimes."""

    def __init__(self, directory, runtime):
        self.runtime, self.directory = runtime, directory
        super().__init__("docker", "-H", f"unix://{directory}/s", env={"DOCKER_CONFIG": str(directory / "cfg")})

    def options(self, network="none"):
        return ["--runtime", self.runtime, "--network", network, "--cgroup-parent", f"/{CGROUP_PARENT}-docker"]

    def run(self, *args, opts=(), **kw):
        return self("run", "--rm", *self.options(), *opts, IMAGE, *args, **kw)

    def detached(self, *args, opts=(), network="none", **kw):
        return self("run", "-d", *self.options(network), *opts, IMAGE, *args, check=True, **kw).stdout.strip()

    def inspect(self, name, form):
        return self("inspect", "-f", form, name, check=True).stdout.strip()


def _docker_ready(directory):
    return subprocess.run(["docker", "-H", f"unix://{directory}/s", "version"], capture_output=True, timeout=30,
                          check=False).returncode == 0


@pytest.fixture(scope="session")
def dockers(engine_dir, containerd, archive, kinds):
    need("docker", "dockerd")
    directory = engine_dir / "d"
    (directory / "cfg").mkdir(parents=True)
    runtimes = [f"--add-runtime=proa-{kind}={path}" for kind, path in kinds.items()]
    if not runtimes:
        pytest.skip("no runtime is here")
    daemon = Daemon(["dockerd", "--data-root", directory / "data", "--exec-root", directory / "x", "--pidfile",
                     directory / "pid", "-H", f"unix://{directory}/s", "--containerd", containerd / "s",
                     "--bridge=none", "--ip-forward=false", "--iptables=false", "--ip6tables=false", *runtimes], directory / "log",
                    lambda: _docker_ready(directory))
    try:
        made = {kind: Docker(directory, f"proa-{kind}") for kind in kinds}
        first = next(iter(made.values()))
        first("load", "-i", archive, check=True)
        yield made
        names = first("ps", "-aq").stdout.split()
        if names:
            first("rm", "-f", *names)
        roots = [p for p in (directory / "x").glob("runtime-*/moby") if p.is_dir()]
        check_left(directory, f"{CGROUP_PARENT}-docker", roots, "docker")
    finally:
        daemon.end()
        sweep(directory, [f"{CGROUP_PARENT}-docker"])


@pytest.fixture(scope="session")
def docker(dockers, kind):
    return dockers[kind]
