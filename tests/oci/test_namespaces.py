# SPDX-License-Identifier: Apache-2.0
"""linux.namespaces: each new, inherited, or joined by path; host names, time offsets, user namespaces."""
import os
import subprocess

import pytest

from oci.bundle import refused, until

NS_FILE = {"pid": "pid", "network": "net", "ipc": "ipc", "uts": "uts", "mount": "mnt", "cgroup": "cgroup",
           "user": "user", "time": "time"}
MINE = ["pid", "network", "ipc", "uts", "mount"]


def host(kind):
    return os.readlink(f"/proc/self/ns/{NS_FILE[kind]}")


def inside(box, *kinds):
    out = box.out("; ".join(f"readlink /proc/self/ns/{NS_FILE[kind]}" for kind in kinds))
    return dict(zip(kinds, out.split()))


@pytest.fixture
def holder():
    """A process in namespaces of its own, to be joined; its pid."""
    child = subprocess.Popen(["unshare", "--net", "--ipc", "--uts", "--cgroup", "sh", "-c",
                              "hostname held; echo ready; exec sleep 1000"], stdout=subprocess.PIPE)
    try:
        assert child.stdout.readline() == b"ready\n"
        yield child.pid
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


@pytest.mark.parametrize("kind", ["pid", "network", "ipc", "uts", "mount", "cgroup"])
def test_new(box, kind):
    box.namespaces("mount", *{kind} - {"mount"})
    del box.config["hostname"]
    assert inside(box, kind)[kind] != host(kind)


def test_what_is_not_listed_is_that_of_the_host(box):
    box.namespaces("mount")
    del box.config["hostname"]
    kinds = ["pid", "network", "ipc", "uts", "cgroup", "user"]
    assert inside(box, *kinds) == {kind: host(kind) for kind in kinds}


@pytest.mark.parametrize("kind", ["network", "ipc", "uts", "cgroup"])
def test_joined_by_path(box, holder, kind):
    path = f"/proc/{holder}/ns/{NS_FILE[kind]}"
    box.namespaces("pid", "mount", **{kind: path})
    del box.config["hostname"]
    assert inside(box, kind)[kind] == os.readlink(path)


def test_joined_pid_namespace(make_box):
    first, second = make_box(), make_box()
    first.idle()
    second.namespaces("network", "ipc", "uts", "mount", pid=f"/proc/{first.pid}/ns/pid")
    out = second.out("readlink /proc/self/ns/pid; echo $$; cat /proc/1/cmdline | tr '\\0' ' '").splitlines()
    assert out[0] == os.readlink(f"/proc/{first.pid}/ns/pid")
    assert out[1] != "1" and "trap" in out[2]
    assert first.status == "running"


def test_joined_by_a_bound_file(box, holder):
    """As `ip netns` and engines keep them: a file of nsfs on a path of the host."""
    path = box.path / "netns"
    path.touch()
    subprocess.run(["mount", "--bind", f"/proc/{holder}/ns/net", path], check=True)
    try:
        box.namespaces("pid", "mount", network=path)
        del box.config["hostname"]
        assert inside(box, "network")["network"] == os.readlink(f"/proc/{holder}/ns/net")
    finally:
        subprocess.run(["umount", path], check=True)


def test_exec_joins_all(box, holder):
    box.namespaces("pid", "mount", "cgroup", network=f"/proc/{holder}/ns/net", uts=f"/proc/{holder}/ns/uts")
    del box.config["hostname"]
    box.idle()
    out = box.exec("sh", "-c", "hostname; for n in net uts pid mnt cgroup; do "
                               "[ $(readlink /proc/self/ns/$n) = $(readlink /proc/1/ns/$n) ] && echo $n; done").stdout
    assert out.split() == ["held", "net", "uts", "pid", "mnt", "cgroup"]


@pytest.mark.parametrize("namespaces, words", [
    ([{"type": "pid"}, {"type": "pid"}, {"type": "mount"}], []),
    ([{"type": "bogus"}, {"type": "mount"}], ["bogus"]),
    ([{"type": "mount"}, {"type": "network", "path": "/absent/ns"}], ["/absent/ns"]),
    ([{"type": "mount"}, {"type": "network", "path": "/etc/passwd"}], []),
    ([{"type": "mount"}, {"type": "network", "path": "/proc/self/ns/uts"}], []),
])
def test_bad_ones(box, namespaces, words):
    box.linux["namespaces"] = namespaces
    box.config.pop("hostname")
    line = refused(box.create(check=False), *words)
    assert line and box.status == "gone"


