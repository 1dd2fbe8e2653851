# SPDX-License-Identifier: Apache-2.0
"""proa-systemd against a real systemd, process 1 of an emulated machine with unified cgroups.

One machine carries out all STEPS (see machine.py); each test looks at the output of one. Two more do V1_STEPS.
"""
import re
import sys

import pytest
from conftest import BUILD, TOP

sys.path.insert(0, str(TOP / "tests/systemd"))
import machine  # noqa: E402

STEPS = [
    ("manager", """
        cat /proc/1/comm
        cat /proc/self/cgroup
        stat -f -c %T /sys/fs/cgroup
    """),
    ("helper", """
        mkfifo /tmp/hold
        /proa/proa-systemd start proa-x1.scope machine-my.slice MemoryMax=50003968 TasksMax=11 CPUWeight=39 \\
            CPUQuotaPerSecUSec=340000 CPUQuotaPeriodUSec=50000 AllowedCPUs=0 MemoryLow=1048576 MemorySwapMax=0 \\
            </tmp/hold >/tmp/out &
        exec 9>/tmp/hold
        for i in $(seq 200); do [ -s /tmp/out ] && break; sleep 0.1; done
        cat /tmp/out
        cd /sys/fs/cgroup$(cat /tmp/out)
        echo "group: $(cat cgroup.procs | wc -l) $!"
        cat cgroup.procs
        echo "max: $(cat memory.max pids.max cpu.weight memory.low memory.swap.max | tr '\\n' ' ')"
        echo "cpu: $(cat cpu.max) cpuset: $(cat cpuset.cpus)"
        systemctl show proa-x1.scope -p Delegate -p Slice -p Description -p ActiveState -p DefaultDependencies \\
            -p MemoryAccounting -p TasksAccounting -p CPUAccounting -p IOAccounting
        echo "set: $(/proa/proa-systemd set proa-x1.scope MemoryMax=60002304 AllowedCPUs=0 2>&1) $?"
        cat memory.max
        systemctl show proa-x1.scope -p MemoryMax -p AllowedCPUs
        exec 9>&-
        wait $!
        echo "helper: $?"
        for i in $(seq 100); do systemctl is-active -q proa-x1.scope || break; sleep 0.1; done
        systemctl show proa-x1.scope -p LoadState -p ActiveState
    """),
    ("stop", """
        mkfifo /tmp/hold2
        /proa/proa-systemd start proa-x2.scope system.slice </tmp/hold2 >/tmp/out2 &
        exec 9>/tmp/hold2
        for i in $(seq 200); do [ -s /tmp/out2 ] && break; sleep 0.1; done
        cat /tmp/out2
        /proa/proa-systemd stop proa-x2.scope
        echo "stop: $?"
        wait $!
        echo "helper: $?"
        /proa/proa-systemd stop proa-x2.scope
        echo "again: $?"
        ls -d /sys/fs/cgroup$(cat /tmp/out2)
    """),
    ("errors", """
        /proa/proa-systemd start proa-x3.scope nonsense </dev/null
        /proa/proa-systemd start proa-x3.scope system.slice Nonsense=1 </dev/null
        /proa/proa-systemd start proa-x3.scope system.slice MemoryMax=x </dev/null
        /proa/proa-systemd start proa-x3.scope system.slice AllowedCPUs=3-1 </dev/null
        /proa/proa-systemd set proa-x4.scope TasksMax=3
        DBUS_SYSTEM_BUS_ADDRESS=unix:path=/absent /proa/proa-systemd stop proa-x4.scope
        echo "code: $?"
        systemctl --no-legend list-units 'proa-x*' --all
        true
    """),
    ("scope", "/proa/test_scope /proa/proa-systemd"),
    ("groups", "/proa/test_cgroup_static"),
    ("limits", "/proa/test_cgroup_limits_static"),
    ("user", """
        systemctl start user@1000.service || journalctl -b --no-pager | tail -n 30
        cat >/tmp/as-user <<'EOF'
export XDG_RUNTIME_DIR=/run/user/1000
for i in $(seq 100); do [ -S /run/user/1000/bus ] && break; sleep 0.1; done
id -u
systemctl --user start dbus.service
systemd-run --user --quiet --wait --pipe --unit=inner -p Delegate=yes /proa/test_scope /proa/proa-systemd --user
EOF
        chmod 644 /tmp/as-user
        setpriv --reuid 1000 --regid 1000 --clear-groups sh /tmp/as-user
    """),
]


# With the hierarchies of v1, of which systemd has its own, and some hold two controllers.
V1_STEPS = [
    ("manager", """
        cat /proc/1/comm
        stat -f -c %T /sys/fs/cgroup
        stat -f -c "unified: %T" /sys/fs/cgroup/unified || true
        ls -l /sys/fs/cgroup
    """),
    ("scope", "/proa/test_scope /proa/proa-systemd"),
    ("groups", "/proa/test_cgroup_static"),
    ("limits", "/proa/test_cgroup_limits_static"),
]


