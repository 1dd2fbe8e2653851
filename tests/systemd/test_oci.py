# SPDX-License-Identifier: Apache-2.0
"""proa-oci where cgroups are unified and systemd's: on the Debian of machine.py, with its kernel.

One machine carries out all STEPS; each test looks at the output of one.
"""
import json
import sys

import pytest
from conftest import BUILD, TOP

sys.path.insert(0, str(TOP / "tests/systemd"))
import machine  # noqa: E402
from test_systemd import start, step  # noqa: E402,F401 (a fixture)

CONFIG = {
    "ociVersion": "1.2.0", "root": {"path": "rootfs"}, "hostname": "box",
    "process": {"args": ["/bin/sh", "-c", "COMMAND"], "cwd": "/", "user": {"uid": 0, "gid": 0},
                "env": ["PATH=/bin"], "noNewPrivileges": True,
                "capabilities": {name: ["CAP_MKNOD"] for name in ("bounding", "effective", "permitted")}},
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]}],
    "linux": {"cgroupsPath": "PATH", "resources": {}, "maskedPaths": ["/proc/kcore"], "readonlyPaths": ["/proc/sys"],
              "namespaces": [{"type": t} for t in ("pid", "network", "ipc", "uts", "mount", "cgroup")]},
}

PRELUDE = r"""
cd /tmp
oci="/proa/proa-oci --root /tmp/oci"
[ -d /tmp/box ] || { mkdir -p /tmp/box/rootfs/bin && cp /bin/busybox /tmp/box/rootfs/bin/ && for n in sh cat sleep true ls mknod \
    mount grep head echo id tail; do ln -s busybox /tmp/box/rootfs/bin/$n; done; }
# box NAME COMMAND CGROUP RESOURCES: a bundle
box() {
    mkdir -p /tmp/$1
    [ -e /tmp/$1/rootfs ] || ln -s /tmp/box/rootfs /tmp/$1/rootfs
    sed -e "s#COMMAND#$2#" -e "s|PATH\"|$3\"|" -e "s|\"resources\": {}|\"resources\": $4|" /proa/config.json >/tmp/$1/config.json
}
until_line() { for i in $(seq 200); do grep -q "$2" $1 && return; sleep 0.1; done; echo "no $2 in $1"; cat $1; }
"""

