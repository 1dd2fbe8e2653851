# SPDX-License-Identifier: Apache-2.0
"""Masked and read-only paths, device nodes and who may use them, kernel parameters."""
import os

import pytest

from oci.bundle import refused

# ---- paths -------------------------------------------------------------------------------------------


def test_masked_and_read_only_paths(bundle):
    """One start for what both kinds must agree on."""
    (bundle.rootfs / "var/dir").mkdir()
    (bundle.rootfs / "var/dir/secret").write_text("secret\n")
    (bundle.rootfs / "var/frozen").mkdir()
    bundle.linux["maskedPaths"] += ["/etc/hello", "/var/dir", "/absent/path"]
    bundle.linux["readonlyPaths"] += ["/etc/group", "/var/frozen", "/absent/other"]
    out = bundle.out("cat /etc/hello; ls -A /var/dir; cat /proc/timer_list; head -c 1 /proc/kcore | wc -c; "
                     "for p in /etc/group /var/frozen/x /proc/sys/kernel/panic /proc/sysrq-trigger /var/dir/x; do "
                     "echo x 2>/dev/null >>$p || echo refused; done; cat /etc/group | head -n 1")
    assert out.split() == ["0"] + ["refused"] * 5 + ["root:x:0:"]


def test_a_masked_file_is_the_null_device(box):
    box.linux["maskedPaths"] = ["/etc/hello"]
    assert box.out("stat -c '%t %T' /etc/hello; echo x >/etc/hello; cat /etc/hello").split() == ["1", "3"]


def test_no_paths_at_all(box):
    box.linux["maskedPaths"] = box.linux["readonlyPaths"] = []
    assert box.out("test -w /proc/sys/kernel/panic && echo writable").strip() == "writable"


def test_read_only_path_covers_what_is_mounted_below(box):
    box.mount("/mnt", type="tmpfs", source="tmpfs").mount("/mnt/sub", type="tmpfs", source="tmpfs")
    box.linux["readonlyPaths"] += ["/mnt"]
    assert box.out("touch /mnt/x 2>/dev/null || echo refused").strip() == "refused"


# ---- devices -----------------------------------------------------------------------------------------

DEFAULT = {"null": "c 1 3", "zero": "c 1 5", "full": "c 1 7", "random": "c 1 8", "urandom": "c 1 9", "tty": "c 5 0"}


def test_default_devices(bundle):
    script = "".join(f"stat -c '{name} %F %t %T %a %u:%g' /dev/{name};" for name in DEFAULT)
    lines = bundle.out(script + "echo x >/dev/null; head -c 2 /dev/zero | wc -c; head -c 2 /dev/urandom | wc -c").splitlines()
    for line, (name, what) in zip(lines, DEFAULT.items()):
        _, major, minor = what.split()
        assert line == f"{name} character special file {int(major):x} {int(minor):x} 666 0:0"
    assert lines[-2:] == ["2", "2"]


def test_devices(box):
    box.linux["devices"] = [
        {"path": "/dev/chr", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 1000, "gid": 7},
        {"path": "/dev/blk", "type": "b", "major": 250, "minor": 300, "fileMode": 0o600},
        {"path": "/dev/deep/er/unbuf", "type": "u", "major": 1, "minor": 5},
        {"path": "/run/pipe", "type": "p", "fileMode": 0o622},
    ]
    box.linux["resources"]["devices"] += [{"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rw"}]
    out = box.out("stat -c '%F %t:%T %a %u:%g' /dev/chr /dev/blk /dev/deep/er/unbuf /run/pipe; echo x >/dev/chr && echo written")
    lines = out.splitlines()
    assert lines[0] == "character special file 1:3 640 1000:7"
    assert lines[1] == "block special file fa:12c 600 0:0"
    assert lines[2].startswith("character special file 1:5")
    assert lines[3].startswith("fifo 0:0 622")
    assert lines[4] == "written"


def test_device_mode_is_not_cut_by_the_umask(box):
    box.linux["devices"] = [{"path": "/dev/open", "type": "c", "major": 1, "minor": 3, "fileMode": 0o777}]
    old = os.umask(0o077)
    try:
        assert box.out("stat -c %a /dev/open").strip() == "777"
    finally:
        os.umask(old)


def test_a_device_that_is_there_already(box):
    """The same one is fine, another one is an error."""
    os.mknod(box.rootfs / "there", 0o020666, os.makedev(1, 3))
    box.linux["devices"] = [{"path": "/there", "type": "c", "major": 1, "minor": 3}]
    assert box.out("stat -c %t:%T /there").strip() == "1:3"
    box.runtime.needs("device-conflict")
    box.linux["devices"] = [{"path": "/there", "type": "c", "major": 1, "minor": 5}]
    refused(box.create(check=False), "/there")


