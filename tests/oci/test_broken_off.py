# SPDX-License-Identifier: Apache-2.0
"""The runtime is killed before each of its system calls in turn: the next command puts things right."""
import collections
import pathlib
import re
import subprocess

import pytest

from oci.bundle import LIMIT_S, until


def stages():
    """The processes that are about to become a container's, of anybody."""
    found = set()
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue  # it has just ended
        if "(proa-stage) " in text and "(proa-stage) Z" not in text:
            found.add(stat.parent.name)
    return found


def strace(box, options, *args):
    """Runs a verb under strace. Its exit code."""
    with open(box.path / "strace-err", "wb") as errors:  # no pipe: a container would hold it open
        return subprocess.run(["strace", *options, *box.runtime.argv(*args)], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=errors, timeout=LIMIT_S, check=False).returncode


def calls_of(box, *args):
    """The system calls of a verb, in order: which one, and for the how many-th time."""
    assert strace(box, ["-o", box.path / "calls"], *args) == 0
    counts = collections.Counter()
    for line in (box.path / "calls").read_text().splitlines():
        call = re.match(r"(\w+)\(", line)
        if call:
            counts[call[1]] += 1
            yield call[1], counts[call[1]]


def nothing_is_left(box, before):
    assert not (box.runtime.root / box.id).exists()
    left = [str(p) for p in pathlib.Path("/sys/fs/cgroup").glob(f"*/{box.cgroup}/inner")]
    assert not left, left
    until(lambda: not stages() - before, "no stage is left")


def remove_parents(box):
    """Groups above a container's are nobody's; here they are to be made anew each time."""
    for group in pathlib.Path("/sys/fs/cgroup").glob(f"*/{box.cgroup}"):
        group.rmdir()


@pytest.mark.parametrize("verb", ["create", "start", "delete"])
def test_killed_before_any_system_call(box, verb):
    box.runtime.needs("any-instant")
    box.cgroup = box.cgroup.replace("/", "-")  # below the root, where nothing is inherited
    box.linux["cgroupsPath"] = f"/{box.cgroup}/inner"
    box.args("sleep", "1000").write()
    create = ("create", "--bundle", box.path, box.id)
    args = {"create": create, "start": ("start", box.id), "delete": ("delete", "--force", box.id)}[verb]
    before, killed = stages(), 0

    def make_it():
        code = strace(box, ["-o", "/dev/null", "-e", "trace=none"], *create)
        assert code == 0, (box.path / "strace-err").read_text()

    if verb != "create":
        make_it()
    calls = list(calls_of(box, *args))
    box.delete("--force")
    for name, nth in calls:
        if verb != "create":
            make_it()
        code = strace(box, ["-o", "/dev/null", "-e", f"trace={name}", "-e", f"inject={name}:signal=KILL:when={nth}"],
                      *args)
        assert code in (0, -9), (name, nth, code, (box.path / "strace-err").read_text())
        killed += code == -9
        box.delete("--force")
        nothing_is_left(box, before)
        if verb == "create":  # what it had begun does not stand in the way of the next
            make_it()
            box.delete("--force")
        remove_parents(box)
    assert killed > len(calls) * 0.9, (killed, calls)