# ---- names -------------------------------------------------------------------------------------------

def test_hostname(bundle):
    bundle.config["hostname"] = "my-own.name"
    assert bundle.out("hostname") == "my-own.name\n"


def test_hostname_needs_a_namespace(box):
    """Else it would rename the host."""
    box.namespaces("pid", "mount")
    before = os.uname().nodename
    refused(box.create(check=False), "uts")
    assert os.uname().nodename == before


def test_domainname(bundle):
    bundle.runtime.needs("domainname")
    bundle.config["domainname"] = "example.org"
    assert bundle.out("cat /proc/sys/kernel/domainname") == "example.org\n"


def test_loopback_is_up(bundle):
    assert bundle.out("ping -c 1 -w 5 127.0.0.1 >/dev/null && echo up") == "up\n"


# ---- time --------------------------------------------------------------------------------------------

def test_time_offsets(box):
    box.runtime.needs("time-namespace")
    box.linux["namespaces"].append({"type": "time"})
    box.linux["timeOffsets"] = {"boottime": {"secs": 1000000, "nanosecs": 5}, "monotonic": {"secs": 500000}}
    out = box.out("cut -d . -f 1 /proc/uptime; cat /proc/self/timens_offsets; readlink /proc/self/ns/time")
    assert int(out.split()[0]) >= 1000000
    assert ["monotonic", "500000", "0"] in [line.split() for line in out.splitlines()]
    assert ["boottime", "1000000", "5"] in [line.split() for line in out.splitlines()]
    assert out.split()[-1] != host("time")
    box.idle()
    assert int(box.exec("cut", "-d", ".", "-f", "1", "/proc/uptime").stdout) >= 1000000


def test_time_offsets_without_a_namespace(box):
    box.runtime.needs("time-namespace")
    box.linux["timeOffsets"] = {"boottime": {"secs": 1}}
    refused(box.create(check=False), "time")


# ---- interfaces of the host ----------------------------------------------------------------------------

@pytest.fixture
def dummy():
    """An interface of the host that a container can be given; its name."""
    name = f"pd{os.getpid()}"
    if subprocess.run(["ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}p"], check=False,
                      capture_output=True).returncode != 0:
        pytest.skip("no interface can be made here")
    yield name
    subprocess.run(["ip", "link", "del", f"{name}p"], check=False, capture_output=True)


def test_net_devices(box, dummy):
    box.runtime.needs("net-devices")
    subprocess.run(["ip", "addr", "add", "10.99.98.7/24", "dev", dummy], check=True)
    box.linux["netDevices"] = {dummy: {"name": "given0"}}
    out = box.out("ls /sys/class/net; ip -o -4 addr show given0")
    assert {"lo", "given0"} == set(out.splitlines()[:2]) and "10.99.98.7/24" in out


def test_net_device_that_is_not_there(box):
    box.runtime.needs("net-devices")
    box.linux["netDevices"] = {"absent0": {}}
    refused(box.create(check=False), "absent0")


# ---- users -------------------------------------------------------------------------------------------

MAPPING = [{"containerID": 0, "hostID": 100000, "size": 65536}]


@pytest.fixture
def userns(box):
    """A box in a user namespace; its root file system belongs to the mapped root."""
    box.linux["namespaces"].append({"type": "user"})
    box.linux["uidMappings"] = box.linux["gidMappings"] = MAPPING
    box.config["mounts"] = [m for m in box.config["mounts"] if m["type"] not in ("cgroup",)]
    subprocess.run(["chown", "-R", "100000:100000", box.rootfs], check=True)
    return box


def test_user_namespace(userns):
    out = userns.out("id -u; cat /proc/self/uid_map /proc/self/gid_map; touch /new; stat -c %u /new; ls -n /etc/passwd")
    lines = out.splitlines()
    assert lines[0] == "0"
    assert lines[1].split() == lines[2].split() == ["0", "100000", "65536"]
    assert lines[3] == "0" and lines[4].split()[2] == "0"
    assert (userns.rootfs / "new").stat().st_uid == 100000


