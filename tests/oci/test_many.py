# SPDX-License-Identifier: Apache-2.0
"""A thousand containers, eight at a time: created, started, listed, killed, deleted, with nothing left.

PROA_OCI_MANY gives another number: runc takes three times as long.
"""
import concurrent.futures
import json
import os
import pathlib
import subprocess

from oci.bundle import wait_for_end

COUNT = int(os.environ.get("PROA_OCI_MANY", "1000"))


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def processes_of(runtime):
    """Processes that were given the runtime's root directory, such as the runtime itself."""
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if str(runtime.root).encode() in line:
            found.append(line)
    return found


def test_many(make_box):
    box = make_box().args("sleep", "100000")
    count = 60 if box.runtime.name == "runc" and "PROA_OCI_MANY" not in os.environ else COUNT
    # all share one bundle: what each has of its own is its state and its cgroup, named after it
    del box.linux["cgroupsPath"]
    box.linux["namespaces"] = [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")]
    box.write()
    names = [f"many-{os.getpid()}-{n}" for n in range(count)]
    before = descriptors()
    mounts = len(pathlib.Path("/proc/self/mountinfo").read_text().splitlines())

    def call(*args):
        done = subprocess.run(box.runtime.argv(*args), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True, timeout=120, check=False)
        assert done.returncode == 0, (args, done.stderr)

    def all_of(pool, *args, last=()):
        list(pool.map(lambda name: call(*args, name, *last), names))

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        try:
            # standard error of a container is the runtime's: a file, for a pipe would be held open
            with open(box.path / "err", "w+") as err:
                def create(name):
                    done = subprocess.run(box.runtime.argv("create", "--bundle", box.path, name), stdin=subprocess.DEVNULL,
                                          stdout=subprocess.DEVNULL, stderr=err, timeout=120, check=False)
                    assert done.returncode == 0, (box.path / "err").read_text()
                list(pool.map(create, names))
            rows = {row["id"]: row for row in json.loads(box.runtime("list", "-f", "json", check=True).stdout)}
            assert all(rows[name]["status"] == "created" for name in names)
            all_of(pool, "start")
            rows = {row["id"]: row for row in json.loads(box.runtime("list", "-f", "json", check=True).stdout)}
            assert all(rows[name]["status"] == "running" for name in names)
            assert len({rows[name]["pid"] for name in names}) == count
            all_of(pool, "kill", last=("KILL",))
            for name in names:
                wait_for_end(rows[name]["pid"])
            all_of(pool, "delete")
        finally:
            list(pool.map(lambda name: box.runtime("delete", "--force", name, timeout=120), names))
    assert not [name for name in box.runtime("list", "-q").stdout.split() if name in names]
    assert not [p for p in box.runtime.root.iterdir() if p.name in names]
    left = [str(p) for p in pathlib.Path("/sys/fs/cgroup").glob(f"*/**/many-{os.getpid()}-*")]
    assert not left, left[:5]
    assert len(pathlib.Path("/proc/self/mountinfo").read_text().splitlines()) == mounts
    assert descriptors() == before and processes_of(box.runtime) == []


def test_the_same_container_again_and_again(box):
    """What one run leaves, a hundred would show."""
    box.args("true")
    before = descriptors()
    for _ in range(100 if box.runtime.name != "runc" else 20):
        assert box.run(write=False if (box.path / "config.json").exists() else True).returncode == 0
    assert list(box.runtime.root.iterdir()) == []
    assert descriptors() == before


def test_creating_the_same_id_at_once(make_box):
    """Of those who want one name exactly one gets it."""
    box = make_box().args("sleep", "1000")
    box.runtime.needs("same-id-at-once")
    box.write()
    with open(os.devnull, "w") as null:
        children = [subprocess.Popen(box.runtime.argv("create", "--bundle", box.path, box.id), stdin=subprocess.DEVNULL,
                                     stdout=null, stderr=null) for _ in range(6)]
        codes = [child.wait(60) for child in children]
    assert codes.count(0) == 1, codes
    assert box.status == "created"


def test_commands_while_it_is_being_deleted(make_box):
    """list and state do not fail because a container goes away meanwhile."""
    boxes = [make_box().args("sleep", "1000") for _ in range(6)]
    for box in boxes:
        box.up()
    children = [box.runtime.popen("delete", "--force", box.id, stdout=subprocess.DEVNULL) for box in boxes]
    while any(child.poll() is None for child in children):
        done = boxes[0].runtime("list", "-f", "json")
        if boxes[0].runtime.name != "runc":
            assert done.returncode == 0, done
    assert all(child.wait(30) == 0 for child in children)
