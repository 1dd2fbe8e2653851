# SPDX-License-Identifier: Apache-2.0
"""Engines of our own: daemons with all their state in one directory, their clients, and what they must not leave."""
import collections
import hashlib
import io
import json
import os
import pathlib
import signal
import subprocess
import tarfile
import time

from conftest import Terminal

LIMIT_S = 90
IMAGE = "docker.io/library/proa-test:latest"
CGROUP_PARENT = f"proa-engine-test-{os.getpid()}"  # several runs of the tests do not meet
Cgroup = collections.namedtuple("Cgroup", "controller path")


def until(predicate, what, limit_s=LIMIT_S):
    """Waits for something that sends no event. Its value, which is true."""
    deadline = time.monotonic() + limit_s
    while True:
        value = predicate()
        if value:
            return value
        assert time.monotonic() < deadline, f"still not so after {limit_s} s: {what}"
        time.sleep(0.05)


class Cli:
    """A client's command line up to its own verbs."""

    def __init__(self, *prefix, env=None):
        self.prefix = [str(p) for p in prefix]
        self.env = dict(os.environ, LC_ALL="C.UTF-8", **(env or {}))

    def argv(self, *args):
        return [*self.prefix, *map(str, args)]

    def __call__(self, *args, check=False, timeout=LIMIT_S, **kw):
        kw.setdefault("text", True)
        if "input" not in kw:
            kw.setdefault("stdin", subprocess.DEVNULL)
        done = subprocess.run(self.argv(*args), capture_output=True, timeout=timeout, env=self.env, check=False, **kw)
        assert not check or done.returncode == 0, \
            f"{' '.join(map(str, args))}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def popen(self, *args, **kw):
        kw.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen(self.argv(*args), env=self.env, **kw)

    def terminal(self, *args, **kw):
        argv = self.argv(*args)
        return Terminal(["/usr/bin/env", *argv], self.env, **kw)


class Daemon:
    """A server that is waited for, and ended with the children it leaves."""

    def __init__(self, argv, log, ready, env=None):
        self.argv, self.log = [str(a) for a in argv], pathlib.Path(log)
        with open(self.log, "wb") as out:
            self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                            env=dict(os.environ, **(env or {})), start_new_session=True)
        try:
            until(lambda: self.process.poll() is not None or ready(), f"{argv[0]} answers", 60)
            assert self.process.poll() is None, self.tail()
        except BaseException:
            self.end()
            raise

    def tail(self):
        return self.log.read_text(errors="replace")[-2000:]

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(20)


# ---- what may be left ------------------------------------------------------------------------------

def processes_of(directory):
    """(pid, command line) of every process that names something below @directory."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if f"{directory}/" in line:
                found.append((int(entry.name), line))
    return found


def mounts_below(directory):
    targets = [line.split()[4] for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()]
    return [t for t in targets if t.startswith(f"{directory}/")]


def cgroups_of(parent):
    """Cgroups of containers below @parent, in any hierarchy."""
    top = pathlib.Path("/sys/fs/cgroup")
    return [str(p) for p in sorted(top.glob(f"*/{parent}/*")) if p.is_dir() and p.name != "conmon"]


def sweep(directory, parents):
    """Ends and unmounts whatever is still there, so that a failure does not spoil the next run."""
    for pid, _ in processes_of(directory):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    for target in reversed(mounts_below(directory)):
        subprocess.run(["umount", "-l", target], check=False, capture_output=True)
    top = pathlib.Path("/sys/fs/cgroup")
    for parent in parents:
        for path in sorted(top.glob(f"*/{parent}/**/"), reverse=True):
            try:
                path.rmdir()
            except OSError:
                pass


# ---- the image -------------------------------------------------------------------------------------

def docker_archive(root_tar, path):
    """What `docker save` would write for an image of one layer; every engine loads it."""
    layer = pathlib.Path(root_tar).read_bytes()
    config = json.dumps({
        "architecture": "amd64", "os": "linux", "created": "2024-01-01T00:00:00Z",
        "config": {"Cmd": ["/bin/sh"], "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                                               "FROM_IMAGE=yes"]},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
        "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "tests"}]}).encode()
    name = hashlib.sha256(config).hexdigest() + ".json"
    manifest = json.dumps([{"Config": name, "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(path, "w") as tar:
        for member, data in ((name, config), ("layer.tar", layer), ("manifest.json", manifest)):
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


# ---- checks that engines share ---------------------------------------------------------------------

COUNTER = "echo ready; n=0; while :; do n=$((n+1)); echo $n; sleep 0.05; done"


def cgroup_value(pid, controller, name):
    """A value of the cgroup that process @pid is in, as the host sees it."""
    for line in pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return (pathlib.Path("/sys/fs/cgroup") / controller / path.lstrip("/") / name).read_text().strip()
    raise AssertionError(f"process {pid} is in no cgroup of {controller}")