def test_user_namespace_seen_from_outside(userns):
    userns.idle()
    fields = dict(line.split(":\t", 1) for line in open(f"/proc/{userns.pid}/status") if ":\t" in line)
    assert fields["Uid"].split() == ["100000"] * 4
    assert os.readlink(f"/proc/{userns.pid}/ns/user") != host("user")
    assert userns.exec("id", "-u").stdout == "0\n"
    assert userns.exec("sh", "-c", "id -u; touch /x; stat -c %u:%g /x", opts=["--user", "7:8"]).returncode in (0, 1)


def test_user_namespace_has_no_power_over_the_host(userns):
    userns.capabilities("CAP_SYS_ADMIN", "CAP_CHOWN", "CAP_MKNOD", "CAP_DAC_OVERRIDE")
    script = "mknod /d c 1 1 && echo made; echo 1 >/proc/sys/kernel/panic && echo written; mount -t tmpfs x /mnt && echo mounted"
    done = userns.sh(script).run()
    assert "made" not in done.stdout and "written" not in done.stdout
    assert "mounted" in done.stdout, done  # in its own mount namespace it may


def test_user_namespace_devices(userns):
    assert userns.out("echo x >/dev/null && head -c 3 /dev/zero | wc -c; ls -l /dev/full | cut -c 1").split() == ["3", "c"]


def test_user_namespace_terminal(userns, console):
    userns.process["terminal"] = True
    userns.sh("tty; read x")
    sock = console()
    userns.create("--console-socket", sock.path)
    sock.accept()
    userns.start()
    sock.expect("/dev/pts/0")


def test_several_ranges(userns):
    userns.linux["uidMappings"] = [{"containerID": 0, "hostID": 100000, "size": 10},
                                   {"containerID": 10, "hostID": 300000, "size": 5}]
    assert [line.split() for line in userns.out("cat /proc/self/uid_map").splitlines()] == \
        [["0", "100000", "10"], ["10", "300000", "5"]]


@pytest.mark.parametrize("change", ["no-mappings", "overlapping", "unmapped-user"])
def test_bad_mappings(userns, change):
    if change == "no-mappings":
        del userns.linux["uidMappings"], userns.linux["gidMappings"]
    elif change == "overlapping":
        userns.linux["uidMappings"] = MAPPING + [{"containerID": 5, "hostID": 900000, "size": 1}]
    else:
        userns.process["user"] = {"uid": 70000, "gid": 0}
    done = userns.create(check=False)
    assert done.returncode != 0 and done.stderr, done
    assert userns.status == "gone"


def test_joined_user_namespace(make_box):
    first, second = make_box(), make_box()
    first.runtime.needs("joined-user-namespace")
    for box in (first, second):
        box.config["mounts"] = [m for m in box.config["mounts"] if m["type"] != "cgroup"]
        subprocess.run(["chown", "-R", "100000:100000", box.rootfs], check=True)
    first.linux["namespaces"].append({"type": "user"})
    first.linux["uidMappings"] = first.linux["gidMappings"] = MAPPING
    first.idle()
    second.namespaces("pid", "mount", user=f"/proc/{first.pid}/ns/user", network=f"/proc/{first.pid}/ns/net",
                      ipc=f"/proc/{first.pid}/ns/ipc", uts=f"/proc/{first.pid}/ns/uts")
    del second.config["hostname"]
    second.config["mounts"] = [m for m in second.config["mounts"] if m["type"] != "sysfs"]
    out = second.out("readlink /proc/self/ns/user; id -u; hostname").split()
    assert out == [os.readlink(f"/proc/{first.pid}/ns/user"), "0", "bundle"]


def test_nothing_waits_for_the_namespace_of_a_dead_container(make_box):
    first, second = make_box(), make_box()
    first.idle()
    path = f"/proc/{first.pid}/ns/net"
    first.stop()
    until(lambda: not os.path.exists(path), "the namespace's file is gone", 10)
    second.namespaces("pid", "mount", network=path)
    second.config.pop("hostname")
    refused(second.create(check=False), path)