@pytest.mark.parametrize("device, words", [
    ({"path": "/dev/x", "type": "q", "major": 1, "minor": 3}, []),
    ({"path": "/dev/x", "major": 1, "minor": 3}, []),
])
def test_bad_devices(box, device, words):
    box.linux["devices"] = [device]
    refused(box.create(check=False), *words)


RULES = [
    ([], False, False), ([{"allow": True, "type": "c", "major": 1, "minor": 11, "access": "rwm"}], True, True),
    ([{"allow": True, "type": "c", "major": 1, "minor": 11, "access": "w"}], False, True),
    ([{"allow": True, "type": "c", "major": 1, "access": "rw"}], True, True),
    ([{"allow": True, "access": "rwm"}], True, True),
    ([{"allow": True, "access": "rwm"}, {"allow": False, "type": "c", "major": 1, "minor": 11, "access": "r"}], False, True),
    ([{"allow": True, "type": "b", "major": 1, "minor": 11, "access": "rwm"}], False, False),
]


@pytest.mark.parametrize("rules, may_read, may_write", RULES)
def test_device_rules(box, rules, may_read, may_write):
    """Of a node that the container has made itself."""
    if not os.path.exists("/dev/kmsg"):
        pytest.skip("no /dev/kmsg is here")
    if rules and rules[0].get("type") is None and len(rules) == 2:
        # cgroup v1 cannot take a right from "all", so this is what runc computes the other rules for
        pytest.skip("a list of all devices but one cannot be expressed everywhere")
    box.linux["resources"]["devices"] += rules
    box.capabilities("CAP_MKNOD", "CAP_SYSLOG", "CAP_DAC_OVERRIDE")
    out = box.out("mknod /k c 1 11 && (: </k) 2>/dev/null && echo read; (: >/k) 2>/dev/null && echo written; true")
    assert ("read" in out, "written" in out) == (may_read, may_write)


def test_default_devices_stay_allowed(box):
    """Whatever the rules say: programs do not run without them."""
    assert box.out("echo x >/dev/null && head -c 1 /dev/zero | wc -c; mknod /n c 1 3 && echo y >/n && echo made").split() == ["1", "made"]


def test_exec_is_under_the_same_rules(idle_box):
    assert idle_box.exec("sh", "-c", "mknod /k c 1 11; : >/k").returncode != 0


# ---- kernel parameters -------------------------------------------------------------------------------

@pytest.mark.parametrize("key, value", [
    ("net.ipv4.ip_forward", "1"), ("net.ipv4.ip_local_port_range", "2000\t3000"), ("kernel.shmmax", "123456"),
    ("kernel.sem", "32000\t1024000000\t500\t32000"), ("kernel.msgmax", "65000"), ("fs.mqueue.msg_max", "50")])
def test_sysctl(box, key, value):
    path = "/proc/sys/" + key.replace(".", "/")
    if not os.path.exists(path) and not key.startswith("fs.mqueue"):
        pytest.skip(f"this kernel has no {key}")
    box.linux["sysctl"] = {key: value.replace("\t", " ")}
    done = box.args("cat", path).run()
    assert done.stdout.strip() == value, done


def test_sysctl_of_a_machine(bundle):
    bundle.linux["sysctl"] = {"net.ipv4.ip_unprivileged_port_start": "99", "kernel.shm_rmid_forced": "1"}
    assert bundle.out("cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shm_rmid_forced").split() == ["99", "1"]


@pytest.mark.parametrize("key", ["kernel.panic", "vm.swappiness", "kernel.hostname", "net.core.no_such_thing", "../etc/passwd",
                                 "net/../kernel/panic", "kernel.domainname.x"])
def test_sysctl_of_the_host_is_refused(box, key):
    before = open("/proc/sys/kernel/panic").read(), open("/proc/sys/vm/swappiness").read()
    box.linux["sysctl"] = {key: "3"}
    done = box.create(check=False)
    refused(done, *([] if "/" in key else [key.split(".")[-1]]))
    assert before == (open("/proc/sys/kernel/panic").read(), open("/proc/sys/vm/swappiness").read())


def test_sysctl_needs_its_namespace(box):
    box.namespaces("pid", "mount", "uts")
    box.linux["sysctl"] = {"net.ipv4.ip_forward": open("/proc/sys/net/ipv4/ip_forward").read().strip()}
    refused(box.create(check=False), "net.ipv4.ip_forward")


def test_bad_value(box):
    box.linux["sysctl"] = {"net.ipv4.ip_forward": "not a number"}
    refused(box.create(check=False))
