# SPDX-License-Identifier: Apache-2.0
"""mounts: binds, tmpfs and the kernel's own file systems, in order, with their options."""
import os
import subprocess

import pytest

from oci.bundle import refused


@pytest.fixture
def volume(oci_dir, request):
    """A directory of the host with a file in it."""
    path = oci_dir / f"volume{abs(hash(request.node.name)) % 10 ** 8}"
    path.mkdir(exist_ok=True)
    (path / "file").write_text("from the host\n")
    yield path
    for name in os.listdir(path):
        subprocess.run(["umount", "-q", path / name], check=False)
    subprocess.run(["rm", "-rf", path], check=True)


def info(text, target):
    """(mount options, optional fields, file system type, super options) of the last mount on @target."""
    found = [line.split() for line in text.splitlines() if line.split()[4] == target]
    assert found, (target, text)
    fields = found[-1]
    dash = fields.index("-")
    return set(fields[5].split(",")), fields[6:dash], fields[dash + 1], set(fields[dash + 3].split(","))


def mountinfo(box):
    return box.args("cat", "/proc/self/mountinfo").run(check=True).stdout


# ---- both kinds --------------------------------------------------------------------------------------

def test_binds_and_tmpfs(bundle, volume):
    """One start for what both kinds must agree on."""
    os.chown(volume / "file", 1000, 7)
    (volume / "file").chmod(0o640)
    bundle.bind(volume, "/rw").bind(volume, "/deep/er/ro", "ro").bind(volume / "file", "/etc/one-file")
    bundle.mount("/small", type="tmpfs", source="tmpfs", options=["size=64k", "mode=1770", "nosuid", "noexec"])
    out = bundle.out("cat /rw/file /etc/one-file; stat -c '%u:%g %a' /rw/file; echo x 2>/dev/null >/deep/er/ro/new || echo refused;"
                     "echo made >/rw/made; stat -c %a /small; head -c 100000 /dev/zero 2>/dev/null >/small/big || echo full;"
                     "cp /bin/busybox /small/b 2>/dev/null; df -P /small | tail -n 1 | cut -d ' ' -f 1; mount | grep ' /small '")
    lines = out.splitlines()
    assert lines[:6] == ["from the host", "from the host", "1000:7 640", "refused", "1770", "full"], out
    assert "noexec" in lines[-1] and "nosuid" in lines[-1] and "size=64k" in lines[-1]
    assert (volume / "made").read_text() == "made\n"


def test_readonly_root(bundle, volume):
    bundle.config["root"]["readonly"] = True
    bundle.bind(volume, "/mnt").mount("/tmp", type="tmpfs", source="tmpfs")
    out = bundle.out("touch /x 2>/dev/null || echo refused; touch /etc/x 2>/dev/null || echo refused; echo y >/mnt/y; touch /tmp/t && echo ok")
    assert out.split() == ["refused", "refused", "ok"]
    assert (volume / "y").exists()


def test_root_is_writable(bundle):
    bundle.out("echo new >/new; rm /etc/hello; mkdir /dir")
    assert (bundle.rootfs / "new").read_text() == "new\n" and not (bundle.rootfs / "etc/hello").exists()


# ---- binds -------------------------------------------------------------------------------------------

def test_missing_destinations_are_made(box, volume):
    box.bind(volume, "/a/b/c").bind(volume / "file", "/d/e/f")
    assert box.out("cat /a/b/c/file /d/e/f").count("from the host") == 2
    assert (box.rootfs / "a/b/c").is_dir() and (box.rootfs / "d/e/f").is_file()


def test_missing_source(box):
    refused(box.bind("/absent/source", "/mnt").create(check=False), "/absent/source")


def test_relative_source_is_below_the_bundle(box):
    (box.path / "own").mkdir()
    (box.path / "own/x").write_text("own\n")
    box.mount("/mnt", type="bind", source="own", options=["bind"])
    assert box.out("cat /mnt/x") == "own\n"


def test_directory_on_a_file_and_file_on_a_directory(box, volume):
    box.bind(volume, "/etc/passwd")
    refused(box.create(check=False), "not a directory")
    box.config["mounts"].pop()
    box.bind(volume / "file", "/etc")
    refused(box.create(check=False))


