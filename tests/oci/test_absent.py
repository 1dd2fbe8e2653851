# SPDX-License-Identifier: Apache-2.0
"""What this kernel has not got is an error with the reason, and nothing is left of the container."""
import pathlib

import pytest
from oci.bundle import refused


def _process(**fields):
    return lambda box: box.process.update(fields)


def _linux(**fields):
    return lambda box: box.linux.update(fields)


CASES = {
    "an AppArmor profile": ("/sys/module/apparmor", _process(apparmorProfile="x"), ["AppArmor"]),
    "an SELinux label": ("/sys/fs/selinux/enforce", _process(selinuxLabel="a:b:c"), ["SELinux"]),
    "a label of mounts": ("/sys/fs/selinux/enforce", _linux(mountLabel="a:b:c"), ["SELinux"]),
    "a cache class": ("/sys/fs/resctrl/schemata", _linux(intelRdt={"closID": "gold"}), ["resctrl"]),
    "a limit of kernel memory": ("/nowhere", _linux(resources={"memory": {"kernel": 1 << 20}}), ["kernel memory"]),
    "a file system": ("/nowhere", lambda box: box.mount("/mnt", type="absentfs", source="x"), ["absentfs", "/mnt"]),
    "a namespace file": ("/nowhere", lambda box: box.linux["namespaces"].append({"type": "time", "path": "/absent/ns"}), ["/absent/ns"]),
}


@pytest.mark.parametrize("there, change, words", CASES.values(), ids=CASES.keys())
def test_absent(box, there, change, words):
    box.runtime.needs("strict-config")
    if pathlib.Path(there).exists():
        pytest.skip(f"this kernel has {there}")
    change(box)
    refused(box.create(check=False), *words)
    assert box.status == "gone"