@pytest.fixture(scope="session")
def start(proa, store, kernel, tmp_path_factory):
    """start(steps, hierarchy): the result of a machine that carried them out."""
    cache = BUILD / "test-systemd"
    cache.mkdir(exist_ok=True)
    try:
        machine.root_disk(cache)
    except RuntimeError as e:
        pytest.skip(f"no Debian image can be made: {str(e).splitlines()[-1]}")
    installed = (store[0] / "kernels" / kernel).resolve()
    own = [BUILD / "proa-systemd", BUILD / "tests/systemd/test_scope", *(BUILD / "tests/unit").glob("test_cgroup*_static")]

    def start(steps, hierarchy, files=tuple(own)):
        done = machine.run(installed, cache, tmp_path_factory.mktemp("systemd"), steps, files, hierarchy)
        assert "@@@ all" in done.console, done.console[-8000:]
        return done

    return start


@pytest.fixture(scope="session")
def result(start):
    return start(STEPS, "unified")


@pytest.fixture(scope="session", params=["hybrid", "legacy"])
def v1_result(start, request):
    return start(V1_STEPS, request.param)


def step(result, name):
    output, code = result.steps[name]
    print(output)
    assert code == 0, output
    return output


def test_systemd_is_process_1(result):
    output = step(result, "manager")
    assert output.startswith("systemd\n0::/system.slice/proa-test.service\n")
    assert "cgroup2fs" in output


def test_scope_has_the_limits_and_the_helper(result):
    output = step(result, "helper")
    assert output.startswith("/machine.slice/machine-my.slice/proa-x1.scope\n")
    pid = re.search(r"^group: 1 (\d+)$", output, re.M).group(1)
    assert re.search(rf"^{pid}$", output, re.M), output
    assert "max: 50003968 11 39 1048576 0 \n" in output
    assert "cpu: 17000 50000 cpuset: 0\n" in output
    for line in ("Delegate=yes", "Slice=machine-my.slice", "Description=proa container proa-x1.scope",
                 "ActiveState=active", "DefaultDependencies=no", "MemoryAccounting=yes", "TasksAccounting=yes",
                 "CPUAccounting=yes", "IOAccounting=yes"):
        assert f"\n{line}\n" in output


def test_limits_can_be_changed(result):
    output = step(result, "helper")
    assert "set:  0\n60002304\n" in output
    assert "\nMemoryMax=60002304\n" in output and "\nAllowedCPUs=0\n" in output


def test_scope_ends_with_the_helper(result):
    output = step(result, "helper")
    assert "helper: 0\n" in output
    assert output.endswith("LoadState=not-found\nActiveState=inactive\n")


def test_stop(result):
    output, _ = result.steps["stop"]
    assert output.startswith("/system.slice/proa-x2.scope\nstop: 0\n"), output
    assert "helper: 143\n" in output  # SIGTERM, from systemd
    assert "again: 0\n" in output
    assert "No such file" in output.split("\n")[-2]


def test_errors_name_their_reason(result):
    output = step(result, "errors")
    assert "proa-x3.scope: systemd: start the scope: " in output
    assert "the property \"Nonsense=1\" cannot be set" in output
    assert "the property \"MemoryMax=x\" cannot be set" in output
    assert "the property \"AllowedCPUs=3-1\" cannot be set" in output
    assert re.search(r"proa-x4.scope: systemd: set the limits: .*(not loaded|not found)", output), output
    assert "systemd cgroups: no connection to the system's D-Bus: No such file or directory" in output
    assert "code: 125\n" in output
    assert not re.search(r"^\W*proa-x\d", output.split("code: 125")[1], re.M)


@pytest.mark.parametrize("name", ["scope", "user"])
def test_a_containers_way(result, name):
    """cgroup_systemd_start() … stop(), for the system's manager as root and for the user's as a user."""
    output = step(result, name)
    assert not re.search(r"^not ok", output, re.M), output
    assert re.search(r"^1\.\.\d\d$", output, re.M), output


@pytest.mark.parametrize("name", ["groups", "limits"])
def test_groups_under_systemd(result, name):
    """The unit tests of cgroups, beside a systemd that has them all."""
    output = step(result, name)
    assert not re.search(r"^not ok", output, re.M), output
    assert "cgroup v2: the group of this test" in output


def test_v1_hierarchies(v1_result):
    output = step(v1_result, "manager")
    assert output.startswith("systemd\ntmpfs\n")
    assert "cpu -> cpu,cpuacct" in output


@pytest.mark.parametrize("name", ["scope", "groups", "limits"])
def test_v1(v1_result, name):
    output = step(v1_result, name)
    assert not re.search(r"^not ok", output, re.M), output
    assert "cgroup v1" in output
    assert re.search(r"^1\.\.\d+$", output, re.M), output
