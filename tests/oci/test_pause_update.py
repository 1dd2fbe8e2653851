# SPDX-License-Identifier: Apache-2.0
"""pause and resume, and update of the limits of a running container."""
import json
import os

import pytest

from oci.bundle import refused, until, wait_for_end

COUNT = "n=0; echo ready; while :; do n=$((n+1)); echo $n >/count; sleep 0.02; done"


def test_pause_and_resume(bundle):
    bundle.sh(COUNT).up()
    bundle.expect("ready")
    bundle.runtime("pause", bundle.id, check=True)
    assert bundle.status == "paused"
    bundle.runtime("resume", bundle.id, check=True)
    assert bundle.status == "running"
    assert bundle.exec("true").returncode == 0


def test_pause_stops_every_process(box):
    def count():
        return (box.rootfs / "count").read_text()

    box.sh(COUNT).up()
    box.expect("ready")
    until(lambda: (box.rootfs / "count").exists() and count(), "it counts")
    box.runtime("pause", box.id, check=True)
    state = box.cgroup_dir("freezer") / "freezer.state"
    assert not state.exists() or state.read_text() == "FROZEN\n"
    before = count()
    # three periods of the loop: it would have gone on
    with pytest.raises(AssertionError):
        until(lambda: count() != before, "a paused container goes on", 0.1)
    box.runtime("resume", box.id, check=True)
    until(lambda: count() not in ("", before), "it goes on", 10)


def test_pause_twice_and_resume_twice(box):
    box.idle()
    refused(box.runtime("resume", box.id), "not paused")
    box.runtime("pause", box.id, check=True)
    box.runtime("pause", box.id)
    assert box.status == "paused"
    box.runtime("resume", box.id, check=True)
    assert box.status == "running"


def test_pause_of_a_stopped_container(box):
    box.args("true").up()
    box.wait_stopped()
    refused(box.runtime("pause", box.id), "not running")


def test_kill_reaches_a_paused_container(box):
    box.idle()
    box.runtime("pause", box.id, check=True)
    box.kill("KILL")
    box.runtime("resume", box.id)
    wait_for_end(box.pid)


def test_delete_force_of_a_paused_container(box):
    box.idle()
    box.runtime("pause", box.id, check=True)
    box.delete("--force")
    wait_for_end(box.pid)
    assert box.status == "gone"


# ---- update ----------------------------------------------------------------------------------------

def value(box, controller, name):
    path = box.cgroup_dir(controller) / name
    if not path.exists():
        pytest.skip(f"this kernel has no {name}")
    return path.read_text().strip()


FLAGS = [
    (["--memory", "67108864"], "memory", "memory.limit_in_bytes", "67108864"),
    (["--memory", "64M"], "memory", "memory.limit_in_bytes", "67108864"),
    (["--memory-reservation", "33554432"], "memory", "memory.soft_limit_in_bytes", "33554432"),
    (["--memory", "64M", "--memory-swap", "128M"], "memory", "memory.memsw.limit_in_bytes", "134217728"),
    (["--cpu-share", "512"], "cpu", "cpu.shares", "512"),
    (["--cpu-period", "50000", "--cpu-quota", "25000"], "cpu", "cpu.cfs_quota_us", "25000"),
    (["--cpuset-cpus", "0"], "cpuset", "cpuset.cpus", "0"),
    (["--cpuset-mems", "0"], "cpuset", "cpuset.mems", "0"),
    (["--pids-limit", "99"], "pids", "pids.max", "99"),
    (["--pids-limit", "-1"], "pids", "pids.max", "max"),
]


@pytest.mark.parametrize("opts, controller, name, wanted", FLAGS, ids=[" ".join(f[0]) for f in FLAGS])
def test_update_flags(idle_box, opts, controller, name, wanted):
    before = value(idle_box, controller, name)
    idle_box.runtime("update", *opts, idle_box.id, check=True)
    assert value(idle_box, controller, name) == wanted, before


RESOURCES = {"memory": {"limit": 80 << 20, "reservation": 40 << 20},
             "cpu": {"shares": 300, "quota": 30000, "period": 60000, "cpus": "0", "mems": "0"}, "pids": {"limit": 77}}


@pytest.mark.parametrize("how", ["file", "stdin"])
def test_update_resources(idle_box, how, tmp_path):
    """A file, as Podman does it, or "-" and standard input, as Docker does it."""
    idle_box.runtime("update", "--cpu-share", "1024", "--memory", "99M", "--pids-limit", "50", idle_box.id, check=True)
    if how == "file":
        (tmp_path / "r.json").write_text(json.dumps(RESOURCES))
        idle_box.runtime("update", "--resources", tmp_path / "r.json", idle_box.id, check=True)
    else:
        idle_box.runtime("update", "-r", "-", idle_box.id, input=json.dumps(RESOURCES), check=True)
    assert value(idle_box, "memory", "memory.limit_in_bytes") == str(80 << 20)
    assert value(idle_box, "memory", "memory.soft_limit_in_bytes") == str(40 << 20)
    assert value(idle_box, "cpu", "cpu.shares") == "300"
    assert value(idle_box, "cpu", "cpu.cfs_quota_us") == "30000"
    assert value(idle_box, "cpu", "cpu.cfs_period_us") == "60000"
    assert value(idle_box, "cpuset", "cpuset.cpus") == "0"
    assert value(idle_box, "pids", "pids.max") == "77"


def test_update_leaves_the_rest_as_it_is(box):
    box.linux["resources"].update(memory={"limit": 64 << 20}, cpu={"shares": 500})
    box.idle()
    box.runtime("update", "--cpu-share", "600", box.id, check=True)
    assert value(box, "memory", "memory.limit_in_bytes") == str(64 << 20)
    assert value(box, "cpu", "cpu.shares") == "600"


def test_update_of_a_machine_is_seen_inside(bundle):
    """Both kinds: the limit holds for the processes, wherever their cgroup is."""
    bundle.linux["resources"]["memory"] = {"limit": 128 << 20, "swap": 128 << 20}
    bundle.idle()
    bundle.runtime("update", "--memory", "32M", "--memory-swap", "32M", bundle.id, check=True)
    assert bundle.exec("sh", "-c", "tail -c 64m /dev/zero >/dev/null").returncode == 137


@pytest.mark.parametrize("opts", [["--memory", "lots"], ["--cpuset-cpus", "999"], ["--cpu-quota", "x"],
                                  ["--resources", "/absent"]])
def test_what_cannot_be_set(idle_box, opts):
    refused(idle_box.runtime("update", *opts, idle_box.id))
    assert idle_box.status == "running"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"memory": {"limit": "x"}}'])
def test_bad_resources(idle_box, text):
    assert idle_box.runtime("update", "-r", "-", idle_box.id, input=text).returncode != 0


def test_a_failed_update_changes_nothing(idle_box):
    idle_box.runtime("update", "--cpu-share", "700", idle_box.id, check=True)
    bad = {"cpu": {"shares": 800, "cpus": "999"}}
    refused(idle_box.runtime("update", "-r", "-", idle_box.id, input=json.dumps(bad)))
    assert value(idle_box, "cpu", "cpu.shares") in ("700", "800")
    assert os.path.exists(f"/proc/{idle_box.pid}")
