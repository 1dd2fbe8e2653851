# SPDX-License-Identifier: Apache-2.0
"""linux.resources on cgroup v1: every limit as the file of the kernel shows it, and what cannot be set."""
import json
import os
import pathlib
import re

import pytest

from oci.bundle import refused

ROOT = pathlib.Path("/sys/fs/cgroup")
pytestmark = pytest.mark.skipif(not (ROOT / "memory").is_dir(), reason="needs cgroup v1")


def disk():
    """major:minor of a whole disk."""
    for name in sorted(os.listdir("/sys/block")):
        if not name.startswith(("loop", "ram", "zram", "sr")):
            return tuple(map(int, (pathlib.Path("/sys/block") / name / "dev").read_text().split(":")))
    pytest.skip("no disk is here")


def show(box, controller, name):
    """What the file says for a container that was created with these resources."""
    if not (ROOT / controller).is_dir():
        pytest.skip(f"this kernel has no {controller} controller")
    box.create()
    path = box.cgroup_dir(controller) / name
    if not path.exists():
        pytest.skip(f"this kernel has no {name}")
    return path.read_text().strip()


KNOBS = [
    ({"memory": {"limit": 64 << 20}}, "memory", "memory.limit_in_bytes", str(64 << 20)),
    ({"memory": {"limit": -1}}, "memory", "memory.limit_in_bytes", "9223372036854771712"),
    ({"memory": {"reservation": 32 << 20}}, "memory", "memory.soft_limit_in_bytes", str(32 << 20)),
    ({"memory": {"limit": 64 << 20, "swap": 96 << 20}}, "memory", "memory.memsw.limit_in_bytes", str(96 << 20)),
    ({"memory": {"limit": 64 << 20, "swap": -1}}, "memory", "memory.memsw.limit_in_bytes", "9223372036854771712"),
    ({"memory": {"swappiness": 10}}, "memory", "memory.swappiness", "10"),
    ({"memory": {"swappiness": 0}}, "memory", "memory.swappiness", "0"),
    ({"memory": {"disableOOMKiller": True}}, "memory", "memory.oom_control", "oom_kill_disable 1"),
    ({"memory": {"kernelTCP": 32 << 20}}, "memory", "memory.kmem.tcp.limit_in_bytes", str(32 << 20)),
    ({"cpu": {"shares": 512}}, "cpu", "cpu.shares", "512"),
    ({"cpu": {"quota": 20000, "period": 50000}}, "cpu", "cpu.cfs_quota_us", "20000"),
    ({"cpu": {"quota": 20000, "period": 50000}}, "cpu", "cpu.cfs_period_us", "50000"),
    ({"cpu": {"quota": -1}}, "cpu", "cpu.cfs_quota_us", "-1"),
    ({"cpu": {"cpus": "0"}}, "cpuset", "cpuset.cpus", "0"),
    ({"cpu": {"mems": "0"}}, "cpuset", "cpuset.mems", "0"),
    ({"pids": {"limit": 33}}, "pids", "pids.max", "33"),
    ({"pids": {"limit": -1}}, "pids", "pids.max", "max"),
    ({}, "pids", "pids.max", "max"),
    ({"network": {"classID": 1048577}}, "net_cls", "net_cls.classid", "1048577"),
    ({"hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}]}, "hugetlb", "hugetlb.2MB.limit_in_bytes", str(4 << 20)),
]


@pytest.mark.parametrize("resources, controller, name, wanted", KNOBS, ids=[f"{k[2]}={k[3]}" for k in KNOBS])
def test_limits(box, resources, controller, name, wanted):
    if "kernelTCP" in str(resources):
        box.runtime.needs("kernel-tcp")
    box.linux["resources"].update(resources)
    assert show(box, controller, name).split("\n")[0] == wanted


@pytest.mark.parametrize("field, name", [("throttleReadBpsDevice", "blkio.throttle.read_bps_device"),
                                         ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device"),
                                         ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device"),
                                         ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device")])
def test_block_throttles(box, field, name):
    major, minor = disk()
    box.linux["resources"]["blockIO"] = {field: [{"major": major, "minor": minor, "rate": 123456}]}
    assert show(box, "blkio", name) == f"{major}:{minor} 123456"


def test_block_weight(box):
    box.linux["resources"]["blockIO"] = {"weight": 300}
    if not any((ROOT / "blkio" / n).exists() for n in ("blkio.weight", "blkio.bfq.weight")):
        refused_or_ignored = box.create(check=False)
        assert refused_or_ignored.returncode == 0 or "blkio" in refused_or_ignored.stderr
        return
    name = "blkio.weight" if (ROOT / "blkio/blkio.weight").exists() else "blkio.bfq.weight"
    assert show(box, "blkio", name) == "300"


def test_cpu_idle(box):
    box.runtime.needs("cpu-idle")
    box.linux["resources"]["cpu"] = {"idle": 1}
    assert show(box, "cpu", "cpu.idle") == "1"


def test_cpu_burst(box):
    box.runtime.needs("cpu-burst")
    box.linux["resources"]["cpu"] = {"quota": 20000, "period": 50000, "burst": 10000}
    assert show(box, "cpu", "cpu.cfs_burst_us") == "10000"


def test_devices_list(box):
    box.linux["resources"]["devices"] += [{"allow": True, "type": "c", "major": 1, "minor": 11, "access": "rw"},
                                          {"allow": True, "type": "b", "major": 8, "access": "r"}]
    lines = show(box, "devices", "devices.list").splitlines()
    assert "a *:* rwm" not in lines
    # making nodes is allowed for all of them: whether a line says so as well is the runtime's choice
    assert any(re.fullmatch(r"c 1:11 rwm?", line) for line in lines)
    assert any(re.fullmatch(r"b 8:\* rm?", line) for line in lines)
    assert any(line.startswith("c 1:3 rw") for line in lines)


def test_all_controllers_are_joined(box):
    box.create()
    groups = dict(line.rstrip().split(":")[1:] for line in open(f"/proc/{box.pid}/cgroup"))
    for controller in ("memory", "cpu", "cpuacct", "cpuset", "pids", "devices", "freezer", "blkio"):
        assert groups[controller] == f"/{box.cgroup}", groups


def test_relative_path_is_the_same_place_whoever_calls(box):
    """The runtime-spec leaves the place to the runtime, if it is always the same: runc's is below its caller's group."""
    box.runtime.needs("strict-config")
    box.linux["cgroupsPath"] = f"{box.id}-relative"
    box.create()
    its = dict(line.rstrip().split(":")[1:] for line in open(f"/proc/{box.pid}/cgroup"))
    assert its["pids"] == its["memory"] == f"/{box.id}-relative"


def test_no_path(box):
    del box.linux["cgroupsPath"]
    box.create()
    its = dict(line.rstrip().split(":")[1:] for line in open(f"/proc/{box.pid}/cgroup"))
    assert box.id in its["pids"]
    box.delete("--force")
    assert not (ROOT / "pids" / its["pids"].lstrip("/")).exists()


def test_group_and_its_own_subgroups_go_away(box):
    box.linux["namespaces"].append({"type": "cgroup"})
    for mount in box.config["mounts"]:
        if mount["type"] == "cgroup":
            mount["options"] = ["nosuid", "noexec", "nodev", "relatime", "rw"]
    box.sh("mkdir -p /sys/fs/cgroup/pids/a/b /sys/fs/cgroup/memory/c; echo ready; exec sleep 1000").up()
    box.expect("ready")
    box.delete("--force")
    assert not list(ROOT.glob(f"*/{box.cgroup}"))


def test_a_group_that_is_there_is_used_and_kept_clean(box):
    """An engine may have made it."""
    box.cgroup_dir("pids").mkdir(parents=True)
    box.linux["resources"]["pids"] = {"limit": 44}
    assert show(box, "pids", "pids.max") == "44"


def test_pids_limit_is_enforced(box):
    box.linux["resources"]["pids"] = {"limit": 20}
    done = box.sh("i=0; while [ $i -lt 40 ]; do sleep 5 & i=$((i+1)); done; echo all").run()
    assert "all" not in done.stdout and "fork" in done.stderr


def test_memory_limit_is_enforced(bundle):
    """Both kinds."""
    bundle.linux["resources"]["memory"] = {"limit": 48 << 20, "swap": 48 << 20}
    done = bundle.sh("tail -c 200m /dev/zero >/dev/null; echo $?").run()
    assert done.stdout.strip() == "137", done


def test_cpuset_is_seen_inside(box):
    box.linux["resources"]["cpu"] = {"cpus": "0"}
    assert "0" in box.out("grep Cpus_allowed_list /proc/self/status; nproc").split()[1:2]


def test_memory_of_the_runtime_itself_is_not_counted(box):
    """A small limit is enough for a small program."""
    box.linux["resources"]["memory"] = {"limit": 6 << 20, "swap": 6 << 20}
    if box.runtime.name == "runc":
        pytest.skip("runc's own process in the container needs more")
    assert box.args("true").run().returncode == 0


IMPOSSIBLE = [
    {"memory": {"limit": 64 << 20, "swap": 32 << 20}},
    {"memory": {"swappiness": 1000}},
    {"cpu": {"quota": 10}},
    {"cpu": {"period": 5}},
    {"cpu": {"cpus": "4096"}},
    {"cpu": {"cpus": "banana"}},
    {"cpu": {"mems": "999"}},
    {"hugepageLimits": [{"pageSize": "3MB", "limit": 1}]},
    {"blockIO": {"throttleReadBpsDevice": [{"major": 4000, "minor": 1, "rate": 1}]}},
    {"devices": [{"allow": True, "type": "x", "access": "rwm"}]},
    {"devices": [{"allow": True, "type": "c", "access": "q"}]},
]


@pytest.mark.parametrize("resources", IMPOSSIBLE, ids=[json.dumps(r)[:60] for r in IMPOSSIBLE])
def test_what_cannot_be_set(box, resources):
    box.linux["resources"].update(resources)
    if "'q'" in str(resources):
        box.runtime.needs("strict-config")
    if "hugepageLimits" in resources and not (ROOT / "hugetlb").is_dir():
        pytest.skip("this kernel has no hugetlb controller for v1")
    refused(box.create(check=False))
    assert box.status == "gone"
    assert not list(ROOT.glob(f"*/{box.cgroup}"))


def test_check_before_update(box):
    box.runtime.needs("memory-check")
    box.linux["resources"]["memory"] = {"limit": 64 << 20, "checkBeforeUpdate": True}
    box.sh("head -c 20m /dev/zero | tail -c 20m >/dev/shm/x; echo ready; exec sleep 1000").up()
    box.expect("ready")
    limits = {"memory": {"limit": 4 << 20, "checkBeforeUpdate": True}}
    refused(box.runtime("update", "-r", "-", box.id, input=json.dumps(limits)))
    assert (box.cgroup_dir("memory") / "memory.limit_in_bytes").read_text().strip() == str(64 << 20)


def test_a_manager_that_is_switched_off(box):
    box.runtime.needs("cgroup-manager")
    box.write()
    done = box.runtime("run", "--bundle", box.path, box.id, globals=["--cgroup-manager=disabled"])
    assert done.returncode == 0, done
    assert not list(ROOT.glob(f"*/{box.cgroup}"))