STEPS = [(name, PRELUDE + commands) for name, commands in [
    ("limits", r"""
        box l 'cd /sys/fs/cgroup; head -n 1 memory.max memory.low memory.swap.max pids.max cpu.max cpu.weight memory.high; cat /proc/self/cgroup' \
            /proa-test/l '{"memory": {"limit": 67108864, "reservation": 33554432, "swap": 100663296}, "pids": {"limit": 77}, "cpu": {"quota": 20000, "period": 50000, "shares": 1024}, "unified": {"memory.high": "59998208"}}'
        $oci run -b /tmp/l l; echo "code $?"
        ls -d /sys/fs/cgroup/proa-test/l 2>&1 || true
    """),
    ("devices", r"""
        box d 'mknod /dev/mine b 254 0; cat /dev/mine; mknod /dev/z c 1 5; head -c 3 /dev/zero | busybox wc -c' /proa-test/d '{"devices": [{"allow": false, "access": "rwm"}]}'
        $oci run -b /tmp/d d; echo "code $?"
        box d2 'mknod /dev/mine b 254 0; head -c 1 /dev/mine >/dev/null; echo allowed $?' /proa-test/d2 '{"devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "b", "major": 254, "access": "rm"}]}'
        $oci run -b /tmp/d2 d2; echo "code $?"
    """),
    ("life", r"""
        box x 'while :; do echo x; sleep 0.1; done' /proa-test/x '{}'
        $oci run -d -b /tmp/x x >/tmp/x.out 2>&1 </dev/null
        until_line /tmp/x.out x
        $oci pause x; $oci state x | grep status
        n=$(cat /tmp/x.out | wc -l); sleep 1; [ $n = $(cat /tmp/x.out | wc -l) ] && echo "stands still"
        $oci exec x true; echo "exec while paused $?"
        $oci resume x; $oci state x | grep status
        $oci exec x sh -c 'cat /proc/self/cgroup; exit 3'; echo "exec $?"
        $oci update --memory 50331648 --memory-swap 50331648 --pids-limit 9 x; cat /sys/fs/cgroup/proa-test/x/memory.max /sys/fs/cgroup/proa-test/x/pids.max
        $oci events --stats x | cut -c1-60
        $oci ps --format json x | tr -d '0-9'
        $oci kill --all x KILL
        for i in $(seq 100); do $oci state x | grep -q stopped && break; sleep 0.1; done
        $oci state x | grep status
        $oci delete x; echo "delete $?"
        ls -d /sys/fs/cgroup/proa-test/x 2>&1 || true
    """),
    ("scope", r"""
        box s 'cat /proc/self/cgroup; while :; do sleep 1; done' system.slice:proa:s1 '{"memory": {"limit": 67108864}, "pids": {"limit": 50}}'
        $oci --systemd-cgroup run -d -b /tmp/s s >/tmp/s.out 2>&1 </dev/null; echo "run $?"
        systemctl show proa-s1.scope -p ActiveState -p Slice -p MemoryMax -p TasksMax -p ControlGroup
        cat /sys/fs/cgroup/system.slice/proa-s1.scope/memory.max
        systemctl daemon-reload
        $oci --systemd-cgroup update --memory 83886080 s; echo "update $?"
        systemctl show proa-s1.scope -p MemoryMax
        $oci exec s cat /proc/self/cgroup
        $oci pause s; $oci state s | grep status; $oci resume s
        $oci --systemd-cgroup delete --force s; echo "delete $?"
        for i in $(seq 100); do systemctl is-active -q proa-s1.scope || break; sleep 0.1; done
        systemctl show proa-s1.scope -p ActiveState
    """),
    ("smallest", r"""
        for limit in 524288 262144 131072; do
            box m 'true' /proa-test/m "{\"memory\": {\"limit\": $limit, \"swap\": $limit}}"
            sed -i 's|"/bin/sh", "-c", "true"|"/bin/true"|' /tmp/m/config.json
            $oci run -b /tmp/m m; echo "$limit: $?"
        done
    """),
    ("nested", r"""
        box n 'cat /proc/self/cgroup' /proa-test/n '{}'
        sed -i -e 's|"options": \["ro"\]|"options": ["rw"]|' -e 's|{"type": "cgroup"}|{"type": "cgroup"}, {"type": "user"}|' \
            -e 's|"linux": {|"linux": {"uidMappings": [{"containerID": 0, "hostID": 100000, "size": 65536}], "gidMappings": [{"containerID": 0, "hostID": 100000, "size": 65536}], |' /tmp/n/config.json
        $oci create -b /tmp/n n >/tmp/n.out 2>&1 </dev/null; echo "create $?"; cat /tmp/n.out
        stat -c '%n %u' /sys/fs/cgroup/proa-test/n /sys/fs/cgroup/proa-test/n/cgroup.procs /sys/fs/cgroup/proa-test/n/memory.max
        $oci delete -f n
    """),
    ("rootless", r"""
        systemctl start user@1000.service
        cat >/tmp/as-user <<'EOF'
export XDG_RUNTIME_DIR=/run/user/1000 HOME=/home/user
for i in $(seq 100); do [ -S /run/user/1000/bus ] && break; sleep 0.1; done
mkdir -p /home/user/u/rootfs && cp -r /tmp/box/rootfs/bin /home/user/u/rootfs/ && cd /home/user/u
rm -f config.json; /proa/proa-oci spec --rootless
sed -i -e 's|"terminal": true|"terminal": false|' -e 's|"sh"|"/bin/sh", "-c", "id -u; cat /sys/fs/cgroup/memory.max 2>/dev/null; cat /proc/self/cgroup"|' config.json
/proa/proa-oci run u; echo "plain $?"
sed -i 's|"linux": {|"linux": {"cgroupsPath": "user.slice:proa:u2", "resources": {"memory": {"limit": 67108864}}, |' config.json
/proa/proa-oci run u2 || echo "limit without a cgroup refused"
EOF
        chmod 644 /tmp/as-user; chmod -R a+rX /tmp/box
        setpriv --reuid 1000 --regid 1000 --clear-groups sh /tmp/as-user
        cat >/tmp/as-user2 <<'EOF'
cd /home/user/u
sed -i 's|"id -u; .*", *$|"id -u; sleep 100"|; s|id -u; cat[^"]*|id -u; sleep 100|' config.json
/proa/proa-oci --systemd-cgroup run -d u3 >u3.out 2>&1 </dev/null; echo "scope $?"; cat u3.out
pid=$(/proa/proa-oci state u3 | sed -n 's/.*"pid": \([0-9]*\),/\1/p')
group=$(sed s/0::// /proc/$pid/cgroup); echo "in $group"; cat /sys/fs/cgroup$group/memory.max
/proa/proa-oci exec u3 /bin/busybox id -u
/proa/proa-oci --systemd-cgroup delete -f u3; echo "delete $?"
EOF
        cat >/tmp/as-user3 <<'EOF'
export XDG_RUNTIME_DIR=/run/user/1000 HOME=/home/user
systemctl --user start dbus.service
systemd-run --user --quiet --wait --pipe --unit=inner -p Delegate=yes sh /tmp/as-user2
EOF
        chmod 644 /tmp/as-user2 /tmp/as-user3
        setpriv --reuid 1000 --regid 1000 --clear-groups sh /tmp/as-user3
    """),
    ("checkpoint", r"""
        criu check; echo "criu check $?"
        box c 'i=0; while :; do i=$((i+1)); echo $i >/count; sleep 0.1; done' /proa-test/c '{}'
        $oci run -d -b /tmp/c c >/dev/null 2>&1 </dev/null
        for i in $(seq 100); do [ -s /tmp/box/rootfs/count ] && break; sleep 0.1; done
        $oci checkpoint --image-path /tmp/images c; echo "checkpoint $?"
        $oci list -q
        before=$(cat /tmp/box/rootfs/count)
        sleep 1; [ "$before" = "$(cat /tmp/box/rootfs/count)" ] && echo "it stopped"
        $oci restore -d --image-path /tmp/images -b /tmp/c c </dev/null >/tmp/restore.out 2>&1; echo "restore $?"; cat /tmp/restore.out
        $oci state c | grep status
        sleep 1; now=$(cat /tmp/box/rootfs/count); [ "$now" -gt "$before" ] && echo "it counts on"
        cat /proc/$($oci state c | sed -n 's/.*"pid": \([0-9]*\),/\1/p')/cgroup
        $oci exec c true; echo "exec $?"
        $oci delete -f c; echo "delete $?"
        $oci restore --no-subreaper --image-path /tmp/images -b /tmp/c c </dev/null; echo "no subreaper $?"
        $oci restore --image-path /tmp/images -b /tmp/c c </dev/null >/dev/null 2>/tmp/foreground.err &
        for i in $(seq 100); do $oci state c 2>/dev/null | grep -q running && break; sleep 0.1; done
        $oci kill c KILL; wait $!; echo "foreground $?"; cat /tmp/foreground.err
        echo "left: $($oci list -q)"
        $oci --criu /nowhere/criu restore -d --image-path /tmp/images -b /tmp/c c </dev/null; echo "no criu $?"
        grep -h Error /tmp/images/restore.log /tmp/images/dump.log 2>/dev/null | tail -n 5
        true
    """),
]]