def test_mounts_are_made_in_order(box, volume):
    (volume / "sub").mkdir()
    box.mount("/mnt", type="tmpfs", source="tmpfs").bind(volume, "/mnt/below").mount("/mnt/below/sub", type="tmpfs", source="t")
    out = box.out("ls /mnt; ls /mnt/below; grep /mnt /proc/mounts | wc -l").split()
    assert out == ["below", "file", "sub", "3"]


def test_the_second_covers_the_first(box, volume):
    box.bind(volume, "/mnt").mount("/mnt", type="tmpfs", source="tmpfs")
    assert box.out("ls /mnt") == ""


@pytest.mark.parametrize("options, wanted, unwanted", [
    (["ro"], {"ro"}, {"rw"}),
    (["nosuid", "nodev", "noexec"], {"nosuid", "nodev", "noexec"}, set()),
    (["ro", "rw"], {"rw"}, {"ro"}),
    (["noatime"], {"noatime"}, {"relatime"}),
    (["nodiratime"], {"nodiratime"}, set()),
    (["strictatime"], set(), {"relatime", "noatime"}),
    (["nosuid", "suid"], set(), {"nosuid"}),
    (["nosymfollow"], {"nosymfollow"}, set()),
])
def test_bind_options(box, volume, options, wanted, unwanted):
    found, _, _, _ = info(mountinfo(box.bind(volume, "/mnt", *options)), "/mnt")
    assert wanted <= found and not unwanted & found


def test_a_bind_keeps_the_options_of_its_source(box, volume):
    (volume / "m").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "noexec,nosuid", "tmpfs", volume / "m"], check=True)
    found, _, _, _ = info(mountinfo(box.bind(volume / "m", "/mnt", "ro")), "/mnt")
    assert {"ro"} <= found


def test_bind_without_the_word(box, volume):
    """"type": "bind" alone is enough for engines, "bind" in the options alone for the spec."""
    box.mount("/mnt", type="none", source=str(volume), options=["bind"])
    assert box.out("cat /mnt/file") == "from the host\n"


def test_set_uid_program_on_a_nosuid_bind(box, volume):
    subprocess.run(["cp", "-a", box.rootfs / "bin/suid-id", volume], check=True)
    box.process.update(user={"uid": 1000, "gid": 1000}, noNewPrivileges=False)
    box.bind(volume, "/mnt", "nosuid").bind(volume, "/suid")
    assert box.out("/mnt/suid-id; /suid/suid-id").split() == ["1000", "0"]


# ---- tmpfs and the kernel's own ------------------------------------------------------------------------

def test_tmpfs_keeps_the_mode_of_what_it_covers(box):
    box.mount("/tmp", type="tmpfs", source="tmpfs")
    assert box.out("stat -c %a /tmp") == "1777\n"


def test_tmpfs_gets_the_mode_that_is_asked_for(box):
    box.runtime.needs("tmpfs-mode")
    box.mount("/secret", type="tmpfs", source="tmpfs", options=["mode=500"])
    assert box.out("stat -c %a /secret") == "500\n"


def test_tmpcopyup(box):
    box.mount("/etc", type="tmpfs", source="tmpfs", options=["tmpcopyup", "size=1m"])
    assert box.out("cat /etc/hello; echo new >/etc/hello; stat -c '%a %u' /etc/passwd").split() == ["hello", "644", "0"]
    assert (box.rootfs / "etc/hello").read_text() == "hello\n"


def test_tmpfs_on_a_read_only_root(box):
    box.config["root"]["readonly"] = True
    box.mount("/mnt", type="tmpfs", source="tmpfs", options=["ro"])
    assert box.out("touch /mnt/x 2>/dev/null || echo refused").strip() == "refused"


@pytest.mark.parametrize("target, fs, words", [
    ("/proc", "proc", []), ("/dev", "tmpfs", ["nosuid"]), ("/dev/pts", "devpts", ["nosuid", "noexec"]),
    ("/dev/shm", "tmpfs", ["nosuid", "noexec", "nodev"]), ("/dev/mqueue", "mqueue", ["nosuid", "noexec", "nodev"]),
    ("/sys", "sysfs", ["nosuid", "noexec", "nodev", "ro"])])
def test_the_usual_ones(idle_box, target, fs, words):
    found, _, kind, _ = info(idle_box.exec("cat", "/proc/self/mountinfo").stdout, target)
    assert kind == fs and set(words) <= found


def test_devpts_options(idle_box):
    out = idle_box.exec("sh", "-c", "grep devpts /proc/mounts; readlink /dev/ptmx; ls /dev/pts").stdout
    assert "ptmxmode=666" in out and "mode=620" in out and "gid=5" in out
    assert out.split()[-2:] == ["pts/ptmx", "ptmx"]


def test_dev_has_what_programs_need(idle_box):
    out = idle_box.exec("sh", "-c", "cd /dev; for l in fd stdin stdout stderr ptmx; do readlink $l; done; ls -d core 2>/dev/null").stdout
    assert out.split()[:5] == ["/proc/self/fd", "/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2", "pts/ptmx"]


def test_cgroup_is_read_only_and_shows_the_own_group(box):
    box.linux["namespaces"].append({"type": "cgroup"})
    text = mountinfo(box)
    shown = [line for line in text.splitlines() if line.split()[4].startswith("/sys/fs/cgroup/")]
    assert shown, text
    for line in shown:
        assert "ro" in line.split()[5].split(","), line
    out = box.out("cat /sys/fs/cgroup/pids/cgroup.procs; mkdir /sys/fs/cgroup/pids/x 2>/dev/null || echo refused; cat /proc/self/cgroup")
    assert "1" in out.split() and "refused" in out
    assert all(line.endswith(":/") for line in out.splitlines() if line.count(":") == 2), out


def test_cgroup_without_a_namespace_shows_the_own_group(box):
    out = box.out("cat /sys/fs/cgroup/pids/cgroup.procs | wc -l; ls /sys/fs/cgroup/pids; grep pids /proc/self/cgroup")
    assert int(out.split()[0]) < 10
    assert box.id not in out.splitlines()[1:-1]
    assert out.splitlines()[-1].endswith(box.id)


def test_cgroup_writable(box):
    box.linux["namespaces"].append({"type": "cgroup"})
    for mount in box.config["mounts"]:
        if mount["type"] == "cgroup":
            mount["options"] = ["nosuid", "noexec", "nodev", "relatime", "rw"]
    assert box.out("mkdir /sys/fs/cgroup/pids/mine && echo made && rmdir /sys/fs/cgroup/pids/mine").strip() == "made"


def test_cgroup_controllers_have_their_names(box):
    out = box.out("ls /sys/fs/cgroup").split()
    assert {"memory", "pids", "cpu", "cpuset", "devices", "freezer"} <= set(out)


@pytest.mark.parametrize("mount, words", [
    (dict(destination="/mnt", type="tmpfs", source="tmpfs", options=["bogus=1"]), ["/mnt"]),
    (dict(destination="/mnt", type="nosuchfs", source="x"), ["/mnt"]),
    (dict(destination="/mnt", type="tmpfs", source="tmpfs", options=["size=lots"]), ["/mnt"]),
    (dict(destination="/proc/sys", type="bind", source="/tmp", options=["bind"]), ["/proc"]),
])
def test_bad_mounts(box, mount, words):
    box.config["mounts"].append(mount)
    refused(box.create(check=False), *words)
    assert box.status == "gone"


def test_procfs_must_not_be_replaced(box, volume):
    """Protections that are written through /proc need a true one."""
    box.config["mounts"][0] = {"destination": "/proc", "type": "bind", "source": str(volume), "options": ["bind"]}
    refused(box.create(check=False), "/proc")


def test_nothing_is_mounted_on_the_host(box, volume):
    before = open("/proc/self/mountinfo").read().splitlines()
    box.bind(volume, "/mnt", "rshared").mount("/tmp", type="tmpfs", source="tmpfs").idle()
    assert len(open("/proc/self/mountinfo").read().splitlines()) == len(before)


def test_no_mounts_of_the_host_are_left_inside(idle_box):
    out = idle_box.exec("cat", "/proc/self/mountinfo").stdout
    targets = {line.split()[4] for line in out.splitlines()}
    assert not [t for t in targets if not (t == "/" or t.startswith(("/proc", "/dev", "/sys")))], out