@pytest.fixture(scope="session")
def result(start, tmp_path_factory):  # noqa: F811
    config = tmp_path_factory.mktemp("config") / "config.json"
    config.write_text(json.dumps(CONFIG))
    programs = [BUILD / name for name in ("proa-oci", "proa-stage", "proa-seccomp", "proa-systemd")]
    return start(STEPS, "unified", [*programs, config])


def test_limits(result):
    out = step(result, "limits")
    for file, value in (("memory.max", "67108864"), ("memory.low", "33554432"), ("memory.swap.max", "33554432"),
                        ("pids.max", "77"), ("cpu.max", "20000 50000"), ("memory.high", "59998208")):
        assert f"==> {file} <==\n{value}\n" in out, (file, out)
    assert "0::/\n" in out and "code 0" in out
    assert "No such file" in out.splitlines()[-1]


def test_devices_by_ebpf(result):
    out = step(result, "devices")
    assert "cat: can't open '/dev/mine': Operation not permitted" in out
    assert "allowed 0" in out


def test_life(result):
    out = step(result, "life")
    for line in ('"status": "paused"', "stands still", "exec while paused 255", '"status": "running"', "exec 3",
                 "50331648\n9\n", '{"type":"stats","id":"x","data":{"cpu":{"usage":{"total":', '"status": "stopped"',
                 "delete 0"):
        assert line in out, (line, out)
    assert "No such file" in out.splitlines()[-1]


def test_scope(result):
    out = step(result, "scope")
    for line in ("run 0", "ActiveState=active", "Slice=system.slice", "MemoryMax=67108864", "TasksMax=50",
                 "ControlGroup=/system.slice/proa-s1.scope", "\n67108864\n", "update 0", "MemoryMax=83886080",
                 '"status": "paused"', "delete 0", "ActiveState=inactive"):
        assert line in out, (line, out)


def test_smallest_memory_limit(result):
    """A container starts with 512 KiB: the stage is small, and nothing else is counted."""
    assert "524288: 0" in step(result, "smallest")


def test_ownership_of_a_delegated_group(result):
    out = step(result, "nested")
    assert "create 0" in out
    assert "/sys/fs/cgroup/proa-test/n 100000\n" in out
    assert "cgroup.procs 100000\n" in out and "memory.max 0\n" in out


def test_rootless(result):
    out = step(result, "rootless")
    assert "0\n" in out and "plain 0" in out
    assert "limit without a cgroup refused" in out
    assert "scope 0" in out and "proa-u2.scope\n67108864\n0\ndelete 0\n" in out, out


def test_checkpoint_and_restore(result):
    out = step(result, "checkpoint")
    for line in ("criu check 0", "checkpoint 0", "it stopped", "restore 0", '"status": "running"', "it counts on",
                 "exec 0", "delete 0", "0::/proa-test/c\n", "use --detach\nno subreaper 1\n", "foreground 137\n", "left: \n",
                 "/nowhere/criu is not installed (Debian's package criu)\nno criu 1\n"):
        assert line in out, (line, out)
